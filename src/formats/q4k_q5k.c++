// Q4_K and Q5_K: super-blocks of 256 in 8 sub-blocks of 32 with 6-bit scales and minima.
#include "formats/blocks.h"
#include "formats/codecs.h"

namespace quant {

namespace {

struct ScaleMin {
    float scale, min;
};

ScaleMin scale_min(const uint8_t* s, int j) {
    if (j < 4) return {static_cast<float>(s[j] & 63), static_cast<float>(s[j + 4] & 63)};
    return {static_cast<float>((s[j + 4] & 15) | (s[j - 4] >> 6) << 4),
            static_cast<float>((s[j + 4] >> 4) | (s[j] >> 6) << 4)};
}

}  // namespace

void decode_q4_k(const void*, const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockQ4_K*>(blocks);
    for (int64_t i = 0; i < n; i += 256, ++block) {
        const float d = block->d.value(), dmin = block->dmin.value();
        for (int j = 0; j < 8; ++j) {
            const ScaleMin s = scale_min(block->scales, j);
            const float scale = d * s.scale, min = dmin * s.min;
            const uint8_t* qs = block->qs + 32 * (j / 2);
            for (int l = 0; l < 32; ++l) {
                out[i + 32 * j + l] = scale * static_cast<float>(qs[l] >> (4 * (j % 2)) & 15) - min;
            }
        }
    }
}

void decode_q5_k(const void*, const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockQ5_K*>(blocks);
    for (int64_t i = 0; i < n; i += 256, ++block) {
        const float d = block->d.value(), dmin = block->dmin.value();
        for (int j = 0; j < 8; ++j) {
            const ScaleMin s = scale_min(block->scales, j);
            const float scale = d * s.scale, min = dmin * s.min;
            const uint8_t* qs = block->qs + 32 * (j / 2);
            for (int l = 0; l < 32; ++l) {
                const int q = (qs[l] >> (4 * (j % 2)) & 15) | (block->qh[l] >> j & 1) << 4;
                out[i + 32 * j + l] = scale * static_cast<float>(q) - min;
            }
        }
    }
}

}  // namespace quant
