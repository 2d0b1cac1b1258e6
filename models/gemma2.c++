// Gemma 2: norms before and after each block, soft caps, every other layer sees a window.
#include <cmath>

#include "model/architecture.h"
#include "model/config.h"

namespace quant {

namespace {

void adjust(Config& config) {
    config.embedding_scale = std::sqrt(static_cast<float>(config.embedding));
    // The file has no query scale: the 27B model alone divides by the width per head instead of the head
    // size.
    if (config.layers.size() == 46)
        config.attention_scale =
            1.0f / std::sqrt(static_cast<float>(config.embedding) / static_cast<float>(config.heads));
}

}  // namespace

extern const Architecture kGemma2;
const Architecture kGemma2{
    .name = "gemma2",
    .attention_post_norm = true,
    .feed_forward_post_norm = true,
    .output = Presence::never,
    .rope = RopeKind::neox,
    .activation = Gate::gelu_tanh,
    .windows = WindowPattern::even_layers,
    .soft_caps = true,
    .adjust = adjust,
};

}  // namespace quant
