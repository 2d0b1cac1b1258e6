// Q6_K: super-blocks of 256 in 16 sub-blocks of 16 with 8-bit scales.
#include <cstring>

#include "formats/blocks.h"
#include "formats/codecs.h"
#include "formats/superblock.h"
#include "formats/unweighted.h"

namespace quant {

void decode_q6_k(const RowPlace*, const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockQ6_K*>(blocks);
    for (int64_t i = 0; i < n; i += 256, ++block) {
        const float d = block->d.value();
        for (int j = 0; j < 16; ++j) {
            const int h = j / 8, g = j / 2 % 4;
            const uint8_t *ql = block->ql + 64 * h + 32 * (g % 2) + 16 * (j % 2), *qh = block->qh + 32 * h + 16 * (j % 2);
            const float step = d * static_cast<float>(block->scales[j]);
            float* to = out + i + 16 * j;
            for (int l = 0; l < 16; ++l)
                to[l] = step * static_cast<float>(((ql[l] >> (4 * (g / 2)) & 15) | (qh[l] >> (2 * g) & 3) << 4) - 32);
        }
    }
}

namespace {

template <int W>
QUANT_INLINE void q6_k_body(const float* x, const float* importance, uint8_t* blocks, int64_t n) {
    auto* block = reinterpret_cast<BlockQ6_K*>(blocks);
    search::Block<256> in;
    int level[256];
    for (int64_t i = 0; i < n; i += 256, ++block) {
        search::load_block<W>(in, x + i, importance ? importance + i : nullptr);
        const auto best = search::best_scaled_block<W, search::Uniform<-32, 31>, 16, -128, 127>(in, {30, 1.01f, 10, 20}, level);
        std::memset(block, 0, sizeof *block);
        block->d.set_bits(best.d.bits);
        for (int j = 0; j < 16; ++j) block->scales[j] = static_cast<int8_t>(best.scale[j]);
        for (int e = 0; e < 256; ++e) {
            const int h = e / 128, g = e / 32 % 4, l = e % 32, q = level[e] + 32;
            uint8_t& low = block->ql[64 * h + 32 * (g % 2) + l];
            uint8_t& high = block->qh[32 * h + l];
            low = static_cast<uint8_t>(low | (q & 15) << (g < 2 ? 0 : 4));
            high = static_cast<uint8_t>(high | q >> 4 << (2 * g));
        }
    }
}

QUANT_ENCODER(thorough_q6_k, q6_k_body)

}  // namespace

QUANT_FAST_ENCODER(q6_k)

}  // namespace quant
