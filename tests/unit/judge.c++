// Perplexity and divergence: the formulas on small distributions, the windows on a model, equal models, too
// short texts.
#include <cmath>
#include <numeric>

#include "../check.h"
#include "../reference_logits.h"
#include "base/log.h"
#include "base/rng.h"
#include "model/judge.h"

using namespace quant;

namespace {

const std::string kGolden = "tests/golden/stories260K";

std::vector<double> probabilities(std::span<const float> logits) {
    std::vector<double> p;
    double sum = 0;
    for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
    for (const float logit : logits) p.push_back(std::exp(static_cast<double>(logit)) / sum);
    return p;
}

bool near(double a, double b, double bound) { return std::fabs(a - b) <= bound; }

std::unique_ptr<Session> open(int64_t context, bool exact = true) {
    auto model = Model::load(kGolden + "/stories260K.gguf");
    CHECK(model.ok());
    SessionOptions options;
    options.context = context;
    options.threads = 2;
    options.exact = exact;
    options.k_type = options.v_type = exact ? KvType::f32 : KvType::f16;
    auto session = Session::create(*model, options);
    CHECK(session.ok());
    return std::move(*session);
}

std::vector<int32_t> text_tokens(size_t count) {
    std::vector<int32_t> tokens(count);
    for (size_t i = 0; i < count; ++i) tokens[i] = static_cast<int32_t>(3 + (i * 7919 + i * i * 31) % 500);
    return tokens;
}

}  // namespace

TEST(one_token) {
    Rng rng(1);
    std::vector<float> logits(700), base(700), scratch(1400);
    for (const double scale : {0.1, 1.0, 8.0}) {
        for (size_t i = 0; i < logits.size(); ++i) {
            base[i] = static_cast<float>(rng.gaussian() * scale);
            logits[i] = base[i] + static_cast<float>(rng.gaussian() * 0.02);
        }
        const auto p = probabilities(base), q = probabilities(logits);
        double divergence = 0;
        for (size_t i = 0; i < p.size(); ++i) divergence += p[i] * std::log(p[i] / q[i]);
        const TokenScore score = score_token(logits, base, 17, scratch.data());
        CHECK(near(score.surprise, -std::log(q[17]), 1e-6));
        CHECK(near(score.base_surprise, -std::log(p[17]), 1e-6));
        CHECK_MSG(near(score.divergence, divergence, 1e-7 + 1e-4 * divergence),
                  format_text("%.9f, expected %.9f", score.divergence, divergence));
        CHECK(near(score.change(), q[17] - p[17], 1e-6));
        const auto top = [](const std::vector<double>& v) {
            return std::max_element(v.begin(), v.end()) - v.begin();
        };
        CHECK(score.same_top == (top(p) == top(q)));
    }
    std::vector<float> other = base;
    other[5] = 100;
    CHECK(!score_token(other, base, 0, scratch.data()).same_top);
    CHECK(score_token(base, base, 0, scratch.data()).divergence == 0);
}

TEST(estimates) {
    const std::vector<double> values{1, 2, 3, 4, 10};
    const Estimate mean = mean_of(values);  // variance 12.5
    CHECK(near(mean.value, 4, 1e-12) && near(mean.error, std::sqrt(12.5 / 5), 1e-12));
    CHECK(near(quantile(values, 0.5), 3, 1e-12) && near(quantile(values, 0.9), 7.6, 1e-12));
    CHECK(quantile(values, 0) == 1 && quantile(values, 1) == 10);

    std::vector<TokenScore> scores(2);
    scores[0] = {std::log(2.0), std::log(4.0), 0.1, true};
    scores[1] = {std::log(8.0), std::log(4.0), 0.3, false};
    const Judgement j = summarize(scores, true);
    CHECK(near(j.perplexity.value, 4, 1e-12) && near(j.base_perplexity.value, 4, 1e-12) &&
          near(j.log_ratio.value, 0, 1e-12));
    CHECK(near(j.divergence.value, 0.2, 1e-12) && near(j.divergence_max, 0.3, 1e-12) &&
          near(j.same_top.value, 0.5, 1e-12));
    CHECK(near(j.change_rms.value, std::sqrt((0.25 * 0.25 + 0.125 * 0.125) / 2), 1e-12));
}

// The definition spelled out: windows of 40, the first token replaced by BOS, targets 21 to 39 scored.
TEST(windows_as_defined) {
    const auto session = open(64);
    const auto tokens = text_tokens(130);
    JudgeOptions options;
    options.window = 40;
    const auto judged = judge(*session, nullptr, tokens, options);
    CHECK_MSG(judged.ok(), judged.error().text);
    double surprise = 0;
    int count = 0;
    for (size_t w = 0; w < 3; ++w) {
        std::vector<int32_t> window(tokens.begin() + static_cast<std::ptrdiff_t>(w * 40),
                                    tokens.begin() + static_cast<std::ptrdiff_t>(w * 40 + 40));
        window[0] = 1;
        session->truncate(0);
        CHECK(session->eval(window, LogitsOf::all).ok());
        for (size_t target = 21; target < 40; ++target, ++count) {
            const auto p = probabilities(session->logits(static_cast<int64_t>(target - 1)));
            surprise -= std::log(p[static_cast<size_t>(window[target])]);
        }
    }
    CHECK(judged->windows == 3 && judged->tokens == count);
    CHECK_MSG(near(judged->perplexity.value / std::exp(surprise / count), 1, 1e-5),
              format_text("%f, expected %f", judged->perplexity.value, std::exp(surprise / count)));
    options.windows = 2;
    CHECK(judge(*session, nullptr, tokens, options)->windows == 2);
}

TEST(a_model_and_itself) {
    const auto session = open(64), same = open(64), fast = open(64, false);
    JudgeOptions options;
    options.window = 50;
    const auto equal = judge(*session, same.get(), text_tokens(120), options);
    CHECK(equal.ok() && equal->divergence_max == 0 && equal->same_top.value == 1 &&
          equal->change_rms.value == 0);
    const auto near_it = judge(*fast, session.get(), text_tokens(120), options);
    CHECK(near_it.ok() && near_it->divergence.value > 0 && near_it->divergence.value < 1e-4);
}

TEST(too_short_or_too_small) {
    const auto session = open(64);
    JudgeOptions options;
    options.window = 60;
    const auto judged = judge(*session, nullptr, text_tokens(119), options);
    CHECK(!judged.ok() && judged.error().code == Code::usage);
    CHECK_MSG(judged.error().text.find("119") != std::string::npos &&
                  judged.error().text.find("120") != std::string::npos,
              judged.error().text);
    CHECK(judge(*session, nullptr, text_tokens(120), options).ok());
    options.window = 2;
    CHECK(!judge(*session, nullptr, text_tokens(120), options).ok());
}

TEST(progress_can_stop_it) {
    const auto session = open(64);
    JudgeOptions options;
    options.window = 10;
    size_t seen = 0;
    options.progress = [&](std::span<const TokenScore> scores) -> Status {
        seen = scores.size();
        if (seen >= 8) return Error{Code::interrupted, "enough"};
        return {};
    };
    const auto judged = judge(*session, nullptr, text_tokens(100), options);
    CHECK(!judged.ok() && judged.error().code == Code::interrupted && seen == 8);
}

TEST_MAIN
