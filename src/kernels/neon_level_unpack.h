// Own formats with levels in a table: blocks to int8 codes and scales, and staging, for AArch64 (contract of the structs
// in neon_unpack.h). Included by NEON files only, everything in an unnamed namespace.
#pragma once

#include "kernels/neon_unpack.h"
#include "kernels/level_stage.h"

namespace quant {
namespace {

struct NF4 : OneScale {
    static constexpr int kUnit = 64, kBytes = 36;
    static Codes32 codes(const uint8_t* b, int g) { return look_up(kNf4Levels8, b + 4 + 16 * g); }
    static void scales(const uint8_t* b, float* out) { repeat<2>(float_at(b) * kNf4Unit8, out); }
};

struct StageNF4_DQ {
    using Block = NF4;
    const EncodedView& w;
    explicit StageNF4_DQ(const MatmulArgs& args) : w(args.w) {}
    void stage(const uint8_t* stored, int64_t row, int64_t col, int64_t n, uint8_t* out) { stage_nf4_dq(w, stored, row, col, n, out); }
};

// What palettes are staged as.
struct Staged : OneScale {
    static constexpr int kBytes = kStagedBytes;
    static Codes32 codes(const uint8_t* b, int) {
        const auto* q = reinterpret_cast<const int8_t*>(b + 4);
        return {vld1q_s8(q), vld1q_s8(q + 16)};
    }
    static void scales(const uint8_t* b, float* out) { out[0] = float_at(b); }
};

// 8 bytes of two bits -> 32 bytes: all lowest pairs first.
inline Nibbles pairs_split(const uint8_t* at) {
    const uint8x8_t all = vld1_u8(at), mask = vdup_n_u8(3);
    return {vcombine_u8(vand_u8(all, mask), vand_u8(vshr_n_u8(all, 2), mask)),
            vcombine_u8(vand_u8(vshr_n_u8(all, 4), mask), vshr_n_u8(all, 6))};
}

template <int bits>
inline Nibbles palette_indices(const uint8_t* planes) {
    if constexpr (bits == 1) return {bits_to_bytes(planes, 1), bits_to_bytes(planes + 2, 1)};
    if constexpr (bits == 2) return pairs_split(planes);
    if constexpr (bits == 3) {
        const Nibbles low = pairs_split(planes);
        return {vorrq_u8(low.low, bits_to_bytes(planes + 8, 4)), vorrq_u8(low.high, bits_to_bytes(planes + 10, 4))};
    }
    if constexpr (bits == 4) return nibbles_split(planes);
    if constexpr (bits == 6) {
        const Nibbles low = nibbles_split(planes), high = pairs_split(planes + 16);
        return {vorrq_u8(low.low, vshlq_n_u8(high.low, 4)), vorrq_u8(low.high, vshlq_n_u8(high.high, 4))};
    }
    return {vld1q_u8(planes), vld1q_u8(planes + 16)};
}

template <int bits, int dim>
struct Lookup {
    static void levels(const int8_t* level, const uint8_t* planes, uint8_t* out) {
        const Nibbles index = palette_indices<bits>(planes);
        auto* to = reinterpret_cast<int8_t*>(out);
        if constexpr (dim == 1 && bits <= 4) {
            const int8x16_t table = vld1q_s8(level);
            vst1q_s8(to, vqtbl1q_s8(table, index.low));
            vst1q_s8(to + 16, vqtbl1q_s8(table, index.high));
        } else if constexpr (dim == 1) {
            const int8x16x4_t table = vld1q_s8_x4(level);
            vst1q_s8(to, vqtbl4q_s8(table, index.low));
            vst1q_s8(to + 16, vqtbl4q_s8(table, index.high));
        } else {
            uint8_t indices[32];
            vst1q_u8(indices, index.low);
            vst1q_u8(indices + 16, index.high);
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
