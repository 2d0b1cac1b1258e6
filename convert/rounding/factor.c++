// Cholesky factors in double, blocked by columns so that rows below a block are worked on in parallel.
#include "convert/rounding/factor.h"

#include <algorithm>
#include <cmath>

namespace quant {

namespace {

constexpr int64_t kColumns = 48;  // of one block

// Eight running sums in a fixed order: vectorizable, and the same on every machine.
double dot(const double* a, const double* b, int64_t n) {
    double sum[8] = {};
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int64_t l = 0; l < 8; ++l) sum[l] += a[i + l] * b[i + l];
    for (int64_t l = 0; i < n; ++i, ++l) sum[l] += a[i] * b[i];
    return ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]));
}

class Square {
public:
    explicit Square(int64_t n) : n_(n), values_(static_cast<size_t>(n * n)) {}
    double* row(int64_t i) { return values_.data() + i * n_; }
    const double* row(int64_t i) const { return values_.data() + i * n_; }

private:
    int64_t n_;
    std::vector<double> values_;
};

// The lower factor L of a symmetric positive definite matrix, over its own lower triangle. False: not
// positive definite.
bool cholesky(Square& a, int64_t n, ThreadPool& pool) {
    for (int64_t block = 0; block < n; block += kColumns) {
        const int64_t end = std::min(n, block + kColumns);
        for (int64_t i = block; i < end; ++i) {
            for (int64_t j = block; j <= i; ++j) {
                const double value = a.row(i)[j] - dot(a.row(i), a.row(j), j);
                if (i == j) {
                    if (!(value > 0)) return false;
                    a.row(i)[i] = std::sqrt(value);
                } else {
                    a.row(i)[j] = value / a.row(j)[j];
                }
            }
        }
        pool.for_each_piece(n - end, 16, [&](int64_t first, int64_t last, int) {
            for (int64_t i = end + first; i < end + last; ++i)
                for (int64_t j = block; j < end; ++j)
                    a.row(i)[j] = (a.row(i)[j] - dot(a.row(i), a.row(j), j)) / a.row(j)[j];
        });
    }
    return true;
}

void damped_diagonal(const std::vector<float>& gram, int64_t n, double damping, std::vector<double>& diagonal) {
    const double typical = typical_square(gram, n);
    diagonal.resize(static_cast<size_t>(n));
    for (int64_t i = 0; i < n; ++i) {
        const double own = static_cast<double>(gram[static_cast<size_t>(i * n + i)]);
        diagonal[static_cast<size_t>(i)] = (own > 0 ? own : typical) + damping * typical;
    }
}

}  // namespace

double typical_square(const std::vector<float>& gram, int64_t n) {
    std::vector<float> positive;
    for (int64_t i = 0; i < n; ++i)
        if (const float own = gram[static_cast<size_t>(i * n + i)]; own > 0) positive.push_back(own);
    if (positive.empty()) return 1;
    const auto middle = positive.begin() + static_cast<std::ptrdiff_t>(positive.size() / 2);
    std::nth_element(positive.begin(), middle, positive.end());
    return static_cast<double>(*middle);
}

// With J the reversal of order, J A J = L Lt gives A = (J L J)(J L J)t with J L J upper triangular; its
// inverse is U. Row i of the result is therefore row n-1-i of inverse(L), reversed.
Result<std::vector<float>> inverse_factor(const std::vector<float>& gram, int64_t n, double damping,
                                          ThreadPool& pool) {
    std::vector<double> diagonal;
    damped_diagonal(gram, n, damping, diagonal);
    Square a(n);
    for (int64_t i = 0; i < n; ++i) {
        for (int64_t j = 0; j < i; ++j)
            a.row(i)[j] = static_cast<double>(gram[static_cast<size_t>((n - 1 - i) * n + (n - 1 - j))]);
        a.row(i)[i] = diagonal[static_cast<size_t>(n - 1 - i)];
    }
    if (!cholesky(a, n, pool)) return input_error("the Gram matrix of the inputs is not positive definite");
    // Column c of inverse(L): x_c = 1 / L_cc, x_i = -(sum over c <= k < i of L_ik x_k) / L_ii.
    std::vector<float> out(static_cast<size_t>(n * n), 0.0f);
    pool.for_each_piece(n, 8, [&](int64_t first, int64_t last, int) {
        std::vector<double> x(static_cast<size_t>(n));
        for (int64_t c = first; c < last; ++c) {
            x[static_cast<size_t>(c)] = 1 / a.row(c)[c];
            for (int64_t i = c + 1; i < n; ++i)
                x[static_cast<size_t>(i)] = -dot(a.row(i) + c, x.data() + c, i - c) / a.row(i)[i];
            for (int64_t i = c; i < n; ++i)
                out[static_cast<size_t>((n - 1 - i) * n + (n - 1 - c))] =
                    static_cast<float>(x[static_cast<size_t>(i)]);
        }
    });
    return out;
}

Status solve_gram(const std::vector<float>& gram, int64_t n, double damping, std::vector<double>& b,
                  int64_t cols, ThreadPool& pool) {
    std::vector<double> diagonal;
    damped_diagonal(gram, n, damping, diagonal);
    Square a(n);
    for (int64_t i = 0; i < n; ++i) {
        for (int64_t j = 0; j < i; ++j)
            a.row(i)[j] = static_cast<double>(gram[static_cast<size_t>(i * n + j)]);
        a.row(i)[i] = diagonal[static_cast<size_t>(i)];
    }
    if (!cholesky(a, n, pool)) return input_error("the Gram matrix of the inputs is not positive definite");
    // The upper triangle takes Lt, so that the way back reads rows as well.
    for (int64_t i = 0; i < n; ++i)
        for (int64_t j = 0; j < i; ++j) a.row(j)[i] = a.row(i)[j];
    pool.for_each_piece(cols, 4, [&](int64_t first, int64_t last, int) {
        std::vector<double> x(static_cast<size_t>(n));
        for (int64_t c = first; c < last; ++c) {
            for (int64_t i = 0; i < n; ++i) x[static_cast<size_t>(i)] = b[static_cast<size_t>(i * cols + c)];
            for (int64_t i = 0; i < n; ++i)
                x[static_cast<size_t>(i)] =
                    (x[static_cast<size_t>(i)] - dot(a.row(i), x.data(), i)) / a.row(i)[i];
            for (int64_t i = n - 1; i >= 0; --i)
                x[static_cast<size_t>(i)] =
                    (x[static_cast<size_t>(i)] - dot(a.row(i) + i + 1, x.data() + i + 1, n - 1 - i)) /
                    a.row(i)[i];
            for (int64_t i = 0; i < n; ++i) b[static_cast<size_t>(i * cols + c)] = x[static_cast<size_t>(i)];
        }
    });
    return {};
}

}  // namespace quant
