// Gemma 3, text: as Gemma 2 without soft caps, with norms of q and k, five windowed layers between whole
// ones.
#include <cmath>

#include "model/architecture.h"
#include "model/config.h"

namespace quant {

namespace {

void adjust(Config& config) {
    config.embedding_scale = std::sqrt(static_cast<float>(config.embedding));
    // The file has no query scale: the 27B model alone divides by the width per head instead of the head
    // size.
    if (config.layers.size() == 62)
        config.attention_scale =
            1.0f / std::sqrt(static_cast<float>(config.embedding) / static_cast<float>(config.heads));
}

}  // namespace

extern const Architecture kGemma3;
const Architecture kGemma3{
    .name = "gemma3",
    .attention_post_norm = true,
    .feed_forward_post_norm = true,
    .head_norm = HeadNorm::per_head,
    .rope = RopeKind::neox,
    .activation = Gate::gelu_tanh,
    .windows = WindowPattern::five_of_six,
    .windowed_layers_unscaled = true,
    .adjust = adjust,
};

}  // namespace quant
