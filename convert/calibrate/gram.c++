// Tokens are the inner dimension of a matrix product, so both sides are transposed first.
#include "convert/calibrate/gram.h"

#include "kernels/kernels.h"

namespace quant {

namespace {

constexpr int64_t kPiece = 32;  // rows of the result at once

void transpose(const float* from, int64_t stride, int64_t tokens, int64_t cols, std::vector<float>& to,
               ThreadPool& pool) {
    to.resize(static_cast<size_t>(tokens * cols));
    pool.for_each_piece(cols, kPiece, [&](int64_t begin, int64_t end, int) {
        for (int64_t t = 0; t < tokens; ++t)
            for (int64_t c = begin; c < end; ++c)
                to[static_cast<size_t>(c * tokens + t)] = from[t * stride + c];
    });
}

}  // namespace

ProductSum::ProductSum(int64_t left_cols, int64_t right_cols)
    : left_cols_(left_cols), right_cols_(right_cols), sum_(static_cast<size_t>(left_cols * right_cols)) {}

void ProductSum::add(const float* left, int64_t left_stride, const float* right, int64_t right_stride,
                     int64_t tokens, ThreadPool& pool) {
    transpose(left, left_stride, tokens, left_cols_, left_, pool);
    const bool same = left == right;
    if (!same) transpose(right, right_stride, tokens, right_cols_, right_, pool);
    const std::vector<float>& other = same ? left_ : right_;
    const size_t piece = static_cast<size_t>(kPiece * right_cols_);
    const size_t scratch = kMatmulScratch / sizeof(float);
    piece_.resize((piece + scratch) * static_cast<size_t>(pool.size()) + 16);
    pool.for_each_piece(left_cols_, kPiece, [&](int64_t begin, int64_t end, int thread) {
        float* own = piece_.data() + static_cast<size_t>(thread) * (piece + scratch);
        own = reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(own) + 63) & ~uintptr_t{63});
        MatmulArgs args;
        args.format = &format_of(FormatSlot::f32);
        args.w = {reinterpret_cast<const uint8_t*>(other.data()), tokens, right_cols_};
        args.x = left_.data() + begin * tokens;
        args.x_stride = tokens;
        args.n = end - begin;
        args.scratch = own;
        args.y = own + scratch;
        args.y_stride = right_cols_;
        args.row_end = right_cols_;
        kernels().matmul_exact(args);
        for (int64_t i = begin; i < end; ++i)
            for (int64_t j = 0; j < right_cols_; ++j)
                sum_[static_cast<size_t>(i * right_cols_ + j)] +=
                    static_cast<double>(args.y[(i - begin) * right_cols_ + j]);
    });
    tokens_ += tokens;
}

std::vector<float> ProductSum::mean(double count) const {
    std::vector<float> out(sum_.size());
    for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>(sum_[i] / count);
    return out;
}

void four_dots(const float* a, int64_t stride, const float* b, int64_t count, double* out) {
    double sums[4] = {out[0], out[1], out[2], out[3]};
    for (int64_t k = 0; k < count; ++k)
        for (int64_t i = 0; i < 4; ++i) sums[i] += static_cast<double>(a[i * stride + k]) * static_cast<double>(b[k]);
    for (int64_t i = 0; i < 4; ++i) out[i] = sums[i];
}

void ProductSum::mean_of_row(int64_t row, int64_t count, std::vector<float>& out) const {
    out.resize(static_cast<size_t>(count));
    const double* from = sum_.data() + row * right_cols_;
    for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>(from[i] / static_cast<double>(tokens_));
}

}  // namespace quant
