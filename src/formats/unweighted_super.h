// The searches of unweighted.h for super-blocks of 256: stored halves times small integers per sub-block. Included by the
// files that build them for an instruction set; everything belongs to the file that includes it.
#pragma once

#include "formats/superblock.h"
#include "formats/unweighted_blocks.h"

namespace quant {
namespace {

constexpr float kNearlyExact = 0.001f;  // of squared steps: a mean squared error below goes to the thorough search

QUANT_INLINE float lane_of(const Floats& v, int lane) {
    float each[kLanes];
    v.store(each);
    return each[lane];
}
QUANT_INLINE Floats clamp(const Floats& v, float low, float high) { return min(max(v, Floats::all(low)), Floats::all(high)); }

// ---- x ~ d * scale[j] * level ------------------------------------------------------------------------------------------

// kHalf: levels -kHalf .. kHalf - 1; kMost: scales -kMost .. kMost - 1; kLevel: levels to which a sub-block's extreme element
// is brought, of the opposite sign where it is on the shorter side; kAway: how far from the nearest
// integer scales are tried, in the first and the second round.
struct Q6KShape {
    static constexpr int kHalf = 32, kMost = 128, kFraction = 9, kAway[] = {7, 7};
    static constexpr double kLevel[] = {29.4, 29.8, 30.2, 30.7, 31.1, 31.6, 32.0, 32.5, 33.0, 33.5, -29.0, -29.6, -30.2, -30.9, -31.5, -32.2};
};
struct Q3KShape {
    static constexpr int kHalf = 4, kMost = 32, kFraction = 12, kAway[] = {3, 7};
    static constexpr double kLevel[] = {2.9, 3.3, 3.6, 3.9, 4.2, 4.6, 5.1, -2.7, -3.1, -3.5};
};

// The sixteen sub-blocks of 16, a lane for each: their numbers as integers, x = fixed / unit, and the best scale of each on
// its own, as if it were stored freely. Column b of pair[i] is numbers 2 i and 2 i + 1 of sub-block b.
struct SignedSubs {
    Pairs pair[8];
    Floats unit, per_unit;  // 0 where all numbers are 0
    Floats scale, weight;   // weight: sum of squared codes
};

// Sums of x q and q q of each sub-block for the codes x factor / 2^(15 + kFraction).
struct SignedSums {
    Floats xq, qq;
};
template <class Shape>
QUANT_INLINE SignedSums signed_sums(const SignedSubs& sub, const Pairs& factor) {
    const Pairs whole = Pairs::all(1 << (15 - Shape::kFraction)), least = Pairs::all(-Shape::kHalf), most = Pairs::all(Shape::kHalf - 1);
    PairTotals xq, qq;
    for (const Pairs& v : sub.pair) {
        const Pairs q = at_most(at_least(scaled(scaled(v, factor), whole), least), most);
        xq.add(v, q);
        qq.add(q, q);
    }
    return {floats(xq), floats(qq)};
}

// false: nearly exact, or too small for this.
template <class Shape>
QUANT_INLINE bool prepare(const float* x, SignedSubs& sub) {
    constexpr float kReach = 32767;
    const Floats zero = Floats::all(0), one = Floats::all(1);
    Floats numbers[16], turned[16];
    for (int j = 0; j < 16; ++j) {
        numbers[j] = Floats::load(x + 16 * j);
        turned[j] = zero - numbers[j];
    }
    const Floats below = zero - least_of_each(numbers), above = zero - least_of_each(turned);
    const Floats extreme = choose_below(above, below, zero - below, above), size = magnitude(extreme);
    if (choose_below(zero, size, choose_below(size, Floats::all(0x1p-60f), one, zero), zero).sum() > 0) return false;
    sub.unit = choose_below(zero, size, Floats::all(-kReach) / choose_below(zero, size, extreme, one), zero);
    sub.per_unit = choose_below(zero, size, extreme * Floats::all(-1 / kReach), zero);
    alignas(32) int16_t fixed[16][16];
    float unit[16];
    sub.unit.store(unit);
    for (int j = 0; j < 16; ++j) Shorts::nearest(numbers[j] * Floats::all(unit[j])).store(fixed[j]);
    columns_of_pairs(fixed[0], 16, sub.pair);
    PairTotals squares;
    for (const Pairs& v : sub.pair) squares.add_squares<4>(v);
    const Floats energy = floats(squares) * Floats::all(16);
    Floats xq = zero, qq = one, square = zero;
    for (const double level : Shape::kLevel) {
        const auto now = signed_sums<Shape>(sub, Pairs::all(static_cast<int16_t>(level * (1 << Shape::kFraction))));
        // xq^2 / qq is what least squares gains.
        const Floats square_now = now.xq * now.xq, gain = square_now * qq, before = square * now.qq;
        xq = choose_below(before, gain, now.xq, xq);
        qq = choose_below(before, gain, now.qq, qq);
        square = choose_below(before, gain, square_now, square);
    }
    const Floats step = xq / qq, left = energy - xq * step - Floats::all(kNearlyExact * 16) * step * step;
    sub.scale = step * sub.per_unit;
    sub.weight = qq;
    return choose_below(zero, size, left, one).least() >= 0;
}

// Of 16 halves around `first`, the one for which the scales on their own are nearest to multiples.
template <class Shape>
QUANT_INLINE Stored super_scale_for(const float* scale, const float* weight, float first) {
    float value[kLanes];
    for (int i = 0; i < kLanes; ++i) value[i] = f16_to_f32(f32_to_f16(first * (0.966f + 0.0045f * static_cast<float>(i))));
    const Floats d = Floats::load(value), inv = Floats::all(1) / d;
    Floats cost = Floats::all(0);
    for (int j = 0; j < 16; ++j) {
        const Floats s = Floats::all(scale[j]);
        const Floats r = s - d * round_even(clamp(s * inv, -Shape::kMost, Shape::kMost - 1));
        cost = cost + Floats::all(weight[j]) * r * r;
    }
    return stored_scale(value[lowest_lane(cost)]);
}

// The best integer scales for a given d, the sums of x q and q q with them, and the squared error less that of zeros.
struct Chosen {
    Floats scale, xq, qq, cost;
};
template <class Shape>
QUANT_INLINE Chosen choose_scales(const SignedSubs& sub, float d, int reach) {
    const Floats zero = Floats::all(0), center = round_even(clamp(sub.scale * Floats::all(1 / d), -Shape::kMost, Shape::kMost - 1));
    const Floats unit = sub.unit * Floats::all(d);
    Chosen best = {zero, zero, zero, zero};
    for (int away = -reach; away <= reach; ++away) {
        const Floats scale = clamp(center + Floats::all(static_cast<float>(away)), -Shape::kMost, Shape::kMost - 1), step = scale * unit;
        // Scale 0 has any codes: they count nothing.
        const Floats size = magnitude(step), whole = Floats::all(1 << (Shape::kFraction + 15));
        const Floats factor = with_sign(min(whole / choose_below(zero, size, size, Floats::all(1)), Floats::all(32767)), step);
        const auto [xq, qq] = signed_sums<Shape>(sub, Pairs::twice(round_even(factor)));
        const Floats cost = step * (step * qq - (xq + xq));
        best.scale = choose_below(cost, best.cost, scale, best.scale);
        best.xq = choose_below(cost, best.cost, xq, best.xq);
        best.qq = choose_below(cost, best.cost, qq, best.qq);
        best.cost = min(cost, best.cost);
    }
    best.xq = best.xq * sub.per_unit;
    best.cost = best.cost * sub.per_unit * sub.per_unit;
    return best;
}

struct SignedChoice {
    Stored d;
    float scale[16];
};
// d with bits 0: for the thorough search. `code` gets levels + kHalf.
template <class Shape>
QUANT_INLINE SignedChoice best_signed_super(const float* x, int16_t* code) {
    SignedSubs sub;
    SignedChoice out;
    if (!prepare<Shape>(x, sub)) return out;
    float scale[16], weight[16], most = 0;
    sub.scale.store(scale);
    sub.weight.store(weight);
    for (const float each : scale) most = std::fabs(each) > std::fabs(most) ? each : most;
    Stored d = stored_scale(most / -Shape::kMost);
    if (d.bits == 0) return out;
    d = super_scale_for<Shape>(scale, weight, d.value);
    float least = 0;
    for (int round = 0; round < 2 && d.bits != 0 && d.bits != out.d.bits; ++round) {
        const Chosen chosen = choose_scales<Shape>(sub, d.value, Shape::kAway[round]);
        const float cost = chosen.cost.sum();
        if (!(cost < least)) break;
        least = cost;
        out.d = d;
        chosen.scale.store(out.scale);
        d = stored_scale((chosen.scale * chosen.xq).sum() / (chosen.scale * chosen.scale * chosen.qq).sum());
    }
    if (out.d.bits == 0) return out;
    for (int j = 0; j < 16; ++j) {
        const Floats inv = Floats::all(search::inverse(out.d.value * out.scale[j]));
        const Floats level = search::Uniform<-Shape::kHalf, Shape::kHalf - 1>::nearest(Floats::load(x + 16 * j) * inv);
        (Shorts::from(level) + Shorts::all(Shape::kHalf)).store(code + 16 * j);
    }
    return out;
}

QUANT_INLINE Shorts low_bits(const int16_t* code, int mask) { return Shorts::load(code) & Shorts::all(static_cast<int16_t>(mask)); }

void q6_k_row(const float* x, uint8_t* blocks, int64_t n, EncodeFn* thorough) {
    auto* block = reinterpret_cast<BlockQ6_K*>(blocks);
    alignas(32) int16_t code[256];
    for (int64_t i = 0; i < n; i += 256, ++block) {
        const SignedChoice best = best_signed_super<Q6KShape>(x + i, code);
        if (best.d.bits == 0) {
            thorough(nullptr, x + i, nullptr, reinterpret_cast<uint8_t*>(block), 256);
            continue;
        }
        block->d.set_bits(best.d.bits);
        for (int j = 0; j < 16; ++j) block->scales[j] = static_cast<int8_t>(best.scale[j]);
        for (int h = 0; h < 2; ++h) {
            for (int l = 0; l < 32; l += kLanes) {
                const int16_t* at = code + 128 * h + l;
                (low_bits(at, 15) + up<4>(low_bits(at + 64, 15))).store_bytes(block->ql + 64 * h + l);
                (low_bits(at + 32, 15) + up<4>(low_bits(at + 96, 15))).store_bytes(block->ql + 64 * h + 32 + l);
                const auto high = [&](int g) QUANT_LAMBDA { return down<4>(Shorts::load(at + 32 * g)); };
                (high(0) + up<2>(high(1)) + up<4>(high(2)) + up<6>(high(3))).store_bytes(block->qh + 32 * h + l);
            }
        }
    }
}

// Bits 0-1 of 256 codes as 2-bit planes.
QUANT_INLINE void store_planes(const int16_t* code, uint8_t* qs) {
    for (int h = 0; h < 2; ++h) {
        for (int l = 0; l < 32; l += kLanes) {
            const auto low = [&](int g) QUANT_LAMBDA { return low_bits(code + 128 * h + 32 * g + l, 3); };
            (low(0) + up<2>(low(1)) + up<4>(low(2)) + up<6>(low(3))).store_bytes(qs + 32 * h + l);
        }
    }
}

// Bit `bit` of 256 codes: bit j of byte l is that of code 32 j + l.
QUANT_INLINE void store_bits(const int16_t* code, int bit, uint8_t* qh) {
    for (int l = 0; l < 32; l += kLanes) {
        Shorts sum = Shorts::all(0);
        // The last row first: each further one moves those before it up.
        for (int j = 7; j >= 0; --j) sum = sum + sum + at_most(low_bits(code + 32 * j + l, 1 << bit), Shorts::all(1));
        sum.store_bytes(qh + l);
    }
}

void q3_k_row(const float* x, uint8_t* blocks, int64_t n, EncodeFn* thorough) {
    auto* block = reinterpret_cast<BlockQ3_K*>(blocks);
    alignas(32) int16_t code[256];
    for (int64_t i = 0; i < n; i += 256, ++block) {
        const SignedChoice best = best_signed_super<Q3KShape>(x + i, code);
        if (best.d.bits == 0) {
            thorough(nullptr, x + i, nullptr, reinterpret_cast<uint8_t*>(block), 256);
            continue;
        }
        block->d.set_bits(best.d.bits);
        std::memset(block->scales, 0, sizeof block->scales);
        for (int j = 0; j < 16; ++j) {
            const int s = static_cast<int>(best.scale[j]) + 32;
            uint8_t& low = block->scales[j % 8];
            uint8_t& high = block->scales[8 + j % 4];
            low = static_cast<uint8_t>(low | (s & 15) << (j < 8 ? 0 : 4));
            high = static_cast<uint8_t>(high | s >> 4 << (2 * (j / 4)));
        }
        store_bits(code, 2, block->hmask);
        store_planes(code, block->qs);
    }
}

}  // namespace
}  // namespace quant
