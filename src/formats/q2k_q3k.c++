// Q2_K and Q3_K: super-blocks of 256 in 16 sub-blocks of 16.
#include "formats/blocks.h"
#include "formats/codecs.h"

namespace quant {

void decode_q2_k(const void*, const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockQ2_K*>(blocks);
    for (int64_t i = 0; i < n; i += 256, ++block) {
        const float d = block->d.value(), dmin = block->dmin.value();
        for (int e = 0; e < 256; ++e) {
            const int scale = block->scales[e / 16];
            const int q = block->qs[32 * (e / 128) + e % 32] >> (2 * (e / 32 % 4)) & 3;
            out[i + e] = d * static_cast<float>(scale & 15) * static_cast<float>(q) - dmin * static_cast<float>(scale >> 4);
        }
    }
}

void decode_q3_k(const void*, const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockQ3_K*>(blocks);
    for (int64_t i = 0; i < n; i += 256, ++block) {
        const float d = block->d.value();
        const uint8_t* s = block->scales;
        for (int e = 0; e < 256; ++e) {
            const int j = e / 16;
            const int scale = ((j < 8 ? s[j] & 15 : s[j - 8] >> 4) | (s[8 + j % 4] >> (2 * (j / 4)) & 3) << 4) - 32;
            const int low = block->qs[32 * (e / 128) + e % 32] >> (2 * (e / 32 % 4)) & 3;
            const int q = (low | (block->hmask[e % 32] >> (e / 32) & 1) << 2) - 4;
            out[i + e] = d * static_cast<float>(scale) * static_cast<float>(q);
        }
    }
}

}  // namespace quant
