// Look-up in the table of Unicode kinds. Knows only code points.
#include "text/unicode.h"

#include <algorithm>
#include <array>

#include "base/utf8.h"

namespace quant {

namespace {

uint8_t search(uint32_t code) {
    const uint32_t* end = kUnicodeRanges + kUnicodeRangeCount;
    return static_cast<uint8_t>(*(std::upper_bound(kUnicodeRanges, end, code << 8 | 0xff) - 1));
}

// Most text lies in the first two planes' beginning; the rest is rare enough for a binary search each time.
constexpr uint32_t kDirect = 0x3100;

const std::array<uint8_t, kDirect>& direct() {
    static const std::array<uint8_t, kDirect> table = [] {
        std::array<uint8_t, kDirect> kinds{};
        for (uint32_t code = 0; code < kDirect; ++code) kinds[code] = search(code);
        return kinds;
    }();
    return table;
}

uint32_t decoded(std::string_view text, size_t bytes) {
    const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<uint8_t>(text[i])); };
    if (bytes == 2) return (byte(0) & 0x1f) << 6 | (byte(1) & 0x3f);
    if (bytes == 3) return (byte(0) & 0x0f) << 12 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f);
    return (byte(0) & 0x07) << 18 | (byte(1) & 0x3f) << 12 | (byte(2) & 0x3f) << 6 | (byte(3) & 0x3f);
}

}  // namespace

uint8_t unicode_kind(uint32_t code) { return code < kDirect ? direct()[code] : search(code); }

Glyph wide_glyph_at(std::string_view text, size_t at) {
    const size_t bytes = utf8_length(text.substr(at));
    if (bytes == 0) return {0xFFFD, unicode_kind(0xFFFD), 1};
    const uint32_t code = decoded(text.substr(at), bytes);
    return {code, unicode_kind(code), static_cast<uint8_t>(bytes)};
}

}  // namespace quant
