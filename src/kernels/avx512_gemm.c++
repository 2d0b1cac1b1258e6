// Block formats times many activation rows (AVX-512 with VNNI): the inner loop over the panels of avx2_panel.h.
// vpdpbusd multiplies four broadcast activation bytes into 16 rows and adds in int32: no intermediate can overflow.
// It takes unsigned weight codes: signed ones come raised by 128, which their minimum takes back.
#if defined(__x86_64__)
#include "kernels/avx512.h"

#include "kernels/avx2_panel.h"

namespace quant {
namespace {

// int32 sums of kSteps * 4 columns of the panel and kColumns activation rows.
template <int kSteps, int kColumns>
inline void multiply_steps(const uint8_t* w, const int8_t* x, int64_t stride, __m512i (&sum)[kColumns]) {
#pragma GCC unroll 16
    for (int t = 0; t < kColumns; ++t) sum[t] = _mm512_setzero_si512();
#pragma GCC unroll 8
    for (int s = 0; s < kSteps; ++s) {
        const __m512i codes = _mm512_load_si512(reinterpret_cast<const void*>(w + 64 * s));
#pragma GCC unroll 16
        for (int t = 0; t < kColumns; ++t) {
            const __m512i four = _mm512_set1_epi32(static_cast<int>(load32(x + t * stride + 4 * s)));
            sum[t] = _mm512_dpbusd_epi32(sum[t], codes, four);
        }
    }
}

struct Avx512 {
    static constexpr Style kStyle = Style::sums32;
    static constexpr int kTile = 12;  // 12 sums in int32, 12 in float, weights and scales: 32 registers

    template <PanelKind kind, int kColumns>
    static void multiply(const Panel& panel, int64_t groups, const Columns& x, float (*out)[kRows]) {
        constexpr int kParts = kind.per16() ? 2 : 1, kSteps = 8 / kParts;
        __m512 total[kColumns];
        for (int t = 0; t < kColumns; ++t) total[t] = _mm512_setzero_ps();
        for (int64_t g = 0; g < groups; ++g) {
            const uint8_t* w = panel.codes + g * 32 * kRows;
#pragma GCC unroll 2
            for (int part = 0; part < kParts; ++part) {
                __m512i sum[kColumns];
                multiply_steps<kSteps, kColumns>(w + part * kSteps * 64, x.codes + 32 * g + 16 * part, x.codes_stride, sum);
                const int64_t at = kParts * g + part;
                const __m512 scale = _mm512_load_ps(kind.per16() ? reinterpret_cast<const float*>(panel.scale16[at]) : panel.scale[at]);
                const __m512 minimum = _mm512_load_ps(panel.minimum[at]);
#pragma GCC unroll 16
                for (int t = 0; t < kColumns; ++t) {
                    const __m512 xs = _mm512_set1_ps(x.scales[t * x.scales_stride + g]);
                    total[t] = _mm512_fmadd_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sum[t]), xs), scale, total[t]);
                    total[t] = _mm512_fmadd_ps(minimum, _mm512_set1_ps(x.sums[t * x.sums_stride + at]), total[t]);
                }
            }
        }
        for (int t = 0; t < kColumns; ++t) _mm512_store_ps(out[t], total[t]);
    }
};

}  // namespace

void fill_avx512_gemm(Kernels& table) {
    set_gemm<Avx512, Q8_0>(table, FormatSlot::q8_0, "gemm_q8_0_q8_avx512");
    set_gemm<Avx512, Q4_0>(table, FormatSlot::q4_0, "gemm_q4_0_q8_avx512");
    set_gemm<Avx512, Q4_1>(table, FormatSlot::q4_1, "gemm_q4_1_q8_avx512");
    set_gemm<Avx512, Q5_0>(table, FormatSlot::q5_0, "gemm_q5_0_q8_avx512");
    set_gemm<Avx512, Q5_1>(table, FormatSlot::q5_1, "gemm_q5_1_q8_avx512");
    set_gemm<Avx512, Q2_K>(table, FormatSlot::q2_k, "gemm_q2_k_q8_avx512");
    set_gemm<Avx512, Q3_K>(table, FormatSlot::q3_k, "gemm_q3_k_q8_avx512");
    set_gemm<Avx512, Q4_K>(table, FormatSlot::q4_k, "gemm_q4_k_q8_avx512");
    set_gemm<Avx512, Q5_K>(table, FormatSlot::q5_k, "gemm_q5_k_q8_avx512");
    set_gemm<Avx512, Q6_K>(table, FormatSlot::q6_k, "gemm_q6_k_q8_avx512");
    set_gemm<Avx512, IQ4_NL>(table, FormatSlot::iq4_nl, "gemm_iq4_nl_q8_avx512");
    set_gemm<Avx512, IQ4_XS>(table, FormatSlot::iq4_xs, "gemm_iq4_xs_q8_avx512");
    set_gemm<Avx512, TQ1_0>(table, FormatSlot::tq1_0, "gemm_tq1_0_q8_avx512");
    set_gemm<Avx512, TQ2_0>(table, FormatSlot::tq2_0, "gemm_tq2_0_q8_avx512");
    set_gemm<Avx512, MXFP4>(table, FormatSlot::mxfp4, "gemm_mxfp4_q8_avx512");
    set_gemm<Avx512, NVFP4>(table, FormatSlot::nvfp4, "gemm_nvfp4_q8_avx512");
    set_gemm<Avx512, Q1_0>(table, FormatSlot::q1_0, "gemm_q1_0_q8_avx512");
    set_gemm<Avx512, Q2_0>(table, FormatSlot::q2_0, "gemm_q2_0_q8_avx512");
}

}  // namespace quant
#endif
