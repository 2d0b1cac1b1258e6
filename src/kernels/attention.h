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
    const uint8_t* next = nullptr;  // as many bytes that are read right afterwards: fetched meanwhile; null: unknown
};

struct AttentionKernels {
    // out[q * stride + i] = row i times x[q * n ...], for q in [0, queries).
    using Dots = void (*)(const StoredRows& rows, const float* x, int64_t queries, float* out, int64_t stride);
    // y[q * n + d] += sum over i of factors[q * stride + i] * row i [d].
    using Sums = void (*)(const StoredRows& rows, const float* factors, int64_t stride, int64_t queries, float* y);
    // out[d * stride + i] = row i [d], and 0 for i in [count, stride). stride a multiple of 8, at least count.
    using Columns = void (*)(const StoredRows& rows, float* out, int64_t stride);
    Dots dots[4] = {};  // by KvType
    Sums sums[4] = {};
    Columns columns[4] = {};
    // For each row r of n values at x + r * stride: max[r] becomes the largest of itself and these, which become exp(value - max[r]), and
    // sum[r] their sum. Off by 2e-7 of themselves, and by as much again for each 1 they are below max; what is 87 and more below becomes
    // nearly 0 (1e-38); NaN stays NaN.
    void (*exps)(float* x, int64_t stride, int64_t rows, int64_t n, float* max, float* sum) = nullptr;
};
inline constexpr int64_t kAttentionStep = 16;  // of n

// Of the table in use (kernels()); null: it has none.
const AttentionKernels* attention_kernels();

}  // namespace quant
