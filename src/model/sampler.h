// Chooses the next token from logits: penalties, top-k, top-p, min-p, temperature, then a draw. Same seed, same tokens.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/rng.h"

namespace quant {

// Names and defaults of the ecosystem's runner. Order: logit bias, penalties, top-k, top-p, min-p, temperature.
struct SamplerOptions {
    uint64_t seed = 0;
    float temperature = 0.8f;   // <= 0: greedy
    int32_t top_k = 40;         // <= 0: all
    float top_p = 0.95f;        // >= 1: off
    float min_p = 0.05f;        // 0: off
    float repeat_penalty = 1.0f;
    float presence_penalty = 0.0f;
    float frequency_penalty = 0.0f;
    int32_t repeat_last_n = 64;  // -1: whole context, 0: off
    std::vector<std::pair<int32_t, float>> logit_bias;
    bool log_probability = false;  // fill Choice::log_probability: costs one exponential per token of the vocabulary
};

class Sampler {
public:
    explicit Sampler(const SamplerOptions& options);
    struct Choice {
        int32_t id;             // -1: no logit is a number above minus infinity, nothing can be chosen
        float log_probability;  // of the model's own distribution (before bias, penalties and temperature); 0 unless asked for
    };
    Choice sample(std::span<const float> logits);
    void accept(int32_t id);  // a token of the prompt or the one just chosen: counted by the penalties
    void reset();             // forgets accepted tokens and starts the random numbers again

private:
    struct Candidate {
        float logit;
        int32_t id;
    };
    bool penalizes() const;
    std::span<const float> adjust(std::span<const float> logits);
    int32_t greedy(std::span<const float> logits) const;
    void collect(std::span<const float> logits);
    void keep_largest(size_t count);
    void cut_tail(std::span<const float> logits);
    int32_t draw();

    SamplerOptions options_;
    Rng rng_;
    std::vector<int32_t> history_;
    std::vector<Candidate> candidates_;  // after collect(): sorted, most likely first, equal ones by id
    std::vector<float> adjusted_;
};

}  // namespace quant
