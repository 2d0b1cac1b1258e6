// Messages typed or piped into a chat: one line each, or several when a line ends in a backslash or between lines of """.
// Reads standard input itself, so that Ctrl-C while waiting is seen at once.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace quant {

class LineInput {
public:
    // `prompt` goes to standard error before each message when `interactive`.
    LineInput(bool interactive, std::string prompt);

    // The next message without its line end. false: the input has ended. Error "interrupted": a signal came.
    Result<bool> next(std::string* message);

private:
    Result<bool> line(std::string_view prompt, std::string* out);
    bool interactive_;
    std::string prompt_, buffer_;
    size_t begin_ = 0;
    bool ended_ = false;
};

}  // namespace quant
