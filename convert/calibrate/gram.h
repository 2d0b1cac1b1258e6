// Sums of products of activations: Gram matrices of a layer's inputs, computed with the f32 matrix kernels.
#pragma once

#include <cstdint>
#include <vector>

#include "base/threads.h"
#include "tensor/tensor.h"

namespace quant {

// The sum over tokens t of left[t, i] * right[t, j], [left_cols, right_cols] row-major.
class ProductSum {
public:
    ProductSum(int64_t left_cols, int64_t right_cols);
    // Adds `tokens` rows of both; strides in floats. Same result for any number of threads.
    void add(const float* left, int64_t left_stride, const float* right, int64_t right_stride, int64_t tokens,
             ThreadPool& pool);
    // The sums divided by `count`.
    std::vector<float> mean(double count) const;
    // The first `count` values of a row of the sums, divided by the tokens.
    void mean_of_row(int64_t row, int64_t count, std::vector<float>& out) const;
    int64_t tokens() const { return tokens_; }
    int64_t rows() const { return left_cols_; }

private:
    int64_t left_cols_, right_cols_, tokens_ = 0;
    std::vector<double> sum_;
    std::vector<float> left_, right_, piece_;  // transposed rows of one add, their products
};

// Four sums over k of a[i * stride + k] * b[k] in double, each in the order of k.
void four_dots(const float* a, int64_t stride, const float* b, int64_t count, double* out);

}  // namespace quant
