// IQ1_S and IQ1_M: 8 ternary weights from a book of 2048 points, raised or lowered together by an eighth.
#include "formats/blocks.h"
#include "formats/codecs.h"
#include "formats/grids.h"

namespace quant {

namespace {

constexpr float kDelta = 0.125f;

// Eight weights: scale * (level - 1 + delta).
void decode_point(uint32_t index, float scale, float delta, float* out) {
    const uint64_t point = kIq1Grid.points[index];
    for (int i = 0; i < 8; ++i) {
        const int level = static_cast<int>(point >> (8 * i) & 255) - 1;
        out[i] = scale * (static_cast<float>(level) + delta);
    }
}

}  // namespace

void decode_iq1_s(const RowPlace*, const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockIQ1_S*>(blocks);
    for (int64_t i = 0; i < n; i += 256, ++block) {
        const float d = block->d.value();
        for (int group = 0; group < 8; ++group) {
            const uint32_t more = load<uint16_t>(block->qh + 2 * group);
            const float scale = d * static_cast<float>(2 * (more >> 12 & 7) + 1);
            const float delta = more & 0x8000 ? -kDelta : kDelta;
            for (int part = 0; part < 4; ++part) {
                const uint32_t index = block->qs[4 * group + part] | (more >> (3 * part) & 7) << 8;
                decode_point(index, scale, delta, out + i + 32 * group + 8 * part);
            }
        }
    }
}

void decode_iq1_m(const RowPlace*, const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockIQ1_M*>(blocks);
    for (int64_t i = 0; i < n; i += 256, ++block) {
        const float d = block->d();
        for (int half = 0; half < 16; ++half) {  // of a group: 16 weights
            const uint32_t word = load<uint16_t>(block->scales + 2 * (half / 4));
            const float scale = d * static_cast<float>(2 * (word >> (3 * (half % 4)) & 7) + 1);
            for (int part = 0; part < 2; ++part) {
                const uint32_t nibble = block->qh[half] >> (4 * part) & 15;
                const uint32_t index = block->qs[2 * half + part] | (nibble & 7) << 8;
                decode_point(index, scale, nibble & 8 ? -kDelta : kDelta, out + i + 16 * half + 8 * part);
            }
        }
    }
}

}  // namespace quant
