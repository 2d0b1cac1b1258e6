// The triangular factor that error feedback needs, from a Gram matrix of inputs.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "base/threads.h"

namespace quant {

// With A = gram + damping * mean(diag(gram)) * I, the upper triangular U [n, n] (row-major) with inverse(A) =
// transpose(U) U. Columns whose input is always 0 get the diagonal of the mean, so that A stays positive
// definite. Same result for any number of threads. Error "input" when A is not positive definite (NaN in the
// statistics).
Result<std::vector<float>> inverse_factor(const std::vector<float>& gram, int64_t n, double damping,
                                          ThreadPool& pool);

// Solves (gram + damping * mean(diag) * I) X = B for all columns of B [n, cols] (row-major), in place.
Status solve_gram(const std::vector<float>& gram, int64_t n, double damping, std::vector<double>& b,
                  int64_t cols, ThreadPool& pool);

}  // namespace quant
