// The hyper-parameters of a model, read from GGUF metadata and checked once; afterwards every field can be
// trusted. Knows keys and limits, not tensors' data and not how a forward pass uses the numbers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "gguf/gguf.h"

namespace quant {

struct Architecture;

enum class RopeScaling : uint8_t { none, linear, yarn, longrope };

struct RopeConfig {
    int64_t dims = 0;  // values rotated per head; even, <= head_dim
    float base = 10000.0f;
    float base_windowed = 0;  // of layers with a sliding window; 0: the same as base
    RopeScaling scaling = RopeScaling::none;
    float factor = 1.0f;                        // context extension
    int64_t original_context = 0;               // before extension; yarn and longrope only
    float attention_factor = 0;                 // longrope: scale of cos and sin; 0: not given
    float beta_fast = 32.0f, beta_slow = 1.0f;  // yarn: rotations that bound the ramp
};

// What differs from layer to layer.
struct LayerConfig {
    bool windowed = false;  // attends to the last `window` positions only
    bool rope = true;
};

struct Config {
    std::string architecture;  // as in general.architecture
    int64_t vocab = 0;         // rows of the embedding = width of the logits; >= tokens of the tokenizer
    int64_t context = 0;       // positions the model was made for
    int64_t embedding = 0;     // width of the residual stream
    int64_t feed_forward = 0;  // width of a dense feed-forward block
    int64_t heads = 0, kv_heads = 0;
    int64_t k_head_dim = 0, v_head_dim = 0;
    int64_t experts = 0, experts_used = 0;  // 0: dense
    int64_t expert_feed_forward = 0;
    float norm_eps = 0;
    RopeConfig rope;
    int64_t window = 0;         // positions a windowed layer sees, itself included; 0: no window
    float attention_scale = 0;  // factor of q . k
    float attention_cap = 0;    // scores = cap * tanh(scores / cap); 0: none
    float logit_cap = 0;
    float embedding_scale = 1, residual_scale = 1,
          logit_scale = 1;  // factors (a divisor in the file is inverted here)
    std::vector<LayerConfig> layers;

    int64_t q_width() const { return heads * k_head_dim; }
    int64_t k_width() const { return kv_heads * k_head_dim; }
    int64_t v_width() const { return kv_heads * v_head_dim; }
    int64_t attention_width() const { return heads * v_head_dim; }
};

// Reads and checks every key that the architecture uses. Errors name file and key, what was expected and what
// was found. `vocab` is left 0: it comes from the embedding tensor.
Result<Config> read_config(const Metadata& metadata, const Architecture& architecture);

}  // namespace quant
