// Block formats times int8 activations with plain NEON, for processors without dot products (Cortex-A53, A72).
// Widening multiplies: 16 products make 8 pairs in int16, which are added into int32.
// Included by files for plain NEON only, everything in an unnamed namespace.
#pragma once

#include "kernels/neon_gemv.h"
#include "kernels/neon_panel.h"

namespace quant {
namespace {

// A row's group of 32 lies together: products along k, sums across lanes at the end.
struct Plain {
    static constexpr int kStep = 32, kTile = 2;

    template <PanelKind kind, int kColumns>
    static void multiply(const Panel& panel, int64_t groups, const Columns& x, float (*out)[kRows]) {
        float32x4_t sum[kRows][kColumns];
        for (int r = 0; r < kRows; ++r) {
            for (int t = 0; t < kColumns; ++t) sum[r][t] = vdupq_n_f32(0);
        }
        for (int64_t g = 0; g < groups; ++g) {
            const int8_t* w = panel.codes + g * 32 * kRows;
#pragma GCC unroll 8
            for (int r = 0; r < kRows; ++r) {
                const Codes32 codes{vld1q_s8(w + 32 * r), vld1q_s8(w + 32 * r + 16)};
#pragma GCC unroll 2
                for (int t = 0; t < kColumns; ++t) {
                    const int8_t* at = x.codes + t * x.codes_stride + 32 * g;
                    const float xs = x.scales[t * x.scales_stride + g];
                    if constexpr (kind.group == 32) {
                        sum[r][t] = vfmaq_n_f32(sum[r][t], vcvtq_f32_s32(dot32(codes, at)), panel.scale[g][r] * xs);
                    } else {
                        const float32x4_t low = vcvtq_f32_s32(dot16(codes.low, vld1q_s8(at)));
                        const float32x4_t high = vcvtq_f32_s32(dot16(codes.high, vld1q_s8(at + 16)));
                        sum[r][t] = vfmaq_n_f32(sum[r][t], low, panel.scale[2 * g][r] * xs);
                        sum[r][t] = vfmaq_n_f32(sum[r][t], high, panel.scale[2 * g + 1][r] * xs);
                    }
                }
            }
        }
        float32x4_t total[kColumns][2];
        for (int t = 0; t < kColumns; ++t) {
            for (int half = 0; half < 2; ++half) {
                const auto& s = sum;
                const int r = 4 * half;
                total[t][half] = vpaddq_f32(vpaddq_f32(s[r][t], s[r + 1][t]), vpaddq_f32(s[r + 2][t], s[r + 3][t]));
            }
        }
        if constexpr (kind.minimum) add_minima<kind, kColumns>(panel, groups, x, total);
        for (int t = 0; t < kColumns; ++t) {
            vst1q_f32(out[t], total[t][0]);
            vst1q_f32(out[t] + 4, total[t][1]);
        }
    }
};

}  // namespace
}  // namespace quant
