// Lines from standard input.
#include "cli/line_input.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/signals.h"

namespace quant {

namespace {

constexpr size_t kMostBytes = size_t{64} << 20;  // of one line
constexpr std::string_view kBlock = "\"\"\"";
constexpr std::string_view kContinued = "... ";

}  // namespace

LineInput::LineInput(bool interactive, std::string prompt) : interactive_(interactive), prompt_(std::move(prompt)) {}

Result<bool> LineInput::line(std::string_view prompt, std::string* out) {
    if (interactive_) std::fprintf(stderr, "%.*s", static_cast<int>(prompt.size()), prompt.data());
    for (;;) {
        if (const size_t end = buffer_.find('\n', begin_); end != std::string::npos) {
            *out = buffer_.substr(begin_, end - begin_);
            begin_ = end + 1;
            return true;
        }
        if (interrupted()) return Error{Code::interrupted, "interrupted"};
        if (ended_) {  // a last line without its end
            *out = buffer_.substr(begin_);
            begin_ = buffer_.size();
            return !out->empty();
        }
        buffer_.erase(0, begin_);
        begin_ = 0;
        if (buffer_.size() > kMostBytes) return usage_error("standard input: a line of more than 64 MiB");
        char piece[65536];
        const ssize_t count = ::read(STDIN_FILENO, piece, sizeof piece);
        if (count < 0 && errno != EINTR) return io_error(std::string("standard input: ") + std::strerror(errno));
        if (count == 0) ended_ = true;
        if (count > 0) buffer_.append(piece, static_cast<size_t>(count));
    }
}

Result<bool> LineInput::next(std::string* message) {
    message->clear();
    std::string text;
    LET(got, line(prompt_, &text));
    if (!got) return false;
    if (text == kBlock) {
        for (bool first = true;; first = false) {
            LET(more, line(kContinued, &text));
            if (!more || text == kBlock) return true;
            *message += (first ? "" : "\n") + text;
        }
    }
    while (text.ends_with('\\')) {
        text.back() = '\n';
        *message += text;
        text.clear();
        LET(more, line(kContinued, &text));
        if (!more) break;
    }
    *message += text;
    return true;
}

}  // namespace quant
