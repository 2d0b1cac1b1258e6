// Scales beside those that a format's encoder chose, for one span of a block (the weights that have a scale of their own), so
// that rounding can take the ones that suit the codes it will choose. Knows layouts (formats/blocks.h) and nothing of costs.
#pragma once

#include <cstdint>

#include "formats/format.h"

namespace quant {

struct ScaleChoices {
    int count = 0;
    int64_t span = 0;
    // Writes the nth of them (0 to count - 1) into `block`, a copy of `original`. False: it is out of the scale's range.
    bool (*set)(const uint8_t* original, int64_t span, int n, uint8_t* block) = nullptr;
};

// Null: the format has none.
const ScaleChoices* scale_choices(FormatSlot slot);

}  // namespace quant
