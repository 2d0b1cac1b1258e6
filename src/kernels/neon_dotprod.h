// Block formats times int8 activations with the dot product instructions (Armv8.2 and later: Cortex-A76, Neoverse N1).
// SDOT multiplies four k of four rows by four k of one activation row, picked from a register of 16 by lane.
// Included by files for that set only, everything in an unnamed namespace.
#pragma once

#define QUANT_KERNELS_DOTPROD 1
#include "kernels/neon_gemv.h"
#include "kernels/neon_panel.h"

namespace quant {
namespace {

struct Dotprod {
    static constexpr int kStep = 4, kTile = 4;  // 8 sums in int32, 8 in float, 4 activations, 2 weights

    template <int kColumns, int kLane>
    static void step(const int8_t* w, const int8x16_t (&x)[kColumns], int32x4_t (&sum)[kColumns][2]) {
        const int8x16_t low = vld1q_s8(w), high = vld1q_s8(w + 16);
#pragma GCC unroll 4
        for (int t = 0; t < kColumns; ++t) {
            sum[t][0] = vdotq_laneq_s32(sum[t][0], low, x[t], kLane);
            sum[t][1] = vdotq_laneq_s32(sum[t][1], high, x[t], kLane);
        }
    }

    // 16 columns of the panel.
    template <int kColumns>
    static void sixteen(const int8_t* w, const int8_t* codes, int64_t stride, int32x4_t (&sum)[kColumns][2]) {
        int8x16_t x[kColumns];
#pragma GCC unroll 4
        for (int t = 0; t < kColumns; ++t) x[t] = vld1q_s8(codes + t * stride);
        step<kColumns, 0>(w, x, sum);
        step<kColumns, 1>(w + 4 * kRows, x, sum);
        step<kColumns, 2>(w + 8 * kRows, x, sum);
        step<kColumns, 3>(w + 12 * kRows, x, sum);
    }

    template <PanelKind kind, int kColumns>
    static void multiply(const Panel& panel, int64_t groups, const Columns& x, float (*out)[kRows]) {
        constexpr int kParts = 32 / kind.group;
        float32x4_t total[kColumns][2];
#pragma GCC unroll 4  // this one and the next: else the sums live in memory
        for (int t = 0; t < kColumns; ++t) total[t][0] = total[t][1] = vdupq_n_f32(0);
        for (int64_t g = 0; g < groups; ++g) {
            const int8_t* w = panel.codes + g * 32 * kRows;
            const int8_t* codes = x.codes + 32 * g;
#pragma GCC unroll 2
            for (int part = 0; part < kParts; ++part) {
                int32x4_t sum[kColumns][2];
#pragma GCC unroll 4
                for (int t = 0; t < kColumns; ++t) sum[t][0] = sum[t][1] = vdupq_n_s32(0);
                sixteen<kColumns>(w + part * 16 * kRows, codes + 16 * part, x.codes_stride, sum);
                if constexpr (kParts == 1) sixteen<kColumns>(w + 16 * kRows, codes + 16, x.codes_stride, sum);
                const float* scale = panel.scale[kParts * g + part];
                const float32x4_t low = vld1q_f32(scale), high = vld1q_f32(scale + 4);
#pragma GCC unroll 4
                for (int t = 0; t < kColumns; ++t) {
                    const float xs = x.scales[t * x.scales_stride + g];
                    total[t][0] = vfmaq_f32(total[t][0], vmulq_n_f32(vcvtq_f32_s32(sum[t][0]), xs), low);
                    total[t][1] = vfmaq_f32(total[t][1], vmulq_n_f32(vcvtq_f32_s32(sum[t][1]), xs), high);
                }
            }
        }
        if constexpr (kind.minimum) add_minima<kind, kColumns>(panel, groups, x, total);
#pragma GCC unroll 4
        for (int t = 0; t < kColumns; ++t) {
            vst1q_f32(out[t], total[t][0]);
            vst1q_f32(out[t] + 4, total[t][1]);
        }
    }
};

}  // namespace
}  // namespace quant
