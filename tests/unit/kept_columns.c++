// Q8_ROW_O: layout and choice of columns against vectors that numpy made, error feedback around what is kept, and activations
// that stay out of the int8 grid.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/bytes.h"
#include "base/log.h"
#include "base/rng.h"
#include "convert/rounding/error_feedback.h"
#include "formats/kept_columns.h"
#include "tensor/executor.h"
#include "tests/check.h"
#include "tests/unit/vectors.h"
#include "tests/unit/whole.h"

using namespace quant;

namespace {

constexpr int64_t kRows = 12, kCols = 64;
const std::string kGolden = "tests/golden/kept_columns/";

const Format& kept_format() { return format_of(FormatSlot::q8_row_o); }

template <class T>
std::vector<T> golden(const char* name) {
    const std::vector<uint8_t> raw = vectors::bytes(kGolden + name);
    std::vector<T> out(raw.size() / sizeof(T));
    if (!out.empty()) std::memcpy(out.data(), raw.data(), out.size() * sizeof(T));
    return out;
}

double weighted_error(const float* x, const float* y, const float* h, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) {
        const double off = static_cast<double>(x[i]) - static_cast<double>(y[i]);
        sum += (h ? static_cast<double>(h[i]) : 1.0) * off * off;
    }
    return sum;
}

}  // namespace

TEST(stored_bytes_stand_for_what_they_should) {
    const auto stored = golden<uint8_t>("stored.bin");
    const auto expected = golden<float>("stored.f32");
    CHECK(stored.size() == kept_format().tensor_bytes(kCols, kRows) && expected.size() == kRows * kCols);
    if (expected.empty()) return;
    CHECK(whole::decode(kept_format(), stored.data(), kCols, kRows) == expected);
    const EncodedView view = whole::view(kept_format(), stored.data(), kCols, kRows);
    float part[32];
    decode_part(kept_format(), view, 5, 32, 32, part);
    CHECK(std::memcmp(part, expected.data() + 5 * kCols + 32, sizeof part) == 0);
    CHECK(columns_kept_by(kept_format(), view) == std::vector<uint32_t>({0, 3, 9, 31, 32, 47, 63}));
    CHECK(columns_kept_by(*find_format("Q8_ROW"), view).empty());
}

TEST(the_columns_that_cost_most_are_kept) {
    const auto x = golden<float>("input.f32"), h = golden<float>("importance.f32");
    const auto columns = golden<uint32_t>("columns.u32");
    const auto errors = golden<double>("errors.f64");
    CHECK(x.size() == kRows * kCols && h.size() == kCols && columns.size() == 2 * kKeptColumns && errors.size() == 2 * kRows);
    if (errors.empty()) return;
    for (const size_t with : {size_t{0}, size_t{1}}) {
        const float* importance = with ? h.data() : nullptr;
        const auto stored = whole::encode(kept_format(), x.data(), importance, kCols, kRows);
        const auto kept = kept_columns(stored.data());
        CHECK(std::equal(kept.begin(), kept.end(), columns.begin() + static_cast<std::ptrdiff_t>(with * kKeptColumns)));
        const auto y = whole::decode(kept_format(), stored.data(), kCols, kRows);
        double error = 0, least = 0;
        for (int64_t r = 0; r < kRows; ++r) {
            std::vector<float> rest(x.begin() + r * kCols, x.begin() + (r + 1) * kCols), codes(y.begin() + r * kCols, y.begin() + (r + 1) * kCols);
            const uint8_t* row = stored.data() + 4 * kKeptColumns + static_cast<uint64_t>(r) * kept_format().row_bytes(kCols);
            for (const uint32_t column : kept) {
                CHECK(codes[column] == f16_to_f32(f32_to_f16(rest[column])));
                CHECK(row[kKeptRowHead + column] == 0);
                rest[column] = codes[column] = 0;
            }
            error += weighted_error(rest.data(), codes.data(), importance, kCols);
            least += errors[with * kRows + static_cast<size_t>(r)];
        }
        CHECK_MSG(error <= 1.04 * least, format_text("%g, possible %g", error, least));  // the best of thousands of scales
    }
}

// Rounding with the inputs' Gram matrix: nearer than without, and the kept weights as they are.
TEST(error_feedback_goes_around_kept_columns) {
    Rng rng(6);
    const int64_t rows = 40, cols = 64, samples = 400;
    std::vector<float> w(static_cast<size_t>(rows * cols)), gram(static_cast<size_t>(cols * cols));
    for (float& each : w) each = static_cast<float>(rng.gaussian());
    for (int64_t s = 0; s < samples; ++s) {
        std::vector<double> x(static_cast<size_t>(cols));
        for (size_t c = 0; c < x.size(); ++c) x[c] = rng.gaussian() + (c > 0 ? 0.8 * x[c - 1] : 0);
        x[20] *= 60;
        for (int64_t i = 0; i < cols; ++i)
            for (int64_t j = 0; j < cols; ++j) gram[static_cast<size_t>(i * cols + j)] += static_cast<float>(x[static_cast<size_t>(i)] * x[static_cast<size_t>(j)] / samples);
    }
    std::vector<float> diagonal;
    for (int64_t c = 0; c < cols; ++c) diagonal.push_back(gram[static_cast<size_t>(c * cols + c)]);
    const auto cost = [&](const std::vector<uint8_t>& stored) {
        const auto y = whole::decode(kept_format(), stored.data(), cols, rows);
        double sum = 0;
        for (int64_t r = 0; r < rows; ++r)
            for (int64_t i = 0; i < cols; ++i)
                for (int64_t j = 0; j < cols; ++j)
                    sum += static_cast<double>(y[static_cast<size_t>(r * cols + i)] - w[static_cast<size_t>(r * cols + i)]) * static_cast<double>(gram[static_cast<size_t>(i * cols + j)]) *
                           static_cast<double>(y[static_cast<size_t>(r * cols + j)] - w[static_cast<size_t>(r * cols + j)]);
        return sum;
    };
    const auto nearest = whole::encode(kept_format(), w.data(), diagonal.data(), cols, rows);
    std::vector<uint8_t> rounded(nearest.size());
    ThreadPool pool(2);
    CHECK(round_with_feedback(kept_format(), w.data(), rows, cols, 0, gram, {}, pool, rounded.data()).ok());
    CHECK(std::memcmp(rounded.data(), nearest.data(), 4 * kKeptColumns) == 0);
    const auto kept = kept_columns(rounded.data());
    CHECK(std::find(kept.begin(), kept.end(), 20u) != kept.end());
    CHECK_MSG(cost(rounded) < 0.75 * cost(nearest), std::to_string(cost(rounded) / cost(nearest)));
    const auto y = whole::decode(kept_format(), rounded.data(), cols, rows);
    for (const uint32_t column : kept)
        for (int64_t r = 0; r < rows; ++r) {
            const auto at = static_cast<size_t>(r * cols + column);
            CHECK(y[at] == f16_to_f32(f32_to_f16(w[at])));
        }
}

// A product in the fast path, and one behind rounded activations: a huge activation in a kept column costs its neighbors
// nothing.
TEST(activations_of_kept_columns_are_not_rounded) {
    Rng rng(7);
    std::vector<float> w(static_cast<size_t>(kCols)), x(static_cast<size_t>(kCols)), importance(static_cast<size_t>(kCols), 1.0f);
    for (float& each : w) each = static_cast<float>(rng.gaussian());
    for (float& each : x) each = static_cast<float>(rng.gaussian());
    x[20] = 10000, importance[20] = 1e8f, w[20] = 0.5f;
    const auto stored = whole::encode(kept_format(), w.data(), importance.data(), kCols, 1);
    const auto decoded = whole::decode(kept_format(), stored.data(), kCols, 1);
    double exact = 0;
    for (size_t i = 0; i < x.size(); ++i) exact += static_cast<double>(x[i]) * static_cast<double>(decoded[i]);
    const auto run = [&](bool fast) {
        Graph graph;
        const ValueId in = graph.external("x", FormatSlot::f32, kCols, 1, Extent::tokens);
        const ValueId weight = graph.constant("w", make_tensor(kept_format(), {kCols, 1, 1, 1}, const_cast<uint8_t*>(stored.data())));
        const ValueId read = fast ? in : graph.round("r", in, {8, 0, 0, columns_kept_by(kept_format(), whole::view(kept_format(), stored.data(), kCols, 1))});
        const ValueId out = graph.matmul("y", weight, read);
        graph.keep(out);
        auto executor = Executor::create(std::move(graph), {1, 1, 1, !fast});
        CHECK(executor.ok());
        (*executor)->bind(in, x.data());
        ThreadPool pool(1);
        (*executor)->run(pool, 1, 0, 0, {});
        return static_cast<double>(*(*executor)->value(out).f32());
    };
    // Rounding ordinary values to 1/127 of the largest: some hundredths; with the huge one in the scale it would be tens.
    for (const bool fast : {true, false}) {
        const double off = std::fabs(run(fast) - exact);
        CHECK_MSG(off < 0.15 && off > 1e-6, format_text("%d: off by %g", fast, off));
    }
}

TEST_MAIN
