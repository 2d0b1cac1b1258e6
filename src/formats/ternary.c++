// TQ1_0 and TQ2_0: 256 weights of {-d, 0, d}.
#include "formats/blocks.h"
#include "formats/codecs.h"

namespace quant {

namespace {

constexpr int kPower3[5] = {1, 3, 9, 27, 81};

int trit_of(int byte, int n) { return ((byte * kPower3[n] & 255) * 3) >> 8; }

}  // namespace

void decode_tq1_0(const void*, const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockTQ1_0*>(blocks);
    for (int64_t i = 0; i < n; i += 256, ++block) {
        const float d = block->d.value();
        float* to = out + i;
        for (int t = 0; t < 5; ++t) {
            for (int b = 0; b < 32; ++b) *to++ = d * static_cast<float>(trit_of(block->qs[b], t) - 1);
        }
        for (int t = 0; t < 5; ++t) {
            for (int b = 32; b < 48; ++b) *to++ = d * static_cast<float>(trit_of(block->qs[b], t) - 1);
        }
        for (int t = 0; t < 4; ++t) {
            for (int b = 0; b < 4; ++b) *to++ = d * static_cast<float>(trit_of(block->qh[b], t) - 1);
        }
    }
}

void decode_tq2_0(const void*, const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockTQ2_0*>(blocks);
    for (int64_t i = 0; i < n; i += 256, ++block) {
        const float d = block->d.value();
        for (int e = 0; e < 256; ++e) {
            const int q = block->qs[32 * (e / 128) + e % 32] >> (2 * (e / 32 % 4)) & 3;
            out[i + e] = d * static_cast<float>(q - 1);
        }
    }
}

}  // namespace quant
