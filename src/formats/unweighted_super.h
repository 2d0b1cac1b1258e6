// The searches of unweighted.h for super-blocks of 256: stored halves times small integers per sub-block. Included by the
// files that build them for an instruction set; everything belongs to the file that includes it.
#pragma once

#include <span>
#include <utility>

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

// 1 / v, 0 for what is nothing, as search::inverse() has it.
QUANT_INLINE Floats inverses(const Floats& v) {
    const Floats zero = Floats::all(0), least = Floats::all(0x1p-100f), size = magnitude(v);
    return choose_below(least, size, Floats::all(1) / choose_below(least, size, v, Floats::all(1)), zero);
}

// ---- x ~ d * scale[j] * level ------------------------------------------------------------------------------------------

// kHalf: levels -kHalf .. kHalf - 1; kMost: scales -kMost .. kMost - 1; kLevel: levels to which a sub-block's extreme element
// is brought, of the opposite sign where it is on the shorter side; kAway: how far from the nearest
// integer scales are tried, in the first and the second round.
struct Q6KShape {
    static constexpr int kHalf = 32, kMost = 128, kFraction = 9, kAway[] = {7, 3};
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
    const Columns<16> columns(x);
    const Floats below = zero - columns.low, above = columns.high;
    const Floats extreme = choose_below(above, below, zero - below, above), size = magnitude(extreme);
    if (choose_below(zero, size, choose_below(size, Floats::all(0x1p-60f), one, zero), zero).sum() > 0) return false;
    sub.unit = choose_below(zero, size, Floats::all(-kReach) / choose_below(zero, size, extreme, one), zero);
    sub.per_unit = choose_below(zero, size, extreme * Floats::all(-1 / kReach), zero);
    columns.pairs(zero, sub.unit, sub.pair);
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
QUANT_INLINE Stored super_scale_for(const SignedSubs& sub, float first) {
    const Floats d = near_halves(Floats::all(first) * (Floats::all(0.966f) + Floats::all(0.0045f) * places())), inv = Floats::all(1) / d;
    float scale[16], weight[16];
    sub.scale.store(scale);
    sub.weight.store(weight);
    Floats cost[2] = {Floats::all(0), Floats::all(0)};
    for (int j = 0; j < 16; ++j) {
        const Floats s = Floats::all(scale[j]);
        const Floats r = s - d * round_even(clamp(s * inv, -Shape::kMost, Shape::kMost - 1));
        cost[j % 2] = cost[j % 2] + Floats::all(weight[j]) * r * r;
    }
    return stored_scale(lane_of(d, lowest_lane(cost[0] + cost[1])));
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
    Floats next = center - Floats::all(static_cast<float>(reach));
    for (int tries = 2 * reach + 1; tries > 0; --tries, next = next + Floats::all(1)) {
        const Floats scale = clamp(next, -Shape::kMost, Shape::kMost - 1), step = scale * unit;
        // Scale 0 has any codes: they count nothing.
        const Floats size = magnitude(step), whole = Floats::all(1 << (Shape::kFraction + 15));
        const Floats factor = clamp(whole / choose_below(zero, size, step, Floats::all(1)), -32767, 32767);
        const auto [xq, qq] = signed_sums<Shape>(sub, Pairs::twice(factor));
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

// A super-block while it is searched. d with bits 0: for the thorough search, or not found yet.
struct SignedWork {
    SignedSubs sub;
    Stored d, next;  // the best so far; what to try
    Floats scale;
    float least;     // cost of the best
};
template <class Shape>
QUANT_INLINE void start(const float* x, SignedWork& work) {
    work.d = work.next = {};
    work.least = 0;
    if (!prepare<Shape>(x, work.sub)) return;
    const float low = work.sub.scale.least(), high = -(Floats::all(0) - work.sub.scale).least();
    work.next = stored_scale((-low > high ? low : high) / -Shape::kMost);
}
template <class Shape>
QUANT_INLINE void improve(SignedWork& work, int reach) {
    if (work.next.bits == 0 || work.next.bits == work.d.bits) return;
    const Chosen chosen = choose_scales<Shape>(work.sub, work.next.value, reach);
    const float cost = chosen.cost.sum();
    const Stored tried = std::exchange(work.next, Stored());
    if (!(cost < work.least)) return;
    work.least = cost;
    work.d = tried;
    work.scale = chosen.scale;
    work.next = stored_scale((chosen.scale * chosen.xq).sum() / (chosen.scale * chosen.scale * chosen.qq).sum());
}
// Levels + kHalf.
template <class Shape>
QUANT_INLINE void store_codes(const float* x, const SignedWork& work, int16_t* code) {
    float inverse[16];
    inverses(work.scale * Floats::all(work.d.value)).store(inverse);
    for (int j = 0; j < 16; ++j) {
        const Floats level = search::Uniform<-Shape::kHalf, Shape::kHalf - 1>::nearest(Floats::load(x + 16 * j) * Floats::all(inverse[j]));
        (Shorts::from(level) + Shorts::all(Shape::kHalf)).store(code + 16 * j);
    }
}

// Two super-blocks take their steps in turn: at the end of each step a processor waits for one number after the other, and
// has the other's to do meanwhile.
template <class Shape, class Block, class Pack>
QUANT_INLINE void signed_row(const float* x, uint8_t* blocks, int64_t n, EncodeFn* thorough, Pack pack) {
    auto* block = reinterpret_cast<Block*>(blocks);
    alignas(64) int16_t code[256];
    SignedWork works[2];
    for (; n > 0; n -= 512, x += 512, block += 2) {
        const std::span<SignedWork> both(works, n > 256 ? 2 : 1);
        const auto each = [&](auto step) QUANT_LAMBDA {
            for (size_t i = 0; i < both.size(); ++i) step(x + 256 * i, both[i], block[i]);
        };
        each([](const float* at, SignedWork& work, Block&) QUANT_LAMBDA { start<Shape>(at, work); });
        each([](const float*, SignedWork& work, Block&) QUANT_LAMBDA {
            if (work.next.bits != 0) work.next = super_scale_for<Shape>(work.sub, work.next.value);
        });
        for (const int reach : Shape::kAway) each([&](const float*, SignedWork& work, Block&) QUANT_LAMBDA { improve<Shape>(work, reach); });
        each([&](const float* at, const SignedWork& work, Block& out) QUANT_LAMBDA {
            if (work.d.bits == 0) return thorough(nullptr, at, nullptr, reinterpret_cast<uint8_t*>(&out), 256);
            store_codes<Shape>(at, work, code);
            out.d.set_bits(work.d.bits);
            pack(work.scale, out, code);
        });
    }
}

QUANT_INLINE Shorts low_bits(const int16_t* code, int mask) { return Shorts::load(code) & Shorts::all(static_cast<int16_t>(mask)); }

void q6_k_row(const float* x, uint8_t* blocks, int64_t n, EncodeFn* thorough) {
    signed_row<Q6KShape, BlockQ6_K>(x, blocks, n, thorough, [](const Floats& scale, BlockQ6_K& block, const int16_t* code) QUANT_LAMBDA {
        store_nearest_bytes(scale, block.scales);
        for (int h = 0; h < 2; ++h) {
            for (int l = 0; l < 32; l += kLanes) {
                const int16_t* at = code + 128 * h + l;
                (low_bits(at, 15) + up<4>(low_bits(at + 64, 15))).store_bytes(block.ql + 64 * h + l);
                (low_bits(at + 32, 15) + up<4>(low_bits(at + 96, 15))).store_bytes(block.ql + 64 * h + 32 + l);
                const auto high = [&](int g) QUANT_LAMBDA { return down<4>(Shorts::load(at + 32 * g)); };
                (high(0) + up<2>(high(1)) + up<4>(high(2)) + up<6>(high(3))).store_bytes(block.qh + 32 * h + l);
            }
        }
    });
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
    signed_row<Q3KShape, BlockQ3_K>(x, blocks, n, thorough, [](const Floats& scales, BlockQ3_K& block, const int16_t* code) QUANT_LAMBDA {
        std::memset(block.scales, 0, sizeof block.scales);
        float scale[16];
        scales.store(scale);
        for (int j = 0; j < 16; ++j) {
            const int s = static_cast<int>(scale[j]) + 32;
            uint8_t& low = block.scales[j % 8];
            uint8_t& high = block.scales[8 + j % 4];
            low = static_cast<uint8_t>(low | (s & 15) << (j < 8 ? 0 : 4));
            high = static_cast<uint8_t>(high | s >> 4 << (2 * (j / 4)));
        }
        store_bits(code, 2, block.hmask);
        store_planes(code, block.qs);
    });
}

}  // namespace
}  // namespace quant
