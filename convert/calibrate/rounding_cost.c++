// Rows are spread evenly over the matrix. A few columns suffice: what counts is how formats compare.
#include "convert/calibrate/rounding_cost.h"

#include <algorithm>
#include <limits>

#include "convert/rounding/error_feedback.h"
#include "convert/rounding/factor.h"
#include "formats/side_data.h"

namespace quant {

namespace {

constexpr FeedbackOptions kOnce{0.01, 0};  // sweeps help all formats about alike

}  // namespace

Result<RoundingCost> RoundingCost::create(const TensorInfo& tensor, std::vector<float> gram, int64_t rows, ThreadPool& pool) {
    RoundingCost out;
    out.whole_cols_ = tensor.cols();
    out.cols_ = sampled_cols(tensor.cols());
    out.rows_ = std::min(rows, tensor.rows());
    out.pool_ = &pool;
    const auto cols = static_cast<size_t>(out.cols_);
    out.weights_.resize(static_cast<size_t>(out.rows_) * cols);
    std::vector<float> row(static_cast<size_t>(tensor.cols()));
    for (int64_t i = 0; i < out.rows_; ++i) {
        decode_rows(*tensor.format, tensor.view(), i * tensor.rows() / out.rows_, 1, row.data());
        std::copy_n(row.data(), cols, out.weights_.data() + static_cast<size_t>(i) * cols);
    }
    out.gram_ = std::move(gram);
    if (out.gram_.empty()) return out;
    LET(factor, inverse_factor(out.gram_, out.cols_, kOnce.damping, pool));
    out.factor_ = std::move(factor);
    for (size_t c = 0; c < cols; ++c) out.diagonal_.push_back(out.gram_[c * cols + c]);
    return out;
}

double RoundingCost::of(const Format& format, bool feedback) const {
    if (whole_cols_ % format.block != 0 || (gram_.empty() && format.needs_importance)) return std::numeric_limits<double>::quiet_NaN();
    std::vector<uint8_t> blocks(format.tensor_bytes(cols_, rows_, rows_));
    if (feedback && !gram_.empty()) {
        round_with_factor(format, weights_.data(), rows_, cols_, rows_, gram_, factor_, kOnce, *pool_, blocks.data());
    } else {
        HeadInput input{cols_, rows_, rows_, {}, [&](int64_t) { return diagonal_.empty() ? nullptr : diagonal_.data(); }, pool_};
        input.read = [&](int64_t row, int64_t count, float* out) { std::copy_n(weights_.data() + row * cols_, count * cols_, out); };
        encode_tensor(format, input, blocks.data());
    }
    const EncodedView view{blocks.data(), cols_, rows_, format.head_bytes(cols_, rows_, rows_), rows_, 0};
    std::vector<double> errors(static_cast<size_t>(rows_));
    pool_->for_each_piece(rows_, 1, [&](int64_t r, int64_t, int) {
        std::vector<float> e(static_cast<size_t>(cols_));
        decode_rows(format, view, r, 1, e.data());
        for (int64_t c = 0; c < cols_; ++c) e[static_cast<size_t>(c)] -= weights_[static_cast<size_t>(r * cols_ + c)];
        double sum = 0;
        for (int64_t i = 0; i < cols_; ++i) {
            const float* h = gram_.empty() ? nullptr : gram_.data() + i * cols_;
            double product = h ? 0.0 : static_cast<double>(e[static_cast<size_t>(i)]);
            for (int64_t k = 0; h && k < cols_; ++k) product += static_cast<double>(h[k]) * static_cast<double>(e[static_cast<size_t>(k)]);
            sum += product * static_cast<double>(e[static_cast<size_t>(i)]);
        }
        errors[static_cast<size_t>(r)] = sum;
    });
    double sum = 0;
    for (const double each : errors) sum += each;
    return sum;
}

}  // namespace quant
