// The code books of the formats in which several weights share a code, and how codes lie in a block, so that rounding can
// choose them while scales stay. Knows layouts (formats/blocks.h) and nothing of how codes are chosen.
#pragma once

#include <cstdint>

#include "formats/format.h"

namespace quant {

enum class Signs : uint8_t {
    none,  // levels have signs of their own
    free,  // one for each weight
    even,  // of eight weights an even number is negative
};

// A format whose weights are value = sign * level[point][dimension] * scale + offset with one point for `dims` weights.
struct CodeBook {
    int dims = 0;
    int unit = 0;  // weights that must be chosen together: dims, or 8 where the signs of eight depend on each other
    int points = 0;
    Signs signs = Signs::none;
    // Writes [dims, points]. `place` names the row, for books that lie in the tensor's head.
    void (*levels)(const RowPlace& place, float* out) = nullptr;
    // Replaces the points (one for each `dims` weights) and signs (bit i of byte u: weight 8u + i is negative) of one block;
    // scales and offsets stay.
    void (*put)(const uint16_t* points, const uint8_t* negative, uint8_t* block) = nullptr;
};

inline constexpr int kMostBookPoints = 4096, kMostBookDims = 8;

// Null: the format has no code book, or one of single weights (codes.h).
const CodeBook* code_book(FormatSlot slot);

}  // namespace quant
