// Q6_K: super-blocks of 256 in 16 sub-blocks of 16 with 8-bit scales.
#include "formats/blocks.h"
#include "formats/codecs.h"

namespace quant {

void decode_q6_k(const void*, const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockQ6_K*>(blocks);
    for (int64_t i = 0; i < n; i += 256, ++block) {
        const float d = block->d.value();
        for (int e = 0; e < 256; ++e) {
            const int h = e / 128, g = e / 32 % 4, l = e % 32;
            const int low = block->ql[64 * h + 32 * (g % 2) + l] >> (g < 2 ? 0 : 4) & 15;
            const int q = (low | (block->qh[32 * h + l] >> (2 * g) & 3) << 4) - 32;
            out[i + e] = d * static_cast<float>(block->scales[e / 16]) * static_cast<float>(q);
        }
    }
}

}  // namespace quant
