// Block formats times int8 activations with plain NEON, for processors without dot products (Cortex-A53, A72).
// Widening multiplies: 16 products make 8 pairs in int16, which are added into int32.
#if defined(__aarch64__)
#include "kernels/neon.h"
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

void fill_neon_products(Kernels& table) {
    set_gemv<Q8_0>(table, FormatSlot::q8_0, "gemv_q8_0_q8_neon");
    set_gemv<Q4_0>(table, FormatSlot::q4_0, "gemv_q4_0_q8_neon");
    set_gemv<Q4_1>(table, FormatSlot::q4_1, "gemv_q4_1_q8_neon");
    set_gemv<Q5_0>(table, FormatSlot::q5_0, "gemv_q5_0_q8_neon");
    set_gemv<Q5_1>(table, FormatSlot::q5_1, "gemv_q5_1_q8_neon");
    set_gemv<Q2_K>(table, FormatSlot::q2_k, "gemv_q2_k_q8_neon");
    set_gemv<Q3_K>(table, FormatSlot::q3_k, "gemv_q3_k_q8_neon");
    set_gemv<Q4_K>(table, FormatSlot::q4_k, "gemv_q4_k_q8_neon");
    set_gemv<Q5_K>(table, FormatSlot::q5_k, "gemv_q5_k_q8_neon");
    set_gemv<Q6_K>(table, FormatSlot::q6_k, "gemv_q6_k_q8_neon");
    set_gemv<IQ4_NL>(table, FormatSlot::iq4_nl, "gemv_iq4_nl_q8_neon");
    set_gemv<IQ4_XS>(table, FormatSlot::iq4_xs, "gemv_iq4_xs_q8_neon");
    set_gemv<TQ1_0>(table, FormatSlot::tq1_0, "gemv_tq1_0_q8_neon");
    set_gemv<TQ2_0>(table, FormatSlot::tq2_0, "gemv_tq2_0_q8_neon");
    set_gemv<MXFP4>(table, FormatSlot::mxfp4, "gemv_mxfp4_q8_neon");
    set_gemv<NVFP4>(table, FormatSlot::nvfp4, "gemv_nvfp4_q8_neon");
    set_gemv<Q1_0>(table, FormatSlot::q1_0, "gemv_q1_0_q8_neon");
    set_gemv<Q2_0>(table, FormatSlot::q2_0, "gemv_q2_0_q8_neon");
    set_gemm<Plain, Q8_0>(table, FormatSlot::q8_0, "gemm_q8_0_q8_neon");
    set_gemm<Plain, Q4_0>(table, FormatSlot::q4_0, "gemm_q4_0_q8_neon");
    set_gemm<Plain, Q4_1>(table, FormatSlot::q4_1, "gemm_q4_1_q8_neon");
    set_gemm<Plain, Q5_0>(table, FormatSlot::q5_0, "gemm_q5_0_q8_neon");
    set_gemm<Plain, Q5_1>(table, FormatSlot::q5_1, "gemm_q5_1_q8_neon");
    set_gemm<Plain, Q2_K>(table, FormatSlot::q2_k, "gemm_q2_k_q8_neon");
    set_gemm<Plain, Q3_K>(table, FormatSlot::q3_k, "gemm_q3_k_q8_neon");
    set_gemm<Plain, Q4_K>(table, FormatSlot::q4_k, "gemm_q4_k_q8_neon");
    set_gemm<Plain, Q5_K>(table, FormatSlot::q5_k, "gemm_q5_k_q8_neon");
    set_gemm<Plain, Q6_K>(table, FormatSlot::q6_k, "gemm_q6_k_q8_neon");
    set_gemm<Plain, IQ4_NL>(table, FormatSlot::iq4_nl, "gemm_iq4_nl_q8_neon");
    set_gemm<Plain, IQ4_XS>(table, FormatSlot::iq4_xs, "gemm_iq4_xs_q8_neon");
    set_gemm<Plain, TQ1_0>(table, FormatSlot::tq1_0, "gemm_tq1_0_q8_neon");
    set_gemm<Plain, TQ2_0>(table, FormatSlot::tq2_0, "gemm_tq2_0_q8_neon");
    set_gemm<Plain, MXFP4>(table, FormatSlot::mxfp4, "gemm_mxfp4_q8_neon");
    set_gemm<Plain, NVFP4>(table, FormatSlot::nvfp4, "gemm_nvfp4_q8_neon");
    set_gemm<Plain, Q1_0>(table, FormatSlot::q1_0, "gemm_q1_0_q8_neon");
    set_gemm<Plain, Q2_0>(table, FormatSlot::q2_0, "gemm_q2_0_q8_neon");
}

}  // namespace quant
#endif
