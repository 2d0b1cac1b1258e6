// GPT-2: learned positions, LayerNorm, a plain feed-forward block, biases everywhere.
#include "model/architecture.h"

namespace quant {

extern const Architecture kGpt2;
const Architecture kGpt2{
    .name = "gpt2",
    .norm = NormKind::layer,
    .norm_bias = Presence::required,
    .fused_qkv = true,
    .qkv_bias = Presence::required,
    .attention_output_bias = Presence::required,
    .feed_forward_bias = Presence::required,
    .position_embedding = true,
    .rope = RopeKind::none,
    .feed_forward = FeedForward::plain,
    .activation = Gate::gelu_tanh,
};

}  // namespace quant
