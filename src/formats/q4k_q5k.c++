// Q4_K and Q5_K: super-blocks of 256 in 8 sub-blocks of 32 with 6-bit scales and minima.
#include "formats/blocks.h"
#include "formats/codecs.h"
#include "formats/superblock.h"
#include "formats/unweighted.h"

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

void store_scales(const int* scale, const int* min, uint8_t* s) {
    for (int j = 0; j < 4; ++j) {
        s[j] = static_cast<uint8_t>(scale[j] | scale[j + 4] >> 4 << 6);
        s[j + 4] = static_cast<uint8_t>(min[j] | min[j + 4] >> 4 << 6);
        s[j + 8] = static_cast<uint8_t>((scale[j + 4] & 15) | (min[j + 4] & 15) << 4);
    }
}

// Bits 0-3 of 256 codes as nibble planes.
void store_nibbles(const int* code, uint8_t* qs) {
    for (int b = 0; b < 128; ++b) {
        const int* at = code + 64 * (b / 32) + b % 32;
        qs[b] = static_cast<uint8_t>((at[0] & 15) | (at[32] & 15) << 4);
    }
}

}  // namespace

void decode_q4_k(const RowPlace*, const uint8_t* blocks, float* out, int64_t n) {
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

void decode_q5_k(const RowPlace*, const uint8_t* blocks, float* out, int64_t n) {
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

namespace {

template <int W>
QUANT_INLINE void q4_k_body(const float* x, const float* importance, uint8_t* blocks, int64_t n) {
    auto* block = reinterpret_cast<BlockQ4_K*>(blocks);
    search::Block<256> in;
    int code[256];
    for (int64_t i = 0; i < n; i += 256, ++block) {
        search::load_block<W>(in, x + i, importance ? importance + i : nullptr);
        const auto best = search::best_affine_block<W, 8, 15, 63>(in, {-0.02f, 0.02f, 5}, code);
        block->d.set_bits(best.d.bits);
        block->dmin.set_bits(best.dmin.bits);
        store_scales(best.scale, best.min, block->scales);
        store_nibbles(code, block->qs);
    }
}

template <int W>
QUANT_INLINE void q5_k_body(const float* x, const float* importance, uint8_t* blocks, int64_t n) {
    auto* block = reinterpret_cast<BlockQ5_K*>(blocks);
    search::Block<256> in;
    int code[256];
    for (int64_t i = 0; i < n; i += 256, ++block) {
        search::load_block<W>(in, x + i, importance ? importance + i : nullptr);
        const auto best = search::best_affine_block<W, 8, 31, 63>(in, {-0.02f, 0.01f, 6}, code);
        block->d.set_bits(best.d.bits);
        block->dmin.set_bits(best.dmin.bits);
        store_scales(best.scale, best.min, block->scales);
        store_nibbles(code, block->qs);
        for (int l = 0; l < 32; ++l) {
            int high = 0;
            for (int j = 0; j < 8; ++j) high |= code[32 * j + l] >> 4 << j;
            block->qh[l] = static_cast<uint8_t>(high);
        }
    }
}

QUANT_ENCODER(thorough_q4_k, q4_k_body)
QUANT_ENCODER(thorough_q5_k, q5_k_body)

}  // namespace

QUANT_FAST_ENCODER(q4_k)
QUANT_FAST_ENCODER(q5_k)

}  // namespace quant
