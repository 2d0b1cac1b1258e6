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
};

class Sampler {
public:
    explicit Sampler(const SamplerOptions& options);
    struct Choice {
        int32_t id;
        float log_probability;  // of the model's own distribution (before penalties and temperature)
    };
    Choice sample(std::span<const float> logits);
    void accept(int32_t id);  // a token of the prompt or the one just chosen: counted by the penalties
    void reset();

private:
    SamplerOptions options_;
    Rng rng_;
    std::vector<int32_t> history_;
    std::vector<std::pair<float, int32_t>> candidates_;
    std::vector<float> adjusted_;
};

}  // namespace quant
