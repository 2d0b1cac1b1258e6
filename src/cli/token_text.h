// Text of generated tokens on its way to the reader: whole UTF-8 characters only, and nothing of a stop string.
// Knows bytes and ids, no model.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace quant {

struct ShownToken {
    int32_t id = -1;
    float log_probability = 0;
    std::string text;  // valid UTF-8; empty while a character is unfinished: its last token carries it
};

class TokenText {
public:
    explicit TokenText(std::vector<std::string> stops);  // empty ones are passed over
    // Takes the bytes of the next token; returns, in order, the tokens whose text can no longer become part of a stop string.
    std::vector<ShownToken> push(int32_t id, float log_probability, std::string_view bytes);
    std::vector<ShownToken> finish();  // what is held back, when nothing follows
    // A stop string has come: the text before it is out, it and everything after it is dropped.
    bool stopped() const { return stopped_; }

private:
    size_t held_back() const;
    std::vector<ShownToken> release(size_t bytes);
    std::vector<std::string> stops_;
    Utf8Stream characters_;
    std::deque<ShownToken> waiting_;
    std::string text_;  // of the waiting tokens
    bool stopped_ = false;
};

}  // namespace quant
