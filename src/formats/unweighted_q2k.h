// The search of unweighted.h for Q2_K: the sixteen sub-blocks of a super-block side by side, a lane for each. Included by the
// files that build it for an instruction set; everything belongs to the file that includes it.
#pragma once

#include "formats/unweighted_affine.h"

namespace quant {
namespace {

struct Q2KShape {
    static constexpr int kSub = 16, kTop = 3, kMost = 15, kFraction = 12, kRounds = 5, kTries[kRounds] = {15, 9, 9, 9, 15};
    static constexpr AffineLanes kLanesToTry = affine_lanes(-0.05, 0.20);
};

// A lane for each sub-block. Column b of pair[i] is numbers 2 i and 2 i + 1 of sub-block b as integers: x = middle + fixed / unit,
// with fixed from -kReach to kReach over its range and 0.
struct AffineColumns {
    Pairs pair[8];
    Floats middle, unit, per_unit, sum;  // sum of fixed
    Floats scale, min;                   // of least squares, stored freely; then what the integers chosen last mean
    // For the scale and minimum chosen last, in units of x:
    Floats q, qq, xq, x;
};

QUANT_INLINE AffineSums affine_sums(const AffineColumns& sub, const Pairs& offset, const Pairs& factor) {
    return affine_sums<Q2KShape, Q2KShape::kSub>([&](int i) QUANT_LAMBDA { return sub.pair[i]; }, offset, factor);
}

// The numbers as integers. false: a sub-block of no extent, or a tiny or huge one. `energy`: sums of squared integers.
QUANT_INLINE bool load_columns(const float* x, AffineColumns& sub, Floats& energy) {
    const Floats zero = Floats::all(0), one = Floats::all(1);
    const Columns<16> columns(x);
    const Floats low = min(columns.low, zero), high = columns.high, range = high - low;
    const Floats fits = choose_below(range, Floats::all(0x1p18f), choose_below(Floats::all(64 * kSmallestUnit), range, one, zero), zero);
    if (!(fits.least() > 0)) return false;
    sub.middle = Floats::all(0.5f) * (low + high);
    sub.unit = Floats::all(2 * kReach) / range;
    sub.per_unit = range * Floats::all(1 / (2 * kReach));
    columns.pairs(sub.middle, sub.unit, sub.pair);
    PairTotals sum, squares;
    for (const Pairs& v : sub.pair) {
        sum.add(v, Pairs::all(1));
        squares.add_squares<1>(v);
    }
    sub.sum = floats(sum);
    sub.x = Floats::all(Q2KShape::kSub) * sub.middle + sub.sum * sub.per_unit;
    energy = floats(squares) * Floats::all(2);
    return true;
}

// Least squares for the codes of each pair of cuts, the best of them. false: for the thorough search.
QUANT_INLINE bool prepare(const float* x, AffineColumns& sub) {
    Floats energy;
    if (!load_columns(x, sub, energy)) return false;
    const Floats all = Floats::all(Q2KShape::kSub), zero = Floats::all(0), limit = (zero - sub.middle) * sub.unit;
    Floats best_gain = Floats::all(-0x1p100f), scale = zero, offset_best = zero;
    for (int k = 0; k < kLanes; ++k) {
        const float below = Q2KShape::kLanesToTry.below[k], above = Q2KShape::kLanesToTry.above[k];
        const float first = below * (2 * kReach) - kReach, width = 2 * kReach * (1 - below - above);
        const Pairs offset = Pairs::all(static_cast<int16_t>(first));
        const Pairs factor = Pairs::all(static_cast<int16_t>(kFactorUnit(Q2KShape::kFraction) * Q2KShape::kTop / width + 0.5f));
        const AffineSums s = affine_sums(sub, offset, factor);
        // x ~ d q + m; offsets above 0 cannot be stored.
        Floats d = (all * s.xq - sub.sum * s.q) / (all * s.qq - s.q * s.q);
        Floats m = (sub.sum - d * s.q) * Floats::all(1.0f / Q2KShape::kSub);
        d = choose_below(limit, m, (s.xq - limit * s.q) / s.qq, d);
        m = min(m, limit);
        const Floats gain = d * (s.xq + s.xq) + m * (sub.sum + sub.sum) - (d * (d * s.qq + m * (s.q + s.q)) + m * m * all);
        scale = choose_below(best_gain, gain, d, scale);
        offset_best = choose_below(best_gain, gain, m, offset_best);
        best_gain = choose_below(best_gain, gain, gain, best_gain);
    }
    sub.scale = scale * sub.per_unit;
    sub.min = zero - (sub.middle + offset_best * sub.per_unit);
    const Floats left = energy - best_gain - Floats::all(kNearlyExact * Q2KShape::kSub) * scale * scale;
    return left.least() >= 0 && scale.least() > 0;
}

// Steps from the integers nearest to what is wished: those next to them first.
constexpr float kScaleAway[kLanes] = {0, -1, 1, 0, 0, -1, 1, -1, 1, 0, 0, -1, -1, 1, 1, 2};
constexpr float kMinAway[kLanes] = {0, 0, 0, -1, 1, -1, 1, 1, -1, -2, 2, -2, 2, -2, 2, 1};

struct PairsOfIntegers {
    Floats scale, min, cost;  // cost: squared error less that of zeros
};
// The best of `tries` pairs of integers around those nearest to sub.scale and sub.min, which become what it means; leaves the
// sums for it.
QUANT_INLINE PairsOfIntegers choose_pairs(AffineColumns& sub, float d, float dmin, int tries) {
    constexpr float kMost = Q2KShape::kMost;
    const Floats zero = Floats::all(0);
    const Floats near_scale = round_even(clamp(sub.scale * Floats::all(1 / d), 0, kMost));
    const Floats near_min = round_even(clamp(sub.min * Floats::all(1 / dmin), 0, kMost));
    PairsOfIntegers best = {zero, zero, Floats::all(0x1p100f)};
    AffineSums sums = {zero, zero, zero};
    for (int k = 0; k < tries; ++k) {
        const Floats scale = clamp(near_scale + Floats::all(kScaleAway[k]), 0, kMost);
        const Floats least = clamp(near_min + Floats::all(kMinAway[k]), 0, kMost);
        const Floats step = scale * Floats::all(d) * sub.unit;
        const Floats offset = (Floats::all(-dmin) * least - sub.middle) * sub.unit;
        // Scale 0 has any codes: they count nothing.
        const Floats factor = min(Floats::all(kFactorUnit(Q2KShape::kFraction)) / max(step, Floats::all(1)), Floats::all(32767));
        const AffineSums s = affine_sums(sub, Pairs::twice(clamp(offset, -16000, 16000)), Pairs::twice(factor));
        const Floats cost = step * (step * s.qq + offset * (s.q + s.q) - (s.xq + s.xq)) +
                            offset * (offset * Floats::all(Q2KShape::kSub) - (sub.sum + sub.sum));
        sums.q = choose_below(cost, best.cost, s.q, sums.q);
        sums.qq = choose_below(cost, best.cost, s.qq, sums.qq);
        sums.xq = choose_below(cost, best.cost, s.xq, sums.xq);
        best.scale = choose_below(cost, best.cost, scale, best.scale);
        best.min = choose_below(cost, best.cost, least, best.min);
        best.cost = min(cost, best.cost);
    }
    sub.q = sums.q;
    sub.qq = sums.qq;
    sub.xq = sub.middle * sums.q + sums.xq * sub.per_unit;
    sub.scale = Floats::all(d) * best.scale;
    sub.min = Floats::all(dmin) * best.min;
    best.cost = best.cost * sub.per_unit * sub.per_unit;
    return best;
}

struct Q2KChoice {
    Stored d, dmin;  // d with bits 0: for the thorough search
    Floats scale, min;
};

// Least squares for the codes and integers at hand.
QUANT_INLINE void refit(const AffineColumns& sub, const PairsOfIntegers& now, Stored& d, Stored& dmin) {
    const Floats &s = now.scale, &m = now.min;  // u = scale * code, v = min
    const float uu = (s * s * sub.qq).sum(), uv = (s * m * sub.q).sum(), vv = (m * m).sum() * Q2KShape::kSub;
    const float xu = (s * sub.xq).sum(), xv = (m * sub.x).sum(), determinant = uu * vv - uv * uv;
    if (!(determinant > 0)) return;
    d = stored_scale((vv * xu - uv * xv) / determinant);
    dmin = stored_scale((uv * xu - uu * xv) / determinant);
}

QUANT_INLINE Q2KChoice best_q2_k(const float* x) {
    AffineColumns sub;
    Q2KChoice best;
    if (!prepare(x, sub)) return best;
    const auto most = [](const Floats& v) QUANT_LAMBDA { return -(Floats::all(0) - v).least(); };
    Stored d = stored_scale(most(sub.scale) / Q2KShape::kMost), dmin = stored_scale(most(sub.min) / Q2KShape::kMost);
    float least = 0;
    for (int round = 0; round < Q2KShape::kRounds && d.value > 0 && dmin.value > 0; ++round) {
        const PairsOfIntegers now = choose_pairs(sub, d.value, dmin.value, Q2KShape::kTries[round]);
        const float cost = now.cost.sum();
        if (round > 0 && !(cost < least)) break;
        least = cost;
        best = {d, dmin, now.scale, now.min};
        refit(sub, now, d, dmin);
    }
    return best;
}

void q2_k_row(const float* x, uint8_t* blocks, int64_t n, EncodeFn* thorough) {
    auto* block = reinterpret_cast<BlockQ2_K*>(blocks);
    alignas(32) int16_t code[256];
    for (int64_t i = 0; i < n; i += 256, ++block) {
        const Q2KChoice best = best_q2_k(x + i);
        if (best.d.bits == 0) {
            thorough(nullptr, x + i, nullptr, reinterpret_cast<uint8_t*>(block), 256);
            continue;
        }
        float scale[16], min[16];
        best.scale.store(scale);
        best.min.store(min);
        block->d.set_bits(best.d.bits);
        block->dmin.set_bits(best.dmin.bits);
        for (int j = 0; j < 16; ++j) {
            const Floats inv = Floats::all(search::inverse(best.d.value * scale[j])), offset = Floats::all(-best.dmin.value * min[j]);
            Shorts::from(search::affine_code<kWidth, Q2KShape::kTop>(Floats::load(x + i + 16 * j), inv, offset)).store(code + 16 * j);
            block->scales[j] = static_cast<uint8_t>(static_cast<int>(scale[j]) | static_cast<int>(min[j]) << 4);
        }
        store_planes(code, block->qs);
    }
}

constexpr UnweightedEncoders kEncoders = {q8_0_row, q4_0_row, q5_0_row, q6_k_row, q3_k_row, q4_k_row, q5_k_row, q2_k_row, tq2_0_row, iq4_nl_row};

}  // namespace
}  // namespace quant
