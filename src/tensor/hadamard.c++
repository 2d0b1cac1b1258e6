// Blocks of a row times the Hadamard matrix, one bit of the index after another.
#include "tensor/hadamard.h"

#include <cmath>

namespace quant {

int64_t hadamard_block(int64_t n, int64_t most) {
    const int64_t block = n & -n;
    return block < most ? block : most;
}

void hadamard(float* x, int64_t n, int64_t block) {
    const float factor = 1.0f / std::sqrt(static_cast<float>(block));
    for (float* const end = x + n; x < end; x += block) {
        for (int64_t half = 1; half < block; half *= 2) {
            for (int64_t at = 0; at < block; at += 2 * half) {
                float *low = x + at, *high = low + half;
                for (int64_t i = 0; i < half; ++i) {
                    const float a = low[i], b = high[i];
                    low[i] = a + b;
                    high[i] = a - b;
                }
            }
        }
        for (int64_t i = 0; i < block; ++i) x[i] *= factor;
    }
}

}  // namespace quant
