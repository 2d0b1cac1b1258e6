// The affine formats and L4 (formats/affine.h, formats/blocks.h) for the NEON files: codes of 32 weights to signed bytes,
// one activation row, and panels for many. One copy per number of bits: groups, rows and zero points are parameters at run
// time. Everything in an unnamed namespace.
#pragma once

#include "formats/affine.h"
#include "kernels/kept_columns.h"
#include "kernels/neon_gemv.h"
#include "kernels/neon_panel.h"

namespace quant {
namespace {

// 8 bytes -> 32 pairs of bits, 4 bytes -> 32 bits: the bytes repeated, each copy moved down by its place.
inline uint8x16_t plane2of(const uint8_t* at, int8_t first) {
    const uint8x8_t v = vld1_u8(at);
    const int8x16_t moves = vcombine_s8(vdup_n_s8(static_cast<int8_t>(-first)), vdup_n_s8(static_cast<int8_t>(-first - 2)));
    return vandq_u8(vshlq_u8(vcombine_u8(v, v), moves), vdupq_n_u8(3));
}
inline uint8x16_t plane1of(const uint8_t* at, int8_t first) {
    const uint8x16_t v = vreinterpretq_u8_u32(vdupq_n_u32(load32(at)));
    alignas(16) static constexpr int8_t kMoves[16] = {0, 0, 0, 0, -1, -1, -1, -1, -2, -2, -2, -2, -3, -3, -3, -3};
    return vandq_u8(vshlq_u8(v, vsubq_s8(vld1q_s8(kMoves), vdupq_n_s8(first))), vdupq_n_u8(1));
}

// Codes less their center, so that they are signed and a line's base is what remains.
template <int bits>
struct AffineCodes {
    static constexpr int kBits = bits;
    static AffineLayout layout(FormatSlot slot) {
        return affine_layout(static_cast<size_t>(slot) - static_cast<size_t>(FormatSlot::affine));
    }
    static Codes32 codes(const uint8_t* at) {
        if constexpr (bits == 8) {
            const auto* q = reinterpret_cast<const int8_t*>(at);
            return {vld1q_s8(q), vld1q_s8(q + 16)};
        } else {
            uint8x16_t low = vdupq_n_u8(0), high = low;
            constexpr int kAbove4 = bits & 4 ? 4 : 0, kAbove2 = kAbove4 + (bits & 2);
            if constexpr (bits & 4) {
                const Nibbles n = nibbles_split(at);
                low = n.low, high = n.high, at += 16;
            }
            if constexpr (bits & 2) {
                low = vorrq_u8(low, vshlq_n_u8(plane2of(at, 0), kAbove4));
                high = vorrq_u8(high, vshlq_n_u8(plane2of(at, 4), kAbove4));
                at += 8;
            }
            if constexpr (bits & 1) {
                low = vorrq_u8(low, vshlq_n_u8(plane1of(at, 0), kAbove2));
                high = vorrq_u8(high, vshlq_n_u8(plane1of(at, 4), kAbove2));
            }
            return minus(low, high, 1 << (bits - 1));
        }
    }
};

// L4 as if affine: levels looked up, no base.
struct L4Codes {
    static constexpr int kBits = 4;
    static AffineLayout layout(FormatSlot) { return {4, 32, false}; }
    static Codes32 codes(const uint8_t* at) { return look_up(kL4Levels, at); }
};

inline AffineLine line_at(const AffineLayout& layout, const uint8_t* at) {
    if (layout.group) return affine_line(layout, half_at(at), layout.zero ? half_at(at + 2) : 0.0f);
    float header[2] = {0, 0};
    __builtin_memcpy(header, at, layout.zero ? 8 : 4);
    return affine_line(layout, header[0], header[1]);
}

// Products of `count` groups of 32 in 4 lanes.
template <class C>
inline float32x4_t dot_groups(const uint8_t* at, int64_t count, const int8_t* codes, const float* scales) {
    float32x4_t sum = vdupq_n_f32(0), other = sum;
    int64_t i = 0;
    for (; i + 2 <= count; i += 2, at += 8 * C::kBits) {
        sum = vfmaq_n_f32(sum, vcvtq_f32_s32(dot32(C::codes(at), codes + 32 * i)), scales[i]);
        other = vfmaq_n_f32(other, vcvtq_f32_s32(dot32(C::codes(at + 4 * C::kBits), codes + 32 * i + 32)), scales[i + 1]);
    }
    if (i < count) sum = vfmaq_n_f32(sum, vcvtq_f32_s32(dot32(C::codes(at), codes + 32 * i)), scales[i]);
    return vaddq_f32(sum, other);
}

template <class C>
void gemv_affine(const MatmulArgs& args) {
    const AffineLayout layout = C::layout(args.format->slot);
    const int64_t cols = args.w.cols, per = (layout.group ? layout.group : cols) / 32;
    const int64_t row_bytes = static_cast<int64_t>(args.format->row_bytes(cols));
    const Q8Matrix& q = *args.xq;
    for (int64_t t = 0; t < args.n; ++t) {
        const int8_t* codes = q.codes + t * cols;
        const float *scales = q.scales + t * (cols / 32), *sums = q.block_sums + t * (cols / 32);
        for (int64_t row = args.row_begin; row < args.row_end; ++row) {
            const uint8_t* at = args.w.data + row * row_bytes;
            float32x4_t sum = vdupq_n_f32(0);
            float rest = 0;
            for (int64_t g = 0; g < cols / 32; g += per) {
                __builtin_prefetch(at + 1024);
                const AffineLine line = line_at(layout, at);
                at += layout.header();
                sum = vfmaq_n_f32(sum, dot_groups<C>(at, per, codes + 32 * g, scales + g), line.step);
                at += per * 4 * C::kBits;
                float total = 0;
                for (int64_t i = g; i < g + per; ++i) total += sums[i];
                rest += line.base * total;
            }
            args.y[t * args.y_stride + row] = vaddvq_f32(sum) + rest;
        }
    }
}

template <class C, int kStep>
void decode_affine_panel(const MatmulArgs& args, const AffineLayout& layout, const Place& place, Panel& panel) {
    const int64_t row_bytes = static_cast<int64_t>(args.format->row_bytes(args.w.cols));
    const int64_t groups = place.count / 32, per = layout.group ? layout.group / 32 : groups;
    for (int64_t r = 0; r < kRows; ++r) {
        const uint8_t* row = args.w.data + (place.row + (r < place.rows ? r : place.rows - 1)) * row_bytes;
        const uint8_t* at = row + (layout.group ? place.k / layout.group * layout.block_bytes() : layout.row_head() + place.k / 32 * layout.codes32());
        for (int64_t g = 0; g < groups; g += per) {
            const AffineLine line = line_at(layout, layout.group ? at : row);
            if (layout.group) at += layout.header();
            for (int64_t i = g; i < g + per; ++i, at += 4 * C::kBits) {
                panel.scale[i][r] = line.step;
                panel.minimum[i][r] = line.base;
                const Codes32 codes = C::codes(at);
                int8_t in_order[32];
                vst1q_s8(in_order, codes.low);
                vst1q_s8(in_order + 16, codes.high);
                int8_t* out = panel.codes + i * 32 * kRows + r * kStep;
                for (int e = 0; e < 32; e += kStep) __builtin_memcpy(out + e * kRows, in_order + e, kStep);
            }
        }
    }
}

template <class Engine, class C>
void gemm_affine(const MatmulArgs& args) {
    const auto least = [](int64_t a, int64_t b) { return a < b ? a : b; };
    const AffineLayout layout = C::layout(args.format->slot);
    auto& panel = *static_cast<Panel*>(args.scratch);
    for (int64_t t0 = 0; t0 < args.n; t0 += kColumnBlock) {
        for (int64_t row = args.row_begin; row < args.row_end; row += kRows) {
            for (int64_t k = 0; k < args.w.cols; k += kChunk) {
                const Place at{row, least(kRows, args.row_end - row), k, least(kChunk, args.w.cols - k), t0, least(args.n, t0 + kColumnBlock)};
                decode_affine_panel<C, Engine::kStep>(args, layout, at, panel);
                multiply_place<Engine, PanelKind{32, true}>(args, panel, at);
            }
        }
    }
}

template <class C>
void set_affine_gemv(Kernels& table, FormatSlot slot, const char* name) {
    table.matmul[static_cast<size_t>(slot)].gemv = gemv_affine<C>;
    table.matmul[static_cast<size_t>(slot)].gemv_name = name;
}
template <class Engine, class C>
void set_affine_gemm(Kernels& table, FormatSlot slot, const char* name) {
    table.matmul[static_cast<size_t>(slot)].gemm = gemm_affine<Engine, C>;
    table.matmul[static_cast<size_t>(slot)].gemm_name = name;
    table.matmul[static_cast<size_t>(slot)].gemm_min_rows = 2;
}

// Rows of int8 behind their kept columns.
struct KeptCodes : AffineCodes<8> {
    static AffineLayout layout(FormatSlot) { return {8, 0, false}; }
};
inline void gemv_q8_row_o(const MatmulArgs& args) {
    gemv_affine<KeptCodes>(behind_kept(args));
    add_kept(args, [](const uint8_t* at) { return half_at(at); });
}
template <class Engine>
void gemm_q8_row_o(const MatmulArgs& args) {
    gemm_affine<Engine, KeptCodes>(behind_kept(args));
    add_kept(args, [](const uint8_t* at) { return half_at(at); });
}
inline void set_kept_gemv(Kernels& table, const char* name) {
    table.matmul[static_cast<size_t>(FormatSlot::q8_row_o)].gemv = gemv_q8_row_o;
    table.matmul[static_cast<size_t>(FormatSlot::q8_row_o)].gemv_name = name;
}
template <class Engine>
void set_kept_gemm(Kernels& table, const char* name) {
    table.matmul[static_cast<size_t>(FormatSlot::q8_row_o)].gemm = gemm_q8_row_o<Engine>;
    table.matmul[static_cast<size_t>(FormatSlot::q8_row_o)].gemm_name = name;
    table.matmul[static_cast<size_t>(FormatSlot::q8_row_o)].gemm_min_rows = 2;
}

// SET(codes, slot, "a4") for all of the family.
#define QUANT_EACH_AFFINE(SET)                                                                                  \
    do {                                                                                                        \
        const auto slot = [](size_t index) { return static_cast<FormatSlot>(static_cast<size_t>(FormatSlot::affine) + index); }; \
        for (size_t i = 0; i < 8; ++i) {                                                                        \
            SET(AffineCodes<1>, slot(i), "a1")                                                                  \
            SET(AffineCodes<2>, slot(8 + i), "a2")                                                              \
            SET(AffineCodes<3>, slot(16 + i), "a3")                                                             \
            SET(AffineCodes<4>, slot(24 + i), "a4")                                                             \
            SET(AffineCodes<5>, slot(32 + i), "a5")                                                             \
            SET(AffineCodes<6>, slot(40 + i), "a6")                                                             \
            SET(AffineCodes<7>, slot(48 + i), "a7")                                                             \
            SET(AffineCodes<8>, slot(56 + i), "a8")                                                             \
        }                                                                                                       \
        SET(L4Codes, FormatSlot::l4, "l4")                                                                      \
    } while (0)

}  // namespace
}  // namespace quant
