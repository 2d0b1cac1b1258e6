// Block formats times many activation rows with the 8-bit matrix product (Armv8.6: Neoverse V1, N2, Apple M2).
// SMMLA multiplies 8 k of two weight rows by 8 k of two activation rows into a 2 x 2 square of sums.
// Included by files for that set only, everything in an unnamed namespace.
#pragma once

#include "kernels/neon_panel.h"

namespace quant {
namespace {

struct I8mm {
    static constexpr int kStep = 8, kTile = 4;

    // Lanes of a square: row 2p x column 2q, row 2p x column 2q+1, row 2p+1 x column 2q, row 2p+1 x column 2q+1.
    // A missing last column repeats the one before it and is not written.
    template <PanelKind kind, int kColumns>
    static void multiply(const Panel& panel, int64_t groups, const Columns& x, float (*out)[kRows]) {
        constexpr int kParts = 32 / kind.group, kPairs = (kColumns + 1) / 2;
        const auto second = [](int pair) { return 2 * pair + 1 < kColumns ? 2 * pair + 1 : 2 * pair; };
        float32x4_t total[4][kPairs];
#pragma GCC unroll 4
        for (int p = 0; p < 4; ++p) {
#pragma GCC unroll 2
            for (int q = 0; q < kPairs; ++q) total[p][q] = vdupq_n_f32(0);
        }
        for (int64_t g = 0; g < groups; ++g) {
            float32x4_t xs[kPairs];  // scales of columns 2q, 2q+1, 2q, 2q+1
#pragma GCC unroll 2
            for (int q = 0; q < kPairs; ++q) {
                const float32x2_t both = {x.scales[2 * q * x.scales_stride + g], x.scales[second(q) * x.scales_stride + g]};
                xs[q] = vcombine_f32(both, both);
            }
#pragma GCC unroll 2
            for (int part = 0; part < kParts; ++part) {
                const int8_t* w = panel.codes + (g * 32 + part * kind.group) * kRows;
                const int8_t* codes = x.codes + 32 * g + part * kind.group;
                int32x4_t sum[4][kPairs];
#pragma GCC unroll 4
                for (int p = 0; p < 4; ++p) {
#pragma GCC unroll 2
                    for (int q = 0; q < kPairs; ++q) sum[p][q] = vdupq_n_s32(0);
                }
#pragma GCC unroll 2
                for (int k = 0; k < kind.group; k += 16) {
                    int8x16_t xk[2][kPairs];  // 8 k of both columns of a pair, then the next 8
#pragma GCC unroll 2
                    for (int q = 0; q < kPairs; ++q) {
                        const auto a = vreinterpretq_s64_s8(vld1q_s8(codes + 2 * q * x.codes_stride + k));
                        const auto b = vreinterpretq_s64_s8(vld1q_s8(codes + second(q) * x.codes_stride + k));
                        xk[0][q] = vreinterpretq_s8_s64(vzip1q_s64(a, b));
                        xk[1][q] = vreinterpretq_s8_s64(vzip2q_s64(a, b));
                    }
#pragma GCC unroll 8
                    for (int i = 0; i < 8; ++i) {
                        const int8x16_t wk = vld1q_s8(w + k * kRows + 16 * i);
#pragma GCC unroll 2
                        for (int q = 0; q < kPairs; ++q) sum[i % 4][q] = vmmlaq_s32(sum[i % 4][q], wk, xk[i / 4][q]);
                    }
                }
                const float* scale = panel.scale[kParts * g + part];
#pragma GCC unroll 2
                for (int half = 0; half < 2; ++half) {
                    const float32x4_t four = vld1q_f32(scale + 4 * half);
                    const float32x4_t first = vzip1q_f32(four, four), last = vzip2q_f32(four, four);
#pragma GCC unroll 2
                    for (int q = 0; q < kPairs; ++q) {
                        float32x4_t& upper = total[2 * half][q];
                        float32x4_t& lower = total[2 * half + 1][q];
                        upper = vfmaq_f32(upper, vmulq_f32(vcvtq_f32_s32(sum[2 * half][q]), xs[q]), first);
                        lower = vfmaq_f32(lower, vmulq_f32(vcvtq_f32_s32(sum[2 * half + 1][q]), xs[q]), last);
                    }
                }
            }
        }
        float32x4_t columns[kColumns][2];
#pragma GCC unroll 4
        for (int t = 0; t < kColumns; ++t) {
#pragma GCC unroll 2
            for (int half = 0; half < 2; ++half) {
                const float32x4_t a = total[2 * half][t / 2], b = total[2 * half + 1][t / 2];
                columns[t][half] = t % 2 ? vuzp2q_f32(a, b) : vuzp1q_f32(a, b);
            }
        }
        if constexpr (kind.minimum) add_minima<kind, kColumns>(panel, groups, x, columns);
        for (int t = 0; t < kColumns; ++t) {
            vst1q_f32(out[t], columns[t][0]);
            vst1q_f32(out[t] + 4, columns[t][1]);
        }
    }
};

}  // namespace
}  // namespace quant
