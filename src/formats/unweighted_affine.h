// The searches of unweighted.h for super-blocks of 256 with scales and minima. Included by the files that build them for an
// instruction set; everything belongs to the file that includes it.
#pragma once

#include "formats/unweighted_super.h"

namespace quant {
namespace {

// x ~ d * scale[j] * code - dmin * min[j], codes 0 .. kTop, integers 0 .. kMost; sub-blocks of kSub.
// kLanesToTry: parts of a sub-block's range that lane k cuts off below and above.
struct AffineLanes {
    float below[kLanes], above[kLanes];
};
// From `first` to `last`, spread over the square by multiples of irrational numbers.
constexpr AffineLanes affine_lanes(double first, double last) {
    AffineLanes out = {};
    for (int k = 0; k < kLanes; ++k) {
        const double a = 0.5 + 0.7548776662 * k, b = 0.5 + 0.5698402910 * k;
        out.below[k] = static_cast<float>(first + (last - first) * (a - static_cast<int>(a)));
        out.above[k] = static_cast<float>(first + (last - first) * (b - static_cast<int>(b)));
    }
    return out;
}
struct Q4KShape {
    static constexpr int kSub = 32, kTop = 15, kMost = 63, kFraction = 10, kRounds = 4;
    static constexpr AffineLanes kLanesToTry = affine_lanes(-0.018, 0.062);
};
struct Q5KShape {
    static constexpr int kSub = 32, kTop = 31, kMost = 63, kFraction = 9, kRounds = 7;
    static constexpr AffineLanes kLanesToTry = affine_lanes(-0.012, 0.030);
};

// Sums over N numbers, by twos as pair(i), for the codes (x - offset) * factor / 2^(15 + kFraction), rounded, within [0, kTop].
struct AffineSums {
    Floats q, qq, xq;
};
template <class Shape, int N, class PairOf>
QUANT_INLINE AffineSums affine_sums(PairOf pair, const Pairs& offset, const Pairs& factor) {
    const Pairs whole = Pairs::all(1 << (15 - Shape::kFraction)), zero = Pairs::all(0), top = Pairs::all(Shape::kTop);
    Pairs sum = zero;
    PairTotals q, qq, xq;
    for (int i = 0; i < N / 2; ++i) {
        const Pairs v = pair(i), code = at_most(at_least(scaled(scaled(v - offset, factor), whole), zero), top);
        sum = sum + code;
        qq.add(code, code);
        xq.add(v, code);
    }
    q.add(sum, Pairs::all(1));
    return {floats(q), floats(qq), floats(xq)};
}

// A sub-block as integers: x = middle + fixed / unit, with fixed from -kReach to kReach over its range and 0.
constexpr float kReach = 15000;
template <class Shape>
struct AffineSub {
    alignas(32) int16_t fixed[Shape::kSub];
    float middle, unit, sum;  // sum of fixed
    float scale, min;         // of least squares, stored freely
    // For the scale and minimum chosen last, in units of x:
    float q, qq, xq, x;
};

// A lane for each offset and factor.
template <class Shape>
QUANT_INLINE AffineSums affine_sums(const AffineSub<Shape>& sub, const Floats& offset, const Floats& factor) {
    return affine_sums<Shape, Shape::kSub>([&](int i) QUANT_LAMBDA { return Pairs::repeat(sub.fixed + 2 * i); },
                                           Pairs::twice(offset), Pairs::twice(factor));
}

constexpr float kFactorUnit(int fraction) { return static_cast<float>(1 << fraction) * 32768; }

// Least squares for the codes of each lane, the best of them. false: of no extent, or nearly exact.
template <class Shape>
QUANT_INLINE bool prepare(const float* x, AffineSub<Shape>& sub) {
    constexpr float kCount = Shape::kSub;
    Floats lowest = Floats::load(x), highest = lowest;
    for (int i = kLanes; i < Shape::kSub; i += kLanes) {
        lowest = min(Floats::load(x + i), lowest);
        highest = max(Floats::load(x + i), highest);
    }
    const float low = std::min(lowest.least(), 0.0f), high = -(Floats::all(0) - highest).least(), range = high - low;
    if (!(range > 64 * kSmallestUnit && range < 0x1p18f)) return false;
    sub.middle = 0.5f * (low + high);
    sub.unit = 2 * kReach / range;
    Floats sum = Floats::all(0), squares = sum;
    for (int i = 0; i < Shape::kSub; i += kLanes) {
        const Floats fixed = round_even((Floats::load(x + i) - Floats::all(sub.middle)) * Floats::all(sub.unit));
        sum = sum + fixed;
        squares = squares + fixed * fixed;
        Shorts::from(fixed).store(sub.fixed + i);
    }
    sub.sum = sum.sum();
    sub.x = kCount * sub.middle + sub.sum / sub.unit;
    const Floats below = Floats::load(Shape::kLanesToTry.below), above = Floats::load(Shape::kLanesToTry.above);
    const Floats reach = Floats::all(2 * kReach), offset = below * reach - Floats::all(kReach);
    const Floats factor = Floats::all(kFactorUnit(Shape::kFraction) * Shape::kTop) / (reach * (Floats::all(1) - below - above));
    const AffineSums s = affine_sums(sub, offset, factor);
    // x ~ d q + m; offsets above 0 cannot be stored.
    const Floats all = Floats::all(kCount), sx = Floats::all(sub.sum), limit = Floats::all(-sub.middle * sub.unit);
    Floats d = (all * s.xq - sx * s.q) / (all * s.qq - s.q * s.q);
    Floats m = (sx - d * s.q) / all;
    d = choose_below(limit, m, (s.xq - limit * s.q) / s.qq, d);
    m = min(m, limit);
    const Floats gain = d * (s.xq + s.xq) + m * (sx + sx) - (d * (d * s.qq + m * (s.q + s.q)) + m * m * all);
    const int best = lowest_lane(Floats::all(0) - gain);
    const float step = lane_of(d, best);
    if (!(step > 0) || squares.sum() - lane_of(gain, best) < kNearlyExact * kCount * step * step) return false;
    sub.scale = step / sub.unit;
    sub.min = -(sub.middle + lane_of(m, best) / sub.unit);
    return true;
}

struct ScaleAndMin {
    int scale, min;
    float cost;  // squared error less that of zeros
};
// Steps from the integers at hand, in turn: those next to them and a ring around these.
constexpr float kScaleStep[2][kLanes] = {{0, -1, -1, -1, -1, -1, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2},
                                         {0, -2, -2, -2, -2, -2, -1, -1, 0, 0, 1, 1, 2, 2, 2, 2}};
constexpr float kMinStep[2][kLanes] = {{0, -2, -1, 0, 1, 2, -2, -1, 1, 2, -2, -1, 0, 1, 2, 1},
                                       {0, -3, -2, -1, 0, 1, -3, 3, -3, 3, -3, 3, -1, 0, 2, 3}};
// The best of 16 pairs of integers around those nearest to sub.scale and sub.min, which become what it means; leaves the
// sums for it.
template <class Shape>
QUANT_INLINE ScaleAndMin choose_pair(AffineSub<Shape>& sub, float d, float dmin, int wide) {
    constexpr float kCount = Shape::kSub, kMost = Shape::kMost;
    const float near_scale = static_cast<float>(search::round_to_int(sub.scale / d, 0, Shape::kMost));
    const float near_min = dmin > 0 ? static_cast<float>(search::round_to_int(sub.min / dmin, 0, Shape::kMost)) : 0;
    const Floats scale = clamp(Floats::all(near_scale) + Floats::load(kScaleStep[wide]), 0, kMost);
    const Floats min_code = clamp(Floats::all(near_min) + Floats::load(kMinStep[wide]), 0, kMost);
    const Floats step = scale * Floats::all(d * sub.unit);
    const Floats offset = (Floats::all(-dmin) * min_code - Floats::all(sub.middle)) * Floats::all(sub.unit);
    // Scale 0 has any codes: they count nothing.
    const Floats factor = clamp(Floats::all(kFactorUnit(Shape::kFraction)) / step, 0, 32767);
    const AffineSums s = affine_sums(sub, clamp(offset, -16000, 16000), factor);
    const Floats sx = Floats::all(sub.sum);
    const Floats cost = step * (step * s.qq + offset * (s.q + s.q) - (s.xq + s.xq)) + offset * (offset * Floats::all(kCount) - (sx + sx));
    const int best = lowest_lane(cost);
    sub.q = lane_of(s.q, best);
    sub.qq = lane_of(s.qq, best);
    sub.xq = sub.middle * sub.q + lane_of(s.xq, best) / sub.unit;
    sub.scale = d * lane_of(scale, best);
    sub.min = dmin * lane_of(min_code, best);
    return {static_cast<int>(lane_of(scale, best)), static_cast<int>(lane_of(min_code, best)), lane_of(cost, best) / (sub.unit * sub.unit)};
}

template <class Shape>
struct AffineChoice {
    static constexpr int kSubs = 256 / Shape::kSub;
    Stored d, dmin;  // d with bits 0: for the thorough search
    int scale[search::extent(kSubs)], min[search::extent(kSubs)];
};

// Least squares for the codes and integers at hand.
template <class Shape>
QUANT_INLINE void refit(const AffineSub<Shape>* sub, const AffineChoice<Shape>& now, Stored& d, Stored& dmin) {
    float uu = 0, uv = 0, vv = 0, xu = 0, xv = 0;  // u = scale * code, v = min
    for (int j = 0; j < now.kSubs; ++j) {
        const float s = static_cast<float>(now.scale[j]), m = static_cast<float>(now.min[j]);
        uu += s * s * sub[j].qq;
        uv += s * m * sub[j].q;
        vv += m * m * static_cast<float>(Shape::kSub);
        xu += s * sub[j].xq;
        xv += m * sub[j].x;
    }
    const float determinant = uu * vv - uv * uv;
    if (!(determinant > 0)) return;
    d = stored_scale((vv * xu - uv * xv) / determinant);
    dmin = stored_scale((uv * xu - uu * xv) / determinant);
}

template <class Shape>
QUANT_INLINE AffineChoice<Shape> best_affine_super(const float* x, int16_t* code) {
    constexpr int kSubs = AffineChoice<Shape>::kSubs;
    AffineSub<Shape> sub[search::extent(kSubs)];
    AffineChoice<Shape> best;
    float most_scale = 0, most_min = 0;
    for (int j = 0; j < kSubs; ++j) {
        if (!prepare<Shape>(x + Shape::kSub * j, sub[j])) return best;
        most_scale = std::max(sub[j].scale, most_scale);
        most_min = std::max(sub[j].min, most_min);
    }
    Stored d = stored_scale(most_scale / Shape::kMost), dmin = stored_scale(most_min / Shape::kMost);
    float least = 0;
    for (int round = 0; round < Shape::kRounds && d.bits != 0 && dmin.bits != 0; ++round) {
        if (!(d.value > 0 && dmin.value > 0)) break;
        AffineChoice<Shape> next;
        next.d = d, next.dmin = dmin;
        float cost = 0;
        for (int j = 0; j < kSubs; ++j) {
            const ScaleAndMin chosen = choose_pair<Shape>(sub[j], d.value, dmin.value, round % 2);
            next.scale[j] = chosen.scale;
            next.min[j] = chosen.min;
            cost += chosen.cost;
        }
        if (round > 0 && !(cost < least)) break;
        least = cost;
        best = next;
        refit<Shape>(sub, best, d, dmin);
    }
    if (best.d.bits == 0) return best;
    for (int j = 0; j < kSubs; ++j) {
        const Floats inv = Floats::all(search::inverse(best.d.value * static_cast<float>(best.scale[j])));
        const Floats min = Floats::all(-best.dmin.value * static_cast<float>(best.min[j]));
        for (int i = Shape::kSub * j; i < Shape::kSub * (j + 1); i += kLanes) {
            Shorts::from(search::affine_code<kWidth, Shape::kTop>(Floats::load(x + i), inv, min)).store(code + i);
        }
    }
    return best;
}

// Six-bit scales and minima.
QUANT_INLINE void store_pairs(const int* scale, const int* min, uint8_t* s) {
    for (int j = 0; j < 4; ++j) {
        s[j] = static_cast<uint8_t>(scale[j] | scale[j + 4] >> 4 << 6);
        s[j + 4] = static_cast<uint8_t>(min[j] | min[j + 4] >> 4 << 6);
        s[j + 8] = static_cast<uint8_t>((scale[j + 4] & 15) | (min[j + 4] & 15) << 4);
    }
}

// Bits 0-3 of 256 codes as nibble planes.
QUANT_INLINE void store_nibbles(const int16_t* code, uint8_t* qs) {
    for (int b = 0; b < 128; b += kLanes) {
        const int16_t* at = code + 64 * (b / 32) + b % 32;
        (low_bits(at, 15) + up<4>(low_bits(at + 32, 15))).store_bytes(qs + b);
    }
}

template <class Shape, class Block, class Pack>
QUANT_INLINE void affine_row(const float* x, uint8_t* blocks, int64_t n, EncodeFn* thorough, Pack pack) {
    auto* block = reinterpret_cast<Block*>(blocks);
    alignas(32) int16_t code[256];
    for (int64_t i = 0; i < n; i += 256, ++block) {
        const AffineChoice<Shape> best = best_affine_super<Shape>(x + i, code);
        if (best.d.bits == 0) {
            thorough(nullptr, x + i, nullptr, reinterpret_cast<uint8_t*>(block), 256);
            continue;
        }
        block->d.set_bits(best.d.bits);
        block->dmin.set_bits(best.dmin.bits);
        pack(best, *block, code);
    }
}

void q4_k_row(const float* x, uint8_t* blocks, int64_t n, EncodeFn* thorough) {
    affine_row<Q4KShape, BlockQ4_K>(x, blocks, n, thorough, [](const auto& best, BlockQ4_K& block, const int16_t* code) QUANT_LAMBDA {
        store_pairs(best.scale, best.min, block.scales);
        store_nibbles(code, block.qs);
    });
}

void q5_k_row(const float* x, uint8_t* blocks, int64_t n, EncodeFn* thorough) {
    affine_row<Q5KShape, BlockQ5_K>(x, blocks, n, thorough, [](const auto& best, BlockQ5_K& block, const int16_t* code) QUANT_LAMBDA {
        store_pairs(best.scale, best.min, block.scales);
        store_nibbles(code, block.qs);
        store_bits(code, 4, block.qh);
    });
}

// ---- TQ1_0, TQ2_0 ----------------------------------------------------------------------------------------------------

// The mean of what is larger than a threshold is the best scale for it, half of that the next threshold. Starts with the
// best of thresholds over the whole range and of some around that one.
QUANT_INLINE Stored ternary_scale(const float* x) {
    Floats largest = Floats::all(0);
    for (int i = 0; i < 256; i += kLanes) largest = max(magnitude(Floats::load(x + i)), largest);
    const float most = -(Floats::all(0) - largest).least();
    if (!(most > 64 * kSmallestUnit && most < 0x1p18f)) return {};
    // 11 bits: eight of them have a sum of 14.
    constexpr float kTop = 2047;
    alignas(64) int16_t sizes[256];
    for (int i = 0; i < 256; i += kLanes) Shorts::from(round_even(magnitude(Floats::load(x + i)) * Floats::all(kTop / most))).store(sizes + i);
    Pairs size[8];
    for (int i = 0; i < 8; ++i) size[i] = Pairs::load(sizes + 2 * kLanes * i);
    const Pairs zero = Pairs::all(0), one = Pairs::all(1);
    const auto total = [&](const Pairs& each) QUANT_LAMBDA {
        PairTotals out;
        out.add(each, one);
        return floats(out).sum();
    };
    float threshold = 0, best_gain = 0, best_limit = 0;
    const auto consider = [&](float at) QUANT_LAMBDA {
        const Pairs limit = Pairs::all(static_cast<int16_t>(at));
        Pairs sum = zero, count = zero;
        for (const Pairs& a : size) {
            sum = add_above(sum, a, limit, a);
            count = count_above(count, a, limit);
        }
        const float s = total(sum), n = total(count), gain = s * s / n;
        if (gain > best_gain) best_gain = gain, best_limit = at, threshold = 0.5f * s / n;
    };
    // Half of the mean of the largest ones lies between half of the mean of all and half of the largest.
    Pairs all = zero;
    for (const Pairs& a : size) all = all + a;
    const float lowest = total(all) / 512 * 0.95f;
    for (float at = 0.5f * kTop; at > lowest; at *= 0.85f) consider(at);
    const float coarse = best_limit;
    for (const float near : {1.12f, 1.08f, 1.04f, 0.96f, 0.92f}) consider(coarse * near);
    threshold *= most / kTop;
    float scale = 0;
    for (int round = 0; round < 3; ++round) {
        const Floats limit = Floats::all(threshold);
        Floats sum = Floats::all(0), count = sum;
        for (int i = 0; i < 256; i += kLanes) {
            const Floats a = magnitude(Floats::load(x + i));
            sum = sum + if_above(a, limit, a);
            count = count + if_above(a, limit, Floats::all(1));
        }
        const float next = sum.sum() / count.sum();
        if (next == scale) break;
        scale = next;
        threshold = 0.5f * scale;
    }
    return stored_scale(scale);
}

QUANT_INLINE void ternary_codes(const float* x, float d, int16_t* code) {
    const Floats inv = Floats::all(1 / d);
    for (int i = 0; i < 256; i += kLanes) {
        const Floats level = search::Uniform<-1, 1>::nearest(Floats::load(x + i) * inv);
        (Shorts::from(level) + Shorts::all(1)).store(code + i);
    }
}

void tq2_0_row(const float* x, uint8_t* blocks, int64_t n, EncodeFn* thorough) {
    auto* block = reinterpret_cast<BlockTQ2_0*>(blocks);
    alignas(32) int16_t code[256];
    for (int64_t i = 0; i < n; i += 256, ++block) {
        const Stored d = ternary_scale(x + i);
        if (d.bits == 0) {
            thorough(nullptr, x + i, nullptr, reinterpret_cast<uint8_t*>(block), 256);
            continue;
        }
        ternary_codes(x + i, d.value, code);
        block->d.set_bits(d.bits);
        store_planes(code, block->qs);
    }
}

}  // namespace
}  // namespace quant
