// How good a model's predictions are: perplexity over a text, and how far its distributions are from another
// model's. Windows as the ecosystem's tool takes them: `window` tokens each, not overlapping, the first
// replaced by BOS where the vocabulary asks for one; the tokens after the first half plus one are scored.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/result.h"
#include "model/session.h"

namespace quant {

// One scored token.
struct TokenScore {
    double surprise = 0;       // -ln p(true token), nats
    double base_surprise = 0;  // of the base model
    double divergence = 0;     // KL(base || model), nats
    bool same_top = true;      // both find the same token most likely
    double change() const;     // p(true token) of the model minus that of the base
};

// What one row of logits says about `target`. The base's row may be empty: then only `surprise` is set.
// `scratch`: 2 * logits.size() floats.
TokenScore score_token(std::span<const float> logits, std::span<const float> base, int32_t target,
                       float* scratch);

struct Estimate {
    double value = 0, error = 0;  // standard error of the value
};
Estimate mean_of(std::span<const double> values);
// Linear interpolation between the two nearest ranks; `sorted` is not empty, 0 <= share <= 1.
double quantile(std::span<const double> sorted, double share);

struct Judgement {
    int64_t windows = 0, tokens = 0;  // scored
    Estimate perplexity;
    bool compared = false;                // the rest is set
    Estimate base_perplexity, log_ratio;  // ln(perplexity / base perplexity)
    Estimate divergence;
    double divergence_median = 0, divergence_90 = 0, divergence_95 = 0, divergence_99 = 0, divergence_999 = 0,
           divergence_max = 0;
    Estimate same_top;    // share, 0 .. 1
    Estimate change_rms;  // root of the mean squared change of p(true token), 0 .. 1
};
Judgement summarize(std::span<const TokenScore> scores, bool compared);

struct JudgeOptions {
    int64_t window = 512;
    int64_t windows = -1;  // at most so many; -1: all that the text holds
    // After each window, with all scores so far. An error ends the work.
    std::function<Status(std::span<const TokenScore> scores)> progress;
};
// Windows that judge() takes from a text of so many tokens. Error "usage": it is too short, or the window is.
Result<int64_t> judged_windows(size_t tokens, const JudgeOptions& options);
// `base` may be null. Both sessions need a context of at least `window`. Errors of judged_windows().
Result<Judgement> judge(Session& session, Session* base, std::span<const int32_t> text,
                        const JudgeOptions& options);

}  // namespace quant
