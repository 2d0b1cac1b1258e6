// Error feedback and what it stands on: code planes, triangular factors, Gram matrices.
#include <cmath>
#include <vector>

#include "base/log.h"
#include "base/rng.h"
#include "convert/calibrate/gram.h"
#include "convert/rounding/codes.h"
#include "convert/rounding/error_feedback.h"
#include "convert/rounding/factor.h"
#include "tests/check.h"
#include "tests/full.h"

using namespace quant;

namespace {

std::vector<float> gaussian(size_t count, uint64_t seed, double scale) {
    Rng rng(seed);
    std::vector<float> out(count);
    for (float& v : out) v = static_cast<float>(rng.gaussian() * scale);
    return out;
}

// The Gram matrix of inputs whose columns are strongly correlated, as activations are.
std::vector<float> correlated_gram(int64_t n, int64_t tokens) {
    Rng rng(7);
    std::vector<double> sum(static_cast<size_t>(n * n));
    std::vector<double> x(static_cast<size_t>(n));
    for (int64_t t = 0; t < tokens; ++t) {
        double shared = rng.gaussian();
        for (double& v : x) shared = 0.9 * shared + 0.5 * rng.gaussian(), v = shared;
        for (int64_t i = 0; i < n; ++i)
            for (int64_t j = 0; j < n; ++j)
                sum[static_cast<size_t>(i * n + j)] += x[static_cast<size_t>(i)] * x[static_cast<size_t>(j)];
    }
    std::vector<float> out(sum.size());
    for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>(sum[i] / static_cast<double>(tokens));
    return out;
}

// The sum over rows of (w - v) H (w - v)ᵀ.
double objective(const std::vector<float>& w, const std::vector<float>& v, const std::vector<float>& h,
                 int64_t n) {
    double total = 0;
    for (size_t row = 0; row < w.size(); row += static_cast<size_t>(n)) {
        for (size_t i = 0; i < static_cast<size_t>(n); ++i) {
            double product = 0;
            for (size_t j = 0; j < static_cast<size_t>(n); ++j)
                product += static_cast<double>(h[i * static_cast<size_t>(n) + j]) *
                           static_cast<double>(w[row + j] - v[row + j]);
            total += product * static_cast<double>(w[row + i] - v[row + i]);
        }
    }
    return total;
}

std::vector<float> decoded(const Format& format, const std::vector<uint8_t>& blocks, int64_t rows,
                           int64_t cols) {
    std::vector<float> out(static_cast<size_t>(rows * cols));
    decode_rows(format, {blocks.data(), cols, rows}, 0, rows, out.data());
    return out;
}

std::vector<uint8_t> encoded(const Format& format, const std::vector<float>& w, const float* importance,
                             int64_t rows, int64_t cols) {
    std::vector<uint8_t> out(format.tensor_bytes(cols, rows));
    for (int64_t r = 0; r < rows; ++r)
        format.encode(nullptr, w.data() + r * cols, importance,
                      out.data() + static_cast<uint64_t>(r) * format.row_bytes(cols), cols);
    return out;
}

std::vector<uint8_t> fed_back(const Format& format, const std::vector<float>& w,
                              const std::vector<float>& gram, int64_t rows, int64_t cols,
                              const FeedbackOptions& options, int threads) {
    ThreadPool pool(threads);
    std::vector<uint8_t> out(format.tensor_bytes(cols, rows));
    CHECK(round_with_feedback(format, w.data(), rows, cols, 0, gram, options, pool, out.data()).ok());
    return out;
}

}  // namespace

// Every code in every place: what the format's own decoder reads must be the value that all-equal codes stand
// for there.
TEST(code_planes_hold_every_code_in_its_place) {
    size_t covered = 0;
    for (const Format& format : formats()) {
        const CodePlanes* planes = code_planes(format.slot);
        if (!planes) continue;
        ++covered;
        const std::vector<float> x = gaussian(format.block, 3, 0.05);
        std::vector<uint8_t> row(format.row_bytes(format.block));
        format.encode(nullptr, x.data(), nullptr, row.data(), format.block);
        uint8_t* block = row.data() + format.row_head;
        const RowPlace place{nullptr, row.data(), format.block, 0, 0, 0};
        const auto decode = [&](std::vector<float>& out) { format.decode(format.plain() ? nullptr : &place, block, out.data(), format.block); };
        std::vector<std::vector<float>> level;
        for (int c = 0; c < planes->levels; ++c) {
            std::vector<uint8_t> codes(format.block, static_cast<uint8_t>(c));
            planes->put(codes.data(), block);
            decode(level.emplace_back(format.block));
            if (c > 0)
                CHECK_MSG(level[static_cast<size_t>(c)][0] != level[static_cast<size_t>(c - 1)][0],
                          format.name);
        }
        Rng rng(11);
        for (int round = 0; round < 20; ++round) {
            std::vector<uint8_t> codes(format.block);
            for (uint8_t& code : codes)
                code = static_cast<uint8_t>(rng.below(static_cast<uint64_t>(planes->levels)));
            planes->put(codes.data(), block);
            std::vector<float> found(format.block);
            decode(found);
            for (size_t e = 0; e < found.size(); ++e) CHECK_MSG(found[e] == level[codes[e]][e], format.name);
        }
    }
    CHECK_MSG(covered == 83, std::to_string(covered));
}

TEST(inverse_factor_is_the_inverse) {
    const int64_t n = 97;
    const std::vector<float> gram = correlated_gram(n, 300);
    ThreadPool pool(3);
    auto factor = inverse_factor(gram, n, 0.0, pool);
    CHECK(factor.ok());
    if (!factor.ok()) return;
    const auto at = [&](const std::vector<float>& m, int64_t i, int64_t j) {
        return static_cast<double>(m[static_cast<size_t>(i * n + j)]);
    };
    double worst = 0;
    for (int64_t i = 0; i < n; ++i) {
        for (int64_t j = 0; j < n; ++j) {
            // (Uᵀ U A)_ij
            double sum = 0;
            for (int64_t k = 0; k <= i; ++k) {
                double inner = 0;
                for (int64_t l = k; l < n; ++l) inner += at(*factor, k, l) * at(gram, l, j);
                sum += at(*factor, k, i) * inner;
            }
            worst = std::max(worst, std::fabs(sum - (i == j ? 1.0 : 0.0)));
            if (j < i) CHECK(at(*factor, i, j) == 0.0);
        }
    }
    CHECK_MSG(worst < 1e-4, std::to_string(worst));
    auto nonsense = gram;
    nonsense[5] = NAN;
    nonsense[5 * static_cast<size_t>(n)] = NAN;
    CHECK(!inverse_factor(nonsense, n, 0.01, pool).ok());
}

TEST(solve_gram_solves) {
    const int64_t n = 61, cols = 5;
    const std::vector<float> gram = correlated_gram(n, 200);
    const std::vector<float> x = gaussian(static_cast<size_t>(n * cols), 5, 1);
    std::vector<double> b(static_cast<size_t>(n * cols));
    for (int64_t i = 0; i < n; ++i)
        for (int64_t c = 0; c < cols; ++c)
            for (int64_t j = 0; j < n; ++j)
                b[static_cast<size_t>(i * cols + c)] +=
                    static_cast<double>(gram[static_cast<size_t>(i * n + j)]) *
                    static_cast<double>(x[static_cast<size_t>(j * cols + c)]);
    ThreadPool pool(2);
    CHECK(solve_gram(gram, n, 0.0, b, cols, pool).ok());
    for (size_t i = 0; i < b.size(); ++i)
        CHECK_MSG(std::fabs(b[i] - static_cast<double>(x[i])) < 1e-8, std::to_string(b[i]));
}

TEST(product_sum_equals_plain_loops) {
    const int64_t left = 37, right = 70, tokens = 45;
    const std::vector<float> a = gaussian(static_cast<size_t>(left * tokens), 1, 1),
                             b = gaussian(static_cast<size_t>(right * tokens), 2, 1);
    ThreadPool pool(2);
    ProductSum sum(left, right);
    sum.add(a.data(), left, b.data(), right, 20, pool);
    sum.add(a.data() + 20 * left, left, b.data() + 20 * right, right, tokens - 20, pool);
    const std::vector<float> mean = sum.mean(static_cast<double>(tokens));
    for (int64_t i = 0; i < left; ++i) {
        for (int64_t j = 0; j < right; ++j) {
            double expected = 0;
            for (int64_t t = 0; t < tokens; ++t)
                expected += static_cast<double>(a[static_cast<size_t>(t * left + i)]) *
                            static_cast<double>(b[static_cast<size_t>(t * right + j)]);
            CHECK(std::fabs(static_cast<double>(mean[static_cast<size_t>(i * right + j)]) -
                            expected / tokens) < 1e-5);
        }
    }
}

// On correlated inputs feedback must beat the same format's own search with the same importance, for every
// format.
TEST(feedback_lowers_the_objective) {
    const int64_t rows = 19, cols = 512;
    const std::vector<float> w = gaussian(static_cast<size_t>(rows * cols), 21, 0.03),
                             gram = correlated_gram(cols, 1500);
    std::vector<float> diagonal(static_cast<size_t>(cols));
    for (size_t j = 0; j < diagonal.size(); ++j) diagonal[j] = gram[j * static_cast<size_t>(cols) + j];
    for (const Format& format : formats()) {
        if (!code_planes(format.slot)) continue;
        // The affine formats are one codec with parameters: groups and rows, with zero points and without, at all bits.
        const size_t affine = static_cast<size_t>(format.slot) - static_cast<size_t>(FormatSlot::affine);
        if (!check::full() && affine < 64 && affine % 9 != 0) continue;
        const double searched = objective(
            w, decoded(format, encoded(format, w, diagonal.data(), rows, cols), rows, cols), gram, cols);
        const double once = objective(
            w, decoded(format, fed_back(format, w, gram, rows, cols, {0.01, 0}, 2), rows, cols), gram, cols);
        const double all = objective(
            w, decoded(format, fed_back(format, w, gram, rows, cols, {}, 2), rows, cols), gram, cols);
        const std::string found =
            format_text("%s: search %g, feedback %g, with descent %g", format.name, searched, once, all);
        CHECK_MSG(once < 0.75 * searched, found);
        CHECK_MSG(all < 0.75 * searched, found);
        CHECK_MSG(all <= once * 1.0001, found);
    }
}

TEST(feedback_does_not_depend_on_threads) {
    const int64_t rows = 37, cols = 256;
    const std::vector<float> w = gaussian(static_cast<size_t>(rows * cols), 4, 0.03),
                             gram = correlated_gram(cols, 400);
    for (const FormatSlot slot : {FormatSlot::q4_0, FormatSlot::q4_k, FormatSlot::iq4_xs}) {
        const Format& format = format_of(slot);
        const auto one = fed_back(format, w, gram, rows, cols, {}, 1);
        CHECK(one == fed_back(format, w, gram, rows, cols, {}, 2));
        CHECK(one == fed_back(format, w, gram, rows, cols, {}, 3));
    }
}

TEST_MAIN
