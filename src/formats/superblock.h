// Joint search for super-blocks of 256: one or two stored halves times small integers per sub-block.
// Knows no layout; the encoders pack what comes out.
#pragma once

#include "formats/search.h"

namespace quant::search {

// A stored scale for a super-block, never 0 when the wish is not: a tiny block is better served by the smallest half
// and small integers than by nothing.
QUANT_INLINE HalfScale super_scale(float wish, float up, float down) {
    const HalfScale half = half_scale(wish, up, down);
    if ((half.bits & 0x7fff) != 0 || wish == 0) return half;
    return half_from_bits(wish < 0 ? 0x8001 : 1, down);
}

// ---- x ~ d * scale[j] * level, scale[j] in [SLOW, SHIGH] -------------------------------------------------------

template <int SUBS>
struct ScaledBlock {
    HalfScale d;
    int scale[extent(SUBS)] = {};
    float error = 0;
};

// The integer scales for a given d: of those next to the ideal ones, the best.
template <int W, class Levels, int SUBS, int SLOW, int SHIGH>
QUANT_INLINE ScaledBlock<SUBS> with_super_scale(const Block<256>& in, const float* ideal, HalfScale d) {
    constexpr int N = 256 / SUBS;
    ScaledBlock<SUBS> out;
    out.d = d;
    const float inv = inverse(d.value);
    for (int j = 0; j < SUBS; ++j) {
        const int center = round_to_int(ideal[j] * inv, SLOW, SHIGH);
        const float *x = in.x + j * N, *w = in.w + j * N;
        float least = -1;
        auto consider = [&](int s) QUANT_LAMBDA {
            const float error = scale_error<W, Levels, N>(x, w, d.value * static_cast<float>(s));
            if (least < 0 || error < least) least = error, out.scale[j] = s;
        };
        const int first = center - 1 < SLOW ? SLOW : center - 1, last = center + 1 > SHIGH ? SHIGH : center + 1;
        for (int s = first; s <= last; ++s) consider(s);
        const float step = d.value * static_cast<float>(out.scale[j]) * Levels::kStep;
        if (least > 0 && nearly_exact<W, N>(least, w, step)) {
            for (int s = SLOW; s <= SHIGH; ++s) consider(s);
        }
        out.error += least;
    }
    return out;
}

template <int W, class Levels, int SUBS, int SLOW, int SHIGH>
QUANT_INLINE ScaledBlock<SUBS> best_scaled_block(const Block<256>& in, Grid grid, int* level) {
    constexpr int N = 256 / SUBS;
    float ideal[extent(SUBS)];
    float most = 0;
    for (int j = 0; j < SUBS; ++j) {
        const float extreme = signed_extreme<N>(in.x + j * N);
        ideal[j] = extreme == 0 ? 0
                                : best_fit<W, Levels, N>(in.x + j * N, in.w + j * N, extreme, grid, in.weighted).scale();
        most = std::fabs(ideal[j]) > std::fabs(most) ? ideal[j] : most;
    }
    auto best = with_super_scale<W, Levels, SUBS, SLOW, SHIGH>(in, ideal, super_scale(most / SLOW, in.up, in.down));
    for (float factor : {0.97f, 0.98f, 0.99f, 1.01f, 1.02f, 1.03f}) {
        const auto next = with_super_scale<W, Levels, SUBS, SLOW, SHIGH>(
            in, ideal, super_scale(most / SLOW * factor, in.up, in.down));
        if (next.error < best.error) best = next;
    }
    for (int round = 0; round < 3; ++round) {
        float xq = 0, qq = 0;
        for (int j = 0; j < SUBS; ++j) {
            const float s = static_cast<float>(best.scale[j]);
            const ScaleFit fit = fit_scale<W, Levels, N>(in.x + j * N, in.w + j * N, inverse(best.d.value * s));
            xq += fit.xq * s;
            qq += fit.qq * s * s;
        }
        const HalfScale d = super_scale(qq > 0 ? xq / qq : 0.0f, in.up, in.down);
        const auto next = with_super_scale<W, Levels, SUBS, SLOW, SHIGH>(in, ideal, d);
        if (!(next.error < best.error)) break;
        best = next;
    }
    for (int j = 0; j < SUBS; ++j) {
        choose_levels<W, Levels, N>(in.x + j * N, best.d.value * static_cast<float>(best.scale[j]), level + j * N);
    }
    return best;
}

// ---- x ~ d * scale[j] * code - dmin * min[j], scale and min in [0, MOST], code in [0, TOP] ---------------------

template <int SUBS>
struct AffineBlock {
    HalfScale d, dmin;
    int scale[extent(SUBS)] = {}, min[extent(SUBS)] = {};
    float error = 0;
};

// What a sub-block would take if scale and minimum were free; base holds the sums that do not depend on codes.
struct IdealAffine {
    AffineFit base;
    float scale = 0, min = 0;  // x ~ scale * code - min, both non-negative
};

template <int W, int N, int TOP>
QUANT_INLINE IdealAffine ideal_affine(const float* x, const float* w, Shrink shrink) {
    const Range range = range_of<N>(x);
    IdealAffine out;
    out.base = affine_base<W, N>(x, w);
    const FreeAffine best = best_free_affine<W, N, TOP, true>(x, w, out.base, range.low < 0 ? range.low : 0, range.high, shrink);
    out.scale = best.d;
    out.min = -best.m;
    return out;
}

// The integers for given d and dmin: around the ideal scale, each with the minimum that its codes ask for.
template <int W, int SUBS, int TOP, int MOST>
QUANT_INLINE AffineBlock<SUBS> with_super_scales(const Block<256>& in, const IdealAffine* ideal, HalfScale d,
                                                 HalfScale dmin, bool thorough) {
    constexpr int N = 256 / SUBS;
    AffineBlock<SUBS> out;
    out.d = d;
    out.dmin = dmin;
    const float inv = inverse(d.value), inv_min = inverse(dmin.value);
    for (int j = 0; j < SUBS; ++j) {
        const float *x = in.x + j * N, *w = in.w + j * N;
        const int center = round_to_int(ideal[j].scale * inv, 0, MOST);
        float least = -1;
        auto consider = [&](int s, int m) QUANT_LAMBDA {
            if (s < 0 || s > MOST || m < 0 || m > MOST) return;
            const float error = affine_error<W, N, TOP>(x, w, d.value * static_cast<float>(s),
                                                        -dmin.value * static_cast<float>(m));
            if (least < 0 || error < least) least = error, out.scale[j] = s, out.min[j] = m;
        };
        auto consider_scale = [&](int s) QUANT_LAMBDA {
            const float scale = d.value * static_cast<float>(s);
            const AffineFit fit = fit_affine<W, N, TOP>(x, w, ideal[j].base, inverse(scale), -ideal[j].min);
            const float wish = clamp(-fit.offset(scale) * inv_min, 0, MOST);
            const int nearest = round_to_int(wish, 0, MOST);
            consider(s, nearest);
            consider(s, static_cast<float>(nearest) < wish ? nearest + 1 : nearest - 1);
        };
        for (int s = center - 1; s <= center + 1; ++s) {
            if (s >= 0 && s <= MOST) consider_scale(s);
        }
        if (least > 0 && nearly_exact<W, N>(least, w, d.value * static_cast<float>(out.scale[j]))) {
            for (int s = 0; s <= MOST; ++s) consider_scale(s);
        } else if (thorough) {
            for (int round = 0; round < 3; ++round) {
                const int s = out.scale[j], m = out.min[j];
                for (int t = -1; t <= 1; ++t) {
                    for (int u = -2; u <= 2; ++u) {
                        if (t != 0 || u != 0) consider(s + t, m + u);
                    }
                }
                if (out.scale[j] == s && out.min[j] == m) break;
            }
        }
        out.error += least;
    }
    return out;
}

// d and dmin of least squares for the codes and integers of `now`.
template <int W, int SUBS, int TOP, int MOST>
QUANT_INLINE AffineBlock<SUBS> refitted(const Block<256>& in, const IdealAffine* ideal, const AffineBlock<SUBS>& now,
                                        bool thorough) {
    constexpr int N = 256 / SUBS;
    float uu = 0, uv = 0, vv = 0, xu = 0, xv = 0;  // u = scale * code, v = min
    for (int j = 0; j < SUBS; ++j) {
        const float s = static_cast<float>(now.scale[j]), m = static_cast<float>(now.min[j]);
        const AffineFit fit = fit_affine<W, N, TOP>(in.x + j * N, in.w + j * N, ideal[j].base, inverse(now.d.value * s),
                                                    -now.dmin.value * m);
        uu += s * s * fit.qq;
        uv += s * m * fit.q;
        vv += m * m * fit.w;
        xu += s * fit.xq;
        xv += m * fit.wx;
    }
    const float determinant = uu * vv - uv * uv;
    float d = now.d.value, dmin = now.dmin.value;
    if (determinant > 0) {
        d = (vv * xu - uv * xv) / determinant;
        dmin = (uv * xu - uu * xv) / determinant;
    } else if (uu > 0) {
        d = xu / uu;
    }
    return with_super_scales<W, SUBS, TOP, MOST>(in, ideal, super_scale(d, in.up, in.down),
                                                 super_scale(dmin, in.up, in.down), thorough);
}

// In a block of few distinct values the rounding of d and dmin rules: tries their neighbours.
template <int W, int SUBS, int TOP, int MOST>
QUANT_INLINE void polish_halves(const Block<256>& in, const IdealAffine* ideal, AffineBlock<SUBS>& best) {
    float step2 = 0;  // weighted sum of squared steps
    for (int j = 0; j < SUBS; ++j) {
        const float step = best.d.value * static_cast<float>(best.scale[j]);
        step2 += step * step * ideal[j].base.w;
    }
    if (!(best.error > 0 && best.error < 0.02f * step2)) return;
    for (int a = -2; a <= 2; ++a) {
        for (int b = -2; b <= 2; ++b) {
            const auto next = with_super_scales<W, SUBS, TOP, MOST>(in, ideal, half_neighbor(best.d, a, in.down),
                                                                    half_neighbor(best.dmin, b, in.down), false);
            if (next.error < best.error) best = next;
        }
    }
}

// `in` is changed: where offsets would have to be positive the block is stored upside down (d and dmin negative).
template <int W, int SUBS, int TOP, int MOST>
QUANT_INLINE AffineBlock<SUBS> best_affine_block(Block<256>& in, Shrink shrink, int* code) {
    constexpr int N = 256 / SUBS;
    float above = 0, below = 0;
    for (int j = 0; j < SUBS; ++j) {
        const Range range = range_of<N>(in.x + j * N);
        above += range.low > 0 ? range.low : 0;
        below += range.high < 0 ? -range.high : 0;
    }
    const bool flip = above > below;
    if (flip) {
        for (float& v : in.x) v = -v;
    }
    IdealAffine ideal[extent(SUBS)];
    float most_scale = 0, most_min = 0;
    for (int j = 0; j < SUBS; ++j) {
        ideal[j] = ideal_affine<W, N, TOP>(in.x + j * N, in.w + j * N, shrink);
        most_scale = ideal[j].scale > most_scale ? ideal[j].scale : most_scale;
        most_min = ideal[j].min > most_min ? ideal[j].min : most_min;
    }
    auto best = with_super_scales<W, SUBS, TOP, MOST>(in, ideal, super_scale(most_scale / MOST, in.up, in.down),
                                                      super_scale(most_min / MOST, in.up, in.down), false);
    for (int round = 0; round < 3; ++round) {
        const auto next = refitted<W, SUBS, TOP, MOST>(in, ideal, best, round > 0);
        if (next.error < best.error) {
            best = next;
        } else if (round > 0) {
            break;
        }
    }
    polish_halves<W, SUBS, TOP, MOST>(in, ideal, best);
    for (int j = 0; j < SUBS; ++j) {
        affine_codes<W, N, TOP>(in.x + j * N, best.d.value * static_cast<float>(best.scale[j]),
                                -best.dmin.value * static_cast<float>(best.min[j]), code + j * N);
    }
    if (flip) {
        best.d.bits ^= 0x8000;
        best.dmin.bits ^= 0x8000;
    }
    return best;
}

}  // namespace quant::search
