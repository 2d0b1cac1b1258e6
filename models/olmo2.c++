// OLMo 2: norms after the blocks instead of before them.
#include "model/architecture.h"

namespace quant {

extern const Architecture kOlmo2;
const Architecture kOlmo2{
    .name = "olmo2",
    .attention_norm = false,
    .feed_forward_norm = false,
    .attention_post_norm = true,
    .feed_forward_post_norm = true,
    .head_norm = HeadNorm::full_width,
    .output = Presence::required,
    .rope = RopeKind::neox,
};

}  // namespace quant
