// Which scale and zero point the affine formats store: searches over any number of weights, on virtual vectors (lanes.h),
// so that the bytes are the same everywhere. Included by affine.c++ only; knows no place of bytes.
#pragma once

#include "formats/affine.h"
#include "formats/search.h"

namespace quant::affine {

// n normalised weights and importances, n a multiple of 16. What is found is stored as scale * up.
struct Span {
    float* x;
    float* w;
    int64_t n;
    float up = 1, down = 1;
};

template <int W>
QUANT_INLINE float largest(const float* x, int64_t n) {
    Vec<W> most = Vec<W>::all(0);
    for (int64_t i = 0; i < n; i += kLanes) most = max(magnitude(Vec<W>::load(x + i)), most);
    float lane[kLanes], out = 0;
    most.store(lane);
    for (float v : lane) out = v > out ? v : out;
    return out;
}

// As search::load_block, for any n.
template <int W>
QUANT_INLINE void normalize(Span& s, const float* x, const float* importance) {
    const float heaviest = importance ? largest<W>(importance, s.n) : 0;
    const Vec<W> zero = Vec<W>::all(0);
    const Vec<W> factor = Vec<W>::all(heaviest > 0 ? search::normalizer(heaviest) : 0.0f);
    for (int64_t i = 0; i < s.n; i += kLanes) {
        if (!(heaviest > 0)) {
            Vec<W>::all(1).store(s.w + i);
            Vec<W>::load(x + i).store(s.x + i);
            continue;
        }
        const Vec<W> w = Vec<W>::load(importance + i) * factor;
        w.store(s.w + i);
        if_above(w, zero, Vec<W>::load(x + i)).store(s.x + i);
    }
    const float most = largest<W>(s.x, s.n);
    s.down = search::normalizer(most);
    s.up = search::reciprocal_power(s.down);
    // Elements without weight may be larger than all others: cut, so that they do not overflow.
    const Vec<W> top = Vec<W>::all(most), bottom = Vec<W>::all(-most), down = Vec<W>::all(s.down);
    for (int64_t i = 0; i < s.n; i += kLanes) (min(max(Vec<W>::load(x + i), bottom), top) * down).store(s.x + i);
}

// A scale or zero point as it will be stored: bits of a half or of a float, and the value (a scale's among normalised
// numbers).
struct Number {
    uint32_t bits = 0;
    float value = 0;
};

QUANT_INLINE Number number_from_bits(bool half, uint32_t bits, float down) {
    return {bits, (half ? f16_to_f32(static_cast<uint16_t>(bits)) : std::bit_cast<float>(bits)) * down};
}
QUANT_INLINE Number stored(bool half, float value, float up, float down) {
    if (half) return {search::half_scale(value, up, down).bits, search::half_scale(value, up, down).value};
    // So that no code times the scale overflows.
    return number_from_bits(false, std::bit_cast<uint32_t>(search::clamp(value * up, -0x1.fp119f, 0x1.fp119f)), down);
}
// `step` places away in magnitude.
QUANT_INLINE Number neighbor(bool half, const Number& number, int step, float down) {
    if (half) {
        const search::HalfScale next = search::half_neighbor({static_cast<uint16_t>(number.bits), 0}, step, down);
        return {next.bits, next.value};
    }
    const int64_t magnitude = static_cast<int64_t>(number.bits & 0x7fffffff) + step;
    if (magnitude < 0 || magnitude >= 0x7b000000) return number;
    return number_from_bits(false, (number.bits & 0x80000000u) | static_cast<uint32_t>(magnitude), down);
}

// Whether the first weights times inv, less `from`, are whole numbers, nearly: a hint that all of them are.
template <int W>
QUANT_INLINE bool looks_whole(const Span& s, float inv, float from) {
    const Vec<W> v = (Vec<W>::load(s.x) - Vec<W>::all(from)) * Vec<W>::all(inv);
    return magnitude(v - round_even(v)).sum() < 0.02f * kLanes;
}

// ---- without zero point: x ~ d * level, levels -2^(bits-1) ... 2^(bits-1) - 1 ----------------------------------------

struct Levels {
    float low, high;
};

template <int W>
QUANT_INLINE Vec<W> level_of(const Vec<W>& v, const Levels& levels) {
    return round_even(min(max(v, Vec<W>::all(levels.low)), Vec<W>::all(levels.high)));
}

template <int W>
QUANT_INLINE search::ScaleFit fit_scale(const Span& s, const Levels& levels, float inv) {
    Vec<W> xq = Vec<W>::all(0), qq = xq;
    const Vec<W> vinv = Vec<W>::all(inv);
    for (int64_t i = 0; i < s.n; i += kLanes) {
        const Vec<W> x = Vec<W>::load(s.x + i), q = level_of<W>(x * vinv, levels), wq = Vec<W>::load(s.w + i) * q;
        xq = xq + wq * x;
        qq = qq + wq * q;
    }
    return {xq.sum(), qq.sum()};
}

template <int W>
QUANT_INLINE float scale_error(const Span& s, const Levels& levels, float d) {
    Vec<W> error = Vec<W>::all(0);
    const Vec<W> inv = Vec<W>::all(search::inverse(d)), vd = Vec<W>::all(d);
    for (int64_t i = 0; i < s.n; i += kLanes) {
        const Vec<W> x = Vec<W>::load(s.x + i), r = x - vd * level_of<W>(x * inv, levels);
        error = error + Vec<W>::load(s.w + i) * (r * r);
    }
    return error.sum();
}

constexpr float kCoarse = 1.04f, kFine = 1.0079f;
constexpr int kPatience = 10;  // coarse steps without a gain before a search ends

// The search for the inverse scale, from such that reach `first` of the last level on, clipping more and more.
template <int W>
QUANT_INLINE search::ScaleFit best_fit(const Span& s, const Levels& levels, float extreme, float first) {
    const float exact = levels.low / extreme;
    search::ScaleFit best = fit_scale<W>(s, levels, exact);
    float most = best.gain() * 1.000001f, best_inv = exact;
    auto consider = [&](float inv) QUANT_LAMBDA {
        const search::ScaleFit fit = fit_scale<W>(s, levels, inv);
        if (!(fit.gain() > most)) return false;
        best = fit, most = fit.gain(), best_inv = inv;
        return true;
    };
    for (int side = 0; side < 2; ++side) {
        int misses = 0;
        for (float inv = (side ? -first : first) * exact; misses < kPatience; inv *= kCoarse) {
            misses = consider(inv) || std::fabs(inv) < std::fabs(exact) ? 0 : misses + 1;
        }
    }
    const float center = best_inv;
    float above = center * kFine, below = center / kFine;
    for (int k = 0; k < 5; ++k, above *= kFine, below *= 1 / kFine) consider(above), consider(below);
    for (float k = 1; k <= -levels.low; k += 1) {
        if (looks_whole<W>(s, k / extreme, 0)) consider(k / extreme), consider(-k / extreme);
    }
    for (int round = 0; round < 3; ++round) consider(search::inverse(best.scale()));
    return best;
}

template <int W>
QUANT_INLINE Number best_scale(const Span& s, const AffineLayout& layout) {
    const bool half = layout.group != 0;
    const Levels levels = {static_cast<float>(-(1 << (layout.bits - 1))), static_cast<float>((1 << (layout.bits - 1)) - 1)};
    Number chosen;
    float least = scale_error<W>(s, levels, 0);
    if (!(largest<W>(s.x, s.n) > 0)) return chosen;
    auto consider = [&](const Number& next) QUANT_LAMBDA {
        const float error = scale_error<W>(s, levels, next.value);
        if (!(error < least)) return false;
        least = error, chosen = next;
        return true;
    };
    float low = s.x[0], high = low;
    for (int64_t i = 1; i < s.n; ++i) low = s.x[i] < low ? s.x[i] : low, high = s.x[i] > high ? s.x[i] : high;
    const float extreme = -low > high ? low : high;
    constexpr float kFirst[9] = {0, 0.3f, 0.3f, 0.6f, 0.78f, 0.82f, 0.95f, 0.98f, 0.98f};
    consider(stored(half, extreme / levels.low, s.up, s.down));
    consider(stored(half, best_fit<W>(s, levels, extreme, kFirst[layout.bits]).scale(), s.up, s.down));
    for (int round = 0; round < 3; ++round) {
        if (!consider(stored(half, fit_scale<W>(s, levels, search::inverse(chosen.value)).scale(), s.up, s.down))) break;
    }
    for (int step : {1, -1}) consider(neighbor(half, chosen, step, s.down));
    return chosen;
}

// One bit: the weighted mean of the sizes.
template <int W>
QUANT_INLINE Number best_size(const Span& s, bool half) {
    Vec<W> weight = Vec<W>::all(0), sum = weight;
    for (int64_t i = 0; i < s.n; i += kLanes) {
        const Vec<W> w = Vec<W>::load(s.w + i);
        weight = weight + w;
        sum = sum + w * magnitude(Vec<W>::load(s.x + i));
    }
    return stored(half, sum.sum() / weight.sum(), s.up, s.down);
}

// ---- with zero point: x ~ d * (q - z), codes q as stored -------------------------------------------------------------

template <int W>
QUANT_INLINE Vec<W> code_of(const Vec<W>& x, const Vec<W>& inv, const Vec<W>& z, const Levels& codes) {
    return level_of<W>(x * inv + z, codes);
}

// The sums of search::AffineFit for codes counted from 0, of x ~ (q / inv) + m.
template <int W>
QUANT_INLINE search::AffineFit fit_line(const Span& s, float top, float inv, float m) {
    Vec<W> sw = Vec<W>::all(0), swx = sw, sq = sw, sqq = sw, sxq = sw;
    const Vec<W> vinv = Vec<W>::all(inv), vm = Vec<W>::all(m);
    for (int64_t i = 0; i < s.n; i += kLanes) {
        const Vec<W> x = Vec<W>::load(s.x + i), w = Vec<W>::load(s.w + i);
        const Vec<W> q = level_of<W>((x - vm) * vinv, {0, top}), wq = w * q;
        sw = sw + w;
        swx = swx + w * x;
        sq = sq + wq;
        sqq = sqq + wq * q;
        sxq = sxq + wq * x;
    }
    return {sw.sum(), swx.sum(), sq.sum(), sqq.sum(), sxq.sum()};
}

template <int W>
QUANT_INLINE float line_error(const Span& s, const Levels& codes, float d, float z) {
    Vec<W> error = Vec<W>::all(0);
    const Vec<W> inv = Vec<W>::all(search::inverse(d)), vd = Vec<W>::all(d), vz = Vec<W>::all(z);
    for (int64_t i = 0; i < s.n; i += kLanes) {
        const Vec<W> x = Vec<W>::load(s.x + i), r = x - vd * (code_of<W>(x, inv, vz, codes) - vz);
        error = error + Vec<W>::load(s.w + i) * (r * r);
    }
    return error.sum();
}

// Scale and offset before they are stored: least squares for the codes of ever other ranges.
template <int W>
QUANT_INLINE search::FreeAffine best_line(const Span& s, float top, float low, float high) {
    search::FreeAffine best = {(high - low) / top, low, 0};
    float from = low, to = high;  // of the best
    auto consider = [&](float a, float b) QUANT_LAMBDA {
        if (!(b > a)) return false;
        const search::AffineFit fit = fit_line<W>(s, top, top / (b - a), a);
        if (!(fit.determinant() > 0)) return false;
        const float d = fit.scale(), m = fit.offset(d), gain = fit.gain(d, m);
        if (!(d > 0) || !(gain > best.gain * 1.000001f)) return false;
        best = {d, m, gain}, from = a, to = b;
        return true;
    };
    consider(low, high);
    for (int a = 0; a < 5; ++a) {
        for (int b = 0; b < 5; ++b) {
            const float range = high - low, step = range / top;
            consider(low + step * (0.3f * static_cast<float>(a) - 0.4f), high - step * (0.3f * static_cast<float>(b) - 0.4f));
        }
    }
    if (low < 0 && high > 0) {
        int misses = 0;
        for (float share = 1 / kCoarse; misses < kPatience; share /= kCoarse) misses = consider(low * share, high * share) ? 0 : misses + 1;
    }
    for (const float part : {0.1f, 0.05f, 0.025f, 0.0125f}) {
        const float step = part * (to - from);
        for (int again = 0; again < 3; ++again) {
            const bool moved = consider(from + step, to) || consider(from - step, to);
            if (!(consider(from, to - step) || consider(from, to + step)) && !moved) break;
        }
    }
    for (float span = 1; span < top && top < 64; span += 1) {
        if (looks_whole<W>(s, span / (high - low), low)) consider(low, low + (high - low) * top / span);
    }
    for (int round = 0; round < 2; ++round) consider(best.m, best.m + top * best.d);
    return best;
}

struct Line {
    Number d, z;
};

// Rounds the zero point, then looks for the scale that goes with it.
template <int W, class Consider>
QUANT_INLINE void try_stored(const Span& s, bool half, const Levels& codes, float d, float z, Consider& consider) {
    const Number zero = stored(half, z, 1, 1);
    consider({stored(half, d, s.up, s.down), zero});
    const float from_low = zero.value - codes.low;
    const search::AffineFit fit = fit_line<W>(s, codes.high - codes.low, search::inverse(d), -d * from_low);
    const float xx = fit.xq - from_low * fit.wx, qq = fit.qq - 2 * from_low * fit.q + from_low * from_low * fit.w;
    if (qq > 0) consider({stored(half, xx / qq, s.up, s.down), zero});
}

template <int W>
QUANT_INLINE Line best_zero_and_scale(const Span& s, const AffineLayout& layout) {
    const bool half = layout.group != 0;
    const Levels codes = {static_cast<float>(layout.lowest()), static_cast<float>(layout.highest())};
    const float top = codes.high - codes.low;
    Line chosen;
    float low = s.x[0], high = low;
    for (int64_t i = 1; i < s.n; ++i) low = s.x[i] < low ? s.x[i] : low, high = s.x[i] > high ? s.x[i] : high;
    if (low == high) {  // the lowest code, one above the zero point
        chosen.d = stored(half, low, s.up, s.down);
        chosen.z = stored(half, codes.low - 1, 1, 1);
        return chosen;
    }
    float least = line_error<W>(s, codes, 0, 0);
    auto consider = [&](const Line& next) QUANT_LAMBDA {
        const float error = line_error<W>(s, codes, next.d.value, next.z.value);
        if (!(error < least)) return false;
        least = error, chosen = next;
        return true;
    };
    const search::FreeAffine free = best_line<W>(s, top, low, high);
    const float z = codes.low - free.m / free.d;
    try_stored<W>(s, half, codes, free.d, z, consider);
    try_stored<W>(s, half, codes, free.d, (z + 12582912.0f) - 12582912.0f, consider);
    try_stored<W>(s, half, codes, (high - low) / top, codes.low - low * top / (high - low), consider);
    if (high > 0) try_stored<W>(s, half, codes, high / top, codes.low, consider);
    if (low < 0) try_stored<W>(s, half, codes, -low / top, codes.high, consider);
    for (int round = 0; round < 3; ++round) {
        const float before = least, d = chosen.d.value;
        if (!(std::fabs(d) > 0)) break;
        const search::AffineFit fit = fit_line<W>(s, top, search::inverse(d), -d * (chosen.z.value - codes.low));
        if (fit.determinant() > 0) try_stored<W>(s, half, codes, fit.scale(), codes.low - fit.offset(fit.scale()) / fit.scale(), consider);
        if (!(least < before)) break;
    }
    for (int reach : {8, 2, 1}) {
        for (int step : {reach, -reach}) {
            consider({neighbor(half, chosen.d, step, s.down), chosen.z});
            consider({chosen.d, neighbor(half, chosen.z, step, 1)});
        }
    }
    return chosen;
}

}  // namespace quant::affine
