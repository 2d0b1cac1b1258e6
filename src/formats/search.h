// Arithmetic shared by the encoders: normalised blocks, sums in a fixed order, fits of scales to codes.
// Knows no layout. Everything here is a fixed sequence of IEEE operations, so that the bytes are the same everywhere:
// sums run in 16 virtual lanes that are added in one tree, nothing is contracted, and of the library only exact
// functions are used.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "formats/half.h"

namespace quant::search {

#define QUANT_INLINE [[gnu::always_inline]] inline

inline constexpr int kLanes = 16;
constexpr size_t extent(int n) { return static_cast<size_t>(n); }  // of an array

struct Lanes {
    alignas(64) float at[kLanes] = {};

    QUANT_INLINE float sum() const {
        float t[8];
        for (int l = 0; l < 8; ++l) t[l] = at[l] + at[l + 8];
        for (int l = 0; l < 4; ++l) t[l] += t[l + 4];
        return (t[0] + t[2]) + (t[1] + t[3]);
    }
};

// To the nearest integer, ties to even, for |v| < 2^22: adding 1.5 * 2^23 leaves no bits for the fraction.
QUANT_INLINE float round_even(float v) { return (v + 12582912.0f) - 12582912.0f; }
QUANT_INLINE float clamp(float v, float low, float high) {
    v = v < low ? low : v;
    return v > high ? high : v;
}

QUANT_INLINE float max_magnitude(const float* x, int n) {
    float lane[kLanes] = {};
    for (int i = 0; i < n; i += kLanes) {
        for (int l = 0; l < kLanes; ++l) {
            const float a = std::fabs(x[i + l]);
            lane[l] = a > lane[l] ? a : lane[l];
        }
    }
    float most = 0;
    for (int l = 0; l < kLanes; ++l) most = lane[l] > most ? lane[l] : most;
    return most;
}

// The power of two that brings `most` into [0.5, 1) (or, at the ends of the range, as near as a normal float can).
QUANT_INLINE float normalizer(float most) {
    const int exponent = static_cast<int>(std::bit_cast<uint32_t>(most) >> 23);
    const int field = 253 - exponent;
    return std::bit_cast<float>(static_cast<uint32_t>(field < 1 ? 1 : field) << 23);
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
    float most = 0;  // max |x|, before normalisation
    float down = 1, up = 1;
};

template <int N>
QUANT_INLINE void load_block(Block<N>& block, const float* x, const float* importance) {
    block.most = max_magnitude(x, N);
    block.down = normalizer(block.most);
    block.up = reciprocal_power(block.down);
    for (int i = 0; i < N; ++i) block.x[i] = x[i] * block.down;
    const float heaviest = importance ? max_magnitude(importance, N) : 0;
    if (heaviest == 0) {
        for (int i = 0; i < N; ++i) block.w[i] = 1;
    } else {
        const float factor = normalizer(heaviest);
        for (int i = 0; i < N; ++i) block.w[i] = importance[i] * factor;
    }
}

// A scale as it will be stored: the nearest finite half of the true scale, and its value among normalised numbers.
struct HalfScale {
    uint16_t bits = 0;
    float value = 0;
};

QUANT_INLINE HalfScale half_from_bits(uint16_t bits, float down) { return {bits, f16_to_f32(bits) * down}; }

QUANT_INLINE HalfScale half_scale(float scale, float up, float down) {
    uint16_t bits = f32_to_f16(scale * up);
    if ((bits & 0x7fff) >= 0x7c00) bits = static_cast<uint16_t>((bits & 0x8000) | 0x7bff);
    return half_from_bits(bits, down);
}

// The half next to `half` in magnitude (step 1 or -1); stays within the finite ones.
QUANT_INLINE HalfScale half_neighbor(HalfScale half, int step, float down) {
    const int magnitude = (half.bits & 0x7fff) + step;
    if (magnitude < 0 || magnitude > 0x7bff) return half;
    return half_from_bits(static_cast<uint16_t>((half.bits & 0x8000) | magnitude), down);
}

QUANT_INLINE float inverse(float scale) { return scale != 0 ? 1.0f / scale : 0.0f; }

// ---- one scale: x ~ d * level, the level one of a fixed set ----------------------------------------------------

// Sets of levels. nearest(v) is the level next to v.
template <int LOW, int HIGH>
struct Uniform {
    static constexpr float kLow = LOW, kHigh = HIGH;
    QUANT_INLINE static float nearest(float v) { return round_even(clamp(v, kLow, kHigh)); }
};

// The 16 uneven levels of IQ4_NL and IQ4_XS, found by counting the midpoints below v.
struct Iq4 {
    static constexpr float kLow = -127, kHigh = 113;
    QUANT_INLINE static float nearest(float v) {
        constexpr float kMid[15] = {-115.5f, -93.5f, -74, -57, -42, -28.5f, -16, -4.5f, 7, 19, 31.5f, 45.5f, 61, 79, 101};
        constexpr float kStep[15] = {23, 21, 18, 16, 14, 13, 12, 11, 12, 12, 13, 15, 16, 20, 24};
        float level = -127;
        for (int i = 0; i < 15; ++i) level += v > kMid[i] ? kStep[i] : 0.0f;
        return level;
    }
};

// Twice the values of E2M1.
struct E2m1 {
    static constexpr float kLow = -12, kHigh = 12;
    QUANT_INLINE static float nearest(float v) {
        constexpr float kMid[7] = {0.5f, 1.5f, 2.5f, 3.5f, 5, 7, 10};
        constexpr float kStep[7] = {1, 1, 1, 1, 2, 2, 4};
        const float a = std::fabs(v);
        float level = 0;
        for (int i = 0; i < 7; ++i) level += a > kMid[i] ? kStep[i] : 0.0f;
        return v < 0 ? -level : level;
    }
};

// Sums for fixed levels: the best scale is xq / qq and it lowers the error by xq^2 / qq.
struct ScaleFit {
    float xq = 0, qq = 0;
    QUANT_INLINE float scale() const { return qq > 0 ? xq / qq : 0.0f; }
    QUANT_INLINE float gain() const { return qq > 0 ? xq * (xq / qq) : 0.0f; }
};

template <class Levels, int N>
QUANT_INLINE ScaleFit fit_scale(const float* x, const float* w, float inv) {
    Lanes xq, qq;
    for (int i = 0; i < N; i += kLanes) {
        for (int l = 0; l < kLanes; ++l) {
            const float q = Levels::nearest(x[i + l] * inv);
            const float wq = w[i + l] * q;
            xq.at[l] += wq * x[i + l];
            qq.at[l] += wq * q;
        }
    }
    return {xq.sum(), qq.sum()};
}

template <class Levels, int N>
QUANT_INLINE float scale_error(const float* x, const float* w, float d) {
    const float inv = inverse(d);
    Lanes error;
    for (int i = 0; i < N; i += kLanes) {
        for (int l = 0; l < kLanes; ++l) {
            const float r = x[i + l] - d * Levels::nearest(x[i + l] * inv);
            error.at[l] += w[i + l] * (r * r);
        }
    }
    return error.sum();
}

template <class Levels, int N>
QUANT_INLINE void choose_levels(const float* x, float d, int* level) {
    const float inv = inverse(d);
    for (int i = 0; i < N; ++i) level[i] = static_cast<int>(Levels::nearest(x[i] * inv));
}

template <int N>
QUANT_INLINE float signed_extreme(const float* x) {
    float extreme = x[0];
    for (int i = 1; i < N; ++i) extreme = std::fabs(x[i]) > std::fabs(extreme) ? x[i] : extreme;
    return extreme;
}

// Which scales to try: those that bring the extreme element to `first`, then `ratio` times further each time.
// Beyond the last level it is clipped.
struct Grid {
    float first, ratio;
    int count;
};

template <class Levels, int N>
QUANT_INLINE ScaleFit best_fit(const float* x, const float* w, float extreme, Grid grid) {
    ScaleFit best;
    float target = grid.first;
    for (int k = 0; k < grid.count; ++k, target *= grid.ratio) {
        const float inv = target / extreme;
        const ScaleFit up = fit_scale<Levels, N>(x, w, inv);
        if (up.gain() > best.gain()) best = up;
        const ScaleFit mirrored = fit_scale<Levels, N>(x, w, -inv);
        if (mirrored.gain() > best.gain()) best = mirrored;
    }
    return best;
}

// The stored scale with the least error that the search finds: a grid, then levels and least squares in turn.
template <class Levels, int N>
QUANT_INLINE HalfScale best_scale(const float* x, const float* w, float up, float down, Grid grid) {
    const float extreme = signed_extreme<N>(x);
    if (extreme == 0) return {};
    HalfScale chosen = half_scale(extreme / Levels::kLow, up, down);
    float least = scale_error<Levels, N>(x, w, chosen.value);
    HalfScale next = half_scale(best_fit<Levels, N>(x, w, extreme, grid).scale(), up, down);
    for (int round = 0; round < 4; ++round) {
        const float error = scale_error<Levels, N>(x, w, next.value);
        if (error < least) {
            least = error;
            chosen = next;
        } else if (round > 0) {
            break;
        }
        next = half_scale(fit_scale<Levels, N>(x, w, inverse(chosen.value)).scale(), up, down);
        if (next.bits == chosen.bits) break;
    }
    for (int step = -1; step <= 1; step += 2) {
        next = half_neighbor(chosen, step, down);
        const float error = scale_error<Levels, N>(x, w, next.value);
        if (error < least) {
            least = error;
            chosen = next;
        }
    }
    return chosen;
}

// ---- scale and offset: x ~ d * q + m, q in [0, TOP] ------------------------------------------------------------

// Sums for fixed codes, and the scale and offset of least squares.
struct AffineFit {
    float w = 0, wx = 0, q = 0, qq = 0, xq = 0;

    QUANT_INLINE bool regular() const { return w * qq - q * q > 0; }
    QUANT_INLINE float scale() const { return (w * xq - wx * q) / (w * qq - q * q); }
    QUANT_INLINE float offset(float d) const { return (wx - d * q) / w; }  // best for scale d
    QUANT_INLINE float scale_for(float m) const { return qq > 0 ? (xq - m * q) / qq : 0.0f; }  // best for offset m
};

template <int N, int TOP>
QUANT_INLINE AffineFit fit_affine(const float* x, const float* w, float inv, float m) {
    Lanes sw, swx, sq, sqq, sxq;
    for (int i = 0; i < N; i += kLanes) {
        for (int l = 0; l < kLanes; ++l) {
            const float q = round_even(clamp((x[i + l] - m) * inv, 0.0f, TOP));
            const float wq = w[i + l] * q;
            sw.at[l] += w[i + l];
            swx.at[l] += w[i + l] * x[i + l];
            sq.at[l] += wq;
            sqq.at[l] += wq * q;
            sxq.at[l] += wq * x[i + l];
        }
    }
    return {sw.sum(), swx.sum(), sq.sum(), sqq.sum(), sxq.sum()};
}

template <int N, int TOP>
QUANT_INLINE float affine_error(const float* x, const float* w, float d, float m) {
    const float inv = inverse(d);
    Lanes error;
    for (int i = 0; i < N; i += kLanes) {
        for (int l = 0; l < kLanes; ++l) {
            const float q = round_even(clamp((x[i + l] - m) * inv, 0.0f, TOP));
            const float r = x[i + l] - (d * q + m);
            error.at[l] += w[i + l] * (r * r);
        }
    }
    return error.sum();
}

template <int N, int TOP>
QUANT_INLINE void affine_codes(const float* x, float d, float m, int* q) {
    const float inv = inverse(d);
    for (int i = 0; i < N; ++i) q[i] = static_cast<int>(round_even(clamp((x[i] - m) * inv, 0.0f, TOP)));
}

}  // namespace quant::search
