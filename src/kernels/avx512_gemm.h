// Block formats times many activation rows (AVX-512 with VNNI): the inner loop over the panels of avx2_panel.h.
// Included by AVX-512 files only, everything in an unnamed namespace.
// vpdpbusd multiplies four broadcast activation bytes into 16 rows and adds in int32: no intermediate can overflow.
// It takes unsigned weight codes: signed ones come raised by 128, which their minimum takes back.
#pragma once

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

struct Columns {
    const int8_t* codes;  // of the first row of the tile, at column k
    const float* scales;
    const float* sums;  // per 16 or per 32, as the kind needs
    int64_t codes_stride, scales_stride, sums_stride;
};

struct Avx512 {
    static constexpr Style kStyle = Style::sums32;
    static constexpr int kTile = 12;  // 12 sums in int32, 12 in float, weights and scales: 32 registers

    template <PanelKind kind>
    static constexpr int64_t chunk() {
        return 1024;  // 16 KiB of codes: half of the first-level cache
    }
    template <PanelKind kind>
    static void prepare(const MatmulArgs&, const Place&) {}
    template <PanelKind kind>
    static Columns tile(const MatmulArgs& args, const Place& at, int64_t t) {
        constexpr int kPerSum = kind.per16() ? 16 : 32;
        const Q8Matrix& q = *args.xq;
        const int64_t cols = args.w.cols, first = t * cols + at.k;
        return {q.codes + first, q.scales + first / 32, (kPerSum == 16 ? q.sums : q.block_sums) + first / kPerSum, cols, cols / 32, cols / kPerSum};
    }
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
}  // namespace quant
