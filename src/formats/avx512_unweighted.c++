// The encoders of unweighted.h for AVX-512 VNNI.
#if defined(__x86_64__) && !defined(QUANT_SANITIZED)
#define QUANT_ENCODERS_AVX512 1
#include "formats/unweighted_q2k.h"

namespace quant {

const UnweightedEncoders kAvx512Unweighted = kEncoders;

}  // namespace quant
#endif
