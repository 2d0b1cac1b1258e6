// The searches of unweighted.h for blocks of 32 with one scale. Included by the files that build them for an instruction
// set; everything belongs to the file that includes it.
#pragma once

#include <algorithm>

#include "formats/blocks.h"
#include "formats/search.h"
#include "formats/short_lanes.h"
#include "formats/unweighted.h"

namespace quant {
namespace {

using Floats = Vec<kWidth>;

QUANT_INLINE Floats places() {
    constexpr float kPlace[kLanes] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return Floats::load(kPlace);
}

// The lane of the lowest value; of equals the first.
QUANT_INLINE int lowest_lane(const Floats& v) {
    return static_cast<int>(choose_below(Floats::all(v.least()), v, Floats::all(kLanes), places()).least());
}

QUANT_INLINE search::Range range_of_32(const float* x) {
    const Floats a = Floats::load(x), b = Floats::load(x + kLanes);
    return {min(a, b).least(), -(Floats::all(0) - max(a, b)).least()};
}

// A scale as stored; bits 0 where a half is a poor picture of it.
struct Stored {
    uint16_t bits = 0;
    float value = 0;
};
constexpr float kSmallestUnit = 0x1p-24f;  // between subnormal halves
QUANT_INLINE Stored stored_scale(float scale) {
    const float size = std::fabs(scale);
    if (!(size >= 40 * kSmallestUnit && size <= 60000.0f)) return {};
    const uint16_t bits = f32_to_f16(scale);
    return {bits, f16_to_f32(bits)};
}

// ---- Q4_0, Q5_0 ------------------------------------------------------------------------------------------------------

// Sixteen scales to try: lane k brings the extreme element to level factor / 2^kFraction, and keeps levels in [low, high].
// Levels are mirrored in the lanes with high > -low: there the extreme element is on the shorter side.
struct ScaleLanes {
    int16_t factor[kLanes], low[kLanes], high[kLanes];
};

// `own` lanes from level `first` on, the others mirrored from `mirrored_first` on, `ratio` between neighbours.
constexpr ScaleLanes scale_lanes(int half_range, int fraction_bits, int own, double first, double ratio, double mirrored_first,
                                 double mirrored_ratio) {
    ScaleLanes out = {};
    double level = first;
    for (int k = 0; k < kLanes; ++k) {
        if (k == own) level = mirrored_first;
        out.factor[k] = static_cast<int16_t>(level * (1 << fraction_bits) + 0.5);
        out.low[k] = static_cast<int16_t>(k < own ? -half_range : 1 - half_range);
        out.high[k] = static_cast<int16_t>(k < own ? half_range - 1 : half_range);
        level *= k < own ? ratio : mirrored_ratio;
    }
    return out;
}

template <int BITS>
struct SignedShape;
template <>
struct SignedShape<4> {
    static constexpr int kFraction = 11;
    static constexpr ScaleLanes kLanesToTry = scale_lanes(8, kFraction, 11, 6.9, 1.036, 6.6, 1.05);
};
template <>
struct SignedShape<5> {
    static constexpr int kFraction = 10;
    static constexpr ScaleLanes kLanesToTry = scale_lanes(16, kFraction, 11, 13.9, 1.025, 13.4, 1.035);
};

// Sums of x q and q q over N numbers, a lane for each factor: q = x factor / 2^(15 + FRACTION), rounded, within [low, high].
struct SignedSums {
    Floats xq, qq;
};
template <int N, int FRACTION>
QUANT_INLINE SignedSums signed_sums(const int16_t* x, const Shorts& factor, const Shorts& low, const Shorts& high) {
    const Shorts whole = Shorts::all(1 << (15 - FRACTION));
    const auto code = [&](int i) QUANT_LAMBDA {
        return at_most(at_least(scaled(scaled(Shorts::all(x[i]), factor), whole), low), high);
    };
    Shorts qq = Shorts::all(0);
    Totals xq;
    for (int i = 0; i < N; i += 2) {
        const Shorts a = code(i), b = code(i + 1);
        qq = qq + a * a + b * b;
        xq.add(a, b, x + i);
    }
    return {xq.floats(), floats(qq)};
}

// The scale of least squares for the codes of the best lane; 0 where the block is nearly exact.
template <int BITS>
QUANT_INLINE float coarse_scale(const float* x, float extreme) {
    using Shape = SignedShape<BITS>;
    alignas(32) int16_t fixed[32];
    const float unit = -32767.0f / extreme;
    Floats energy = Floats::all(0);
    for (int i = 0; i < 32; i += kLanes) {
        const Floats v = round_even(Floats::load(x + i) * Floats::all(unit));
        energy = energy + v * v;
        Shorts::from(v).store(fixed + i);
    }
    const auto [h, q] = signed_sums<32, Shape::kFraction>(fixed, Shorts::load(Shape::kLanesToTry.factor),
                                                          Shorts::load(Shape::kLanesToTry.low), Shorts::load(Shape::kLanesToTry.high));
    float scale[kLanes], gain[kLanes];
    const Floats s = h / q, g = h * s;
    s.store(scale), g.store(gain);
    const int best = lowest_lane(Floats::all(0) - g);
    const float step = scale[best], error = energy.sum() - gain[best];
    if (error < 0.02f * 32 * step * step) return 0;
    return best < 11 ? step / unit : -(step / unit);
}

template <class Levels>
QUANT_INLINE float refitted_scale(const float* x, float d) {
    const Floats inv = Floats::all(1 / d);
    Floats xq = Floats::all(0), qq = xq;
    for (int i = 0; i < 32; i += kLanes) {
        const Floats v = Floats::load(x + i), q = Levels::nearest(v * inv);
        xq = xq + q * v;
        qq = qq + q * q;
    }
    return xq.sum() / qq.sum();
}

template <int BITS>
QUANT_INLINE Stored signed_scale(const float* x) {
    const search::Range range = range_of_32(x);
    const float extreme = -range.low > range.high ? range.low : range.high;
    if (!(std::fabs(extreme) > 40 * kSmallestUnit && std::fabs(extreme) < 0x1p18f)) return {};
    constexpr int kHalf = 1 << (BITS - 1);
    const Stored first = stored_scale(coarse_scale<BITS>(x, extreme));
    if (first.bits == 0) return {};
    return stored_scale(refitted_scale<search::Uniform<-kHalf, kHalf - 1>>(x, first.value));
}

template <int BITS>
QUANT_INLINE Shorts codes_of_16(const float* x, float inv) {
    constexpr int kHalf = 1 << (BITS - 1);
    return Shorts::from(search::Uniform<-kHalf, kHalf - 1>::nearest(Floats::load(x) * Floats::all(inv))) + Shorts::all(kHalf);
}

void q4_0_row(const float* x, uint8_t* blocks, int64_t n, EncodeFn* thorough) {
    auto* block = reinterpret_cast<BlockQ4_0*>(blocks);
    for (int64_t i = 0; i < n; i += 32, ++block) {
        const Stored d = signed_scale<4>(x + i);
        if (d.bits == 0) {
            thorough(nullptr, x + i, nullptr, reinterpret_cast<uint8_t*>(block), 32);
            continue;
        }
        const float inv = 1 / d.value;
        block->d.set_bits(d.bits);
        (codes_of_16<4>(x + i, inv) + up<4>(codes_of_16<4>(x + i + 16, inv))).store_bytes(block->qs);
    }
}

void q5_0_row(const float* x, uint8_t* blocks, int64_t n, EncodeFn* thorough) {
    auto* block = reinterpret_cast<BlockQ5_0*>(blocks);
    for (int64_t i = 0; i < n; i += 32, ++block) {
        const Stored d = signed_scale<5>(x + i);
        if (d.bits == 0) {
            thorough(nullptr, x + i, nullptr, reinterpret_cast<uint8_t*>(block), 32);
            continue;
        }
        const float inv = 1 / d.value;
        const Shorts a = codes_of_16<5>(x + i, inv), b = codes_of_16<5>(x + i + 16, inv);
        block->d.set_bits(d.bits);
        const uint32_t high = up<11>(a).negative() | up<11>(b).negative() << 16;
        std::memcpy(block->qh, &high, sizeof high);
        ((a & Shorts::all(15)) + up<4>(b)).store_bytes(block->qs);
    }
}

// ---- IQ4_NL ----------------------------------------------------------------------------------------------------------

// 128 times the midpoints between the levels, and the gaps between the levels.
constexpr int16_t kIq4Mid[15] = {-14784, -11968, -9472, -7296, -5376, -3648, -2048, -576, 896, 2432, 4032, 5824, 7808, 10112, 12928};
constexpr int16_t kIq4Gap[15] = {23, 21, 18, 16, 14, 13, 12, 11, 12, 12, 13, 15, 16, 20, 24};

QUANT_INLINE Shorts iq4_level(const Shorts& v) {
    Shorts level = Shorts::all(-127);
    for (int i = 0; i < 15; ++i) level = level + (above(v, Shorts::all(kIq4Mid[i])) & Shorts::all(kIq4Gap[i]));
    return level;
}
QUANT_INLINE Shorts iq4_code(const Shorts& v) {
    Shorts code = Shorts::all(0);
    for (int i = 0; i < 15; ++i) code = code - above(v, Shorts::all(kIq4Mid[i]));
    return code;
}
// 128 x / d, cut where it is beyond the last level for certain.
QUANT_INLINE Shorts iq4_position(const float* x, float inv) {
    const Floats v = Floats::load(x) * Floats::all(128 * inv);
    return Shorts::from(round_even(min(max(v, Floats::all(-32000)), Floats::all(32000))));
}

// Twice 16 scales as 128 times the extreme element's place among the levels: 20 to the side of -127, 12 to that of 113.
struct Iq4Lanes {
    int16_t factor[2][kLanes];
};
constexpr Iq4Lanes iq4_lanes() {
    Iq4Lanes out = {};
    double own = 95, mirrored = 93;
    for (int k = 0; k < 2 * kLanes; ++k) {
        out.factor[k / kLanes][k % kLanes] = static_cast<int16_t>(k < 20 ? own * 128 : mirrored * -128);
        (k < 20 ? own : mirrored) *= k < 20 ? 1.0235 : 1.035;
    }
    return out;
}
constexpr Iq4Lanes kIq4Lanes = iq4_lanes();

QUANT_INLINE Stored iq4_scale(const float* x) {
    const search::Range range = range_of_32(x);
    const float extreme = -range.low > range.high ? range.low : range.high;
    if (!(std::fabs(extreme) > 128 * 40 * kSmallestUnit && std::fabs(extreme) < 0x1p18f)) return {};
    alignas(32) int16_t fixed[32];
    const float unit = -32767.0f / extreme;
    Floats energy = Floats::all(0);
    for (int i = 0; i < 32; i += kLanes) {
        const Floats v = round_even(Floats::load(x + i) * Floats::all(unit));
        energy = energy + v * v;
        Shorts::from(v).store(fixed + i);
    }
    float scale = 0, gain = 0;
    for (const auto& factors : kIq4Lanes.factor) {
        const Shorts factor = Shorts::load(factors);
        Totals xq, qq;
        for (int i = 0; i < 32; i += 2) {
            const Shorts a = iq4_level(scaled(Shorts::all(fixed[i]), factor)), b = iq4_level(scaled(Shorts::all(fixed[i + 1]), factor));
            xq.add(a, b, fixed + i);
            qq.add_squares(a, b);
        }
        const Floats h = xq.floats(), s = h / qq.floats(), g = h * s;
        const int best = lowest_lane(Floats::all(0) - g);
        float scales[kLanes], gains[kLanes];
        s.store(scales), g.store(gains);
        if (gains[best] > gain) gain = gains[best], scale = scales[best];
    }
    const float step = 12 * scale;
    if (energy.sum() - gain < 0.02f * 32 * step * step) return {};
    Stored d = stored_scale(scale / unit);
    for (int round = 0; round < 2 && d.bits != 0; ++round) {
        Floats refit_xq = Floats::all(0), refit_qq = refit_xq;
        for (int i = 0; i < 32; i += kLanes) {
            const Floats q = floats(iq4_level(iq4_position(x + i, 1 / d.value)));
            refit_xq = refit_xq + q * Floats::load(x + i);
            refit_qq = refit_qq + q * q;
        }
        d = stored_scale(refit_xq.sum() / refit_qq.sum());
    }
    return d;
}

void iq4_nl_row(const float* x, uint8_t* blocks, int64_t n, EncodeFn* thorough) {
    auto* block = reinterpret_cast<BlockIQ4_NL*>(blocks);
    for (int64_t i = 0; i < n; i += 32, ++block) {
        const Stored d = iq4_scale(x + i);
        if (d.bits == 0) {
            thorough(nullptr, x + i, nullptr, reinterpret_cast<uint8_t*>(block), 32);
            continue;
        }
        const float inv = 1 / d.value;
        block->d.set_bits(d.bits);
        (iq4_code(iq4_position(x + i, inv)) + up<4>(iq4_code(iq4_position(x + i + 16, inv)))).store_bytes(block->qs);
    }
}

// ---- Q8_0 ------------------------------------------------------------------------------------------------------------

// The best of 16 halves, from the one that brings the extreme element to about -128.4 on.
QUANT_INLINE Stored byte_scale(const float* x) {
    const search::Range range = range_of_32(x);
    const bool negative = -range.low > range.high;  // the sign of the extreme element
    const float size = negative ? -range.low : range.high, other = negative ? range.high : -range.low;
    const Stored first = stored_scale(size * (1 / 128.4f));
    if (first.bits == 0 || size > 0x1p20f) return {};
    // Every fourth half, of the subnormal ones those that are about as far apart.
    const int units = first.bits < 0x400 ? std::max(first.bits >> 8, 1) : 4;
    float value[kLanes];
    for (int i = 0; i < kLanes; ++i) value[i] = f16_to_f32(static_cast<uint16_t>(first.bits + i * units));
    const Floats d = Floats::load(value), inv = Floats::all(1) / d;
    Floats error = Floats::all(0);
    for (int i = 0; i < 32; ++i) {
        const Floats v = Floats::all(x[i]) * inv, r = v - round_even(v);
        error = error + r * r;
    }
    error = choose_below(Floats::all(other) * inv, Floats::all(127.5f), error * d * d, Floats::all(0x1p100f));
    const int best = lowest_lane(error);
    float errors[kLanes];
    error.store(errors);
    if (errors[best] < 0.02f * 32 * value[best] * value[best]) return {};
    const float signed_value = negative ? value[best] : -value[best];
    return {f32_to_f16(signed_value), signed_value};
}

void q8_0_row(const float* x, uint8_t* blocks, int64_t n, EncodeFn* thorough) {
    auto* block = reinterpret_cast<BlockQ8_0*>(blocks);
    for (int64_t i = 0; i < n; i += 32, ++block) {
        const Stored d = byte_scale(x + i);
        if (d.bits == 0) {
            thorough(nullptr, x + i, nullptr, reinterpret_cast<uint8_t*>(block), 32);
            continue;
        }
        block->d.set_bits(d.bits);
        const Floats inv = Floats::all(1 / d.value);
        for (int e = 0; e < 32; e += kLanes) {
            Shorts::from(search::Uniform<-128, 127>::nearest(Floats::load(x + i + e) * inv)).store_bytes(block->qs + e);
        }
    }
}


}  // namespace
}  // namespace quant
