// Rotations work on float with sums of two terms only (and the small rest), so that error stays near that of one float.
#include "convert/transforms/maps.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

namespace quant {

namespace {

class Scale final : public ChannelMap {
public:
    explicit Scale(std::vector<float> s) : s_(std::move(s)) {}
    void on_reader(float* w, int64_t count, int64_t first) const override {
        for (int64_t j = 0; j < count; ++j) w[j] *= s_[static_cast<size_t>(first + j)];
    }
    void on_reader_inverse(float* w, int64_t count, int64_t first) const override { on_maker(w, count, first); }
    void on_maker(float* x, int64_t count, int64_t first) const override {
        for (int64_t j = 0; j < count; ++j) x[j] /= s_[static_cast<size_t>(first + j)];
    }
    int64_t block() const override { return 1; }

private:
    std::vector<float> s_;
};

// The channels of a block are a matrix [rest, power]: signs, then every row by Hadamard, then every column by the rest's.
class Rotation final : public ChannelMap {
public:
    Rotation(int64_t size, Rng& rng) : size_(size), power_(size & -size), rest_(size / (size & -size)) {
        for (int64_t j = 0; j < size; ++j) signs_.push_back(rng.next() >> 63 ? -1.0f : 1.0f);
        if (rest_ > 1) {
            const std::vector<double> small = random_orthogonal(rest_, rng);
            small_.assign(small.begin(), small.end());
        }
    }
    void on_reader(float* w, int64_t count, int64_t) const override { forward(w, count); }
    void on_reader_inverse(float* w, int64_t count, int64_t) const override {
        for (int64_t at = 0; at < count; at += size_) {
            if (rest_ > 1) mix(w + at, true);
            hadamard(w + at);
            for (int64_t j = 0; j < size_; ++j) w[at + j] *= signs_[static_cast<size_t>(j)];
        }
    }
    // inverse(M) = transpose(M): x as a column is a row times M.
    void on_maker(float* x, int64_t count, int64_t) const override { forward(x, count); }
    int64_t block() const override { return size_; }

private:
    void forward(float* v, int64_t count) const {
        for (int64_t at = 0; at < count; at += size_) {
            for (int64_t j = 0; j < size_; ++j) v[at + j] *= signs_[static_cast<size_t>(j)];
            hadamard(v + at);
            if (rest_ > 1) mix(v + at, false);
        }
    }

    void hadamard(float* v) const {
        const float norm = 1 / std::sqrt(static_cast<float>(power_));
        for (int64_t row = 0; row < rest_; ++row, v += power_) {
            for (int64_t half = 1; half < power_; half *= 2)
                for (int64_t from = 0; from < power_; from += 2 * half)
                    for (int64_t j = from; j < from + half; ++j) {
                        const float a = v[j], b = v[j + half];
                        v[j] = a + b;
                        v[j + half] = a - b;
                    }
            for (int64_t j = 0; j < power_; ++j) v[j] *= norm;
        }
    }

    void mix(float* v, bool inverse) const {
        std::vector<double> column(static_cast<size_t>(rest_));
        for (int64_t j = 0; j < power_; ++j) {
            for (int64_t i = 0; i < rest_; ++i) column[static_cast<size_t>(i)] = static_cast<double>(v[i * power_ + j]);
            for (int64_t i = 0; i < rest_; ++i) {
                double sum = 0;
                for (int64_t k = 0; k < rest_; ++k)
                    sum += column[static_cast<size_t>(k)] * small_[static_cast<size_t>(inverse ? i * rest_ + k : k * rest_ + i)];
                v[i * power_ + j] = static_cast<float>(sum);
            }
        }
    }

    int64_t size_, power_, rest_;
    std::vector<float> signs_;
    std::vector<double> small_;
};

class Matrices final : public ChannelMap {
public:
    Matrices(int64_t size, std::vector<BlockMatrix> blocks) : size_(size), blocks_(std::move(blocks)) {}
    void on_reader(float* w, int64_t count, int64_t first) const override { row_times(w, count, first, &BlockMatrix::matrix); }
    void on_reader_inverse(float* w, int64_t count, int64_t first) const override { row_times(w, count, first, &BlockMatrix::inverse); }
    void on_maker(float* x, int64_t count, int64_t first) const override {
        each(x, count, first, [&](const BlockMatrix& block, const float* from, int64_t i) {
            double sum = 0;
            for (int64_t k = 0; k < size_; ++k)
                sum += static_cast<double>(block.inverse[static_cast<size_t>(i * size_ + k)]) * static_cast<double>(from[k]);
            return sum;
        });
    }
    int64_t block() const override { return size_; }

private:
    void row_times(float* w, int64_t count, int64_t first, std::vector<float> BlockMatrix::*matrix) const {
        each(w, count, first, [&](const BlockMatrix& block, const float* from, int64_t i) {
            double sum = 0;
            for (int64_t k = 0; k < size_; ++k)
                sum += static_cast<double>(from[k]) * static_cast<double>((block.*matrix)[static_cast<size_t>(k * size_ + i)]);
            return sum;
        });
    }

    template <class Sum>
    void each(float* v, int64_t count, int64_t first, const Sum& sum) const {
        std::vector<float> from(static_cast<size_t>(size_));
        for (int64_t at = 0; at < count; at += size_) {
            const BlockMatrix& block = blocks_[static_cast<size_t>((first + at) / size_)];
            std::copy_n(v + at, size_, from.begin());
            for (int64_t i = 0; i < size_; ++i) v[at + i] = static_cast<float>(sum(block, from.data(), i));
        }
    }

    int64_t size_;
    std::vector<BlockMatrix> blocks_;
};

}  // namespace

std::vector<double> random_orthogonal(int64_t size, Rng& rng) {
    std::vector<double> rows(static_cast<size_t>(size * size));
    for (int64_t i = 0; i < size; ++i) {
        double* own = rows.data() + i * size;
        for (int64_t j = 0; j < size; ++j) own[j] = rng.gaussian();
        for (int pass = 0; pass < 2; ++pass)  // the second removes what rounding left of the first
            for (int64_t k = 0; k < i; ++k) {
                const double* other = rows.data() + k * size;
                double dot = 0;
                for (int64_t j = 0; j < size; ++j) dot += own[j] * other[j];
                for (int64_t j = 0; j < size; ++j) own[j] -= dot * other[j];
            }
        double norm = 0;
        for (int64_t j = 0; j < size; ++j) norm += own[j] * own[j];
        norm = 1 / std::sqrt(norm);
        for (int64_t j = 0; j < size; ++j) own[j] *= norm;
    }
    return rows;
}

SharedMap scale_map(std::vector<float> s) { return std::make_shared<Scale>(std::move(s)); }
SharedMap rotation_map(int64_t size, Rng& rng) { return std::make_shared<Rotation>(size, rng); }
SharedMap matrix_map(int64_t size, std::vector<BlockMatrix> blocks) { return std::make_shared<Matrices>(size, std::move(blocks)); }

}  // namespace quant
