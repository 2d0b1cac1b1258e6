// Block formats times one activation row, straight from the stored layout, for AVX2 and (with QUANT_KERNELS_VNNI) AVX-512.
// Bound by memory: the aim is to read each block once, with few enough instructions that the reading never waits. One row
// at a time: four rows side by side shared the loads of the activation but ran out of registers, and were three times slower.
//
// Integer dot products per group are exact: u8 x s8 pairs stay below 2^15 (63 * 127 * 2); signed codes go in as
// |w| and x * sign(w), at most 128 * 127 * 2.
#pragma once

#include "kernels/avx2_unpack.h"

namespace quant {
namespace {

struct Activations {
    const int8_t* codes;     // [cols]
    const float* scales;     // [cols / 32]
    const float* sums;       // [cols / 16]
    const float* block_sums;  // [cols / 32]
    const float* centers;    // [cols / unit]: -offset / 8 * sum of the unit, one eighth for each lane
    const int16_t* code_sums = nullptr;  // [cols / 16]: sums of 16 codes
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
    if constexpr (F::kMax == 128) return _mm256_cvtepi32_ps(_mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_abs_epi8(w), _mm256_sign_epi8(x, w)));
    return _mm256_cvtepi32_ps(_mm256_dpbusd_epi32(_mm256_setzero_si256(), w, x));
#else
    return _mm256_cvtepi32_ps(_mm256_madd_epi16(dot_pairs<F>(w, x), constant(_mm256_set1_epi16(1))));
#endif
}

// Adds the product of unit `u` to the lanes of `sum`.
template <class F>
inline void add_unit(const uint8_t* b, int64_t u, const Activations& x, __m256& sum)
    requires(!F::kSuper)
{
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
        // Eight additions one after the other would take longer than what they add.
        constexpr int kParts = kGroups == 8 ? 2 : 1;
        __m256 part[2] = {_mm256_set1_ps(x.centers[u]), _mm256_setzero_ps()};
#pragma GCC unroll 8
        for (int g = 0; g < kGroups; ++g) {
            const __m256 lanes = dot_lanes<F>(F::codes(b, g), load256(x.codes + 32 * (first + g)));
            part[g % kParts] = _mm256_fmadd_ps(lanes, _mm256_set1_ps(x.scales[first + g]), part[g % kParts]);
        }
        if constexpr (kParts == 2) part[0] = _mm256_add_ps(part[0], part[1]);
        sum = _mm256_fmadd_ps(part[0], F::scale_everywhere(b), sum);
    }
}

// The scales of groups lie as bytes, the same 16 in both halves of a register: what crosses halves is slow, so that they become
// int16 by a shuffle within. Signed bytes go into the upper half of an int16: 256 times their value, made up for at the end.
template <class F>
constexpr short byte_as_16(int index) {
    return static_cast<short>(F::kSignedScales ? index << 8 | 0x80 : 0x8000 | index);
}
inline __m256i halves16(short low, short high) { return _mm256_set_m128i(_mm_set1_epi16(high), _mm_set1_epi16(low)); }

// Bytes `first` and on as 16 int16, each `times` times.
template <class F, int first, int times>
inline __m256i widen_bytes(__m256i bytes) {
    constexpr auto at = [](int i) { return byte_as_16<F>(first + i / times); };
    return _mm256_shuffle_epi8(bytes, _mm256_setr_epi16(at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7), at(8), at(9), at(10), at(11),
                                                        at(12), at(13), at(14), at(15)));
}

template <class F, int g>
inline void add_group(const uint8_t* b, const Activations& x, int64_t first, __m256i scales, __m256& part) {
    constexpr int kBoth = F::kGroup == 32;
    const __m256i scale = _mm256_shuffle_epi8(scales, constant(halves16(byte_as_16<F>(kBoth ? g : 2 * g), byte_as_16<F>(kBoth ? g : 2 * g + 1))));
    const __m256i pairs = dot_pairs<F>(F::codes(b, g), load256(x.codes + 32 * (first + g)));
    const __m256 lanes = _mm256_cvtepi32_ps(_mm256_madd_epi16(pairs, scale));
    part = _mm256_fmadd_ps(lanes, _mm256_broadcast_ss(x.scales + first + g), part);
}

// Sum over the groups of integer factor * sum of the group's activations, 8 partial sums.
inline __m256 times_sums(__m256i factors16, const Activations& x, int64_t u) {
    const __m256i sums = _mm256_madd_epi16(factors16, load256(x.code_sums + 16 * u));
    return _mm256_mul_ps(_mm256_cvtepi32_ps(sums), _mm256_loadu_ps(x.scales + 8 * u));
}

template <class F>
inline void add_unit(const uint8_t* b, int64_t u, const Activations& x, __m256& sum)
    requires(F::kSuper)
{
    const __m256i scales = F::scale_bytes(b);
    __m256 part = _mm256_setzero_ps(), other = part;
    add_group<F, 0>(b, x, 8 * u, scales, part);
    add_group<F, 1>(b, x, 8 * u, scales, other);
    add_group<F, 2>(b, x, 8 * u, scales, part);
    add_group<F, 3>(b, x, 8 * u, scales, other);
    add_group<F, 4>(b, x, 8 * u, scales, part);
    add_group<F, 5>(b, x, 8 * u, scales, other);
    add_group<F, 6>(b, x, 8 * u, scales, part);
    add_group<F, 7>(b, x, 8 * u, scales, other);
    part = _mm256_add_ps(part, other);
    if constexpr (F::kOffset != 0) {
        const __m256i factors = widen_bytes<F, 0, F::kGroup / 16>(scales);
        part = _mm256_fmadd_ps(times_sums(factors, x, u), _mm256_set1_ps(-static_cast<float>(F::kOffset)), part);
    }
    if constexpr (F::kMinimum) {
        const __m256 both = F::both_scales(b);
        sum = _mm256_fmadd_ps(part, _mm256_moveldup_ps(both), sum);
        sum = _mm256_fnmadd_ps(times_sums(widen_bytes<F, F::kMinimaAt, F::kGroup / 16>(F::minimum_bytes(b, scales)), x, u), _mm256_movehdup_ps(both), sum);
    } else {
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

// Past the end of the row, and of the tensor, a prefetch does nothing. The distance covers the latency of memory.
inline void prefetch_ahead(const uint8_t* b, int bytes) {
    for (int line = 0; line < bytes; line += 64) _mm_prefetch(reinterpret_cast<const char*>(b) + 2048 + line, _MM_HINT_T0);
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

// Sums of 16 codes.
inline void sum_codes(const int8_t* codes, int64_t cols, int16_t* out) {
    for (int64_t i = 0; i < cols; i += 32, out += 2) {
        const __m256i raised = _mm256_xor_si256(load256(codes + i), _mm256_set1_epi8(static_cast<char>(128)));
        alignas(32) int64_t eight[4];
        _mm256_store_si256(reinterpret_cast<__m256i*>(eight), _mm256_sad_epu8(raised, _mm256_setzero_si256()));
        out[0] = static_cast<int16_t>(eight[0] + eight[1] - 16 * 128);
        out[1] = static_cast<int16_t>(eight[2] + eight[3] - 16 * 128);
    }
}

template <class F>
void gemv(const MatmulArgs& args) {
    const int64_t cols = args.w.cols, units = cols / F::kUnit, row_bytes = units * F::kBytes;
    auto* centers = static_cast<float*>(args.scratch);
    for (int64_t t = 0; t < args.n; ++t) {
        const Q8Matrix& q = *args.xq;
        Activations x{q.codes + t * cols, q.scales + t * (cols / 32), q.sums + t * (cols / 16), q.block_sums + t * (cols / 32),
                      centers};
        if constexpr (!F::kSuper && F::kUnit > 32 && !F::kScalePer16) {
            constexpr int kGroups = F::kUnit / 32;
            for (int64_t u = 0; u < units; ++u) {
                float total = 0;
                for (int g = 0; g < kGroups; ++g) total += x.block_sums[u * kGroups + g];
                centers[u] = total * (-F::kOffset / 8.0f);
            }
        }
        if constexpr (F::kSuper) {
            auto* sums = static_cast<int16_t*>(args.scratch);
            sum_codes(x.codes, cols, sums);
            x.code_sums = sums;
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

template <class F>
void set_gemv(Kernels& table, FormatSlot slot, const char* name) {
    MatmulKernels& kernels = table.matmul[static_cast<size_t>(slot)];
    kernels.gemv = gemv<F>;
    kernels.gemv_name = name;
}

}  // namespace
}  // namespace quant
