// Error feedback and what it stands on: code planes, triangular factors, Gram matrices.
#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include "base/log.h"
#include "base/rng.h"
#include "convert/calibrate/gram.h"
#include "convert/rounding/books.h"
#include "convert/rounding/chooser.h"
#include "convert/rounding/codes.h"
#include "convert/rounding/error_feedback.h"
#include "convert/rounding/factor.h"
#include "convert/rounding/scale_choices.h"
#include "formats/side_data.h"
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
std::vector<float> correlated_gram(int64_t n, int64_t tokens, double common = 0.9) {
    Rng rng(7);
    std::vector<double> sum(static_cast<size_t>(n * n));
    std::vector<double> x(static_cast<size_t>(n));
    for (int64_t t = 0; t < tokens; ++t) {
        double shared = rng.gaussian();
        for (double& v : x) shared = common * shared + 0.5 * rng.gaussian(), v = shared;
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

// Rows that share a table, where the format has such: all.
EncodedView view_of(const Format& format, const std::vector<uint8_t>& bytes, int64_t rows, int64_t cols) {
    return {bytes.data(), cols, rows, format.head_bytes(cols, rows, rows), rows, 0};
}

std::vector<float> decoded(const Format& format, const std::vector<uint8_t>& bytes, int64_t rows,
                           int64_t cols) {
    std::vector<float> out(static_cast<size_t>(rows * cols));
    decode_rows(format, view_of(format, bytes, rows, cols), 0, rows, out.data());
    return out;
}

std::vector<uint8_t> encoded(const Format& format, const std::vector<float>& w, const float* importance,
                             int64_t rows, int64_t cols) {
    std::vector<uint8_t> out(format.tensor_bytes(cols, rows, rows));
    ThreadPool pool(1);
    HeadInput input{cols, rows, rows, {}, [&](int64_t) { return importance; }, &pool};
    input.read = [&](int64_t row, int64_t count, float* to) { std::copy_n(w.data() + row * cols, count * cols, to); };
    encode_tensor(format, input, out.data());
    return out;
}

std::vector<uint8_t> fed_back(const Format& format, const std::vector<float>& w,
                              const std::vector<float>& gram, int64_t rows, int64_t cols,
                              const FeedbackOptions& options, int threads) {
    ThreadPool pool(threads);
    std::vector<uint8_t> out(format.tensor_bytes(cols, rows, rows));
    CHECK(round_with_feedback(format, w.data(), rows, cols, rows, gram, options, pool, out.data()).ok());
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
        std::vector<uint8_t> bytes = encoded(format, x, nullptr, 1, format.block);
        uint8_t* row = bytes.data() + format.head_bytes(format.block, 1, 1);
        uint8_t* block = row + format.row_head;
        const RowPlace place{bytes.data(), row, format.block, 1, 0, 0};
        const auto decode = [&](std::vector<float>& out) { format.decode(format.plain() ? nullptr : &place, block, out.data(), format.block); };
        std::vector<std::vector<float>> level;
        for (int c = 0; c < planes->levels; ++c) {
            std::vector<uint8_t> codes(format.block, static_cast<uint8_t>(c));
            planes->put(codes.data(), block);
            decode(level.emplace_back(format.block));
            const std::vector<float>& now = level.back();
            if (c > 0 && !format.head && std::isfinite(now[0]))  // 8-bit floats have two zeros, tables may repeat
                CHECK_MSG(now[0] != level[static_cast<size_t>(c - 1)][0] || now[0] == 0, format.name);
            const size_t span = planes->span ? static_cast<size_t>(planes->span) : format.block;
            for (size_t e = 0; e < now.size(); ++e)
                CHECK_MSG(now[e] == now[e / span * span] || std::isnan(now[e]), format.name);
        }
        Rng rng(11);
        for (int round = 0; round < 20; ++round) {
            std::vector<uint8_t> codes(format.block);
            for (uint8_t& code : codes)
                code = static_cast<uint8_t>(rng.below(static_cast<uint64_t>(planes->levels)));
            planes->put(codes.data(), block);
            std::vector<float> found(format.block);
            decode(found);
            for (size_t e = 0; e < found.size(); ++e)
                CHECK_MSG(found[e] == level[codes[e]][e] || std::isnan(level[codes[e]][e]), format.name);
        }
    }
    CHECK_MSG(covered == 96, std::to_string(covered));
}

// Random points and signs: what the format's own decoder reads must be the book's levels under a scale and an offset that
// those of other random points have as well.
TEST(code_books_hold_every_point_in_its_place) {
    size_t covered = 0;
    for (const Format& format : formats()) {
        const CodeBook* book = code_book(format.slot);
        if (!book) continue;
        ++covered;
        const std::vector<float> x = gaussian(format.block, 3, 0.05);
        std::vector<uint8_t> bytes = encoded(format, x, std::vector<float>(format.block, 1.0f).data(), 1, format.block);
        uint8_t* row = bytes.data() + format.head_bytes(format.block, 1, 1);
        const RowPlace place{bytes.data(), row, format.block, 1, 0, 0};
        std::vector<float> level(static_cast<size_t>(book->dims * book->points));
        book->levels(place, level.data());
        Rng rng(11);
        std::vector<float> levels[3], values[3];
        for (int round = 0; round < 3; ++round) {
            std::vector<uint16_t> points(format.block / static_cast<size_t>(book->dims));
            std::vector<uint8_t> negative(format.block / 8);
            for (uint16_t& point : points) point = static_cast<uint16_t>(rng.below(static_cast<uint64_t>(book->points)));
            for (uint8_t& signs : negative) {
                if (book->signs == Signs::none) break;
                signs = static_cast<uint8_t>(rng.below(256));
                if (book->signs == Signs::even && __builtin_popcount(signs) % 2) signs = static_cast<uint8_t>(signs ^ 16);
            }
            book->put(points.data(), negative.data(), row + format.row_head);
            values[round].resize(format.block);
            format.decode(format.plain() ? nullptr : &place, row + format.row_head, values[round].data(), format.block);
            for (size_t e = 0; e < format.block; ++e) {
                const size_t d = e % static_cast<size_t>(book->dims);
                const float size = level[d * static_cast<size_t>(book->points) + points[e / static_cast<size_t>(book->dims)]];
                levels[round].push_back((negative[e / 8] >> e % 8 & 1) ? -size : size);
            }
        }
        size_t compared = 0;
        for (size_t e = 0; e < format.block; ++e) {
            const double a = static_cast<double>(levels[1][e] - levels[0][e]), b = static_cast<double>(levels[2][e] - levels[0][e]);
            const double u = static_cast<double>(values[1][e] - values[0][e]), v = static_cast<double>(values[2][e] - values[0][e]);
            CHECK_MSG(std::fabs(u * b - v * a) < 1e-4 * (std::fabs(u * b) + std::fabs(v * a) + 1e-6), format.name);
            compared += a != 0 && b != 0 && u != 0;
        }
        CHECK_MSG(compared > format.block / 8, format.name);
    }
    CHECK_MSG(covered == 14, std::to_string(covered));
}

// Scales come from the format's own encoder, so every value that it writes must be one that rounding can choose.
TEST(rounding_can_choose_every_value_that_encoders_write) {
    constexpr int64_t kBlocks = 16;
    for (const Format& format : formats()) {
        const int64_t cols = kBlocks * format.block;
        const std::unique_ptr<Chooser> chooser = Chooser::create(format, cols);
        if (!chooser) continue;
        const std::vector<float> x = gaussian(static_cast<size_t>(cols), 3, 0.05), equal(x.size(), 1.0f);
        const std::vector<uint8_t> bytes = encoded(format, x, equal.data(), 1, cols);
        const uint8_t* row = bytes.data() + format.head_bytes(cols, 1, 1);
        for (int64_t b = 0; b < kBlocks; ++b)
            chooser->read({bytes.data(), row, cols, 1, 0, b * format.block}, b, 0, row + format.row_bytes(b * format.block));
        const std::vector<float> written = decoded(format, bytes, 1, cols);
        const int64_t unit = chooser->unit();
        float metric[Chooser::kMostUnit * Chooser::kMostUnit] = {}, value[Chooser::kMostUnit];
        for (int64_t i = 0; i < unit; ++i) metric[i * unit + i] = 1;
        for (int64_t j = 0; j < cols; j += unit) {
            const float* target = written.data() + j;
            chooser->choose(j, 0, target, metric, value);
            for (int64_t i = 0; i < unit; ++i)
                CHECK_MSG(std::fabs(value[i] - target[i]) <= 2e-6f, format_text("%s: %g instead of %g", format.name, value[i], target[i]).c_str());
        }
    }
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
        const CodeBook* book = code_book(format.slot);
        if (!code_planes(format.slot) && !book) continue;
        // The affine formats are one codec with parameters: groups and rows, with zero points and without, at all bits.
        const size_t affine = static_cast<size_t>(format.slot) - static_cast<size_t>(FormatSlot::affine);
        if (!check::full() && affine < 64 && affine % 9 != 0) continue;
        if (check::sanitized && static_cast<size_t>(format.slot) % 4 != 0) continue;
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

// Scales that are fitted to the codes afterwards bring the sum down further, in all formats that have it done.
TEST(refitted_scales_lower_the_objective) {
    const int64_t rows = 33, cols = 256;
    const std::vector<float> w = gaussian(static_cast<size_t>(rows * cols), 22, 0.03), gram = correlated_gram(cols, 800);
    int count = 0;
    for (const Format& format : formats()) {
        const CodePlanes* planes = code_planes(format.slot);
        if (!planes || planes->scale_bytes == 0) continue;
        ++count;
        const auto with = [&](int refits) {
            return objective(w, decoded(format, fed_back(format, w, gram, rows, cols, {0.01, 3, refits}, 2), rows, cols), gram, cols);
        };
        const double before = with(0), after = with(2);
        CHECK_MSG(after < (format.block > 64 ? 0.9985 : 0.99) * before, format_text("%s: %g, with fitted scales %g", format.name, before, after));
    }
    CHECK(count == 2 + 8 * 3);  // NF4, L4; A1 to A8 in groups of 32, 64, 128
}

// Each choice is another scale or minimum of its span and leaves the other spans' values as they are.
TEST(scale_choices_change_one_span) {
    size_t covered = 0;
    for (const Format& format : formats()) {
        const ScaleChoices* choices = scale_choices(format.slot);
        if (!choices) continue;
        ++covered;
        const int64_t n = format.block;
        const std::vector<float> x = gaussian(static_cast<size_t>(n), 9, 0.05);
        const std::vector<uint8_t> original = encoded(format, x, std::vector<float>(x.size(), 1.0f).data(), 1, n);
        const std::vector<float> before = decoded(format, original, 1, n);
        for (int64_t span = 0; span < n / choices->span; ++span) {
            std::set<std::vector<float>> different = {before};
            int inside = 0;
            for (int c = 0; c < choices->count; ++c) {
                std::vector<uint8_t> bytes = original;
                if (!choices->set(original.data(), span, c, bytes.data())) continue;
                ++inside;
                const std::vector<float> after = decoded(format, bytes, 1, n);
                different.insert(after);
                for (int64_t e = 0; e < n; ++e)
                    if (e / choices->span != span) CHECK_MSG(after[static_cast<size_t>(e)] == before[static_cast<size_t>(e)], format.name);
            }
            CHECK_MSG(inside >= 2 && different.size() == static_cast<size_t>(inside) + 1, format_text("%s: %zu of %d", format.name, different.size(), inside).c_str());
        }
    }
    CHECK_MSG(covered == 6, std::to_string(covered));
}

// Scales chosen when feedback reaches their weights bring the sum down; the more columns lie before in the same block, the more.
TEST(chosen_scales_lower_the_objective) {
    const int64_t rows = 16, cols = 256;
    const std::vector<float> w = gaussian(static_cast<size_t>(rows * cols), 23, 0.03), gram = correlated_gram(cols, 800);
    for (const Format& format : formats()) {
        if (!scale_choices(format.slot)) continue;
        const auto with = [&](bool chooses) {
            const FeedbackOptions options{0.01, 3, 2, chooses};
            return objective(w, decoded(format, fed_back(format, w, gram, rows, cols, options, 2), rows, cols), gram, cols);
        };
        const double before = with(false), after = with(true);
        CHECK_MSG(after < 0.9 * before, format_text("%s: %g, with chosen scales %g", format.name, before, after));
    }
}

// What counts is the error on inputs that the rounding has not seen, which may have less in common.
TEST(few_tokens_are_damped_more) {
    constexpr int64_t rows = 64, cols = 64, few = 1000;
    const std::vector<float> w = gaussian(rows * cols, 5, 0.05);
    const std::vector<float> seen = correlated_gram(cols, few), others = correlated_gram(cols, 4000, 0.5);
    const Format& format = format_of(FormatSlot::q4_0);
    const FeedbackOptions plain, damped = damped_for(plain, cols, few);
    CHECK(damped.damping > plain.damping && damped_for(plain, cols, 0).damping == plain.damping + 0.5);
    CHECK(damped_for(plain, cols, 1e6).damping < 4 * plain.damping);
    const auto loss = [&](const FeedbackOptions& options) {
        return objective(w, decoded(format, fed_back(format, w, seen, rows, cols, options, 1), rows, cols), others, cols);
    };
    CHECK_MSG(loss(damped) < 0.9 * loss(plain), format_text("%g, not damped %g", loss(damped), loss(plain)).c_str());
}

TEST(feedback_does_not_depend_on_threads) {
    const int64_t rows = 37, cols = 256;
    const std::vector<float> w = gaussian(static_cast<size_t>(rows * cols), 4, 0.03),
                             gram = correlated_gram(cols, 400);
    for (const FormatSlot slot : {FormatSlot::q4_0, FormatSlot::q4_k, FormatSlot::iq4_xs, FormatSlot::iq3_xxs, FormatSlot::nf4_dq, FormatSlot::pal2_v2}) {
        const Format& format = format_of(slot);
        const auto one = fed_back(format, w, gram, rows, cols, {}, 1);
        CHECK(one == fed_back(format, w, gram, rows, cols, {}, 2));
        CHECK(one == fed_back(format, w, gram, rows, cols, {}, 3));
    }
}

TEST_MAIN
