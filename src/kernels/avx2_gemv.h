// Block formats times one activation row, straight from the stored layout, for AVX2, AVX-VNNI and AVX-512.
// Bound by memory: the aim is to read each block once, with few enough instructions that the reading never waits. One row
// at a time: four rows side by side shared the loads of the activation but ran out of registers, and were three times slower.
//
// Integer dot products per group are exact: u8 x s8 pairs stay below 2^15 (63 * 127 * 2); signed codes go in as
// |w| and x * sign(w), at most 128 * 127 * 2.
#pragma once

#include "kernels/avx2_unpack.h"
#include "kernels/prefetch.h"

namespace quant {
namespace {

struct Activations {
    const int8_t* codes;     // [cols]
    const float* scales;     // [cols / 32]
    const float* sums;       // [cols / 16]
    const float* block_sums;  // [cols / 32]
    const float* centers;    // [cols / unit]: -offset / 8 * sum of the unit, one eighth for each lane
};

// Pairs of products of 32 codes as int16.
template <class F>
inline __m256i dot_pairs(__m256i w, __m256i x) {
    if constexpr (F::kMax == 128) {
        const __m256i once = constant(w);  // not loaded for each of its two uses
        return _mm256_maddubs_epi16(_mm256_abs_epi8(once), _mm256_sign_epi8(x, once));
    }
    return _mm256_maddubs_epi16(w, x);
}

// Sums of four products of 32 codes.
template <class F>
inline __m256 dot_lanes(__m256i w, __m256i x) {
#if defined(QUANT_KERNELS_VNNI)
    if constexpr (F::kMax == 128) return _mm256_cvtepi32_ps(dot_bytes(_mm256_setzero_si256(), _mm256_abs_epi8(w), _mm256_sign_epi8(x, w)));
    return _mm256_cvtepi32_ps(dot_bytes(_mm256_setzero_si256(), w, x));
#else
    return _mm256_cvtepi32_ps(_mm256_madd_epi16(dot_pairs<F>(w, x), constant(_mm256_set1_epi16(1))));
#endif
}

// Adds the product of unit `u` to the lanes of `sum`.
template <class F>
inline void add_unit(const uint8_t* b, int64_t u, const Activations& x, __m256& sum) {
    constexpr int kGroups = F::kUnit / 32;
    const int64_t first = u * kGroups;
    if constexpr (F::kScalePer16) {
        static_assert(kGroups == 2);
        const __m128 scales = F::scales16(b);
        const __m128 xs = _mm_castpd_ps(_mm_load_sd(reinterpret_cast<const double*>(x.scales + first)));
        const __m256 factors = _mm256_castps128_ps256(_mm_mul_ps(scales, _mm_unpacklo_ps(xs, xs)));
        const __m128 centers = _mm_mul_ps(_mm_mul_ps(scales, _mm_loadu_ps(x.sums + 2 * first)), _mm_set1_ps(-F::kOffset));
        sum = _mm256_add_ps(sum, _mm256_zextps128_ps256(centers));
        const __m256i low = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1), high = _mm256_setr_epi32(2, 2, 2, 2, 3, 3, 3, 3);
        const __m256 a = dot_lanes<F>(F::codes(b, 0), load256(x.codes + 32 * first));
        const __m256 c = dot_lanes<F>(F::codes(b, 1), load256(x.codes + 32 * first + 32));
        sum = _mm256_fmadd_ps(a, _mm256_permutevar8x32_ps(factors, low), sum);
        sum = _mm256_fmadd_ps(c, _mm256_permutevar8x32_ps(factors, high), sum);
    } else {
        __m256 part = _mm256_set1_ps(x.centers[u]);
#pragma GCC unroll 4
        for (int g = 0; g < kGroups; ++g) {
            const __m256 lanes = dot_lanes<F>(F::codes(b, g), load256(x.codes + 32 * (first + g)));
            part = _mm256_fmadd_ps(lanes, _mm256_set1_ps(x.scales[first + g]), part);
        }
        sum = _mm256_fmadd_ps(part, F::scale_everywhere(b), sum);
    }
}

// Halves at `at`, `at` + step ...: gathered in a general register, because the vector units are busy enough.
inline __m128 four_halves(const uint8_t* at, int step) {
    const uint64_t low = load16(at) | static_cast<uint32_t>(load16(at + step)) << 16;
    const uint64_t high = load16(at + 2 * step) | static_cast<uint32_t>(load16(at + 3 * step)) << 16;
    return _mm_cvtph_ps(_mm_cvtsi64_si128(static_cast<long long>(low | high << 32)));
}

template <class F>
inline __m128 four_scales(const uint8_t* b) {
    if constexpr (F::kHalfScale) {
        return four_halves(b, F::kBytes);
    } else {
        return F::four_scales(b);
    }
}

// One row of units of 32 weights, four units at a time: their scales, minima and offsets are worked on together.
template <class F>
inline float gemv_row32(const uint8_t* b, int64_t units, const Activations& x) {
    __m256 sum[4];
    for (__m256& each : sum) each = _mm256_setzero_ps();
    __m128 sums = _mm_setzero_ps();  // of scale (or minimum) times the sum of the unit's activations
    int64_t u = 0;
    for (; u + 4 <= units; u += 4, b += 4 * F::kBytes) {
        prefetch_ahead(b, 4 * F::kBytes);
        const __m128 scales = four_scales<F>(b);
        alignas(16) float factors[4];
        _mm_store_ps(factors, _mm_mul_ps(scales, _mm_loadu_ps(x.scales + u)));
        if constexpr (F::kMinimum) sums = _mm_fmadd_ps(four_halves(b + 2, F::kBytes), _mm_loadu_ps(x.block_sums + u), sums);
        if constexpr (F::kOffset != 0) sums = _mm_fmadd_ps(scales, _mm_loadu_ps(x.block_sums + u), sums);
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
            const __m256 lanes = dot_lanes<F>(F::codes(b + i * F::kBytes, 0), load256(x.codes + 32 * (u + i)));
            sum[i] = _mm256_fmadd_ps(lanes, _mm256_broadcast_ss(factors + i), sum[i]);
        }
    }
    for (; u < units; ++u, b += F::kBytes) {
        const float scale = F::scale(b);
        const __m256 lanes = dot_lanes<F>(F::codes(b, 0), load256(x.codes + 32 * u));
        sum[0] = _mm256_fmadd_ps(lanes, _mm256_set1_ps(scale * x.scales[u]), sum[0]);
        float factor = scale;
        if constexpr (F::kMinimum) factor = F::minimum(b);
        if constexpr (F::kMinimum || F::kOffset != 0) sums = _mm_add_ss(sums, _mm_set_ss(factor * x.block_sums[u]));
    }
    const __m256 products = _mm256_add_ps(_mm256_add_ps(sum[0], sum[1]), _mm256_add_ps(sum[2], sum[3]));
    const float times = F::kMinimum ? 1.0f : -static_cast<float>(F::kOffset);
    return horizontal_sum(products) + times * horizontal_sum(_mm256_zextps128_ps256(sums));
}

// One row of longer units, which have enough independent work within.
template <class F>
inline float gemv_row(const uint8_t* b, int64_t units, const Activations& x) {
    __m256 sum = _mm256_setzero_ps();
    for (int64_t u = 0; u < units; ++u, b += F::kBytes) {
        prefetch_ahead(b, F::kBytes);
        add_unit<F>(b, u, x, sum);
    }
    return F::kRowFactor * horizontal_sum(sum);
}

template <class F>
void gemv(const MatmulArgs& args) {
    const int64_t cols = args.w.cols, units = cols / F::kUnit, row_bytes = units * F::kBytes;
    auto* centers = static_cast<float*>(args.scratch);
    for (int64_t t = 0; t < args.n; ++t) {
        const Q8Matrix& q = *args.xq;
        Activations x{q.codes + t * cols, q.scales + t * (cols / 32), q.sums + t * (cols / 16), q.block_sums + t * (cols / 32),
                      centers};
        if constexpr (F::kUnit > 32 && !F::kScalePer16) {
            constexpr int kGroups = F::kUnit / 32;
            for (int64_t u = 0; u < units; ++u) {
                float total = 0;
                for (int g = 0; g < kGroups; ++g) total += x.block_sums[u * kGroups + g];
                centers[u] = total * (-F::kOffset / 8.0f);
            }
        }
        float* y = args.y + t * args.y_stride;
        for (int64_t row = args.row_begin; row < args.row_end; ++row) {
            const uint8_t* b = args.w.data + row * row_bytes;
            if constexpr (F::kUnit == 32) {
                y[row] = gemv_row32<F>(b, units, x);
            } else {
                y[row] = gemv_row<F>(b, units, x);
            }
        }
    }
}

// Those of 256 weights: avx2_super_gemv.h.
template <class F>
    requires(F::kUnit < 256)
void set_gemv(Kernels& table, FormatSlot slot, const char* name) {
    MatmulKernels& kernels = table.matmul[static_cast<size_t>(slot)];
    kernels.gemv = gemv<F>;
    kernels.gemv_name = name;
}

}  // namespace
}  // namespace quant
