// BitNet b1.58: ternary weights, norms inside the blocks, squared ReLU.
#include "model/architecture.h"

namespace quant {

extern const Architecture kBitnet;
const Architecture kBitnet{
    .name = "bitnet-b1.58",
    .sub_norms = true,
    .rope = RopeKind::neox,
    .activation = Gate::relu2,
};

}  // namespace quant
