// Stored keys and values of one head against several query rows at once, so that each is decoded once for all of them.
// One table per instruction set, as in kernels.h; without one for the set in use, dots and axpys of kernels.h serve.
#pragma once

#include <cstdint>

#include "kernels/kernels.h"

namespace quant {

// `count` rows of `n` values of one type, one after the other. n a multiple of 16, or of 32 where blocks are stored.
struct StoredRows {
    const uint8_t* data = nullptr;
    int64_t count = 0, n = 0;
};

struct AttentionKernels {
    // out[q * stride + i] = row i times x[q * n ...], for q in [0, queries).
    using Dots = void (*)(const StoredRows& rows, const float* x, int64_t queries, float* out, int64_t stride);
    // y[q * n + d] += sum over i of factors[q * stride + i] * row i [d].
    using Sums = void (*)(const StoredRows& rows, const float* factors, int64_t stride, int64_t queries, float* y);
    Dots dots[4] = {};  // by KvType
    Sums sums[4] = {};
};
inline constexpr int64_t kAttentionStep = 16;  // of n

// Of the table in use (kernels()); null: it has none.
const AttentionKernels* attention_kernels();

}  // namespace quant
