// Well-formed UTF-8, byte by byte. Knows nothing of what the characters mean.
#include "base/utf8.h"

#include <cstdint>

namespace quant {

size_t utf8_length(std::string_view text) {
    const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
    const uint8_t first = byte(0);
    size_t length = 0;
    if (first < 0x80) length = 1;
    else if (first >= 0xC2 && first < 0xE0) length = 2;
    else if (first >= 0xE0 && first < 0xF0) length = 3;
    else if (first >= 0xF0 && first < 0xF5) length = 4;
    if (length == 0 || length > text.size()) return 0;
    for (size_t i = 1; i < length; ++i)
        if ((byte(i) & 0xC0) != 0x80) return 0;
    if (first == 0xE0 && byte(1) < 0xA0) return 0;   // overlong
    if (first == 0xED && byte(1) >= 0xA0) return 0;  // surrogate
    if (first == 0xF0 && byte(1) < 0x90) return 0;   // overlong
    if (first == 0xF4 && byte(1) >= 0x90) return 0;  // above U+10FFFF
    return length;
}

}  // namespace quant
