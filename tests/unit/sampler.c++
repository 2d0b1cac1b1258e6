// The sampler against a plain computation of the same distribution: sort everything, cut, normalise.
#include "model/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "tests/check.h"

using namespace quant;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<float> random_logits(size_t count, uint64_t seed, double spread) {
    Rng rng(seed);
    std::vector<float> logits(count);
    for (float& logit : logits) logit = static_cast<float>(spread * rng.gaussian());
    return logits;
}

// Probability of every token, from the definition; `logits` with bias and penalties already applied.
std::vector<double> distribution(const std::vector<float>& logits, const SamplerOptions& options) {
    std::vector<size_t> order(logits.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return logits[a] > logits[b]; });
    if (options.top_k > 0) order.resize(std::min(order.size(), static_cast<size_t>(options.top_k)));
    const double largest = static_cast<double>(logits[order[0]]);
    const auto softmax = [&](double temperature) {
        std::vector<double> p(order.size());
        double sum = 0;
        for (size_t i = 0; i < p.size(); ++i) sum += p[i] = std::exp((static_cast<double>(logits[order[i]]) - largest) / temperature);
        for (double& each : p) each /= sum;
        return p;
    };
    if (options.top_p < 1) {
        const std::vector<double> p = softmax(1);
        double sum = 0;
        size_t keep = 0;
        while (keep < p.size() && sum < static_cast<double>(options.top_p)) sum += p[keep++];
        order.resize(std::max<size_t>(keep, 1));
    }
    if (options.min_p > 0) {
        const std::vector<double> p = softmax(1);
        size_t keep = 1;
        while (keep < p.size() && p[keep] >= static_cast<double>(options.min_p) * p[0]) ++keep;
        order.resize(keep);
    }
    const std::vector<double> p = softmax(static_cast<double>(options.temperature));
    std::vector<double> out(logits.size(), 0.0);
    for (size_t i = 0; i < order.size(); ++i) out[order[i]] = p[i];
    return out;
}

// Draws often and compares the counts with the expected ones; the bound is five deviations of chi-square.
void check_distribution(const char* what, const std::vector<float>& logits, const SamplerOptions& options, int draws = 20000) {
    const std::vector<double> expected = distribution(logits, options);
    Sampler sampler(options);
    std::map<int32_t, int> counts;
    for (int i = 0; i < draws; ++i) ++counts[sampler.sample(logits).id];
    double chi = 0, rare_expected = 0;
    int rare_seen = 0, cells = 0;
    for (size_t id = 0; id < expected.size(); ++id) {
        const auto found = counts.find(static_cast<int32_t>(id));
        const int seen = found == counts.end() ? 0 : found->second;
        if (expected[id] == 0) CHECK_MSG(seen == 0, std::string(what) + ": drew a token that is cut away");
        const double mean = expected[id] * draws;
        if (mean < 10) {  // too few for the approximation: taken together
            rare_expected += mean;
            rare_seen += seen;
            continue;
        }
        chi += (seen - mean) * (seen - mean) / mean;
        ++cells;
    }
    if (rare_expected >= 10) chi += (rare_seen - rare_expected) * (rare_seen - rare_expected) / rare_expected, ++cells;
    const double freedom = std::max(1, cells - 1);
    CHECK_MSG(chi < freedom + 5 * std::sqrt(2 * freedom),
              std::string(what) + ": chi-square " + std::to_string(chi) + " with " + std::to_string(cells) + " cells");
}

}  // namespace

TEST(defaults_draw_the_defined_distribution) {
    SamplerOptions options;
    check_distribution("defaults", random_logits(300, 1, 3), options);
    options.seed = 7;
    check_distribution("another seed", random_logits(300, 2, 1), options);
}

TEST(each_cut_alone) {
    const std::vector<float> logits = random_logits(120, 3, 1.5);
    SamplerOptions off;
    off.top_k = 0, off.top_p = 1, off.min_p = 0, off.temperature = 1;
    check_distribution("nothing cut", logits, off);
    SamplerOptions one = off;
    one.top_k = 5;
    check_distribution("top-k", logits, one);
    one = off, one.top_p = 0.6f;
    check_distribution("top-p", logits, one);
    one = off, one.min_p = 0.2f;
    check_distribution("min-p", logits, one);
    one = off, one.temperature = 0.3f;
    check_distribution("cold", logits, one);
    one = off, one.temperature = 2.5f;
    check_distribution("hot", logits, one);
    one = off, one.top_p = 0.9f, one.min_p = 0.02f;
    check_distribution("top-p and min-p without top-k", logits, one);
}

TEST(large_vocabulary_top_k_is_exact) {
    SamplerOptions options;
    options.top_k = 50, options.top_p = 1, options.min_p = 0, options.temperature = 3;
    for (uint64_t seed = 0; seed < 4; ++seed) {
        std::vector<float> logits = random_logits(20011, 10 + seed, 2);
        if (seed == 1) std::sort(logits.begin(), logits.end());                   // every token is a new best one
        if (seed == 2) for (float& logit : logits) logit = std::round(logit);     // many equal ones at the border
        check_distribution("large", logits, options, 4000);
    }
}

TEST(min_p_keeps_equals) {
    const std::vector<float> logits = {1.0f, 0.0f, 1.0f};
    SamplerOptions options;
    options.min_p = 1;
    for (const int32_t top_k : {0, 40}) {
        options.top_k = top_k;
        Sampler sampler(options);
        int seen[3] = {};
        for (int i = 0; i < 100; ++i) ++seen[sampler.sample(logits).id];
        CHECK(seen[0] > 20 && seen[1] == 0 && seen[2] > 20);
    }
}

TEST(greedy_takes_the_first_largest) {
    std::vector<float> logits = random_logits(1000, 4, 1);
    logits[123] = logits[456] = 50;
    SamplerOptions options;
    options.temperature = 0;
    CHECK(Sampler(options).sample(logits).id == 123);
    options.temperature = 0.8f, options.top_k = 1;
    CHECK(Sampler(options).sample(logits).id == 123);
}

TEST(same_seed_same_tokens) {
    const std::vector<float> logits = random_logits(500, 5, 1);
    SamplerOptions options;
    options.seed = 42;
    Sampler a(options), b(options);
    options.seed = 43;
    Sampler c(options);
    std::vector<int32_t> from_a, from_b, from_c;
    for (int i = 0; i < 50; ++i) {
        from_a.push_back(a.sample(logits).id);
        from_b.push_back(b.sample(logits).id);
        from_c.push_back(c.sample(logits).id);
    }
    CHECK(from_a == from_b);
    CHECK(from_a != from_c);
    a.reset();
    for (int i = 0; i < 50; ++i) CHECK(a.sample(logits).id == from_a[static_cast<size_t>(i)]);
}

TEST(penalties_lower_what_was_seen) {
    // Token 0 leads; seen twice, it falls by the defined amounts.
    const std::vector<float> logits = {3.0f, 2.0f, -1.0f, 1.0f};
    SamplerOptions options;
    options.temperature = 0;
    const auto choose = [&](std::vector<int32_t> seen) {
        Sampler sampler(options);
        for (const int32_t id : seen) sampler.accept(id);
        return sampler.sample(logits).id;
    };
    options.repeat_penalty = 1.4f;  // 3 / 1.4 = 2.14
    CHECK(choose({0, 0}) == 0);
    options.repeat_penalty = 1.6f;  // 1.875
    CHECK(choose({0, 0}) == 1);
    options.repeat_penalty = 1.0f;
    options.frequency_penalty = 0.4f;  // 3 - 0.8 = 2.2
    CHECK(choose({0, 0}) == 0);
    CHECK(choose({0, 0, 0}) == 1);     // 1.8
    options.presence_penalty = 0.3f;   // 3 - 0.8 - 0.3 = 1.9
    CHECK(choose({0, 0}) == 1);
    options.repeat_last_n = 1;         // only the last one counts: 3 - 0.4 - 0.3 = 2.3
    CHECK(choose({0, 0}) == 0);
    options.repeat_last_n = 0;
    options.presence_penalty = 10;
    CHECK(choose({0, 0}) == 0);
    options.repeat_last_n = -1;
    CHECK(choose({0}) == 1);
    CHECK(choose({0, 99, -5}) == 1);   // ids outside the vocabulary are passed over
}

TEST(repeat_penalty_lowers_negative_logits_too) {
    const std::vector<float> logits = {-1.0f, -1.5f};
    SamplerOptions options;
    options.temperature = 0;
    options.repeat_penalty = 2;
    Sampler sampler(options);
    sampler.accept(0);
    CHECK(sampler.sample(logits).id == 1);
}

TEST(bias_moves_and_forbids) {
    const std::vector<float> logits = {3.0f, 2.0f, 1.0f};
    SamplerOptions options;
    options.temperature = 0;
    options.logit_bias = {{2, 5.0f}, {99, 1.0f}};
    CHECK(Sampler(options).sample(logits).id == 2);
    options.logit_bias = {{0, -kInfinity}};
    CHECK(Sampler(options).sample(logits).id == 1);
    options.temperature = 100;
    options.min_p = 0;
    Sampler sampler(options);
    for (int i = 0; i < 1000; ++i) CHECK(sampler.sample(logits).id != 0);
}

TEST(log_probability_is_the_models_own) {
    const std::vector<float> logits = random_logits(1000, 6, 4);
    double sum = 0;
    for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
    SamplerOptions options;
    options.log_probability = true;
    options.logit_bias = {{17, 3.0f}};
    options.repeat_penalty = 1.5f;
    Sampler sampler(options);
    for (int i = 0; i < 50; ++i) {
        const Sampler::Choice choice = sampler.sample(logits);
        const double expected = static_cast<double>(logits[static_cast<size_t>(choice.id)]) - std::log(sum);
        CHECK(std::abs(static_cast<double>(choice.log_probability) - expected) < 1e-5 * (1 + std::abs(expected)));
        sampler.accept(choice.id);
    }
}

TEST(not_numbers_are_never_chosen) {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    std::vector<float> logits = {nan, -kInfinity, 1.0f, nan, 0.5f};
    SamplerOptions options;
    Sampler sampler(options);
    for (int i = 0; i < 100; ++i) {
        const int32_t id = sampler.sample(logits).id;
        CHECK(id == 2 || id == 4);
    }
    options.temperature = 0;
    CHECK(Sampler(options).sample(logits).id == 2);
    logits = {nan, nan, -kInfinity};
    CHECK(Sampler(options).sample(logits).id == -1);
    options.temperature = 0.8f;
    CHECK(Sampler(options).sample(logits).id == -1);
    logits = {0.0f, kInfinity, nan};
    CHECK(Sampler(options).sample(logits).id == 1);
}

TEST_MAIN
