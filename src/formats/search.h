// Arithmetic shared by the encoders: normalised blocks, fits of scales to codes, searches for stored scales.
// Knows no layout. Everything is a fixed sequence of IEEE operations on virtual vectors (lanes.h): the same bytes
// everywhere. Only exact library functions are used, nothing is contracted.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "formats/half.h"
#include "formats/lanes.h"

namespace quant::search {

constexpr size_t extent(int n) { return static_cast<size_t>(n); }  // of an array

QUANT_INLINE float clamp(float v, float low, float high) {
    v = v < low ? low : v;
    return v > high ? high : v;
}
QUANT_INLINE int round_to_int(float v, int low, int high) {
    const float r = clamp(v, static_cast<float>(low), static_cast<float>(high));
    return static_cast<int>((r + 12582912.0f) - 12582912.0f);
}
// 0 for scales that are nothing beside normalised numbers: their inverse would overflow.
QUANT_INLINE float inverse(float scale) { return std::fabs(scale) > 0x1p-100f ? 1.0f / scale : 0.0f; }

template <int W, int N>
QUANT_INLINE float max_magnitude(const float* x) {
    Vec<W> most = Vec<W>::all(0);
    for (int i = 0; i < N; i += kLanes) most = max(magnitude(Vec<W>::load(x + i)), most);
    float lane[kLanes], largest = 0;
    most.store(lane);
    for (float v : lane) largest = v > largest ? v : largest;
    return largest;
}

// The power of two that brings `most` into [0.5, 1), but none above 2^70: what is smaller than 2^-70 is nothing to any
// format, and the smallest stored scale must not overflow when it is normalised and squared.
QUANT_INLINE float normalizer(float most) {
    const int field = 253 - static_cast<int>(std::bit_cast<uint32_t>(most) >> 23);
    return std::bit_cast<float>(static_cast<uint32_t>(field < 1 ? 1 : field > 197 ? 197 : field) << 23);
}
QUANT_INLINE float reciprocal_power(float power) {
    return std::bit_cast<float>((uint32_t{254} << 23) - std::bit_cast<uint32_t>(power));
}

// N weights and their importances, each times a power of two, so that squares neither overflow nor vanish.
// A scale s found here is stored as s * up.
template <int N>
struct Block {
    alignas(64) float x[extent(N)];
    alignas(64) float w[extent(N)];
    float most = 0;  // max |x| of the elements that weigh anything, before normalisation
    float down = 1, up = 1;
    bool weighted = false;
};

template <int W, int N>
QUANT_INLINE void load_block(Block<N>& block, const float* x, const float* importance) {
    const float heaviest = importance ? max_magnitude<W, N>(importance) : 0;
    block.weighted = heaviest > 0;
    const Vec<W> zero = Vec<W>::all(0);
    if (block.weighted) {
        const Vec<W> factor = Vec<W>::all(normalizer(heaviest));
        for (int i = 0; i < N; i += kLanes) {
            const Vec<W> w = Vec<W>::load(importance + i) * factor;
            w.store(block.w + i);
            if_above(w, zero, Vec<W>::load(x + i)).store(block.x + i);
        }
        block.most = max_magnitude<W, N>(block.x);
    } else {
        for (int i = 0; i < N; i += kLanes) Vec<W>::all(1).store(block.w + i);
        block.most = max_magnitude<W, N>(x);
    }
    block.down = normalizer(block.most);
    block.up = reciprocal_power(block.down);
    // Elements without weight may be larger than all others: cut, so that they do not overflow.
    const Vec<W> most = Vec<W>::all(block.most), least = Vec<W>::all(-block.most), down = Vec<W>::all(block.down);
    for (int i = 0; i < N; i += kLanes) (min(max(Vec<W>::load(x + i), least), most) * down).store(block.x + i);
}

// A scale as it will be stored: the nearest finite half of the true scale, and its value among normalised numbers.
struct HalfScale {
    uint16_t bits = 0;
    float value = 0;
};

QUANT_INLINE HalfScale half_from_bits(int bits, float down) {
    return {static_cast<uint16_t>(bits), f16_to_f32(static_cast<uint16_t>(bits)) * down};
}

QUANT_INLINE HalfScale half_scale(float scale, float up, float down) {
    const int bits = f32_to_f16(scale * up);
    return half_from_bits((bits & 0x7fff) < 0x7c00 ? bits : (bits & 0x8000) | 0x7bff, down);
}

// The half `step` places away in magnitude, within the finite ones.
QUANT_INLINE HalfScale half_neighbor(HalfScale half, int step, float down) {
    const int magnitude = (half.bits & 0x7fff) + step;
    const int kept = magnitude < 0 ? 0 : magnitude > 0x7bff ? 0x7bff : magnitude;
    return half_from_bits((half.bits & 0x8000) | kept, down);
}

// ---- one scale: x ~ d * level, the level one of a fixed set ----------------------------------------------------

// Sets of levels. nearest(v) is the level next to v; kStep a typical distance between levels.
template <int LOW, int HIGH>
struct Uniform {
    static constexpr float kLow = LOW, kHigh = HIGH, kStep = 1;
    template <int W>
    QUANT_INLINE static Vec<W> nearest(const Vec<W>& v) {
        return round_even(min(max(v, Vec<W>::all(kLow)), Vec<W>::all(kHigh)));
    }
};

// The 16 uneven levels of IQ4_NL and IQ4_XS, found by counting the midpoints below v.
struct Iq4 {
    static constexpr float kLow = -127, kHigh = 113, kStep = 12;
    template <int W>
    QUANT_INLINE static Vec<W> nearest(const Vec<W>& v) {
        constexpr float kMid[15] = {-115.5f, -93.5f, -74, -57, -42, -28.5f, -16, -4.5f, 7, 19, 31.5f, 45.5f, 61, 79, 101};
        constexpr float kGap[15] = {23, 21, 18, 16, 14, 13, 12, 11, 12, 12, 13, 15, 16, 20, 24};
        Vec<W> level = Vec<W>::all(-127);
        for (int i = 0; i < 15; ++i) level = level + if_above(v, Vec<W>::all(kMid[i]), Vec<W>::all(kGap[i]));
        return level;
    }
};

// The levels of the IQ2 formats and of the IQ3 formats, without signs.
struct Iq2 {
    static constexpr float kLow = 8, kHigh = 43;
    template <int W>
    QUANT_INLINE static Vec<W> nearest(const Vec<W>& v) {
        return Vec<W>::all(8) + if_above(v, Vec<W>::all(16.5f), Vec<W>::all(17)) + if_above(v, Vec<W>::all(34), Vec<W>::all(18));
    }
};
struct Iq3 {
    static constexpr float kLow = 1, kHigh = 15;
    template <int W>
    QUANT_INLINE static Vec<W> nearest(const Vec<W>& v) {
        const Vec<W> half = Vec<W>::all(0.5f);
        const Vec<W> n = round_even(min(max(v * half - half, Vec<W>::all(0)), Vec<W>::all(7)));
        return n + n + Vec<W>::all(1);
    }
};

// Twice the values of E2M1.
struct E2m1 {
    static constexpr float kLow = -12, kHigh = 12, kStep = 1;
    template <int W>
    QUANT_INLINE static Vec<W> nearest(const Vec<W>& v) {
        constexpr float kMid[7] = {0.5f, 1.5f, 2.5f, 3.5f, 5, 7, 10};
        constexpr float kGap[7] = {1, 1, 1, 1, 2, 2, 4};
        const Vec<W> a = magnitude(v);
        Vec<W> level = Vec<W>::all(0);
        for (int i = 0; i < 7; ++i) level = level + if_above(a, Vec<W>::all(kMid[i]), Vec<W>::all(kGap[i]));
        return with_sign(level, v);
    }
};

// Sums for fixed levels: the best scale is xq / qq and it lowers the error by xq^2 / qq.
struct ScaleFit {
    float xq = 0, qq = 0;
    QUANT_INLINE float scale() const { return qq > 0 ? xq / qq : 0.0f; }
    QUANT_INLINE float gain() const { return qq > 0 ? xq * (xq / qq) : 0.0f; }
};

template <int W, class Levels, int N>
QUANT_INLINE ScaleFit fit_scale(const float* x, const float* w, float inv) {
    Vec<W> xq = Vec<W>::all(0), qq = Vec<W>::all(0);
    const Vec<W> vinv = Vec<W>::all(inv);
    for (int i = 0; i < N; i += kLanes) {
        const Vec<W> vx = Vec<W>::load(x + i);
        const Vec<W> q = Levels::nearest(vx * vinv);
        const Vec<W> wq = Vec<W>::load(w + i) * q;
        xq = xq + wq * vx;
        qq = qq + wq * q;
    }
    return {xq.sum(), qq.sum()};
}

template <int W, class Levels, int N>
QUANT_INLINE float scale_error(const float* x, const float* w, float d) {
    Vec<W> error = Vec<W>::all(0);
    const Vec<W> vinv = Vec<W>::all(inverse(d)), vd = Vec<W>::all(d);
    for (int i = 0; i < N; i += kLanes) {
        const Vec<W> vx = Vec<W>::load(x + i);
        const Vec<W> r = vx - vd * Levels::nearest(vx * vinv);
        error = error + Vec<W>::load(w + i) * (r * r);
    }
    return error.sum();
}

template <int W, class Levels, int N>
QUANT_INLINE void choose_levels(const float* x, float d, int* level) {
    float chosen[extent(N)];
    const Vec<W> vinv = Vec<W>::all(inverse(d));
    for (int i = 0; i < N; i += kLanes) Levels::nearest(Vec<W>::load(x + i) * vinv).store(chosen + i);
    for (int i = 0; i < N; ++i) level[i] = static_cast<int>(chosen[i]);
}

struct Range {
    float low, high;
};

template <int N>
QUANT_INLINE Range range_of(const float* x) {
    Range range = {x[0], x[0]};
    for (int i = 1; i < N; ++i) {
        range.low = x[i] < range.low ? x[i] : range.low;
        range.high = x[i] > range.high ? x[i] : range.high;
    }
    return range;
}

template <int N>
QUANT_INLINE float signed_extreme(const float* x) {
    const Range range = range_of<N>(x);
    return -range.low > range.high ? range.low : range.high;
}

// Which scales to try: those that bring the extreme element to `first`, then `ratio` times further each time, with
// both signs. Beyond the last level it is clipped, which pays more often when elements weigh unequally.
struct Grid {
    float first, ratio;
    int count, weighted_count;
};

template <int W, class Levels, int N>
QUANT_INLINE ScaleFit best_fit(const float* x, const float* w, float extreme, Grid grid, bool weighted) {
    ScaleFit best = fit_scale<W, Levels, N>(x, w, Levels::kLow / extreme);
    float most = best.gain() * 1.000001f;  // equals go to the first, whose scale is the likeliest to be stored exactly
    float inv = grid.first / extreme;
    const int count = weighted ? grid.weighted_count : grid.count;
    for (int k = 0; k < count; ++k, inv *= grid.ratio) {
        for (int side = 0; side < 2; ++side) {
            const ScaleFit fit = fit_scale<W, Levels, N>(x, w, side ? inv : -inv);
            if (fit.gain() > most) best = fit, most = fit.gain();
        }
    }
    for (int round = 0; round < 2; ++round) {
        const ScaleFit fit = fit_scale<W, Levels, N>(x, w, inverse(best.scale()));
        if (fit.gain() > most) best = fit, most = fit.gain();
    }
    return best;
}

// Improves a stored scale: levels and least squares in turn, then its neighbours.
template <int W, class Levels, int N>
QUANT_INLINE void polish_scale(const float* x, const float* w, float up, float down, HalfScale& chosen, float& least) {
    for (int round = 0; round < 3; ++round) {
        const ScaleFit fit = fit_scale<W, Levels, N>(x, w, inverse(chosen.value));
        const HalfScale next = half_scale(fit.scale(), up, down);
        if (next.bits == chosen.bits) break;
        const float error = scale_error<W, Levels, N>(x, w, next.value);
        if (!(error < least)) break;
        least = error;
        chosen = next;
    }
    for (int step : {1, -1}) {
        const HalfScale next = half_neighbor(chosen, step, down);
        const float error = scale_error<W, Levels, N>(x, w, next.value);
        if (error < least) least = error, chosen = next;
    }
}

// Whether an error is far below that of rounding to steps of the given size: a block of few distinct values. Then the
// rounding of the stored scale rules, and scales far from the usual ones may fit better.
template <int W, int N>
QUANT_INLINE bool nearly_exact(float error, const float* w, float step) {
    Vec<W> sum = Vec<W>::all(0);
    for (int i = 0; i < N; i += kLanes) sum = sum + Vec<W>::load(w + i);
    return error < 0.02f * step * step * sum.sum();
}

// The stored scale with the least error that the search finds.
template <int W, class Levels, int N>
QUANT_INLINE HalfScale best_scale(const Block<N>& in, Grid grid) {
    const float extreme = signed_extreme<N>(in.x);
    if (extreme == 0) return {};
    HalfScale chosen = half_scale(extreme / Levels::kLow, in.up, in.down);
    float least = scale_error<W, Levels, N>(in.x, in.w, chosen.value);
    const ScaleFit fit = best_fit<W, Levels, N>(in.x, in.w, extreme, grid, in.weighted);
    const HalfScale fitted = half_scale(fit.scale(), in.up, in.down);
    const float error = scale_error<W, Levels, N>(in.x, in.w, fitted.value);
    if (error < least) least = error, chosen = fitted;
    polish_scale<W, Levels, N>(in.x, in.w, in.up, in.down, chosen, least);
    if (least > 0 && nearly_exact<W, N>(least, in.w, chosen.value * Levels::kStep)) {
        for (int k = -16; k <= 16; ++k) {
            if (k == 0) continue;
            const float inv = Levels::kLow * static_cast<float>(k) / (16 * extreme);
            const ScaleFit other = fit_scale<W, Levels, N>(in.x, in.w, inv);
            const HalfScale next = half_scale(other.scale(), in.up, in.down);
            const float e = scale_error<W, Levels, N>(in.x, in.w, next.value);
            if (e < least) least = e, chosen = next;
        }
    }
    return chosen;
}

// ---- scale and offset: x ~ d * q + m, q in [0, TOP] ------------------------------------------------------------

// Sums for fixed codes, and the scale and offset of least squares.
struct AffineFit {
    float w = 0, wx = 0, q = 0, qq = 0, xq = 0;

    QUANT_INLINE float determinant() const { return w * qq - q * q; }
    QUANT_INLINE float scale() const { return (w * xq - wx * q) / determinant(); }
    QUANT_INLINE float offset(float d) const { return w > 0 ? (wx - d * q) / w : 0.0f; }      // best for scale d
    QUANT_INLINE float scale_for(float m) const { return qq > 0 ? (xq - m * q) / qq : 0.0f; }  // best for offset m
    // By how much the error falls below that of x ~ 0, with scale d and offset m.
    QUANT_INLINE float gain(float d, float m) const {
        return 2 * (d * xq + m * wx) - (d * d * qq + 2 * d * m * q + m * m * w);
    }
};

template <int W, int TOP>
QUANT_INLINE Vec<W> affine_code(const Vec<W>& x, const Vec<W>& inv, const Vec<W>& m) {
    return round_even(min(max((x - m) * inv, Vec<W>::all(0)), Vec<W>::all(TOP)));
}

// The sums w and wx do not depend on the codes: `base` brings them.
template <int W, int N, int TOP>
QUANT_INLINE AffineFit fit_affine(const float* x, const float* w, const AffineFit& base, float inv, float m) {
    Vec<W> q = Vec<W>::all(0), qq = q, xq = q;
    const Vec<W> vinv = Vec<W>::all(inv), vm = Vec<W>::all(m);
    for (int i = 0; i < N; i += kLanes) {
        const Vec<W> vx = Vec<W>::load(x + i);
        const Vec<W> code = affine_code<W, TOP>(vx, vinv, vm);
        const Vec<W> wq = Vec<W>::load(w + i) * code;
        q = q + wq;
        qq = qq + wq * code;
        xq = xq + wq * vx;
    }
    return {base.w, base.wx, q.sum(), qq.sum(), xq.sum()};
}

template <int W, int N>
QUANT_INLINE AffineFit affine_base(const float* x, const float* w) {
    Vec<W> sw = Vec<W>::all(0), swx = sw;
    for (int i = 0; i < N; i += kLanes) {
        const Vec<W> vw = Vec<W>::load(w + i);
        sw = sw + vw;
        swx = swx + vw * Vec<W>::load(x + i);
    }
    AffineFit base;
    base.w = sw.sum();
    base.wx = swx.sum();
    return base;
}

// How far to move the ends of the code range inwards, in parts of the range: `count` steps for each end.
struct Shrink {
    float first, step;
    int count;
};

// Scale and offset before they are stored.
struct FreeAffine {
    float d = 0, m = 0, gain = 0;
};

// The best of least squares for the codes of [low, high] and of shrunk ranges, then codes and least squares in turn.
// NEGATIVE: offsets above 0 cannot be stored.
template <int W, int N, int TOP, bool NEGATIVE>
QUANT_INLINE FreeAffine best_free_affine(const float* x, const float* w, const AffineFit& base, float low, float high,
                                         Shrink shrink) {
    const float range = high - low;
    FreeAffine best = {range > 0 ? range / TOP : 0, low, 0};
    if (!(range > 0)) return best;
    auto consider = [&](float inv, float m) QUANT_LAMBDA {
        const AffineFit fit = fit_affine<W, N, TOP>(x, w, base, inv, m);
        if (!(fit.determinant() > 0)) return;
        float d = fit.scale(), offset = fit.offset(d);
        if (NEGATIVE && offset > 0) offset = 0, d = fit.scale_for(0);
        const float gain = fit.gain(d, offset);
        if (d > 0 && gain > best.gain) best = {d, offset, gain};
    };
    consider(TOP / range, low);
    for (int a = 0; a < shrink.count; ++a) {
        for (int b = 0; b < shrink.count; ++b) {
            const float from_low = shrink.first + shrink.step * static_cast<float>(a);
            const float from_high = shrink.first + shrink.step * static_cast<float>(b);
            const float m = low + range * from_low;
            consider(TOP / (range * (1 - from_low - from_high)), NEGATIVE && m > 0 ? 0 : m);
        }
    }
    for (int round = 0; round < 2; ++round) consider(inverse(best.d), best.m);
    return best;
}

template <int W, int N, int TOP>
QUANT_INLINE float affine_error(const float* x, const float* w, float d, float m) {
    Vec<W> error = Vec<W>::all(0);
    const Vec<W> vinv = Vec<W>::all(inverse(d)), vd = Vec<W>::all(d), vm = Vec<W>::all(m);
    for (int i = 0; i < N; i += kLanes) {
        const Vec<W> vx = Vec<W>::load(x + i);
        const Vec<W> r = vx - (vd * affine_code<W, TOP>(vx, vinv, vm) + vm);
        error = error + Vec<W>::load(w + i) * (r * r);
    }
    return error.sum();
}

template <int W, int N, int TOP>
QUANT_INLINE void affine_codes(const float* x, float d, float m, int* code) {
    float chosen[extent(N)];
    const Vec<W> vinv = Vec<W>::all(inverse(d)), vm = Vec<W>::all(m);
    for (int i = 0; i < N; i += kLanes) affine_code<W, TOP>(Vec<W>::load(x + i), vinv, vm).store(chosen + i);
    for (int i = 0; i < N; ++i) code[i] = static_cast<int>(chosen[i]);
}

}  // namespace quant::search
