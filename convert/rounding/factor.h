// The triangular factor that error feedback needs, from a Gram matrix of inputs.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "base/threads.h"

namespace quant {

// The median of the diagonal's positive values, 1 without any: unlike the mean no few channels that stand out decide it.
double typical_square(const std::vector<float>& gram, int64_t n);

// With A = gram + damping * typical_square(gram) * I, the upper triangular U [n, n] (row-major) with inverse(A) =
// transpose(U) U. Columns whose input is always 0 get the typical square, so that A stays positive
// definite. Same result for any number of threads. Error "input" when A is not positive definite (NaN in the
// statistics).
Result<std::vector<float>> inverse_factor(const std::vector<float>& gram, int64_t n, double damping,
                                          ThreadPool& pool);

// Solves (gram + damping * typical_square(gram) * I) X = B for all columns of B [n, cols] (row-major), in place.
Status solve_gram(const std::vector<float>& gram, int64_t n, double damping, std::vector<double>& b,
                  int64_t cols, ThreadPool& pool);

}  // namespace quant
