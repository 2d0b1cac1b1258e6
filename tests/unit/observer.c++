// Observers of ranges, and int8 activations of fixed scales.
#include "convert/calibrate/observer.h"

#include <cmath>

#include "base/log.h"
#include "base/rng.h"
#include "convert/calibrate/ranges.h"
#include "model/session.h"
#include "tensor/executor.h"
#include "tests/check.h"

using namespace quant;

namespace {

constexpr ObserverKind kAll[] = {ObserverKind::minmax, ObserverKind::percentile, ObserverKind::percentile3, ObserverKind::mse, ObserverKind::kl};

double squared_error(const std::vector<float>& x, float range) {
    double sum = 0;
    const double step = static_cast<double>(range) / 127;
    for (const float each : x) {
        const double v = static_cast<double>(each), off = v - step * std::clamp(std::nearbyint(v / step), -127.0, 127.0);
        sum += off * off;
    }
    return sum;
}

}  // namespace

TEST(ranges_of_a_normal_distribution_with_outliers) {
    Rng rng(4);
    std::vector<float> x(200000);
    for (float& each : x) each = static_cast<float>(rng.gaussian());
    for (size_t i = 0; i < 20; ++i) x[i * 10000] = i % 2 ? 60.0f : -60.0f;  // one value in ten thousand
    RangeObserver observer;
    observer.add(x.data(), 100000);
    observer.add(x.data() + 100000, 100000);
    CHECK(observer.range(ObserverKind::minmax) == 60.0f);
    // |x| of a normal distribution: 99.9 % below 3.29.
    const float nine3 = observer.range(ObserverKind::percentile3), mse = observer.range(ObserverKind::mse), kl = observer.range(ObserverKind::kl);
    CHECK_MSG(std::fabs(nine3 - 3.33f) < 0.1f, std::to_string(nine3));
    // Least squares keeps outliers of a few that cost much; no clip nearby is better.
    for (const float other : {0.5f, 0.8f, 1.25f, 2.0f})
        CHECK_MSG(squared_error(x, mse) <= 1.02 * squared_error(x, std::min(60.0f, mse * other)), format_text("%g against times %g", static_cast<double>(mse), static_cast<double>(other)));
    // What one value in ten thousand carries is more than the rounding of all others blurs; numpy finds the same.
    CHECK_MSG(kl == 60.0f, std::to_string(kl));
}

// Of other samples a computation in numpy finds 4.2 to 4.7 for a normal distribution, with two outliers among 200000 values 4.0
// to 4.5, for a Laplace distribution 9.3 to 10.7. Values counted by number give 6 for the last.
TEST(divergence_keeps_tails_and_cuts_single_outliers) {
    Rng rng(9);
    std::vector<float> normal(200000), laplace(normal.size());
    for (float& each : normal) each = static_cast<float>(rng.gaussian());
    for (float& each : laplace) each = static_cast<float>((rng.below(2) ? 1 : -1) * -std::log(1 - rng.uniform()));
    std::vector<float> outliers = normal;
    outliers[7] = 60.0f, outliers[100007] = -60.0f;
    const auto check = [](const std::vector<float>& x, float low, float high, const char* name) {
        RangeObserver observer;
        observer.add(x.data(), static_cast<int64_t>(x.size()));
        const float kl = observer.range(ObserverKind::kl);
        CHECK_MSG(kl >= low && kl <= high, std::string(name) + " " + std::to_string(kl));
    };
    check(normal, 4.0f, 4.8f, "normal");
    check(outliers, 3.8f, 4.7f, "outliers");
    check(laplace, 9.0f, 11.0f, "laplace");
}

TEST(ranges_of_what_has_no_tail) {
    Rng rng(4);
    std::vector<float> x(50000);
    for (float& each : x) each = static_cast<float>(rng.uniform() * 6 - 3);
    RangeObserver observer;
    observer.add(x.data(), static_cast<int64_t>(x.size()));
    for (const ObserverKind kind : kAll) {
        const float range = observer.range(kind);
        CHECK_MSG(range > 2.85f && range <= 3.0f, std::string(observer_name(kind)) + " " + std::to_string(range));
        CHECK(observer_of(observer_name(kind)) == kind);
    }
    CHECK(!observer_of("max"));
    const float nothing[4] = {0, -0.0f, 0, 0}, broken[3] = {NAN, INFINITY, 2};
    RangeObserver zero, three;
    zero.add(nothing, 4);
    three.add(broken, 3);
    for (const ObserverKind kind : kAll) CHECK(zero.range(kind) == 0 && three.range(kind) <= 2 && three.range(kind) > 1.9f);
}

// What the fast path multiplies with under a fixed range.
TEST(activations_of_a_fixed_scale) {
    constexpr int64_t cols = 64, rows = 3;
    Graph g;
    std::vector<float> x(static_cast<size_t>(cols * rows));
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(static_cast<int>(i * 37 % 101) - 50) * 0.1f;
    std::vector<float> w(static_cast<size_t>(cols), 0.25f);
    const auto slot = static_cast<FormatSlot>(static_cast<size_t>(FormatSlot::affine) + 8 * 7 + 6);
    const Format& format = format_of(slot);
    CHECK_MSG(std::string(format.name) == "Q8_ROW", format.name);
    std::vector<uint8_t> blocks(format.row_bytes(cols));
    format.encode(nullptr, w.data(), nullptr, blocks.data(), cols);
    const auto run = [&](float range) {
        Graph graph;
        const ValueId in = graph.external("x", FormatSlot::f32, cols, 1, Extent::tokens);
        const ValueId weight = graph.constant("w", make_tensor(format, {cols, 1, 1, 1}, blocks.data()));
        graph.set_input_range(weight, range);
        const ValueId out = graph.matmul("y", weight, in);
        graph.keep(out);
        auto executor = Executor::create(std::move(graph), {rows, 1, 1, false});
        CHECK(executor.ok());
        (*executor)->bind(in, x.data());
        ThreadPool pool(1);
        (*executor)->run(pool, rows, 0, 0, {});
        const Tensor y = (*executor)->value(out);
        return std::vector<float>(y.f32(), y.f32() + rows);
    };
    std::vector<float> weights(static_cast<size_t>(cols));
    decode_rows(format, {blocks.data(), cols, 1}, 0, 1, weights.data());
    for (const float range : {2.0f, 20.0f, 5.0f}) {
        const std::vector<float> y = run(range);
        for (int64_t r = 0; r < rows; ++r) {
            double sum = 0;
            const double step = static_cast<double>(range / 127.0f);
            for (int64_t i = 0; i < cols; ++i)
                sum += step * std::clamp(std::nearbyint(static_cast<double>(x[static_cast<size_t>(r * cols + i)]) * 127 / static_cast<double>(range)), -127.0, 127.0) *
                       static_cast<double>(weights[static_cast<size_t>(i)]);
            CHECK_MSG(std::fabs(sum - static_cast<double>(y[static_cast<size_t>(r)])) < 1e-4, format_text("range %g: %g, expected %g", static_cast<double>(range), static_cast<double>(y[static_cast<size_t>(r)]), sum));
        }
    }
    CHECK(run(20.0f) != run(0));
}

TEST_MAIN
