// gpt-oss 20B and 120B. The YaRN ramp is not rounded, as the original computes it (stock runners round it).
#include "model/architecture.h"

namespace quant {

extern const Architecture kGptOss;
const Architecture kGptOss{
    .name = "gpt-oss",
    .feed_forward_norm_name = "post_attention_norm",
    .qkv_bias = Presence::required,
    .attention_output_bias = Presence::required,
    .router_bias = Presence::required,
    .expert_bias = Presence::required,
    .sinks = true,
    .output = Presence::required,
    .experts = Presence::required,
    .rope = RopeKind::neox,
    .yarn_floor = false,
    .gate_form = GateForm::clamped,
    .windows = WindowPattern::even_layers,
};

}  // namespace quant
