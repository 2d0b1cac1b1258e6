// Code-book blocks times one activation row, for AVX2 and (with QUANT_KERNELS_VNNI) AVX-512. What bounds them is
// looking up points, not memory: signs go to the activations, so that points meet them as they are. A block's indices,
// signs and scales take a chain of some forty cycles to make; they are made while the block before is being multiplied,
// a quarter faster.
#pragma once

#include "kernels/avx2_gemv.h"
#include "kernels/avx2_grid_unpack.h"

namespace quant {
namespace {

// int16 `index` of each 128-bit half, repeated.
template <int low, int high>
inline __m256i repeat16(__m256i v) {
    constexpr short kLow = static_cast<short>(2 * low | (2 * low + 1) << 8);
    constexpr short kHigh = static_cast<short>(2 * high | (2 * high + 1) << 8);
    return _mm256_shuffle_epi8(v, _mm256_set_m128i(_mm_set1_epi16(kHigh), _mm_set1_epi16(kLow)));
}

// Sum over the groups of integer factor * sum of the group's activations, 8 partial sums.
template <class F>
inline __m256 times_float_sums(__m256i factors16, const Activations& x, int64_t u) {
    if constexpr (F::kGroup == 32) return _mm256_mul_ps(floats_low(factors16), _mm256_loadu_ps(x.block_sums + 8 * u));
    const __m256 first = _mm256_mul_ps(floats_low(factors16), _mm256_loadu_ps(x.sums + 16 * u));
    return _mm256_fmadd_ps(floats_high(factors16), _mm256_loadu_ps(x.sums + 16 * u + 8), first);
}

// What is made of a block ahead of its products. Lies in memory: the registers are for the products.
template <class F>
struct Stage {
    typename F::Ready ready;
    alignas(32) float factor[8];  // of each group: its scale, where groups have one, and the activations'
    __m256i scales[2];            // integer scales of halves of groups, groups 0-3 and 4-7
    __m256 taken;                 // what minima and offsets take away
};

template <class F>
inline void stage_block(const uint8_t* b, int64_t u, const Activations& x, Stage<F>& out) {
    F::prepare(b, out.ready);
    const __m256 d = _mm256_set1_ps(F::kHalved ? 0.5f * F::scale(b) : F::scale(b));
    __m256 factor = _mm256_mul_ps(_mm256_loadu_ps(x.scales + 8 * u), d);
    if constexpr (requires { F::scales32(b); }) {
        factor = _mm256_mul_ps(factor, _mm256_cvtepi32_ps(F::scales32(b)));
    } else {
        const __m256i scales = F::scales16(b);
        if constexpr (F::kGroup == 32) {
            factor = _mm256_mul_ps(factor, floats_low(scales));
        } else {
            out.scales[0] = _mm256_permute2x128_si256(scales, scales, 0x00);
            out.scales[1] = _mm256_permute2x128_si256(scales, scales, 0x11);
        }
        if constexpr (F::kMinimum) {
            out.taken = _mm256_mul_ps(times_float_sums<F>(F::minima16(b), x, u), _mm256_set1_ps(F::min_scale(b)));
        } else if constexpr (!F::kSigned) {
            out.taken = _mm256_mul_ps(times_float_sums<F>(scales, x, u), _mm256_mul_ps(d, _mm256_set1_ps(F::kOffset)));
        }
    }
    _mm256_store_ps(out.factor, factor);
}

template <class F, int g>
inline void add_points(const uint8_t* b, const Stage<F>& at, const int8_t* x, __m256 (&sum)[4]) {
    __m256i xg = load256(x + 32 * g);
    if constexpr (F::kSigned) xg = with_signs(xg, at.ready.signs, g);
    const __m256i points = F::points(b, at.ready, g);
    __m256 lanes;
    if constexpr (F::kGroup == 32) {
        lanes = dot_lanes<F>(points, xg);
    } else {
        const __m256i scales = repeat16<2 * (g % 4), 2 * (g % 4) + 1>(at.scales[g / 4]);
        lanes = _mm256_cvtepi32_ps(_mm256_madd_epi16(_mm256_maddubs_epi16(points, xg), scales));
    }
    sum[g % 4] = _mm256_fmadd_ps(lanes, _mm256_broadcast_ss(at.factor + g), sum[g % 4]);
}

template <class F>
void gemv_grid(const MatmulArgs& args) {
    const int64_t cols = args.w.cols, units = cols / F::kUnit;
    const Q8Matrix& q = *args.xq;
    for (int64_t t = 0; t < args.n && args.row_begin < args.row_end; ++t) {
        const Activations x{q.codes + t * cols, q.scales + t * (cols / 32), q.sums + t * (cols / 16),
                            q.block_sums + t * (cols / 32), nullptr};
        const uint8_t* b = args.w.data + args.row_begin * units * F::kBytes;
        const uint8_t* last = args.w.data + (args.row_end * units - 1) * F::kBytes;
        Stage<F> stages[2];
        Stage<F>*now = &stages[0], *next = &stages[1];
        stage_block<F>(b, 0, x, *now);
        for (int64_t row = args.row_begin; row < args.row_end; ++row) {
            __m256 sum[4];
            for (__m256& each : sum) each = _mm256_setzero_ps();
            for (int64_t u = 0; u < units; ++u) {
                prefetch_ahead(b, F::kBytes);
                stage_block<F>(b < last ? b + F::kBytes : b, u + 1 < units ? u + 1 : 0, x, *next);
                const int8_t* codes = x.codes + F::kUnit * u;
                add_points<F, 0>(b, *now, codes, sum);
                add_points<F, 1>(b, *now, codes, sum);
                add_points<F, 2>(b, *now, codes, sum);
                add_points<F, 3>(b, *now, codes, sum);
                add_points<F, 4>(b, *now, codes, sum);
                add_points<F, 5>(b, *now, codes, sum);
                add_points<F, 6>(b, *now, codes, sum);
                add_points<F, 7>(b, *now, codes, sum);
                if constexpr (!F::kSigned) sum[0] = _mm256_sub_ps(sum[0], now->taken);
                Stage<F>* const done = now;
                now = next;
                next = done;
                b += F::kBytes;
            }
            args.y[t * args.y_stride + row] =
                horizontal_sum(_mm256_add_ps(_mm256_add_ps(sum[0], sum[1]), _mm256_add_ps(sum[2], sum[3])));
        }
    }
}

template <class F>
void set_gemv_grid(Kernels& table, FormatSlot slot, const char* name) {
    MatmulKernels& kernels = table.matmul[static_cast<size_t>(slot)];
    kernels.gemv = gemv_grid<F>;
    kernels.gemv_name = name;
}

}  // namespace
}  // namespace quant
