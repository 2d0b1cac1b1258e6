// Whole characters out of pieces of them. Ill-formed bytes become U+FFFD as Unicode 15, section 3.9
// recommends: one for each longest part that could have begun a character.
#include "base/utf8.h"
#include "text/tokenizer.h"

namespace quant {

namespace {

constexpr std::string_view kReplacement = "\uFFFD";

// Bytes of `text` (not empty, not beginning with a whole character) that are the beginning of some character;
// 0 if the first is none.
size_t beginning(std::string_view text) {
    const auto first = static_cast<uint8_t>(text[0]);
    const size_t whole = first >= 0xC2 && first < 0xE0   ? 2
                         : first >= 0xE0 && first < 0xF0 ? 3
                         : first >= 0xF0 && first < 0xF5 ? 4
                                                         : 0;
    size_t found = 0;
    for (std::string candidate; found + 1 < whole && found < text.size(); ++found) {
        candidate += text[found];
        // The ranges of the second byte differ: one of its two extremes completes every valid beginning.
        std::string low = candidate, high = candidate;
        low.resize(whole, '\x80'), high.resize(whole, '\xBF');
        if (utf8_length(low) != whole && utf8_length(high) != whole) break;
    }
    return found;
}

}  // namespace

std::string Utf8Stream::push(std::string_view bytes) {
    held_.append(bytes);
    std::string out;
    std::string_view rest = held_;
    while (!rest.empty()) {
        if (const size_t whole = utf8_length(rest)) {
            out.append(rest.substr(0, whole));
            rest.remove_prefix(whole);
            continue;
        }
        const size_t part = beginning(rest);
        if (part == rest.size()) break;
        out += kReplacement;
        rest.remove_prefix(part ? part : 1);
    }
    held_.erase(0, held_.size() - rest.size());
    return out;
}

std::string Utf8Stream::flush() {
    const bool any = !held_.empty();
    held_.clear();
    return any ? std::string(kReplacement) : std::string();
}

}  // namespace quant
