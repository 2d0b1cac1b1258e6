// What a transform brought at one place of a model, as it was measured: for messages and for the report page.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace quant {

struct TransformGain {
    int32_t layer = -1;       // -1: the whole model
    std::string site;         // "attn_norm", "ffn_norm", "attn_v", "ffn_up"; "model"
    std::string transform;    // "awq", "smoothquant 0.4", "rotate"
    double loss_before = 0;   // on text that was not learned from: squared error of the readers' products relative to
    double loss_after = 0;    // these; of the whole model its KL divergence in nats per token
    bool kept = false;
};
using TransformGains = std::vector<TransformGain>;

}  // namespace quant
