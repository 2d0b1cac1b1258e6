// Subspace iteration with a few vectors more than wanted (Halko, Martinsson & Tropp 2011), then Jacobi's rotations on the
// small matrix that is left.
#include "convert/rounding/low_rank.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/rng.h"
#include "formats/half.h"
#include "kernels/kernels.h"

namespace quant {

namespace {

constexpr int64_t kMore = 8;     // vectors beside those wanted
constexpr int kIterations = 4;   // each multiplies the gaps between singular values by their squares
constexpr int kSweeps = 30;      // of Jacobi's rotations, at most; five to ten are usual

using Tall = std::vector<float>;  // [n, k] row-major, k small

// to [n, k] = w [n, cols] x [cols, k], or with the transpose of w [cols, n]; all row-major.
void multiply(const float* w, int64_t n, int64_t cols, bool transposed, const Tall& x, int64_t k, Tall& to, ThreadPool& pool) {
    to.assign(static_cast<size_t>(n * k), 0.0f);
    pool.for_each_piece(n, 8, [&](int64_t begin, int64_t end, int) {
        for (int64_t c = 0; c < cols; ++c)
            for (int64_t i = begin; i < end; ++i)
                kernels().axpy_f32(transposed ? w[c * n + i] : w[i * cols + c], x.data() + c * k, to.data() + i * k, k);
    });
}

// Columns of y [n, k] made orthonormal, twice for accuracy; those that depend on others become zeros.
void orthonormalize(Tall& y, int64_t n, int64_t k) {
    std::vector<double> columns(static_cast<size_t>(n * k));
    const auto column = [&](int64_t j) { return columns.data() + j * n; };
    for (int64_t i = 0; i < n; ++i)
        for (int64_t j = 0; j < k; ++j) column(j)[i] = static_cast<double>(y[static_cast<size_t>(i * k + j)]);
    const auto product = [&](int64_t a, int64_t b) {
        double sum = 0;
        for (int64_t i = 0; i < n; ++i) sum += column(a)[i] * column(b)[i];
        return sum;
    };
    for (int64_t j = 0; j < k; ++j) {
        const double before = product(j, j);
        for (int round = 0; round < 2; ++round) {
            for (int64_t other = 0; other < j; ++other) {
                const double share = product(j, other);
                for (int64_t i = 0; i < n; ++i) column(j)[i] -= share * column(other)[i];
            }
        }
        const double left = product(j, j);
        const double factor = left > 1e-12 * before ? 1 / std::sqrt(left) : 0;  // less is the rounding of f32
        for (int64_t i = 0; i < n; ++i) {
            column(j)[i] *= factor;
            y[static_cast<size_t>(i * k + j)] = static_cast<float>(column(j)[i]);
        }
    }
}

// Eigenvectors of a symmetric matrix s [k, k] as columns of the result; s ends diagonal.
std::vector<double> eigenvectors(std::vector<double>& s, int64_t k) {
    std::vector<double> v(static_cast<size_t>(k * k), 0.0);
    for (int64_t i = 0; i < k; ++i) v[static_cast<size_t>(i * k + i)] = 1;
    const auto at = [&](std::vector<double>& m, int64_t i, int64_t j) -> double& { return m[static_cast<size_t>(i * k + j)]; };
    for (int sweep = 0; sweep < kSweeps; ++sweep) {
        double off = 0, diagonal = 0;
        for (int64_t i = 0; i < k; ++i)
            for (int64_t j = 0; j < k; ++j) (i == j ? diagonal : off) += at(s, i, j) * at(s, i, j);
        if (off <= 1e-26 * diagonal) break;
        for (int64_t p = 0; p < k; ++p) {
            for (int64_t q = p + 1; q < k; ++q) {
                if (at(s, p, q) == 0) continue;
                const double theta = (at(s, q, q) - at(s, p, p)) / (2 * at(s, p, q));
                const double t = (theta < 0 ? -1 : 1) / (std::fabs(theta) + std::sqrt(theta * theta + 1));
                const double cosine = 1 / std::sqrt(t * t + 1), sine = t * cosine;
                const auto turn = [&](double& a, double& b) {
                    const double old = a;
                    a = cosine * old - sine * b;
                    b = sine * old + cosine * b;
                };
                for (int64_t i = 0; i < k; ++i) turn(at(s, i, p), at(s, i, q));
                for (int64_t i = 0; i < k; ++i) turn(at(s, p, i), at(s, q, i));
                for (int64_t i = 0; i < k; ++i) turn(at(v, i, p), at(v, i, q));
            }
        }
    }
    return v;
}

// Each pair of a column of B and a row of A gets the same length, so that both fit halves.
LowRankFactors balanced(const std::vector<double>& u, const std::vector<double>& a, int64_t rows, int64_t cols, int64_t rank) {
    LowRankFactors out{rank, std::vector<float>(static_cast<size_t>(rows * rank)), std::vector<float>(static_cast<size_t>(rank * cols))};
    const auto half = [](double x) { return f16_to_f32(f32_to_f16(static_cast<float>(x))); };
    for (int64_t j = 0; j < rank; ++j) {
        double length = 0;
        for (int64_t c = 0; c < cols; ++c) length += a[static_cast<size_t>(c * rank + j)] * a[static_cast<size_t>(c * rank + j)];
        const double root = length > 0 ? std::sqrt(std::sqrt(length)) : 1;
        for (int64_t c = 0; c < cols; ++c) out.a[static_cast<size_t>(j * cols + c)] = half(a[static_cast<size_t>(c * rank + j)] / root);
        for (int64_t r = 0; r < rows; ++r) out.b[static_cast<size_t>(r * rank + j)] = half(u[static_cast<size_t>(r * rank + j)] * root);
    }
    return out;
}

}  // namespace

LowRankFactors best_factors(const std::vector<float>& m, int64_t rows, int64_t cols, const std::vector<float>& gram, int64_t rank,
                            ThreadPool& pool) {
    rank = std::min({rank, rows, cols});
    const int64_t k = std::min(rank + kMore, rows);
    Tall y(static_cast<size_t>(rows * k)), z, turned;
    Rng rng(1);
    for (float& each : y) each = static_cast<float>(rng.gaussian());
    for (int iteration = 0; iteration < kIterations; ++iteration) {
        orthonormalize(y, rows, k);
        multiply(m.data(), cols, rows, true, y, k, z, pool);
        multiply(gram.data(), cols, cols, false, z, k, turned, pool);
        multiply(m.data(), rows, cols, false, turned, k, y, pool);
    }
    orthonormalize(y, rows, k);
    multiply(m.data(), cols, rows, true, y, k, z, pool);  // Mt Y
    multiply(gram.data(), cols, cols, false, z, k, turned, pool);
    std::vector<double> small(static_cast<size_t>(k * k), 0.0);
    for (int64_t c = 0; c < cols; ++c)
        for (int64_t i = 0; i < k; ++i)
            for (int64_t j = 0; j < k; ++j)
                small[static_cast<size_t>(i * k + j)] += static_cast<double>(z[static_cast<size_t>(c * k + i)]) * static_cast<double>(turned[static_cast<size_t>(c * k + j)]);
    for (int64_t i = 0; i < k; ++i)  // symmetric but for the rounding of the sums
        for (int64_t j = 0; j < i; ++j)
            small[static_cast<size_t>(i * k + j)] = small[static_cast<size_t>(j * k + i)] =
                (small[static_cast<size_t>(i * k + j)] + small[static_cast<size_t>(j * k + i)]) / 2;
    const std::vector<double> v = eigenvectors(small, k);
    std::vector<int64_t> order(static_cast<size_t>(k));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int64_t i, int64_t j) {
        return small[static_cast<size_t>(i * k + i)] > small[static_cast<size_t>(j * k + j)];
    });
    // The first `rank` columns of Y V and of Mt Y V.
    const auto picked = [&](const Tall& x, int64_t n) {
        std::vector<double> out(static_cast<size_t>(n * rank), 0.0);
        for (int64_t i = 0; i < n; ++i)
            for (int64_t j = 0; j < rank; ++j)
                for (int64_t l = 0; l < k; ++l)
                    out[static_cast<size_t>(i * rank + j)] +=
                        static_cast<double>(x[static_cast<size_t>(i * k + l)]) * v[static_cast<size_t>(l * k + order[static_cast<size_t>(j)])];
        return out;
    };
    return balanced(picked(y, rows), picked(z, cols), rows, cols, rank);
}

}  // namespace quant
