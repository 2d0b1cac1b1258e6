// Joint search for super-blocks of 256: a stored half times small integer scales per sub-block.
// Knows no layout; the encoders pack what comes out.
#pragma once

#include "formats/search.h"

namespace quant::search {

template <int SUBS>
struct ScaledBlock {
    HalfScale d;
    int scale[extent(SUBS)] = {};
    int level[256];
};

// x ~ d * scale[j] * level, scale[j] in [SLOW, SHIGH].
template <class Levels, int SUBS, int SLOW, int SHIGH>
QUANT_INLINE void best_scaled_block(const Block<256>& in, Grid grid, ScaledBlock<SUBS>& out) {
    constexpr int N = 256 / SUBS;
    float ideal[extent(SUBS)];
    float most = 0;
    for (int j = 0; j < SUBS; ++j) {
        const float* x = in.x + j * N;
        const float extreme = signed_extreme<N>(x);
        ideal[j] = extreme == 0 ? 0 : best_fit<Levels, N>(x, in.w + j * N, extreme, grid).scale();
        most = std::fabs(ideal[j]) > std::fabs(most) ? ideal[j] : most;
    }
    float total = 0;
    out.d = half_scale(most / SLOW, in.up, in.down);
    auto choose_scales = [&](HalfScale d, int* scale, float& error) {
        const float inv = inverse(d.value);
        error = 0;
        for (int j = 0; j < SUBS; ++j) {
            const float* x = in.x + j * N;
            const float* w = in.w + j * N;
            const int center = static_cast<int>(round_even(clamp(ideal[j] * inv, SLOW, SHIGH)));
            float least = 0;
            for (int s = center - 1; s <= center + 1; ++s) {
                if (s < SLOW || s > SHIGH) continue;
                const float e = scale_error<Levels, N>(x, w, d.value * static_cast<float>(s));
                if (s == center - 1 || (s == SLOW && center == SLOW) || e < least) least = e, scale[j] = s;
            }
            error += least;
        }
    };
    choose_scales(out.d, out.scale, total);
    for (int round = 0; round < 2; ++round) {
        float xq = 0, qq = 0;
        for (int j = 0; j < SUBS; ++j) {
            const float s = static_cast<float>(out.scale[j]);
            const ScaleFit fit = fit_scale<Levels, N>(in.x + j * N, in.w + j * N, inverse(out.d.value * s));
            xq += fit.xq * s;
            qq += fit.qq * s * s;
        }
        const HalfScale next = half_scale(qq > 0 ? xq / qq : 0.0f, in.up, in.down);
        int scale[extent(SUBS)];
        float error;
        choose_scales(next, scale, error);
        if (!(error < total)) break;
        total = error;
        out.d = next;
        for (int j = 0; j < SUBS; ++j) out.scale[j] = scale[j];
    }
    for (int j = 0; j < SUBS; ++j) {
        choose_levels<Levels, N>(in.x + j * N, out.d.value * static_cast<float>(out.scale[j]), out.level + j * N);
    }
}

template <int SUBS>
struct AffineBlock {
    HalfScale d, dmin;
    int scale[extent(SUBS)] = {}, min[extent(SUBS)] = {};
    int code[256];
};

// x ~ d * scale[j] * code - dmin * min[j], scale and min in [0, MOST], code in [0, TOP].
template <int SUBS, int TOP, int MOST>
QUANT_INLINE void best_affine_block(const Block<256>& in, AffineBlock<SUBS>& out) {
    constexpr int N = 256 / SUBS;
    float ideal_scale[extent(SUBS)], ideal_min[extent(SUBS)];
    float most_scale = 0, most_min = 0;
    for (int j = 0; j < SUBS; ++j) {
        const float* x = in.x + j * N;
        const float* w = in.w + j * N;
        float low = 0, high = 0;
        for (int i = 0; i < N; ++i) low = x[i] < low ? x[i] : low, high = x[i] > high ? x[i] : high;
        ideal_scale[j] = (high - low) / TOP;
        ideal_min[j] = -low;
        float least = affine_error<N, TOP>(x, w, ideal_scale[j], low);
        for (int k = -4; high > low && k <= 4; ++k) {
            float inv = (TOP + 0.15f * static_cast<float>(k)) / (high - low), m = low;
            const AffineFit fit = fit_affine<N, TOP>(x, w, inv, m);
            if (!fit.regular()) continue;
            float d = fit.scale();
            m = fit.offset(d);
            if (m > 0) m = 0, d = fit.scale_for(0);
            const float error = affine_error<N, TOP>(x, w, d, m);
            if (d > 0 && error < least) least = error, ideal_scale[j] = d, ideal_min[j] = -m;
        }
        most_scale = ideal_scale[j] > most_scale ? ideal_scale[j] : most_scale;
        most_min = ideal_min[j] > most_min ? ideal_min[j] : most_min;
    }
    out.d = half_scale(most_scale / MOST, in.up, in.down);
    out.dmin = half_scale(most_min / MOST, in.up, in.down);
    for (int j = 0; j < SUBS; ++j) {
        const int s0 = static_cast<int>(round_even(clamp(ideal_scale[j] * inverse(out.d.value), 0, MOST)));
        const int m0 = static_cast<int>(round_even(clamp(ideal_min[j] * inverse(out.dmin.value), 0, MOST)));
        float least = -1;
        for (int s = s0 - 1; s <= s0 + 1; ++s) {
            for (int m = m0 - 1; m <= m0 + 1; ++m) {
                if (s < 0 || s > MOST || m < 0 || m > MOST) continue;
                const float error = affine_error<N, TOP>(in.x + j * N, in.w + j * N, out.d.value * static_cast<float>(s),
                                                         -out.dmin.value * static_cast<float>(m));
                if (least < 0 || error < least) least = error, out.scale[j] = s, out.min[j] = m;
            }
        }
        affine_codes<N, TOP>(in.x + j * N, out.d.value * static_cast<float>(out.scale[j]),
                             -out.dmin.value * static_cast<float>(out.min[j]), out.code + j * N);
    }
}

}  // namespace quant::search
