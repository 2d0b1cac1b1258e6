// Block formats times one activation row, straight from the stored layout, for NEON and (with QUANT_KERNELS_DOTPROD) the
// dot product instructions. Rows are taken four at a time, so that four sums hide each other's latency.
#pragma once

#include "kernels/neon_unpack.h"

namespace quant {
namespace {

// Four partial sums of 16 products. Without dot products: pairs add up in int16, at most 2 * 128 * 127.
inline int32x4_t dot16(int8x16_t w, int8x16_t x) {
#if defined(QUANT_KERNELS_DOTPROD)
    return vdotq_s32(vdupq_n_s32(0), w, x);
#else
    const int16x8_t pairs = vmlal_s8(vmull_s8(vget_low_s8(w), vget_low_s8(x)), vget_high_s8(w), vget_high_s8(x));
    return vpaddlq_s16(pairs);
#endif
}

inline int32x4_t dot32(Codes32 w, const int8_t* x) {
#if defined(QUANT_KERNELS_DOTPROD)
    return vdotq_s32(vdotq_s32(vdupq_n_s32(0), w.low, vld1q_s8(x)), w.high, vld1q_s8(x + 16));
#else
    const int8x16_t low = vld1q_s8(x), high = vld1q_s8(x + 16);
    const int16x8_t first = vmlal_s8(vmull_s8(vget_low_s8(w.low), vget_low_s8(low)), vget_high_s8(w.low), vget_high_s8(low));
    const int16x8_t second = vmlal_s8(vmull_s8(vget_low_s8(w.high), vget_low_s8(high)), vget_high_s8(w.high), vget_high_s8(high));
    return vpadalq_s16(vpaddlq_s16(first), second);
#endif
}

struct Activations {
    const int8_t* codes;      // [cols]
    const float* scales;      // [cols / 32]
    const float* sums;        // [cols / 16]
    const float* block_sums;  // [cols / 32]
};

// Adds the product of unit `u` to the lanes of `sum` and what its minima give to `minimum`.
template <class F>
inline void add_unit(const uint8_t* b, int64_t u, const Activations& x, float32x4_t& sum, float& minimum) {
    constexpr int kGroups = F::kUnit / 32;
    const int64_t first = u * kGroups;
    float scale[F::kUnit / F::kGroup];
    F::scales(b, scale);
#pragma GCC unroll 8
    for (int g = 0; g < kGroups; ++g) {
        const Codes32 w = F::codes(b, g);
        const int8_t* codes = x.codes + 32 * (first + g);
        const float xs = x.scales[first + g];
        if constexpr (F::kGroup == 32) {
            sum = vfmaq_n_f32(sum, vcvtq_f32_s32(dot32(w, codes)), scale[g] * xs);
        } else {
            sum = vfmaq_n_f32(sum, vcvtq_f32_s32(dot16(w.low, vld1q_s8(codes))), scale[2 * g] * xs);
            sum = vfmaq_n_f32(sum, vcvtq_f32_s32(dot16(w.high, vld1q_s8(codes + 16))), scale[2 * g + 1] * xs);
        }
    }
    if constexpr (F::kMinimum) {
        constexpr int kMinima = F::kUnit / F::kGroup;
        float minima[kMinima];
        F::minima(b, minima);
        const float* sums = F::kGroup == 32 ? x.block_sums + u * kMinima : x.sums + u * kMinima;
        if constexpr (kMinima >= 4) {
            float32x4_t part = vdupq_n_f32(0);
            for (int i = 0; i < kMinima; i += 4) part = vfmaq_f32(part, vld1q_f32(minima + i), vld1q_f32(sums + i));
            sum = vaddq_f32(sum, part);
        } else {
            for (int i = 0; i < kMinima; ++i) minimum += minima[i] * sums[i];
        }
    }
}

template <class F, int kRows>
inline void gemv_rows(const uint8_t* w, int64_t row_bytes, int64_t units, const Activations& x, float* y) {
    float32x4_t sum[kRows];
    float minimum[kRows];
    for (int r = 0; r < kRows; ++r) {
        sum[r] = vdupq_n_f32(0);
        minimum[r] = 0;
    }
    for (int64_t u = 0; u < units; ++u) {
#pragma GCC unroll 4
        for (int r = 0; r < kRows; ++r) {
            const uint8_t* b = w + r * row_bytes + u * F::kBytes;
            __builtin_prefetch(b + 1024);
            add_unit<F>(b, u, x, sum[r], minimum[r]);
        }
    }
    for (int r = 0; r < kRows; ++r) y[r] = vaddvq_f32(sum[r]) + minimum[r];
}

template <class F>
void gemv(const MatmulArgs& args) {
    const int64_t cols = args.w.cols, units = cols / F::kUnit, row_bytes = units * F::kBytes;
    const Q8Matrix& q = *args.xq;
    for (int64_t t = 0; t < args.n; ++t) {
        const Activations x{q.codes + t * cols, q.scales + t * (cols / 32), q.sums + t * (cols / 16), q.block_sums + t * (cols / 32)};
        float* y = args.y + t * args.y_stride;
        int64_t row = args.row_begin;
        for (; row + 4 <= args.row_end; row += 4) gemv_rows<F, 4>(args.w.data + row * row_bytes, row_bytes, units, x, y + row);
        for (; row < args.row_end; ++row) gemv_rows<F, 1>(args.w.data + row * row_bytes, row_bytes, units, x, y + row);
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
