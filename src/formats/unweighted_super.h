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

// SHAPE: kHalf (levels -kHalf .. kHalf - 1), kMost (scales -kMost .. kMost - 1), kFraction, kOwn and kLanesToTry as above.
struct Q6KShape {
    static constexpr int kHalf = 32, kMost = 128, kFraction = 9, kOwn = 10;
    static constexpr ScaleLanes kLanesToTry = scale_lanes(kHalf, kFraction, kOwn, 29.4, 1.0145, 29.0, 1.021);
};
struct Q3KShape {
    static constexpr int kHalf = 4, kMost = 32, kFraction = 12, kOwn = 10;
    static constexpr ScaleLanes kLanesToTry = scale_lanes(kHalf, kFraction, kOwn, 2.9, 1.075, 2.7, 1.09);
};

// A sub-block of 16: its numbers as integers, x = fixed / unit, and the best scale on its own, as if it were stored freely.
struct SignedSub {
    alignas(32) int16_t fixed[16];
    float unit = 0, scale = 0, weight = 0;  // weight: sum of squared codes
};

// false: nearly exact.
template <class Shape>
QUANT_INLINE bool prepare(const float* x, SignedSub& sub) {
    const Floats v = Floats::load(x);
    const float low = v.least(), high = -(Floats::all(0) - v).least();
    const float extreme = -low > high ? low : high;
    sub.unit = sub.scale = sub.weight = 0;
    if (extreme == 0) return true;
    sub.unit = -32767.0f / extreme;
    const Floats fixed = round_even(v * Floats::all(sub.unit));
    Shorts::from(fixed).store(sub.fixed);
    const auto& lanes = Shape::kLanesToTry;
    const auto [xq, qq] = signed_sums<16, Shape::kFraction>(sub.fixed, Shorts::load(lanes.factor), Shorts::load(lanes.low), Shorts::load(lanes.high));
    const Floats scale = xq / qq, gain = xq * scale;
    const int best = lowest_lane(Floats::all(0) - gain);
    const float step = lane_of(scale, best);
    sub.weight = lane_of(qq, best);
    sub.scale = best < Shape::kOwn ? step / sub.unit : -(step / sub.unit);
    return (fixed * fixed).sum() - lane_of(gain, best) >= kNearlyExact * 16 * step * step;
}

// Of 16 halves around `first`, the one for which the scales on their own are nearest to multiples.
template <class Shape>
QUANT_INLINE Stored super_scale_for(const SignedSub* sub, float first) {
    float value[kLanes];
    for (int i = 0; i < kLanes; ++i) value[i] = f16_to_f32(f32_to_f16(first * (0.966f + 0.0045f * static_cast<float>(i))));
    const Floats d = Floats::load(value), inv = Floats::all(1) / d;
    Floats cost = Floats::all(0);
    for (int j = 0; j < 16; ++j) {
        const Floats s = Floats::all(sub[j].scale);
        const Floats r = s - d * round_even(clamp(s * inv, -Shape::kMost, Shape::kMost - 1));
        cost = cost + Floats::all(sub[j].weight) * r * r;
    }
    return stored_scale(value[lowest_lane(cost)]);
}

// The best of 16 integer scales for a given d, the sums of x q and q q with it, and the squared error less that of zeros.
struct Chosen {
    int scale = 0;
    float xq = 0, qq = 0, cost = 0;
};
template <class Shape>
QUANT_INLINE Chosen choose_scale(const SignedSub& sub, float d) {
    if (sub.unit == 0) return {};
    const float ideal = sub.scale / d;
    const float center = search::clamp(ideal, -Shape::kMost, Shape::kMost - 1);
    const float first = search::clamp((center - 7.5f + 12582912.0f) - 12582912.0f, -Shape::kMost, Shape::kMost - 16);
    const Floats scale = Floats::all(first) + places(), step = scale * Floats::all(d * sub.unit);
    // Scale 0 has any codes: they count nothing.
    const Floats factor = Floats::all(1 << (Shape::kFraction + 15)) / step;
    const Shorts factors = Shorts::from(round_even(clamp(factor, -32767, 32767)));
    const auto [xq, qq] = signed_sums<16, Shape::kFraction>(sub.fixed, factors, Shorts::all(-Shape::kHalf), Shorts::all(Shape::kHalf - 1));
    const Floats cost = step * (step * qq - (xq + xq));
    const int best = lowest_lane(cost);
    return {static_cast<int>(first) + best, lane_of(xq, best) / sub.unit, lane_of(qq, best), lane_of(cost, best) / (sub.unit * sub.unit)};
}

struct SignedChoice {
    Stored d;
    int scale[16];
};
// d with bits 0: for the thorough search. `code` gets levels + kHalf.
template <class Shape>
QUANT_INLINE SignedChoice best_signed_super(const float* x, int16_t* code) {
    SignedSub sub[16];
    SignedChoice out;
    float most = 0;
    for (int j = 0; j < 16; ++j) {
        if (!prepare<Shape>(x + 16 * j, sub[j])) return out;
        most = std::fabs(sub[j].scale) > std::fabs(most) ? sub[j].scale : most;
    }
    Stored d = stored_scale(most / -Shape::kMost);
    if (d.bits == 0) return out;
    d = super_scale_for<Shape>(sub, d.value);
    float least = 0;
    for (int round = 0; round < 2 && d.bits != 0 && d.bits != out.d.bits; ++round) {
        float xq = 0, qq = 0, cost = 0;
        int scale[16];
        for (int j = 0; j < 16; ++j) {
            const Chosen chosen = choose_scale<Shape>(sub[j], d.value);
            const float s = static_cast<float>(chosen.scale);
            scale[j] = chosen.scale;
            xq += s * chosen.xq;
            qq += s * s * chosen.qq;
            cost += chosen.cost;
        }
        if (!(cost < least)) break;
        least = cost;
        out.d = d;
        std::memcpy(out.scale, scale, sizeof scale);
        d = stored_scale(xq / qq);
    }
    if (out.d.bits == 0) return out;
    for (int j = 0; j < 16; ++j) {
        const Floats inv = Floats::all(search::inverse(out.d.value * static_cast<float>(out.scale[j])));
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
            const int s = best.scale[j] + 32;
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
