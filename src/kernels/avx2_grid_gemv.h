// Code-book blocks times one activation row, for AVX2 and (with QUANT_KERNELS_VNNI) AVX-512. What bounds them is looking up
// points, not memory: signs go to the activations, so that points meet them as they are.
#pragma once

#include "kernels/avx2_gemv.h"
#include "kernels/avx2_grid_unpack.h"

namespace quant {
namespace {

template <class F>
inline __m256i signed_activations(const uint8_t* b, const typename F::Ready& ready, int group, const int8_t* x) {
    if constexpr (F::kSigned) return with_signs(load256(x), F::signs(b, ready, group));
    return load256(x);
}

// Adds the product of unit `u` to the lanes of `sum`: even groups to the first, odd ones to the second.
template <class F>
inline void add_points(const uint8_t* b, int64_t u, const Activations& x, const __m256i scales, __m256 (&sum)[2])
    requires(F::kGroup == 32)
{
    typename F::Ready ready;
    F::prepare(b, ready);
    alignas(32) float factor[8];
    const __m256 d = _mm256_set1_ps(F::kHalved ? 0.5f * F::scale(b) : F::scale(b));
    _mm256_store_ps(factor, _mm256_mul_ps(_mm256_mul_ps(floats_low(scales), _mm256_loadu_ps(x.scales + 8 * u)), d));
#pragma GCC unroll 8
    for (int g = 0; g < 8; ++g) {
        const __m256i xg = signed_activations<F>(b, ready, g, x.codes + 32 * (8 * u + g));
        const __m256 lanes = dot_lanes<F>(F::points(b, ready, g), xg);
        sum[g % 2] = _mm256_fmadd_ps(lanes, _mm256_broadcast_ss(factor + g), sum[g % 2]);
    }
}

template <class F, int g>
inline void add_group16(const uint8_t* b, const typename F::Ready& ready, const Activations& x, int64_t first, __m256i scales, __m256& part) {
    const __m256i xg = signed_activations<F>(b, ready, g, x.codes + 32 * (first + g));
    const __m256i pairs = _mm256_maddubs_epi16(F::points(b, ready, g), xg);
    const __m256 lanes = _mm256_cvtepi32_ps(_mm256_madd_epi16(pairs, repeat16<2 * (g % 4), 2 * (g % 4) + 1>(scales)));
    part = _mm256_fmadd_ps(lanes, _mm256_broadcast_ss(x.scales + first + g), part);
}

template <class F>
inline void add_points(const uint8_t* b, int64_t u, const Activations& x, const __m256i scales, __m256 (&sum)[2])
    requires(F::kGroup == 16)
{
    typename F::Ready ready;
    F::prepare(b, ready);
    const __m256i low = _mm256_permute2x128_si256(scales, scales, 0x00), high = _mm256_permute2x128_si256(scales, scales, 0x11);
    __m256 part[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    if constexpr (!F::kSigned) part[0] = _mm256_mul_ps(times_sums<F>(scales, x, u), _mm256_set1_ps(-static_cast<float>(F::kOffset)));
    add_group16<F, 0>(b, ready, x, 8 * u, low, part[0]);
    add_group16<F, 1>(b, ready, x, 8 * u, low, part[1]);
    add_group16<F, 2>(b, ready, x, 8 * u, low, part[0]);
    add_group16<F, 3>(b, ready, x, 8 * u, low, part[1]);
    add_group16<F, 4>(b, ready, x, 8 * u, high, part[0]);
    add_group16<F, 5>(b, ready, x, 8 * u, high, part[1]);
    add_group16<F, 6>(b, ready, x, 8 * u, high, part[0]);
    add_group16<F, 7>(b, ready, x, 8 * u, high, part[1]);
    const __m256 d = _mm256_set1_ps(F::scale(b));
    sum[0] = _mm256_fmadd_ps(part[0], d, sum[0]);
    sum[1] = _mm256_fmadd_ps(part[1], d, sum[1]);
}

template <class F>
void gemv_grid(const MatmulArgs& args) {
    const int64_t cols = args.w.cols, units = cols / F::kUnit, row_bytes = units * F::kBytes;
    const Q8Matrix& q = *args.xq;
    for (int64_t t = 0; t < args.n; ++t) {
        const Activations x{q.codes + t * cols, q.scales + t * (cols / 32), q.sums + t * (cols / 16), q.block_sums + t * (cols / 32), nullptr};
        for (int64_t row = args.row_begin; row < args.row_end; ++row) {
            const uint8_t* b = args.w.data + row * row_bytes;
            __m256 sum[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
            for (int64_t u = 0; u < units; ++u, b += F::kBytes) {
                prefetch_ahead(b, F::kBytes);
                const __m256i scales = F::scales16(b);
                add_points<F>(b, u, x, scales, sum);
                if constexpr (F::kMinimum) {
                    sum[1] = _mm256_fnmadd_ps(times_sums<F>(F::minima16(b), x, u), _mm256_set1_ps(F::min_scale(b)), sum[1]);
                }
            }
            args.y[t * args.y_stride + row] = horizontal_sum(_mm256_add_ps(sum[0], sum[1]));
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
