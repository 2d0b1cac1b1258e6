// The best matrix of low rank under a Gram matrix of inputs: what LQER and CALDERA add to rounded weights.
// Knows no files and no models.
#pragma once

#include <cstdint>
#include <vector>

#include "base/threads.h"

namespace quant {

struct LowRankFactors {
    int64_t rank = 0;
    std::vector<float> b, a;  // [rows, rank] and [rank, cols], row-major; values of halves
};

// B A of `rank` (at most min(rows, cols)) with the least mean of |(M - B A) x|^2 over inputs x with the Gram matrix `gram`
// [cols, cols]; m [rows, cols]. With S St = gram, B A S is the truncated singular value decomposition of M S, so
// B A = U Ut M with U the first singular vectors of M S: found by subspace iteration on M gram Mt, S is never
// made. Same result for any number of threads.
LowRankFactors best_factors(const std::vector<float>& m, int64_t rows, int64_t cols, const std::vector<float>& gram, int64_t rank,
                            ThreadPool& pool);

}  // namespace quant
