// Granite 3 and 4, dense: four scalars from the file.
#include "model/architecture.h"

namespace quant {

extern const Architecture kGranite;
const Architecture kGranite{
    .name = "granite",
    .qkv_bias = Presence::optional,
    .attention_output_bias = Presence::optional,
    .feed_forward_bias = Presence::optional,
    .rope = RopeKind::normal,
    .scalars = true,
};

}  // namespace quant
