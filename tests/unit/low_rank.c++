// Low-rank corrections: the best factors under a Gram matrix, and what they bring a rounded model.
#include "convert/rounding/low_rank.h"

#include <cmath>

#include "base/log.h"
#include "base/rng.h"
#include "tests/check.h"

using namespace quant;

namespace {

std::vector<float> random(Rng& rng, int64_t count) {
    std::vector<float> out(static_cast<size_t>(count));
    for (float& each : out) each = static_cast<float>(rng.gaussian());
    return out;
}

// G = Zt Z / n for n rows z whose columns have very different sizes and hang together.
std::vector<float> gram_of(Rng& rng, int64_t cols) {
    const int64_t n = 4 * cols;
    std::vector<float> z = random(rng, n * cols), out(static_cast<size_t>(cols * cols));
    for (int64_t t = 0; t < n; ++t)
        for (int64_t c = 0; c < cols; ++c) {
            float& value = z[static_cast<size_t>(t * cols + c)];
            value = value * (c % 5 == 0 ? 8.0f : 0.5f) + (c > 0 ? 0.5f * z[static_cast<size_t>(t * cols + c - 1)] : 0);
        }
    for (int64_t i = 0; i < cols; ++i)
        for (int64_t j = 0; j < cols; ++j) {
            double sum = 0;
            for (int64_t t = 0; t < n; ++t)
                sum += static_cast<double>(z[static_cast<size_t>(t * cols + i)]) * static_cast<double>(z[static_cast<size_t>(t * cols + j)]);
            out[static_cast<size_t>(i * cols + j)] = static_cast<float>(sum / static_cast<double>(n));
        }
    return out;
}

// tr((M - B A) G (M - B A)t)
double loss(const std::vector<float>& m, const LowRankFactors& f, const std::vector<float>& gram, int64_t rows, int64_t cols) {
    double sum = 0;
    for (int64_t r = 0; r < rows; ++r) {
        std::vector<double> e(static_cast<size_t>(cols));
        for (int64_t c = 0; c < cols; ++c) {
            double left = static_cast<double>(m[static_cast<size_t>(r * cols + c)]);
            for (int64_t j = 0; j < f.rank; ++j)
                left -= static_cast<double>(f.b[static_cast<size_t>(r * f.rank + j)]) * static_cast<double>(f.a[static_cast<size_t>(j * cols + c)]);
            e[static_cast<size_t>(c)] = left;
        }
        for (int64_t i = 0; i < cols; ++i)
            for (int64_t j = 0; j < cols; ++j)
                sum += e[static_cast<size_t>(i)] * static_cast<double>(gram[static_cast<size_t>(i * cols + j)]) * e[static_cast<size_t>(j)];
    }
    return sum;
}

}  // namespace

TEST(a_matrix_of_that_rank_is_found) {
    ThreadPool pool(2);
    Rng rng(3);
    for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{24, 40}, {40, 24}, {5, 32}}) {
        const LowRankFactors truth{3, random(rng, rows * 3), random(rng, 3 * cols)};
        std::vector<float> m(static_cast<size_t>(rows * cols));
        for (int64_t r = 0; r < rows; ++r)
            for (int64_t c = 0; c < cols; ++c)
                for (int64_t j = 0; j < 3; ++j)
                    m[static_cast<size_t>(r * cols + c)] += truth.b[static_cast<size_t>(r * 3 + j)] * truth.a[static_cast<size_t>(j * cols + c)];
        const std::vector<float> gram = gram_of(rng, cols);
        const LowRankFactors zero;
        const double all = loss(m, zero, gram, rows, cols), left = loss(m, best_factors(m, rows, cols, gram, 3, pool), gram, rows, cols);
        CHECK_MSG(left < 1e-6 * all, format_text("%g of %g", left, all));  // halves: 2^-11 each
    }
}

// Eckart & Young: what is left is the sum of the squared singular values behind the rank; with the identity as Gram matrix
// and M = U diag(s) Vt that is known.
TEST(what_is_left_is_the_tail_of_the_singular_values) {
    ThreadPool pool(2);
    constexpr int64_t n = 32;
    std::vector<float> m(n * n), identity(n * n);
    double tail = 0;
    const auto value = [](int64_t i) { return 10.0 / static_cast<double>(1 + i); };
    for (int64_t i = 0; i < n; ++i) {  // U and V: Hadamard's matrix, V with its columns turned around
        identity[static_cast<size_t>(i * n + i)] = 1;
        if (i >= 6) tail += value(i) * value(i);
        for (int64_t r = 0; r < n; ++r)
            for (int64_t c = 0; c < n; ++c)
                m[static_cast<size_t>(r * n + c)] += static_cast<float>((__builtin_parityll(static_cast<unsigned long long>(r & i)) ? -1 : 1) * value(i) *
                                                                        (__builtin_parityll(static_cast<unsigned long long>((n - 1 - c) & i)) ? -1 : 1) / n);
    }
    const double left = loss(m, best_factors(m, n, n, identity, 6, pool), identity, n, n);
    CHECK_MSG(std::fabs(left / tail - 1) < 1e-4, format_text("%g, expected %g", left, tail));
}

TEST(the_gram_matrix_decides_and_threads_do_not) {
    Rng rng(8);
    constexpr int64_t rows = 48, cols = 64;
    const std::vector<float> m = random(rng, rows * cols), gram = gram_of(rng, cols);
    std::vector<float> identity(cols * cols);
    for (int64_t i = 0; i < cols; ++i) identity[static_cast<size_t>(i * cols + i)] = 1;
    ThreadPool one(1), three(3);
    const LowRankFactors weighted = best_factors(m, rows, cols, gram, 12, one), again = best_factors(m, rows, cols, gram, 12, three),
                         plain = best_factors(m, rows, cols, identity, 12, one);
    CHECK(weighted.a == again.a && weighted.b == again.b);
    const double with = loss(m, weighted, gram, rows, cols), without = loss(m, plain, gram, rows, cols);
    CHECK_MSG(with < 0.8 * without, format_text("%g and %g", with, without));
    const LowRankFactors all = best_factors(m, rows, cols, gram, 1000, one);
    CHECK_MSG(all.rank == rows && loss(m, all, gram, rows, cols) < 1e-5 * loss(m, {}, gram, rows, cols), std::to_string(all.rank));
}

TEST_MAIN
