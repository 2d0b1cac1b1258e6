// The encoders of unweighted.h for AVX2.
#if defined(__x86_64__) && !defined(QUANT_SANITIZED)
#include "formats/unweighted_q2k.h"

namespace quant {

const UnweightedEncoders kAvx2Unweighted = kEncoders;

}  // namespace quant
#endif
