// Hadamard rotations of rows in blocks: outliers of one column spread over a block, lengths and products of rows turned
// alike stay. Knows arrays of floats only.
#pragma once

#include <cstdint>

namespace quant {

// The largest power of two that divides n and is at most `most` (a power of two); n > 0.
int64_t hadamard_block(int64_t n, int64_t most = int64_t{1} << 30);

// In place: each block of `block` values (a power of two that divides n) times the Sylvester Hadamard matrix over
// sqrt(block), which is symmetric and its own inverse. Fast Walsh-Hadamard: n log2(block) additions.
void hadamard(float* x, int64_t n, int64_t block);

}  // namespace quant
