// The encoders of unweighted.h for any processor, and the choice between them.
#include "formats/unweighted_q2k.h"

namespace quant {

const UnweightedEncoders kPortableUnweighted = kEncoders;

const UnweightedEncoders& unweighted_encoders() {
#if defined(__x86_64__) && !defined(QUANT_SANITIZED)
    if (wide_lanes()) return kAvx2Unweighted;
#endif
    return kPortableUnweighted;
}

}  // namespace quant
