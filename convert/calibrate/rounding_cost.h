// What rounding a matrix to a format costs its products, on a sample of it: some rows, the first columns.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "base/threads.h"
#include "gguf/gguf.h"

namespace quant {

class RoundingCost {
public:
    static constexpr int64_t kCols = 256;  // at most; whole blocks of every format
    static int64_t sampled_cols(int64_t cols) { return cols < kCols ? cols : kCols; }

    // `gram` [n, n] of the first n = sampled_cols() inputs; empty: not known, all inputs count alike. `rows`: at most so many. Error "input": it is
    // not positive definite.
    static Result<RoundingCost> create(const TensorInfo& tensor, std::vector<float> gram, int64_t rows, ThreadPool& pool);

    // The sum over the sample of e H eᵀ, e what rounding changes; any unit, comparable between formats. With `feedback` as
    // error feedback leaves it, otherwise as the importance-weighted search does. NaN where rows do not fit, and where the
    // format needs importance and there is none.
    double of(const Format& format, bool feedback) const;

private:
    RoundingCost() = default;
    int64_t cols_ = 0, rows_ = 0, whole_cols_ = 0;
    std::vector<float> weights_;  // [rows, cols]
    std::vector<float> gram_, factor_, diagonal_;
    ThreadPool* pool_ = nullptr;
};

}  // namespace quant
