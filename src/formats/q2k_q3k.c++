// Q2_K and Q3_K: super-blocks of 256 in 16 sub-blocks of 16.
#include <cstring>

#include "formats/blocks.h"
#include "formats/codecs.h"
#include "formats/superblock.h"
#include "formats/unweighted.h"

namespace quant {

namespace {

// Bits 0-1 of 256 codes as 2-bit planes.
void store_planes(const int* code, uint8_t* qs) {
    for (int b = 0; b < 64; ++b) {
        const int* at = code + 128 * (b / 32) + b % 32;
        qs[b] = static_cast<uint8_t>((at[0] & 3) | (at[32] & 3) << 2 | (at[64] & 3) << 4 | (at[96] & 3) << 6);
    }
}

}  // namespace

void decode_q2_k(const RowPlace*, const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockQ2_K*>(blocks);
    for (int64_t i = 0; i < n; i += 256, ++block) {
        const float d = block->d.value(), dmin = block->dmin.value();
        for (int j = 0; j < 16; ++j) {
            const float scale = d * static_cast<float>(block->scales[j] & 15), min = dmin * static_cast<float>(block->scales[j] >> 4);
            const uint8_t* qs = block->qs + 32 * (j / 8) + 16 * (j % 2);
            float* to = out + i + 16 * j;
            for (int l = 0; l < 16; ++l) to[l] = scale * static_cast<float>(qs[l] >> (2 * (j / 2 % 4)) & 3) - min;
        }
    }
}

void decode_q3_k(const RowPlace*, const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockQ3_K*>(blocks);
    for (int64_t i = 0; i < n; i += 256, ++block) {
        const float d = block->d.value();
        const uint8_t* s = block->scales;
        for (int j = 0; j < 16; ++j) {
            const int scale = ((j < 8 ? s[j] & 15 : s[j - 8] >> 4) | (s[8 + j % 4] >> (2 * (j / 4)) & 3) << 4) - 32;
            const float step = d * static_cast<float>(scale);
            const uint8_t *qs = block->qs + 32 * (j / 8) + 16 * (j % 2), *high = block->hmask + 16 * (j % 2);
            float* to = out + i + 16 * j;
            for (int l = 0; l < 16; ++l)
                to[l] = step * static_cast<float>(((qs[l] >> (2 * (j / 2 % 4)) & 3) | (high[l] >> (j / 2) & 1) << 2) - 4);
        }
    }
}

namespace {

template <int W>
QUANT_INLINE void q2_k_body(const float* x, const float* importance, uint8_t* blocks, int64_t n) {
    auto* block = reinterpret_cast<BlockQ2_K*>(blocks);
    search::Block<256> in;
    int code[256];
    for (int64_t i = 0; i < n; i += 256, ++block) {
        search::load_block<W>(in, x + i, importance ? importance + i : nullptr);
        const auto best = search::best_affine_block<W, 16, 3, 15>(in, {-0.06f, 0.06f, 6}, code);
        block->d.set_bits(best.d.bits);
        block->dmin.set_bits(best.dmin.bits);
        for (int j = 0; j < 16; ++j) block->scales[j] = static_cast<uint8_t>(best.scale[j] | best.min[j] << 4);
        store_planes(code, block->qs);
    }
}

template <int W>
QUANT_INLINE void q3_k_body(const float* x, const float* importance, uint8_t* blocks, int64_t n) {
    auto* block = reinterpret_cast<BlockQ3_K*>(blocks);
    search::Block<256> in;
    int level[256];
    for (int64_t i = 0; i < n; i += 256, ++block) {
        search::load_block<W>(in, x + i, importance ? importance + i : nullptr);
        const auto best = search::best_scaled_block<W, search::Uniform<-4, 3>, 16, -32, 31>(in, {2.7f, 1.06f, 14, 24}, level);
        std::memset(block, 0, sizeof *block);
        block->d.set_bits(best.d.bits);
        for (int j = 0; j < 16; ++j) {
            const int s = best.scale[j] + 32;
            uint8_t& low = block->scales[j % 8];
            uint8_t& high = block->scales[8 + j % 4];
            low = static_cast<uint8_t>(low | (s & 15) << (j < 8 ? 0 : 4));
            high = static_cast<uint8_t>(high | s >> 4 << (2 * (j / 4)));
        }
        for (int e = 0; e < 256; ++e) {
            level[e] += 4;
            block->hmask[e % 32] = static_cast<uint8_t>(block->hmask[e % 32] | level[e] >> 2 << (e / 32));
        }
        store_planes(level, block->qs);
    }
}

QUANT_ENCODER(thorough_q3_k, q3_k_body)
QUANT_ENCODER(thorough_q2_k, q2_k_body)

}  // namespace

QUANT_FAST_ENCODER(q2_k)
QUANT_FAST_ENCODER(q3_k)

}  // namespace quant
