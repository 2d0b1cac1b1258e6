// Encoders of IQ2_XXS, IQ2_XS and IQ2_S.
#include <array>

#include "formats/blocks.h"
#include "formats/codecs.h"
#include "formats/grid_search.h"
#include "formats/grids.h"

namespace quant {

namespace {

template <size_t n>
const search::GridLevels levels_of(const Grid8<n>& grid) {
    static const auto levels = [&] {
        std::array<float, 8 * n> all{};
        for (size_t p = 0; p < n; ++p) {
            for (size_t i = 0; i < 8; ++i) all[i * n + p] = static_cast<float>(grid.points[p] >> (8 * i) & 255);
        }
        return all;
    }();
    return {static_cast<int>(n), levels.data()};
}

struct ShapeXxs {
    using Levels = search::Iq2;
    static constexpr int kDims = 8, kSubs = 8, kScales = 16, kTries = 24;
    static constexpr bool kEven = true;
    static constexpr auto& kAround = search::kSixScales;
    static constexpr float kFirst = 0.125f, kStep = 0.25f, kFactor = 0.9f, kRatio = 1.025f, kUnit = 1;
};
struct ShapeXs : ShapeXxs {
    static constexpr int kSubs = 16;
};
struct ShapeS : ShapeXs {
    static constexpr bool kEven = false;
};

template <int W>
QUANT_INLINE void iq2_xxs_body(const float* x, const float* importance, uint8_t* blocks, int64_t n) {
    const auto grid = levels_of(kIq2XxsGrid);
    auto* block = reinterpret_cast<BlockIQ2_XXS*>(blocks);
    search::GridCodes codes;
    for (int64_t i = 0; i < n; i += 256, ++block) {
        const float* w = importance ? importance + i : nullptr;
        const auto best = search::best_signed_block<W, ShapeXxs>(grid, x + i, w, codes);
        block->d.set_bits(best.d.bits);
        for (int j = 0; j < 8; ++j) {
            uint32_t signs = static_cast<uint32_t>(best.k[j]) << 28;
            for (int l = 0; l < 4; ++l) {
                block->qs[8 * j + l] = static_cast<uint8_t>(codes.point[4 * j + l]);
                signs |= static_cast<uint32_t>(codes.negative[4 * j + l] & 127) << (7 * l);
            }
            store(block->qs + 8 * j + 4, signs);
        }
    }
}

void store_scales(const int* k, uint8_t* scales) {
    for (int j = 0; j < 8; ++j) scales[j] = static_cast<uint8_t>(k[2 * j] | k[2 * j + 1] << 4);
}

template <int W>
QUANT_INLINE void iq2_xs_body(const float* x, const float* importance, uint8_t* blocks, int64_t n) {
    const auto grid = levels_of(kIq2XsGrid);
    auto* block = reinterpret_cast<BlockIQ2_XS*>(blocks);
    search::GridCodes codes;
    for (int64_t i = 0; i < n; i += 256, ++block) {
        const float* w = importance ? importance + i : nullptr;
        const auto best = search::best_signed_block<W, ShapeXs>(grid, x + i, w, codes);
        block->d.set_bits(best.d.bits);
        for (int u = 0; u < 32; ++u) {
            store(block->qs + 2 * u, static_cast<uint16_t>(codes.point[u] | (codes.negative[u] & 127) << 9));
        }
        store_scales(best.k, block->scales);
    }
}

template <int W>
QUANT_INLINE void iq2_s_body(const float* x, const float* importance, uint8_t* blocks, int64_t n) {
    const auto grid = levels_of(kIq2SGrid);
    auto* block = reinterpret_cast<BlockIQ2_S*>(blocks);
    search::GridCodes codes;
    for (int64_t i = 0; i < n; i += 256, ++block) {
        const float* w = importance ? importance + i : nullptr;
        const auto best = search::best_signed_block<W, ShapeS>(grid, x + i, w, codes);
        block->d.set_bits(best.d.bits);
        for (int u = 0; u < 32; ++u) {
            block->qs[u] = static_cast<uint8_t>(codes.point[u]);
            block->signs[u] = codes.negative[u];
        }
        for (int j = 0; j < 8; ++j) {
            int high = 0;
            for (int l = 0; l < 4; ++l) high |= codes.point[4 * j + l] >> 8 << (2 * l);
            block->qh[j] = static_cast<uint8_t>(high);
        }
        store_scales(best.k, block->scales);
    }
}

}  // namespace

QUANT_ENCODER(encode_iq2_xxs, iq2_xxs_body)
QUANT_ENCODER(encode_iq2_xs, iq2_xs_body)
QUANT_ENCODER(encode_iq2_s, iq2_s_body)

}  // namespace quant
