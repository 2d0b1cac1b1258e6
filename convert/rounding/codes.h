// How the codes of each block format lie in a block, so that rounding can choose them one by one while scales
// stay. Knows layouts (formats/blocks.h) and nothing of how codes are chosen.
#pragma once

#include <cstdint>

#include "formats/format.h"

namespace quant {

// A format whose weights are value = level[code] * scale + offset with a code of its own for each weight.
struct CodePlanes {
    int levels = 0;       // codes are 0 .. levels - 1
    bool uniform = true;  // levels are evenly spaced within a span
    int span = 0;         // weights in a row of a block that have the same levels; 0: the whole block
    int scale_bytes = 0;  // a block's values are multiples of the number that it starts with: a half (2), a float (4); 0: no, or
                          // not to be fitted afterwards: Q4_0 gained 2 % of KL on one held-out text and lost 2 % on another
    // Replaces all codes of one block, keeps its scales; those of a row's head stay as they are.
    void (*put)(const uint8_t* codes, uint8_t* block) = nullptr;
};

// Null: the format has no codes of single weights (real numbers, code books of several weights).
const CodePlanes* code_planes(FormatSlot slot);

}  // namespace quant
