// Characters of a text and what kinds they are, as pre-tokenizers tell them apart (Unicode 16).
// Knows nothing of tokens.
#pragma once

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
Glyph glyph_at(std::string_view text, size_t at);

}  // namespace quant
