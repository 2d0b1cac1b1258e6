// Qwen 3, dense.
#include "model/architecture.h"

namespace quant {

extern const Architecture kQwen3;
const Architecture kQwen3{
    .name = "qwen3",
    .head_norm = HeadNorm::per_head,
    .rope = RopeKind::neox,
};

}  // namespace quant
