// Code-book blocks times one activation row, for AVX2, AVX-VNNI and AVX-512. What bounds them is
// looking up points, not memory: signs go to the activations, so that points meet them as they are. A block's indices,
// signs and scales take a chain of some forty cycles to make; they are made while the block before is being multiplied,
// a quarter faster.
#pragma once

#include <utility>

#include "kernels/avx2_super_gemv.h"
#include "kernels/avx2_grid_unpack.h"
#include "kernels/avx2_panel.h"
#include "kernels/block_formats.h"

namespace quant {
namespace {

// What is made of a block ahead of its products. Lies in memory: the registers are for the products.
template <class F>
struct Stage {
    typename F::Ready ready;
    __m256i factors;  // of halves of groups, int16: the scale times the activations' multiple, as in avx2_super_gemv.h
    __m256i start;    // of the lanes
    __m256 taken;     // what minima take away
    float unit;       // of the factors
};

// The scales of halves of groups, in order.
template <class F>
inline __m256i scales_of_halves(const uint8_t* b) {
    if constexpr (requires { F::scales32(b); }) {
        const __m256i scales = F::scales32(b);
        return _mm256_or_si256(scales, _mm256_slli_epi32(scales, 16));
    } else if constexpr (requires { F::words_of_halves(b); }) {
        return F::scales_of(F::words_of_halves(b));
    } else if constexpr (F::kGroup == 32) {
        const __m256i scales = F::scales16(b);  // the same in both halves
        return _mm256_blend_epi32(_mm256_unpacklo_epi16(scales, scales), _mm256_unpackhi_epi16(scales, scales), 0xf0);
    } else {
        return F::scales16(b);
    }
}

template <class F>
inline void stage_block(const uint8_t* b, const UnitOfX& x, Stage<F>& out) {
    F::prepare(b, out.ready);
    out.unit = (F::kHalved ? 64.0f : 128.0f) * F::scale(b) * x.unit;
    out.factors = _mm256_mulhrs_epi16(_mm256_slli_epi16(scales_of_halves<F>(b), 8), x.multiples[0]);
    if constexpr (F::kMinimum) {
        const __m256i eighths = _mm256_madd_epi16(out.factors, _mm256_mullo_epi16(x.sums, F::eighths_of(F::words_of_halves(b))));
        out.taken = _mm256_mul_ps(_mm256_cvtepi32_ps(eighths), _mm256_set1_ps(0.125f * out.unit));
    } else if constexpr (!F::kSigned) {
        out.start = _mm256_mullo_epi32(_mm256_madd_epi16(out.factors, x.sums), _mm256_set1_epi32(-F::kOffset));
    }
}

template <class F, int g>
inline void add_points(const uint8_t* b, const Stage<F>& at, const int8_t* x, __m256i& sum) {
    __m256i xg = load256(x + 32 * g);
    if constexpr (F::kSigned) xg = with_signs(xg, at.ready.signs, g);
    const __m256i pairs = _mm256_maddubs_epi16(F::points(b, at.ready, g), xg);
    const auto* factors = reinterpret_cast<const int16_t*>(&at.factors) + 2 * g;
    __m256i factor;
    if constexpr (F::kGroup == 32) {
        factor = _mm256_set1_epi32(static_cast<int>(load32(factors)));
    } else {
        factor = _mm256_set_m128i(_mm_set1_epi16(factors[1]), _mm_set1_epi16(factors[0]));
    }
    sum = add_products(sum, pairs, factor);
}

// Blocks [first, first + count) of all rows times those of activation row t. The arithmetic of gemv_super, a block ahead.
template <class F>
inline void multiply_grid(const MatmulArgs& args, const UnitOfX* x, int64_t t, int64_t first, int64_t count) {
    const int64_t row_bytes = args.w.cols / F::kUnit * F::kBytes;
    const uint8_t* start = args.w.data + args.row_begin * row_bytes + first * F::kBytes;
    Stage<F> stages[2];
    Stage<F>*now = &stages[0], *next = &stages[1];
    stage_block<F>(start, x[0], *now);
    for (int64_t row = args.row_begin; row < args.row_end; ++row, start += row_bytes) {
        const uint8_t* b = start;
        const uint8_t* const after = row + 1 < args.row_end ? start + row_bytes : start;  // what the next row starts with
        const int8_t* codes = args.xq->row_codes(t) + F::kUnit * first;
        __m256 sum = _mm256_setzero_ps();
        for (int64_t u = 0; u < count; ++u, b += F::kBytes, codes += F::kUnit) {
            prefetch_ahead(b, F::kBytes);
            const bool ends = u + 1 == count;
            stage_block<F>(ends ? after : b + F::kBytes, x[ends ? 0 : u + 1], *next);
            __m256i even = F::kSigned || F::kMinimum ? _mm256_setzero_si256() : now->start, odd = _mm256_setzero_si256();
            add_points<F, 0>(b, *now, codes, even);
            add_points<F, 1>(b, *now, codes, odd);
            add_points<F, 2>(b, *now, codes, even);
            add_points<F, 3>(b, *now, codes, odd);
            add_points<F, 4>(b, *now, codes, even);
            add_points<F, 5>(b, *now, codes, odd);
            add_points<F, 6>(b, *now, codes, even);
            add_points<F, 7>(b, *now, codes, odd);
            sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(_mm256_add_epi32(even, odd)), _mm256_set1_ps(now->unit), sum);
            if constexpr (F::kMinimum) sum = _mm256_sub_ps(sum, now->taken);
            std::swap(now, next);
        }
        float& y = args.y[t * args.y_stride + row];
        y = first == 0 ? horizontal_sum(sum) : y + horizontal_sum(sum);
    }
}

template <class F>
void gemv_grid(const MatmulArgs& args) {
    const int64_t units = args.w.cols / F::kUnit;
    auto* const x = static_cast<UnitOfX*>(args.scratch);
    for (int64_t t = 0; t < args.n && args.row_begin < args.row_end; ++t)
        for (int64_t first = 0; first < units; first += kUnitsAtOnce) {
            const int64_t count = units - first < kUnitsAtOnce ? units - first : kUnitsAtOnce;
            const int8_t* codes = args.xq->row_codes(t) + F::kUnit * first;
            const float* scales = args.xq->row_scales(t) + 8 * first;
            for (int64_t u = 0; u < count; ++u) unit_of<Layout::twice, true, 32767>(codes + F::kUnit * u, scales + 8 * u, x[u]);
            multiply_grid<F>(args, x, t, first, count);
        }
}

template <class F>
void set_gemv_grid(Kernels& table, FormatSlot slot, const char* name) {
    MatmulKernels& kernels = table.matmul[static_cast<size_t>(slot)];
    kernels.gemv = gemv_grid<F>;
    kernels.gemv_name = name;
}

template <class Engine>
void set_grid(Kernels& table) {
#define SET(F, slot)                                                                       \
    set_gemv_grid<F>(table, FormatSlot::slot, "gemv_" #slot "_q8_" QUANT_KERNELS_ISA);     \
    set_gemm<Engine, F>(table, FormatSlot::slot, "gemm_" #slot "_q8_" QUANT_KERNELS_ISA);
    QUANT_GRID_BLOCKS(SET)
#undef SET
}

}  // namespace
}  // namespace quant
