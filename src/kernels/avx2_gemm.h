// Block formats times many activation rows (AVX2): the inner loop over the panels of avx2_panel.h. Included by AVX2
// files only, everything in an unnamed namespace.
//
// vpmaddubsw multiplies four broadcast activation bytes into 8 rows, vpmaddwd adds each row's two halves.
// Codes of at most 15 stay in int16 for a whole group of 32: 8 steps * 2 * 15 * 127 < 2^15; 31: half a group; 63: two
// steps; 127: one. Signed codes go in as |w| and x * sign(w), one step at a time.
#pragma once

#include "kernels/avx2_panel.h"

namespace quant {
namespace {

inline __m256i broadcast4(const int8_t* at) { return _mm256_set1_epi32(static_cast<int>(load32(at))); }

// Steps of four k that stay in int16.
constexpr int steps_in_16(PanelKind kind) { return kind.is_signed ? 1 : kind.max <= 15 ? 8 : kind.max <= 31 ? 4 : kind.max <= 63 ? 2 : 1; }

// Makes the compiler finish this sum before the next: GCC would regroup integer additions into a tree, whose leaves do
// not fit the registers.
inline void keep_here(__m256i& v) { __asm__("" : "+x"(v)); }

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
#pragma GCC unroll 8
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
                keep_here(pairs[0][t]);
                keep_here(pairs[1][t]);
            }
        }
#pragma GCC unroll 8
        for (int t = 0; t < kColumns; ++t) {
            const __m256i s0 = _mm256_madd_epi16(pairs[0][t], factor[0]), s1 = _mm256_madd_epi16(pairs[1][t], factor[1]);
            sum[0][t] = s || add ? _mm256_add_epi32(sum[0][t], s0) : s0;
            sum[1][t] = s || add ? _mm256_add_epi32(sum[1][t], s1) : s1;
            keep_here(sum[0][t]);
            keep_here(sum[1][t]);
        }
    }
}

// Where the parts of a group's result lie: kMinima minima with the sums they meet.
struct GroupEnd {
    const float* scale;            // [16]
    const float (*minima)[kRows];  // [kMinima]
    const float* xs;               // of the first activation row
    const float* sums;             // likewise, [kMinima]
};

// out[t] += scale * (sum * xs) + minima * sums, for both halves of 8 rows. Minima join group by group, not in the end:
// the running sum stays as small as the result.
template <int kMinima, int kColumns>
inline void end_group(const GroupEnd& at, const Columns& x, const __m256i (&sum)[2][kColumns], float (*out)[kRows]) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
        const __m256 scale = _mm256_load_ps(at.scale + 8 * half);
        __m256 minima[2];
        for (int i = 0; i < kMinima; ++i) minima[i] = _mm256_load_ps(at.minima[i] + 8 * half);
#pragma GCC unroll 8
        for (int t = 0; t < kColumns; ++t) {
            const __m256 value = _mm256_mul_ps(_mm256_cvtepi32_ps(sum[half][t]), _mm256_set1_ps(at.xs[t * x.scales_stride]));
            __m256 total = _mm256_fmadd_ps(value, scale, _mm256_load_ps(out[t] + 8 * half));
            for (int i = 0; i < kMinima; ++i) {
                total = _mm256_fmadd_ps(minima[i], _mm256_set1_ps(at.sums[t * x.sums_stride + i]), total);
            }
            _mm256_store_ps(out[t] + 8 * half, total);
        }
    }
}

// out[t][16] = panel times kColumns activation rows over `groups` groups of 32. The sums of floats stay in memory: the
// registers are all taken by the sums of integers, and one load and store per group costs less than spilling those.
template <PanelKind kind, int kColumns>
inline void multiply_panel(const Panel& panel, int64_t groups, const Columns& x, float (*out)[kRows]) {
    for (int t = 0; t < kColumns; ++t) {
        _mm256_store_ps(out[t], _mm256_setzero_ps());
        _mm256_store_ps(out[t] + 8, _mm256_setzero_ps());
    }
    const __m256i one = _mm256_set1_epi16(1);
    for (int64_t g = 0; g < groups; ++g) {
        const auto* w = reinterpret_cast<const __m256i*>(panel.codes + g * 32 * kRows);
        const int8_t* codes = x.codes + 32 * g;
        const float* xs = x.scales + g;
        __m256i sum[2][kColumns];
        if constexpr (kind.integer_scales) {
            const auto* s = reinterpret_cast<const __m256i*>(panel.scale16[2 * g]);
            multiply_steps<kind, 4, kColumns>(w, codes, x.codes_stride, {s[0], s[1]}, false, sum);
            multiply_steps<kind, 4, kColumns>(w + 8, codes + 16, x.codes_stride, {s[2], s[3]}, true, sum);
            end_group<2, kColumns>({panel.scale[g], &panel.minimum[2 * g], xs, x.sums + 2 * g}, x, sum, out);
        } else if constexpr (kind.float_scales) {
            for (int64_t part = 2 * g; part < 2 * g + 2; ++part) {
                const int64_t half = part % 2;
                multiply_steps<kind, 4, kColumns>(w + 8 * half, codes + 16 * half, x.codes_stride, {one, one}, false, sum);
                const auto* scale = reinterpret_cast<const float*>(panel.scale16[part]);
                end_group<1, kColumns>({scale, &panel.minimum[part], xs, x.sums + part}, x, sum, out);
            }
        } else {
            multiply_steps<kind, 8, kColumns>(w, codes, x.codes_stride, {one, one}, false, sum);
            end_group<!kind.is_signed || kind.signed_minimum, kColumns>({panel.scale[g], &panel.minimum[g], xs, x.sums + g}, x, sum, out);
        }
        // Keeps the compiler from carrying `out` in registers after all.
        __asm__ volatile("" : : "r"(out) : "memory");
    }
}

struct Avx2 {
    static constexpr Style kStyle = Style::pairs16;
    static constexpr int kTile = 6;
    template <PanelKind kind, int kColumns>
    static void multiply(const Panel& panel, int64_t groups, const Columns& x, float (*out)[kRows]) {
        multiply_panel<kind, kColumns>(panel, groups, x, out);
    }
};

}  // namespace
}  // namespace quant
