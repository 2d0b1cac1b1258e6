// Block formats times int8 activations with the dot product instructions (Armv8.2 and later: Cortex-A76, Neoverse N1).
// SDOT multiplies four k of four rows by four k of one activation row, picked from a register of 16 by lane.
#if defined(__aarch64__)
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
        for (int t = 0; t < kColumns; ++t) total[t][0] = total[t][1] = vdupq_n_f32(0);
        for (int64_t g = 0; g < groups; ++g) {
            const int8_t* w = panel.codes + g * 32 * kRows;
            const int8_t* codes = x.codes + 32 * g;
#pragma GCC unroll 2
            for (int part = 0; part < kParts; ++part) {
                int32x4_t sum[kColumns][2];
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
        for (int t = 0; t < kColumns; ++t) {
            vst1q_f32(out[t], total[t][0]);
            vst1q_f32(out[t] + 4, total[t][1]);
        }
    }
};

}  // namespace

void fill_neon_dotprod(Kernels& table) {
    set_gemv<Q8_0>(table, FormatSlot::q8_0, "gemv_q8_0_q8_neon_dotprod");
    set_gemv<Q4_0>(table, FormatSlot::q4_0, "gemv_q4_0_q8_neon_dotprod");
    set_gemv<Q4_1>(table, FormatSlot::q4_1, "gemv_q4_1_q8_neon_dotprod");
    set_gemv<Q5_0>(table, FormatSlot::q5_0, "gemv_q5_0_q8_neon_dotprod");
    set_gemv<Q5_1>(table, FormatSlot::q5_1, "gemv_q5_1_q8_neon_dotprod");
    set_gemv<Q2_K>(table, FormatSlot::q2_k, "gemv_q2_k_q8_neon_dotprod");
    set_gemv<Q3_K>(table, FormatSlot::q3_k, "gemv_q3_k_q8_neon_dotprod");
    set_gemv<Q4_K>(table, FormatSlot::q4_k, "gemv_q4_k_q8_neon_dotprod");
    set_gemv<Q5_K>(table, FormatSlot::q5_k, "gemv_q5_k_q8_neon_dotprod");
    set_gemv<Q6_K>(table, FormatSlot::q6_k, "gemv_q6_k_q8_neon_dotprod");
    set_gemv<IQ4_NL>(table, FormatSlot::iq4_nl, "gemv_iq4_nl_q8_neon_dotprod");
    set_gemv<IQ4_XS>(table, FormatSlot::iq4_xs, "gemv_iq4_xs_q8_neon_dotprod");
    set_gemv<TQ1_0>(table, FormatSlot::tq1_0, "gemv_tq1_0_q8_neon_dotprod");
    set_gemv<TQ2_0>(table, FormatSlot::tq2_0, "gemv_tq2_0_q8_neon_dotprod");
    set_gemv<MXFP4>(table, FormatSlot::mxfp4, "gemv_mxfp4_q8_neon_dotprod");
    set_gemv<NVFP4>(table, FormatSlot::nvfp4, "gemv_nvfp4_q8_neon_dotprod");
    set_gemv<Q1_0>(table, FormatSlot::q1_0, "gemv_q1_0_q8_neon_dotprod");
    set_gemv<Q2_0>(table, FormatSlot::q2_0, "gemv_q2_0_q8_neon_dotprod");
    set_gemm<Dotprod, Q8_0>(table, FormatSlot::q8_0, "gemm_q8_0_q8_neon_dotprod");
    set_gemm<Dotprod, Q4_0>(table, FormatSlot::q4_0, "gemm_q4_0_q8_neon_dotprod");
    set_gemm<Dotprod, Q4_1>(table, FormatSlot::q4_1, "gemm_q4_1_q8_neon_dotprod");
    set_gemm<Dotprod, Q5_0>(table, FormatSlot::q5_0, "gemm_q5_0_q8_neon_dotprod");
    set_gemm<Dotprod, Q5_1>(table, FormatSlot::q5_1, "gemm_q5_1_q8_neon_dotprod");
    set_gemm<Dotprod, Q2_K>(table, FormatSlot::q2_k, "gemm_q2_k_q8_neon_dotprod");
    set_gemm<Dotprod, Q3_K>(table, FormatSlot::q3_k, "gemm_q3_k_q8_neon_dotprod");
    set_gemm<Dotprod, Q4_K>(table, FormatSlot::q4_k, "gemm_q4_k_q8_neon_dotprod");
    set_gemm<Dotprod, Q5_K>(table, FormatSlot::q5_k, "gemm_q5_k_q8_neon_dotprod");
    set_gemm<Dotprod, Q6_K>(table, FormatSlot::q6_k, "gemm_q6_k_q8_neon_dotprod");
    set_gemm<Dotprod, IQ4_NL>(table, FormatSlot::iq4_nl, "gemm_iq4_nl_q8_neon_dotprod");
    set_gemm<Dotprod, IQ4_XS>(table, FormatSlot::iq4_xs, "gemm_iq4_xs_q8_neon_dotprod");
    set_gemm<Dotprod, TQ1_0>(table, FormatSlot::tq1_0, "gemm_tq1_0_q8_neon_dotprod");
    set_gemm<Dotprod, TQ2_0>(table, FormatSlot::tq2_0, "gemm_tq2_0_q8_neon_dotprod");
    set_gemm<Dotprod, MXFP4>(table, FormatSlot::mxfp4, "gemm_mxfp4_q8_neon_dotprod");
    set_gemm<Dotprod, NVFP4>(table, FormatSlot::nvfp4, "gemm_nvfp4_q8_neon_dotprod");
    set_gemm<Dotprod, Q1_0>(table, FormatSlot::q1_0, "gemm_q1_0_q8_neon_dotprod");
    set_gemm<Dotprod, Q2_0>(table, FormatSlot::q2_0, "gemm_q2_0_q8_neon_dotprod");
}

}  // namespace quant
#endif
