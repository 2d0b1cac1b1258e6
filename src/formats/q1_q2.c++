// Q1_0 (two levels) and Q2_0 (four, of which stock encoders use three): one scale, no zero point.
#include "formats/blocks.h"
#include "formats/codecs.h"

namespace quant {

void decode_q1_0(const void*, const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockQ1_0*>(blocks);
    for (int64_t i = 0; i < n; i += 128, ++block) {
        const float d = block->d.value();
        for (int e = 0; e < 128; ++e) out[i + e] = (block->qs[e / 8] >> (e % 8) & 1) ? d : -d;
    }
}

void decode_q2_0(const void*, const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockQ2_0*>(blocks);
    for (int64_t i = 0; i < n; i += 64, ++block) {
        const float d = block->d.value();
        for (int e = 0; e < 64; ++e) out[i + e] = d * static_cast<float>((block->qs[e / 4] >> (2 * (e % 4)) & 3) - 1);
    }
}

}  // namespace quant
