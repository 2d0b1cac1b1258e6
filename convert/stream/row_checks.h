// Checks and sums over rows of floats, in loops that a compiler turns into vector code. Knows no files and no plans.
#pragma once

#include <cstddef>
#include <cstdint>

#include "convert/stream/stream.h"
#include "formats/format.h"

namespace quant {

// True if a value is NaN or infinite, or rounds to infinity in F16 when that is the format.
bool any_unfit(const float* values, size_t count, const Format& format);

// Replaces NaN and infinities by 0, returns how many.
uint64_t zero_nonfinite(float* values, size_t count);

// Adds one row's squares and squared differences, and whether any weight changed; sums of 16 lanes in a fixed order.
// importance may be null.
void add_row_error(const float* values, const float* decoded, const float* importance, int64_t count, TensorError& sums);

}  // namespace quant
