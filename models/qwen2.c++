// Qwen 1.5, 2 and 2.5, and the distillations made from them.
#include "model/architecture.h"

namespace quant {

extern const Architecture kQwen2;
const Architecture kQwen2{
    .name = "qwen2",
    .qkv_bias = Presence::required,
    .rope = RopeKind::neox,
};

}  // namespace quant
