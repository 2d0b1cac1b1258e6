// Own formats with levels in a table: blocks to int8 codes and scales, and staging, for AVX2 and AVX-512
// (contract of the structs in avx2_unpack.h). Included by such files only, everything in an unnamed namespace.
#pragma once

#include "kernels/avx2_unpack.h"
#include "kernels/level_stage.h"

namespace quant {
namespace {

struct NF4 : OneScale {
    static constexpr bool kHalfScale = false;
    static constexpr int kUnit = 64, kBytes = 36, kMax = 128;
    static __m256i codes(const uint8_t* b, int g) { return look_up(kNf4Levels8, nibbles_split(b + 4 + 16 * g)); }
    static float scale(const uint8_t* b) { return float_at(b) * kNf4Unit8; }
    static constexpr float kRowFactor = kNf4Unit8;
    static __m256 scale_everywhere(const uint8_t* b) { return _mm256_set1_ps(float_at(b)); }
};

struct StageNF4_DQ {
    using Block = NF4;
    const EncodedView& w;
    explicit StageNF4_DQ(const MatmulArgs& args) : w(args.w) {}
    void stage(const uint8_t* stored, int64_t row, int64_t col, int64_t n, uint8_t* out) { stage_nf4_dq(w, stored, row, col, n, out); }
};

// What palettes are staged as.
struct Staged : OneScale {
    static constexpr bool kHalfScale = false;
    static constexpr int kBytes = kStagedBytes, kMax = 128;
    static __m256i codes(const uint8_t* b, int) { return load256(b + 4); }
    static float scale(const uint8_t* b) { return float_at(b); }
    static __m128 four_scales(const uint8_t* b) {
        return _mm_setr_ps(float_at(b), float_at(b + kBytes), float_at(b + 2 * kBytes), float_at(b + 3 * kBytes));
    }
};

// 8 bytes of two bits -> 32 bytes: all lowest pairs first.
inline __m256i pairs_split(const uint8_t* at) {
    const __m256i all = _mm256_set1_epi64x(static_cast<long long>(load64(at)));
    return _mm256_and_si256(_mm256_srlv_epi64(all, _mm256_setr_epi64x(0, 2, 4, 6)), _mm256_set1_epi8(3));
}

template <int bits>
inline __m256i palette_indices(const uint8_t* planes) {
    if constexpr (bits == 1) return bits_to_bytes(planes, 1);
    if constexpr (bits == 2) return pairs_split(planes);
    if constexpr (bits == 3) return _mm256_or_si256(pairs_split(planes), bits_to_bytes(planes + 8, 4));
    if constexpr (bits == 4) return nibbles_split(planes);
    if constexpr (bits == 6) return _mm256_or_si256(nibbles_split(planes), _mm256_slli_epi16(pairs_split(planes + 16), 4));
    return load256(planes);
}

// 64 levels: four look-ups, chosen between by bits 4 and 5.
inline __m256i look_up64(const int8_t* table, __m256i index) {
    const __m256i bit4 = _mm256_slli_epi16(index, 3), bit5 = _mm256_slli_epi16(index, 2);
    const __m256i low = _mm256_blendv_epi8(look_up(table, index), look_up(table + 16, index), bit4);
    const __m256i high = _mm256_blendv_epi8(look_up(table + 32, index), look_up(table + 48, index), bit4);
    return _mm256_blendv_epi8(low, high, bit5);
}

inline void store256(uint8_t* at, __m256i v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), v); }

template <int bits, int dim>
struct Lookup {
    static void levels(const int8_t* level, const uint8_t* planes, uint8_t* out) {
        const __m256i index = palette_indices<bits>(planes);
        if constexpr (dim == 1) {
            store256(out, bits == 6 ? look_up64(level, index) : look_up(level, index));
        } else {
            alignas(32) uint8_t indices[32];
            store256(indices, index);
            copy_entries<dim>(level, indices, out);
        }
    }
};

template <int bits, int dim, bool int8 = false>
struct StagePalette : PaletteStage<bits, dim, int8, Lookup> {
    using Block = Staged;
    using PaletteStage<bits, dim, int8, Lookup>::PaletteStage;
};
using StagePAL1 = StagePalette<1, 1>;
using StagePAL2 = StagePalette<2, 1>;
using StagePAL3 = StagePalette<3, 1>;
using StagePAL4 = StagePalette<4, 1>;
using StagePAL6 = StagePalette<6, 1>;
using StagePAL1_V4 = StagePalette<4, 4>;
using StagePAL2_V2 = StagePalette<4, 2>;
using StagePAL2_V4 = StagePalette<8, 4>;
using StagePAL3_V2 = StagePalette<6, 2>;
using StagePAL4_V2 = StagePalette<8, 2>;
using StagePAL4_I8 = StagePalette<4, 1, true>;
using StagePAL2_V4_I8 = StagePalette<8, 4, true>;
using StagePAL4_V2_I8 = StagePalette<8, 2, true>;

}  // namespace
}  // namespace quant
