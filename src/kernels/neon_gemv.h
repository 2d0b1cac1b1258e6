// Block formats times one activation row, straight from the stored layout, for NEON and (with QUANT_KERNELS_DOTPROD) the
// dot product instructions. Rows are taken four at a time: they share the loads of activations, and what is done once per
// group (float conversion, scales) is done for four groups in one vector: those of four rows where a unit is a group, of one
// row in larger units.
#pragma once

#include <type_traits>

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

// Codes as they enter the products of four rows, and what the products start from. With dot products an offset need not be
// taken from the codes: the sums start at minus the offset times the activations, which all rows share.
template <class F>
inline Codes32 entering(const uint8_t* b, int group) {
#if defined(QUANT_KERNELS_DOTPROD)
    if constexpr (requires { F::kOffset; }) return F::raw(b, group);
#endif
    return F::codes(b, group);
}
template <class F>
inline int32x4_t start(int8x16_t low, int8x16_t high) {
    int32x4_t zero = vdupq_n_s32(0);
#if defined(QUANT_KERNELS_DOTPROD)
    if constexpr (requires { F::kOffset; }) {
        const int8x16_t offset = vdupq_n_s8(-F::kOffset);
        return vdotq_s32(vdotq_s32(zero, offset, low), offset, high);
    }
#endif
    static_cast<void>(low), static_cast<void>(high);
    return zero;
}
inline int32x4_t dot32(int32x4_t sum, Codes32 w, int8x16_t low, int8x16_t high) {
#if defined(QUANT_KERNELS_DOTPROD)
    return vdotq_s32(vdotq_s32(sum, w.low, low), w.high, high);
#else
    const int16x8_t first = vmlal_s8(vmull_s8(vget_low_s8(w.low), vget_low_s8(low)), vget_high_s8(w.low), vget_high_s8(low));
    const int16x8_t second = vmlal_s8(vmull_s8(vget_low_s8(w.high), vget_low_s8(high)), vget_high_s8(w.high), vget_high_s8(high));
    return vpadalq_s16(vpadalq_s16(sum, first), second);
#endif
}
// The sums of four vectors, one in each lane.
inline float32x4_t sums_of(const int32x4_t* four) {
    return vcvtq_f32_s32(vpaddq_s32(vpaddq_s32(four[0], four[1]), vpaddq_s32(four[2], four[3])));
}

inline float32x4_t halves_at(const uint8_t* a, const uint8_t* b, const uint8_t* c, const uint8_t* d) {
    const auto at = [](const uint8_t* p) { return reinterpret_cast<const __fp16*>(p); };
    float16x4_t half = vld1_dup_f16(at(a));
    half = vld1_lane_f16(at(b), half, 1);
    half = vld1_lane_f16(at(c), half, 2);
    return vcvt_f32_f16(vld1_lane_f16(at(d), half, 3));
}

// Four rows of units of 32. Lane: row.
template <class F>
inline void add_small_unit(const uint8_t* const (&b)[4], int64_t u, const Activations& x, float32x4_t& sum) {
    const int8x16_t low = vld1q_s8(x.codes + 32 * u), high = vld1q_s8(x.codes + 32 * u + 16);
    const int32x4_t from = start<F>(low, high);
    int32x4_t part[4];
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) part[r] = dot32(from, entering<F>(b[r], 0), low, high);
    float32x4_t scale, minimum;
    if constexpr (requires { F::kHalf; }) {
        scale = halves_at(b[0], b[1], b[2], b[3]);
        if constexpr (F::kMinimum) minimum = halves_at(b[0] + 2, b[1] + 2, b[2] + 2, b[3] + 2);
    } else {
        float value[4];
        for (int r = 0; r < 4; ++r) F::scales(b[r], value + r);
        scale = vld1q_f32(value);
        if constexpr (F::kMinimum) {
            for (int r = 0; r < 4; ++r) F::minima(b[r], value + r);
            minimum = vld1q_f32(value);
        }
    }
    sum = vfmaq_f32(sum, sums_of(part), vmulq_n_f32(scale, x.scales[u]));
    if constexpr (F::kMinimum) sum = vfmaq_n_f32(sum, minimum, x.block_sums[u]);
}

template <class F>
inline void gemv_small_units(const uint8_t* w, int64_t row_bytes, int64_t units, const Activations& x, float* y) {
    constexpr int kBytes = F::kBytes;
    const uint8_t* b[4] = {w, w + row_bytes, w + 2 * row_bytes, w + 3 * row_bytes};
    float32x4_t sum = vdupq_n_f32(0);
    int64_t u = 0;
    for (; u + 4 <= units; u += 4) {
#pragma GCC unroll 4
        for (int r = 0; r < 4; ++r) __builtin_prefetch(b[r] + 1024);
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
            const uint8_t* const now[4] = {b[0] + i * kBytes, b[1] + i * kBytes, b[2] + i * kBytes, b[3] + i * kBytes};
            add_small_unit<F>(now, u + i, x, sum);
        }
#pragma GCC unroll 4
        for (int r = 0; r < 4; ++r) b[r] += 4 * kBytes;
    }
    for (; u < units; ++u) {
        const uint8_t* const now[4] = {b[0], b[1], b[2], b[3]};
        add_small_unit<F>(now, u, x, sum);
        for (int r = 0; r < 4; ++r) b[r] += kBytes;
    }
    vst1q_f32(y, sum);
}

// One row after the other: all rows' loads together would not fit the registers.
#define QUANT_IN_ORDER() asm volatile("" ::: "memory")

// The scales of a unit of 128 or 256 weights. Lane: group.
template <class F>
struct UnitScales {
    static constexpr int kVectors = F::kUnit / F::kGroup / 4;
    static constexpr bool kWhole = requires { F::kSixBits; };  // integers, times d
    std::conditional_t<kWhole, int32x4_t, float32x4_t> scale[kVectors];
    float d = 1;

    // Reads them from the unit at b, and adds to `total` what its minima and the sums of the activations give.
    inline void load(const uint8_t* b, const float* sums, float32x4_t& total) {
        if constexpr (kWhole) {
            const SixBits s(b);
            scale[0] = vreinterpretq_s32_u32(s.scale[0]);
            scale[1] = vreinterpretq_s32_u32(s.scale[1]);
            const float32x4_t first = vmulq_f32(vcvtq_f32_u32(s.minimum[0]), vld1q_f32(sums));
            total = vfmsq_laneq_f32(total, vfmaq_f32(first, vcvtq_f32_u32(s.minimum[1]), vld1q_f32(sums + 4)), s.d, 1);
            d = vgetq_lane_f32(s.d, 0);
        } else {
            float value[4 * kVectors];
            F::scales(b, value);
#pragma GCC unroll 4
            for (int i = 0; i < kVectors; ++i) scale[i] = vld1q_f32(value + 4 * i);
            if constexpr (F::kMinimum) {
                F::minima(b, value);
#pragma GCC unroll 4
                for (int i = 0; i < kVectors; ++i) total = vfmaq_f32(total, vld1q_f32(value + 4 * i), vld1q_f32(sums + 4 * i));
            }
        }
    }
};

// Weights [128 * part, 128 * part + 128) of the unit at b times their activations and the scales, on top of `sum`.
template <class F>
inline float32x4_t add_part(float32x4_t sum, const uint8_t* b, int part, const UnitScales<F>& unit, const int8x16_t (&xk)[8],
                            float32x4_t xs) {
    const int32x4_t zero = vdupq_n_s32(0);
    if constexpr (F::kGroup == 32) {
        int32x4_t four[4];
#pragma GCC unroll 4
        for (int g = 0; g < 4; ++g) four[g] = dot32(zero, F::codes(b, 4 * part + g), xk[2 * g], xk[2 * g + 1]);
        if constexpr (UnitScales<F>::kWhole) {
            const int32x4_t sums = vpaddq_s32(vpaddq_s32(four[0], four[1]), vpaddq_s32(four[2], four[3]));
            return vfmaq_f32(sum, vcvtq_f32_s32(vmulq_s32(sums, unit.scale[part])), xs);
        } else {
            return vfmaq_f32(sum, sums_of(four), vmulq_f32(unit.scale[part], xs));
        }
    } else {
        int32x4_t eight[8];
#pragma GCC unroll 4
        for (int g = 0; g < 4; ++g) {
            const Codes32 codes = F::codes(b, 4 * part + g);
            eight[2 * g] = dot16(codes.low, xk[2 * g]);
            eight[2 * g + 1] = dot16(codes.high, xk[2 * g + 1]);
        }
        const float32x4_t first = vmulq_f32(unit.scale[2 * part], vzip1q_f32(xs, xs));
        const float32x4_t last = vmulq_f32(unit.scale[2 * part + 1], vzip2q_f32(xs, xs));
        return vfmaq_f32(vfmaq_f32(sum, sums_of(eight), first), sums_of(eight + 4), last);
    }
}

template <class F>
inline void gemv_large_units(const uint8_t* w, int64_t row_bytes, int64_t units, Activations x, float* y) {
    const float* sums = F::kGroup == 32 ? x.block_sums : x.sums;
    float32x4_t total[4];
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) total[r] = vdupq_n_f32(0);
    for (int64_t u = 0; u < units; ++u, w += F::kBytes, x.codes += F::kUnit, x.scales += F::kUnit / 32, sums += F::kUnit / F::kGroup) {
        UnitScales<F> unit[4];
        float32x4_t inner[4];
#pragma GCC unroll 4
        for (int r = 0; r < 4; ++r) {
            __builtin_prefetch(w + r * row_bytes + 1024);
            unit[r].load(w + r * row_bytes, sums, total[r]);
            inner[r] = UnitScales<F>::kWhole ? vdupq_n_f32(0) : total[r];
            QUANT_IN_ORDER();
        }
#pragma GCC unroll 2
        for (int part = 0; part < F::kUnit / 128; ++part) {  // 128 weights: 8 registers of activations
            int8x16_t xk[8];
#pragma GCC unroll 8
            for (int i = 0; i < 8; ++i) xk[i] = vld1q_s8(x.codes + 128 * part + 16 * i);
            const float32x4_t xs = vld1q_f32(x.scales + 4 * part);
#pragma GCC unroll 4
            for (int r = 0; r < 4; ++r) {
                inner[r] = add_part<F>(inner[r], w + r * row_bytes, part, unit[r], xk, xs);
                QUANT_IN_ORDER();
            }
        }
#pragma GCC unroll 4
        for (int r = 0; r < 4; ++r) total[r] = UnitScales<F>::kWhole ? vfmaq_n_f32(total[r], inner[r], unit[r].d) : inner[r];
    }
    vst1q_f32(y, vpaddq_f32(vpaddq_f32(total[0], total[1]), vpaddq_f32(total[2], total[3])));
}
#undef QUANT_IN_ORDER

template <class F>
inline void gemv_four(const uint8_t* w, int64_t row_bytes, int64_t units, const Activations& x, float* y) {
    if constexpr (F::kUnit == 32 && F::kGroup == 32) {
        gemv_small_units<F>(w, row_bytes, units, x, y);
    } else if constexpr (F::kUnit % 128 == 0) {
        gemv_large_units<F>(w, row_bytes, units, x, y);
    } else {
        gemv_rows<F, 4>(w, row_bytes, units, x, y);
    }
}

template <class F>
void gemv(const MatmulArgs& args) {
    const int64_t cols = args.w.cols, units = cols / F::kUnit, row_bytes = units * F::kBytes;
    const Q8Matrix& q = *args.xq;
    for (int64_t t = 0; t < args.n; ++t) {
        const Activations x{q.codes + t * cols, q.scales + t * (cols / 32), q.sums + t * (cols / 16), q.block_sums + t * (cols / 32)};
        float* y = args.y + t * args.y_stride;
        int64_t row = args.row_begin;
        for (; row + 4 <= args.row_end; row += 4) gemv_four<F>(args.w.data + row * row_bytes, row_bytes, units, x, y + row);
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
