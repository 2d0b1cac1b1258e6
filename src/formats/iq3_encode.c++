// Encoders of IQ3_XXS and IQ3_S.
#include <array>

#include "formats/blocks.h"
#include "formats/codecs.h"
#include "formats/grid_search.h"
#include "formats/grids.h"

namespace quant {

namespace {

template <size_t n>
const search::GridLevels levels_of(const Grid4<n>& grid) {
    static const auto levels = [&] {
        std::array<float, 4 * n> all{};
        for (size_t p = 0; p < n; ++p) {
            for (size_t i = 0; i < 4; ++i) all[i * n + p] = static_cast<float>(grid.points[p] >> (8 * i) & 255);
        }
        return all;
    }();
    return {static_cast<int>(n), levels.data()};
}

struct ShapeXxs {
    using Levels = search::Iq3;
    static constexpr int kDims = 4, kSubs = 8, kScales = 16, kTries = 24;
    static constexpr bool kEven = true;
    static constexpr auto& kAround = search::kNineScales;
    static constexpr float kFirst = 0.25f, kStep = 0.5f, kFactor = 0.9f, kRatio = 1.025f, kUnit = 0.25f;
};
struct ShapeS : ShapeXxs {
    static constexpr bool kEven = false;
    static constexpr float kFirst = 1, kStep = 2, kUnit = 1;
};

template <int W>
QUANT_INLINE void iq3_xxs_body(const float* x, const float* importance, uint8_t* blocks, int64_t n) {
    const auto grid = levels_of(kIq3XxsGrid);
    auto* block = reinterpret_cast<BlockIQ3_XXS*>(blocks);
    search::GridCodes codes;
    for (int64_t i = 0; i < n; i += 256, ++block) {
        const float* w = importance ? importance + i : nullptr;
        const auto best = search::best_signed_block<W, ShapeXxs>(grid, x + i, w, codes);
        block->d.set_bits(best.d.bits);
        for (int g = 0; g < 64; ++g) block->qs[g] = static_cast<uint8_t>(codes.point[g]);
        for (int j = 0; j < 8; ++j) {
            uint32_t signs = static_cast<uint32_t>(best.k[j]) << 28;
            for (int l = 0; l < 4; ++l) signs |= static_cast<uint32_t>(codes.negative[4 * j + l] & 127) << (7 * l);
            store(block->signs + 4 * j, signs);
        }
    }
}

template <int W>
QUANT_INLINE void iq3_s_body(const float* x, const float* importance, uint8_t* blocks, int64_t n) {
    const auto grid = levels_of(kIq3SGrid);
    auto* block = reinterpret_cast<BlockIQ3_S*>(blocks);
    search::GridCodes codes;
    for (int64_t i = 0; i < n; i += 256, ++block) {
        const float* w = importance ? importance + i : nullptr;
        const auto best = search::best_signed_block<W, ShapeS>(grid, x + i, w, codes);
        block->d.set_bits(best.d.bits);
        for (int g = 0; g < 64; ++g) block->qs[g] = static_cast<uint8_t>(codes.point[g]);
        for (int j = 0; j < 8; ++j) {
            int high = 0;
            for (int l = 0; l < 8; ++l) high |= codes.point[8 * j + l] >> 8 << l;
            block->qh[j] = static_cast<uint8_t>(high);
        }
        for (int u = 0; u < 32; ++u) block->signs[u] = codes.negative[u];
        for (int j = 0; j < 4; ++j) block->scales[j] = static_cast<uint8_t>(best.k[2 * j] | best.k[2 * j + 1] << 4);
    }
}

}  // namespace

QUANT_ENCODER(encode_iq3_xxs, iq3_xxs_body)
QUANT_ENCODER(encode_iq3_s, iq3_s_body)

}  // namespace quant
