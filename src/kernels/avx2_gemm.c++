// Block formats times many activation rows (AVX2): the inner loop over the panels of avx2_panel.h.
//
// vpmaddubsw multiplies four broadcast activation bytes into 8 rows, vpmaddwd adds each row's two halves.
// Codes of at most 15 stay in int16 for a whole group of 32: 8 steps * 2 * 15 * 127 < 2^15; 31: half a group; 63: two
// steps. Signed codes go in as |w| and x * sign(w), one step at a time.
#if defined(__x86_64__)
#include "kernels/avx2.h"
#include "kernels/avx2_panel.h"

namespace quant {
namespace {

inline __m256i broadcast4(const int8_t* at) { return _mm256_set1_epi32(static_cast<int>(load32(at))); }

// Steps of four k that stay in int16.
constexpr int steps_in_16(PanelKind kind) { return kind.is_signed ? 1 : kind.max <= 15 ? 8 : kind.max <= 31 ? 4 : 2; }

// int32 sums of kSteps * 4 columns: sum[half][t] over both halves of 8 rows; multipliers are 1 or the integer scales.
template <PanelKind kind, int kSteps, int kColumns>
inline void multiply_steps(const __m256i* w, const int8_t* x, int64_t stride, const __m256i (&factor)[2], bool add,
                           __m256i (&sum)[2][kColumns]) {
    constexpr int kTogether = steps_in_16(kind) < kSteps ? steps_in_16(kind) : kSteps;
#pragma GCC unroll 8
    for (int s = 0; s < kSteps; s += kTogether) {
        __m256i pairs[2][kColumns];
#pragma GCC unroll 8
        for (int i = 0; i < kTogether; ++i) {
            const __m256i w0 = _mm256_load_si256(w + 2 * (s + i)), w1 = _mm256_load_si256(w + 2 * (s + i) + 1);
#pragma GCC unroll 4
            for (int t = 0; t < kColumns; ++t) {
                const __m256i xt = broadcast4(x + t * stride + 4 * (s + i));
                __m256i p0, p1;
                if constexpr (kind.is_signed) {
                    p0 = _mm256_maddubs_epi16(_mm256_abs_epi8(w0), _mm256_sign_epi8(xt, w0));
                    p1 = _mm256_maddubs_epi16(_mm256_abs_epi8(w1), _mm256_sign_epi8(xt, w1));
                } else {
                    p0 = _mm256_maddubs_epi16(w0, xt);
                    p1 = _mm256_maddubs_epi16(w1, xt);
                }
                pairs[0][t] = i ? _mm256_add_epi16(pairs[0][t], p0) : p0;
                pairs[1][t] = i ? _mm256_add_epi16(pairs[1][t], p1) : p1;
            }
        }
#pragma GCC unroll 4
        for (int t = 0; t < kColumns; ++t) {
            const __m256i s0 = _mm256_madd_epi16(pairs[0][t], factor[0]), s1 = _mm256_madd_epi16(pairs[1][t], factor[1]);
            sum[0][t] = s || add ? _mm256_add_epi32(sum[0][t], s0) : s0;
            sum[1][t] = s || add ? _mm256_add_epi32(sum[1][t], s1) : s1;
        }
    }
}

// out[t][16] = panel times kColumns activation rows over `groups` groups of 32.
template <PanelKind kind, int kColumns>
inline void multiply_panel(const Panel& panel, int64_t groups, const Columns& x, float (*out)[kRows]) {
    __m256 total[2][kColumns];
    for (int t = 0; t < kColumns; ++t) total[0][t] = total[1][t] = _mm256_setzero_ps();
    const __m256i one = _mm256_set1_epi16(1);
    for (int64_t g = 0; g < groups; ++g) {
        const auto* w = reinterpret_cast<const __m256i*>(panel.codes + g * 32 * kRows);
        const int8_t* codes = x.codes + 32 * g;
        __m256i sum[2][kColumns];
        if constexpr (kind.integer_scales) {
            const auto* s = reinterpret_cast<const __m256i*>(panel.scale16[2 * g]);
            multiply_steps<kind, 4, kColumns>(w, codes, x.codes_stride, {s[0], s[1]}, false, sum);
            multiply_steps<kind, 4, kColumns>(w + 8, codes + 16, x.codes_stride, {s[2], s[3]}, true, sum);
        } else if constexpr (kind.float_scales) {
            for (int half = 0; half < 2; ++half) {
                multiply_steps<kind, 4, kColumns>(w + 8 * half, codes + 16 * half, x.codes_stride, {one, one}, false, sum);
                const auto* scale = reinterpret_cast<const float*>(panel.scale16[2 * g + half]);
                for (int t = 0; t < kColumns; ++t) {
                    const __m256 xs = _mm256_set1_ps(x.scales[t * x.scales_stride + g]);
                    for (int h = 0; h < 2; ++h) {
                        const __m256 value = _mm256_mul_ps(_mm256_cvtepi32_ps(sum[h][t]), xs);
                        total[h][t] = _mm256_fmadd_ps(value, _mm256_load_ps(scale + 8 * h), total[h][t]);
                    }
                }
            }
        } else {
            multiply_steps<kind, 8, kColumns>(w, codes, x.codes_stride, {one, one}, false, sum);
        }
        if constexpr (!kind.float_scales) {
            const __m256 scale0 = _mm256_load_ps(panel.scale[g]), scale1 = _mm256_load_ps(panel.scale[g] + 8);
#pragma GCC unroll 4
            for (int t = 0; t < kColumns; ++t) {
                const __m256 xs = _mm256_set1_ps(x.scales[t * x.scales_stride + g]);
                total[0][t] = _mm256_fmadd_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(sum[0][t]), xs), scale0, total[0][t]);
                total[1][t] = _mm256_fmadd_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(sum[1][t]), xs), scale1, total[1][t]);
            }
        }
        if constexpr (!kind.is_signed) {
            constexpr int kPer = kind.per16() ? 2 : 1;
#pragma GCC unroll 2
            for (int part = 0; part < kPer; ++part) {
                const float* minimum = panel.minimum[kPer * g + part];
                const __m256 minimum0 = _mm256_load_ps(minimum), minimum1 = _mm256_load_ps(minimum + 8);
#pragma GCC unroll 4
                for (int t = 0; t < kColumns; ++t) {
                    const __m256 xsum = _mm256_set1_ps(x.sums[t * x.sums_stride + kPer * g + part]);
                    total[0][t] = _mm256_fmadd_ps(minimum0, xsum, total[0][t]);
                    total[1][t] = _mm256_fmadd_ps(minimum1, xsum, total[1][t]);
                }
            }
        }
    }
    for (int t = 0; t < kColumns; ++t) {
        _mm256_store_ps(out[t], total[0][t]);
        _mm256_store_ps(out[t] + 8, total[1][t]);
    }
}

struct Avx2 {
    static constexpr Style kStyle = Style::pairs16;
    static constexpr int kTile = 4;
    template <PanelKind kind, int kColumns>
    static void multiply(const Panel& panel, int64_t groups, const Columns& x, float (*out)[kRows]) {
        multiply_panel<kind, kColumns>(panel, groups, x, out);
    }
};

}  // namespace

void fill_avx2_gemm(Kernels& table) {
    set_gemm<Avx2, Q8_0>(table, FormatSlot::q8_0, "gemm_q8_0_q8_avx2");
    set_gemm<Avx2, Q4_0>(table, FormatSlot::q4_0, "gemm_q4_0_q8_avx2");
    set_gemm<Avx2, Q4_1>(table, FormatSlot::q4_1, "gemm_q4_1_q8_avx2");
    set_gemm<Avx2, Q5_0>(table, FormatSlot::q5_0, "gemm_q5_0_q8_avx2");
    set_gemm<Avx2, Q5_1>(table, FormatSlot::q5_1, "gemm_q5_1_q8_avx2");
    set_gemm<Avx2, Q2_K>(table, FormatSlot::q2_k, "gemm_q2_k_q8_avx2");
    set_gemm<Avx2, Q3_K>(table, FormatSlot::q3_k, "gemm_q3_k_q8_avx2");
    set_gemm<Avx2, Q4_K>(table, FormatSlot::q4_k, "gemm_q4_k_q8_avx2");
    set_gemm<Avx2, Q5_K>(table, FormatSlot::q5_k, "gemm_q5_k_q8_avx2");
    set_gemm<Avx2, Q6_K>(table, FormatSlot::q6_k, "gemm_q6_k_q8_avx2");
    set_gemm<Avx2, IQ4_NL>(table, FormatSlot::iq4_nl, "gemm_iq4_nl_q8_avx2");
    set_gemm<Avx2, IQ4_XS>(table, FormatSlot::iq4_xs, "gemm_iq4_xs_q8_avx2");
    set_gemm<Avx2, TQ1_0>(table, FormatSlot::tq1_0, "gemm_tq1_0_q8_avx2");
    set_gemm<Avx2, TQ2_0>(table, FormatSlot::tq2_0, "gemm_tq2_0_q8_avx2");
    set_gemm<Avx2, MXFP4>(table, FormatSlot::mxfp4, "gemm_mxfp4_q8_avx2");
    set_gemm<Avx2, NVFP4>(table, FormatSlot::nvfp4, "gemm_nvfp4_q8_avx2");
    set_gemm<Avx2, Q1_0>(table, FormatSlot::q1_0, "gemm_q1_0_q8_avx2");
    set_gemm<Avx2, Q2_0>(table, FormatSlot::q2_0, "gemm_q2_0_q8_avx2");
}

}  // namespace quant
#endif
