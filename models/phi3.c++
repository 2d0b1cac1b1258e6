// Phi 3, 3.5 and 4, dense. Their sliding window is ignored, as stock runners do.
#include "model/architecture.h"

namespace quant {

extern const Architecture kPhi3;
const Architecture kPhi3{
    .name = "phi3",
    .fused_qkv = true,
    .rope = RopeKind::neox,
    .feed_forward = FeedForward::gated_fused,
};

}  // namespace quant
