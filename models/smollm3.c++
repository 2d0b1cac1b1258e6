// SmolLM 3: every fourth layer has no rotary positions.
#include "model/architecture.h"
#include "model/config.h"

namespace quant {

namespace {

void adjust(Config& config) {
    for (size_t i = 3; i < config.layers.size(); i += 4) config.layers[i].rope = false;
}

}  // namespace

extern const Architecture kSmollm3;
const Architecture kSmollm3{
    .name = "smollm3",
    .rope = RopeKind::normal,
    .adjust = adjust,
};

}  // namespace quant
