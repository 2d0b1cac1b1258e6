// Qwen 3 with experts.
#include "model/architecture.h"

namespace quant {

extern const Architecture kQwen3Moe;
const Architecture kQwen3Moe{
    .name = "qwen3moe",
    .head_norm = HeadNorm::per_head,
    .experts = Presence::required,
    .rope = RopeKind::neox,
};

}  // namespace quant
