// The encoders of unweighted.h for any processor, and the choice between them.
#include "formats/unweighted_q2k.h"

namespace quant {

const UnweightedEncoders kPortableUnweighted = kEncoders;

void Thorough::block(const float* x, uint8_t* block, int64_t n, EncodingError* sums) const {
    encode(nullptr, x, nullptr, block, n);
    if (!sums) return;
    float decoded[256];
    decode(nullptr, block, decoded, n);
    for (int64_t i = 0; i < n; ++i) {
        const double w = static_cast<double>(x[i]), difference = w - static_cast<double>(decoded[i]);
        sums->error += difference * difference;
        sums->norm += w * w;
        if (difference != 0) sums->exact = false;
    }
}

const UnweightedEncoders& unweighted_encoders() {
#if defined(__x86_64__) && !defined(QUANT_SANITIZED)
    if (lane_width() == 16) return kAvx512Unweighted;
    if (lane_width() == 8) return kAvx2Unweighted;
#endif
    return kPortableUnweighted;
}

}  // namespace quant
