// IQ4_NL and IQ4_XS: four bits into 16 uneven levels.
#include "formats/blocks.h"
#include "formats/codecs.h"
#include "formats/superblock.h"
#include "formats/unweighted.h"

namespace quant {

namespace {

constexpr int code_of(int level) {
    int code = 0;
    while (kIq4Levels[code] != level) ++code;
    return code;
}

void store_levels(const int* level, uint8_t* qs) {
    for (int j = 0; j < 16; ++j) qs[j] = static_cast<uint8_t>(code_of(level[j]) | code_of(level[j + 16]) << 4);
}

}  // namespace

void decode_iq4_nl(const RowPlace*, const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockIQ4_NL*>(blocks);
    for (int64_t i = 0; i < n; i += 32, ++block) {
        const float d = block->d.value();
        for (int j = 0; j < 16; ++j) {
            out[i + j] = d * static_cast<float>(kIq4Levels[block->qs[j] & 15]);
            out[i + j + 16] = d * static_cast<float>(kIq4Levels[block->qs[j] >> 4]);
        }
    }
}

void decode_iq4_xs(const RowPlace*, const uint8_t* blocks, float* out, int64_t n) {
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

namespace {

template <int W>
QUANT_INLINE void iq4_nl_body(const float* x, const float* importance, uint8_t* blocks, int64_t n) {
    auto* block = reinterpret_cast<BlockIQ4_NL*>(blocks);
    search::Block<32> in;
    for (int64_t i = 0; i < n; i += 32, ++block) {
        search::load_block<W>(in, x + i, importance ? importance + i : nullptr);
        const search::HalfScale d = search::best_scale<W, search::Iq4, 32>(in, {95, 1.025f, 20, 40});
        int level[32];
        search::choose_levels<W, search::Iq4, 32>(in.x, d.value, level);
        block->d.set_bits(d.bits);
        store_levels(level, block->qs);
    }
}

template <int W>
QUANT_INLINE void iq4_xs_body(const float* x, const float* importance, uint8_t* blocks, int64_t n) {
    auto* block = reinterpret_cast<BlockIQ4_XS*>(blocks);
    search::Block<256> in;
    int level[256];
    for (int64_t i = 0; i < n; i += 256, ++block) {
        search::load_block<W>(in, x + i, importance ? importance + i : nullptr);
        const auto best = search::best_scaled_block<W, search::Iq4, 8, -32, 31>(in, {95, 1.025f, 20, 40}, level);
        block->d.set_bits(best.d.bits);
        uint32_t low = 0, high = 0;
        for (int b = 0; b < 8; ++b) {
            const uint32_t s = static_cast<uint32_t>(best.scale[b] + 32);
            low |= (s & 15) << (4 * b);
            high |= s >> 4 << (2 * b);
            store_levels(level + 32 * b, block->qs + 16 * b);
        }
        store(block->scales_l, low);
        store(block->scales_h, static_cast<uint16_t>(high));
    }
}

QUANT_ENCODER(thorough_iq4_nl, iq4_nl_body)

}  // namespace

QUANT_FAST_ENCODER(iq4_nl)
QUANT_ENCODER(encode_iq4_xs, iq4_xs_body)

}  // namespace quant
