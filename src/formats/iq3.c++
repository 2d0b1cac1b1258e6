// IQ3_XXS and IQ3_S: the magnitudes of 4 weights from a book, and their signs.
#include "formats/blocks.h"
#include "formats/codecs.h"
#include "formats/grids.h"

namespace quant {

namespace {

// Four weights: scale * level, negative where `signs` has a bit.
void decode_point(uint32_t point, uint32_t signs, float scale, float* out) {
    for (int i = 0; i < 4; ++i) {
        const float value = scale * static_cast<float>(point >> (8 * i) & 255);
        out[i] = signs >> i & 1 ? -value : value;
    }
}

}  // namespace

void decode_iq3_xxs(const RowPlace*, const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockIQ3_XXS*>(blocks);
    for (int64_t i = 0; i < n; i += 256, ++block) {
        const float d = block->d.value();
        for (int group = 0; group < 8; ++group) {
            const uint32_t word = load<uint32_t>(block->signs + 4 * group);
            const float scale = d * (0.5f + static_cast<float>(word >> 28)) * 0.5f;
            for (int part = 0; part < 8; ++part) {
                const uint32_t signs = even_signs(word >> (7 * (part / 2)) & 127) >> (4 * (part % 2));
                const uint32_t point = kIq3XxsGrid.points[block->qs[8 * group + part]];
                decode_point(point, signs, scale, out + i + 32 * group + 4 * part);
            }
        }
    }
}

void decode_iq3_s(const RowPlace*, const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockIQ3_S*>(blocks);
    for (int64_t i = 0; i < n; i += 256, ++block) {
        const float d = block->d.value();
        for (int group = 0; group < 8; ++group) {
            const float scale = d * static_cast<float>(2 * (block->scales[group / 2] >> (4 * (group % 2)) & 15) + 1);
            for (int part = 0; part < 8; ++part) {
                const uint32_t top = block->qh[group] >> part & 1;
                const uint32_t signs = static_cast<uint32_t>(block->signs[4 * group + part / 2]) >> (4 * (part % 2));
                const uint32_t point = kIq3SGrid.points[block->qs[8 * group + part] | top << 8];
                decode_point(point, signs, scale, out + i + 32 * group + 4 * part);
            }
        }
    }
}

}  // namespace quant
