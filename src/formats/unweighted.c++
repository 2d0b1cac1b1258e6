// The encoders of unweighted.h for any processor, and the choice between them.
#include "formats/unweighted_q2k.h"

namespace quant {

const UnweightedEncoders kPortableUnweighted = kEncoders;

const UnweightedEncoders& unweighted_encoders() {
#if defined(__x86_64__) && !defined(QUANT_SANITIZED)
    if (lane_width() == 16) return kAvx512Unweighted;
    if (lane_width() == 8) return kAvx2Unweighted;
#endif
    return kPortableUnweighted;
}

}  // namespace quant
