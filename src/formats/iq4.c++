// IQ4_NL and IQ4_XS: four bits into 16 uneven levels.
#include "formats/blocks.h"
#include "formats/codecs.h"

namespace quant {

void decode_iq4_nl(const void*, const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockIQ4_NL*>(blocks);
    for (int64_t i = 0; i < n; i += 32, ++block) {
        const float d = block->d.value();
        for (int j = 0; j < 16; ++j) {
            out[i + j] = d * static_cast<float>(kIq4Levels[block->qs[j] & 15]);
            out[i + j + 16] = d * static_cast<float>(kIq4Levels[block->qs[j] >> 4]);
        }
    }
}

void decode_iq4_xs(const void*, const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockIQ4_XS*>(blocks);
    for (int64_t i = 0; i < n; i += 256, ++block) {
        const float d = block->d.value();
        const int scales_h = load<uint16_t>(block->scales_h);
        for (int b = 0; b < 8; ++b) {
            const int low = block->scales_l[b / 2] >> (4 * (b % 2)) & 15;
            const float scale = d * static_cast<float>((low | (scales_h >> (2 * b) & 3) << 4) - 32);
            for (int j = 0; j < 16; ++j) {
                const int byte = block->qs[16 * b + j];
                out[i + 32 * b + j] = scale * static_cast<float>(kIq4Levels[byte & 15]);
                out[i + 32 * b + j + 16] = scale * static_cast<float>(kIq4Levels[byte >> 4]);
            }
        }
    }
}

}  // namespace quant
