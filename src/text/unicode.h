// Characters of a text and what kinds they are, as pre-tokenizers tell them apart (Unicode 16).
// Knows nothing of tokens.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace quant {

// Bits; letters have exactly one of the first three.
enum Kind : uint8_t {
    kUpper = 1,         // Lu, Lt
    kLower = 2,         // Ll
    kCaseless = 4,      // Lm, Lo
    kMark = 8,          // M
    kNumber = 16,       // N
    kPunctuation = 32,  // P
    kSymbol = 64,       // S
    kSpace = 128,       // White_Space
    kLetter = kUpper | kLower | kCaseless,
};

// In src/text/unicode_table.c++, generated.
extern const uint32_t kUnicodeRanges[];
extern const size_t kUnicodeRangeCount;

uint8_t unicode_kind(uint32_t code);

struct Glyph {
    uint32_t code = 0;  // bytes that are no UTF-8 count as U+FFFD, one each
    uint8_t kind = 0;
    uint8_t bytes = 0;  // 0: past the end
};

constexpr uint8_t ascii_kind(uint32_t code) {
    constexpr std::string_view kSymbols = "$+<=>^`|~";
    if (code >= 'A' && code <= 'Z') return kUpper;
    if (code >= 'a' && code <= 'z') return kLower;
    if (code >= '0' && code <= '9') return kNumber;
    if (code == ' ' || (code >= '\t' && code <= '\r')) return kSpace;
    if (code < '!' || code > '~') return 0;
    return kSymbols.find(static_cast<char>(code)) != std::string_view::npos ? kSymbol : kPunctuation;
}
inline constexpr std::array<uint8_t, 128> kAsciiKinds = [] {
    std::array<uint8_t, 128> kinds{};
    for (uint32_t code = 0; code < 128; ++code) kinds[code] = ascii_kind(code);
    return kinds;
}();

Glyph wide_glyph_at(std::string_view text, size_t at);  // of a byte from 0x80 on

inline Glyph glyph_at(std::string_view text, size_t at) {
    if (at >= text.size()) return {};
    const auto first = static_cast<uint8_t>(text[at]);
    return first < 0x80 ? Glyph{first, kAsciiKinds[first], 1} : wide_glyph_at(text, at);
}

}  // namespace quant
