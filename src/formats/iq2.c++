// IQ2_XXS, IQ2_XS, IQ2_S: the magnitudes of 8 weights from a book, and their signs.
#include "formats/blocks.h"
#include "formats/codecs.h"
#include "formats/grids.h"

namespace quant {

namespace {

// Eight weights: scale * level, negative where `signs` has a bit.
void decode_point(uint64_t point, uint32_t signs, float scale, float* out) {
    for (int i = 0; i < 8; ++i) {
        const float value = scale * static_cast<float>(point >> (8 * i) & 255);
        out[i] = signs >> i & 1 ? -value : value;
    }
}

float scale_of(float d, uint32_t s) { return d * (0.5f + static_cast<float>(s)) * 0.25f; }

}  // namespace

void decode_iq2_xxs(const RowPlace*, const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockIQ2_XXS*>(blocks);
    for (int64_t i = 0; i < n; i += 256, ++block) {
        const float d = block->d.value();
        for (int group = 0; group < 8; ++group) {
            const uint8_t* indices = block->qs + 8 * group;
            const uint32_t signs = load<uint32_t>(indices + 4);
            const float scale = scale_of(d, signs >> 28);
            for (int part = 0; part < 4; ++part) {
                decode_point(kIq2XxsGrid.points[indices[part]], even_signs(signs >> (7 * part) & 127), scale,
                             out + i + 32 * group + 8 * part);
            }
        }
    }
}

void decode_iq2_xs(const RowPlace*, const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockIQ2_XS*>(blocks);
    for (int64_t i = 0; i < n; i += 256, ++block) {
        const float d = block->d.value();
        for (int part = 0; part < 32; ++part) {
            const uint32_t word = load<uint16_t>(block->qs + 2 * part);
            const float scale = scale_of(d, block->scales[part / 4] >> (4 * (part / 2 % 2)) & 15);
            decode_point(kIq2XsGrid.points[word & 511], even_signs(word >> 9), scale, out + i + 8 * part);
        }
    }
}

void decode_iq2_s(const RowPlace*, const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockIQ2_S*>(blocks);
    for (int64_t i = 0; i < n; i += 256, ++block) {
        const float d = block->d.value();
        for (int part = 0; part < 32; ++part) {
            const uint32_t top = block->qh[part / 4] >> (2 * (part % 4)) & 3;
            const float scale = scale_of(d, block->scales[part / 4] >> (4 * (part / 2 % 2)) & 15);
            decode_point(kIq2SGrid.points[block->qs[part] | top << 8], block->signs[part], scale, out + i + 8 * part);
        }
    }
}

}  // namespace quant
