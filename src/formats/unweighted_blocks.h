// The searches of unweighted.h for blocks of 32 with one scale. Included by the files that build them for an instruction
// set; everything belongs to the file that includes it.
#pragma once

#include <algorithm>

#include "formats/blocks.h"
#include "formats/pair_lanes.h"
#include "formats/search.h"
#include "formats/unweighted.h"

namespace quant {
namespace {

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

// Levels to which the extreme element is brought, times 2^(kFraction + 2); of the opposite sign where it is on the shorter side.
// In ascending order.
template <int BITS>
struct SignedShape;
template <>
struct SignedShape<4> {
    static constexpr int kFraction = 9, kTries = 8;
    static constexpr double kLevel[kTries] = {7.0, 7.3, 7.7, 8.0, 8.2, 8.4, 8.7, 9.0};
};
template <>
struct SignedShape<5> {
    static constexpr int kFraction = 8, kTries = 16;
    static constexpr double kLevel[kTries] = {-13.2, -12.8, 13.8, 14.0, 14.2, 14.8, 15.0, 15.2, 15.4, 15.6, 15.8, 16.0, 16.2, 16.4, 16.6, 16.8};
};

// ---- sixteen blocks of 32 at once, a lane for each -----------------------------------------------------------------------

constexpr int kGroup = kLanes;  // blocks

// The nearest halves of numbers that a half can hold, or a neighbour where two are as near.
QUANT_INLINE Floats near_halves(const Floats& v) {
    // 11 bits are left of a number; below 2^-14 multiples of 2^-24, the last place of numbers around a half.
    const Floats wide = v * Floats::all(8193), normal = wide - (wide - v);
    const Floats shift = with_sign(Floats::all(0.5f), v);
    return choose_below(magnitude(v), Floats::all(0x1p-14f), (v + shift) - shift, normal);
}

// The numbers of sixteen rows of N, a lane for each row.
template <int N>
struct Columns {
    Floats number[search::extent(N)], low, high;  // the least and the largest of each row

    QUANT_INLINE explicit Columns(const float* x) {
        for (int i = 0; i < N; i += kLanes) columns_of_numbers(x + i, N, number + i);
        Floats least[4], most[4];  // one of each would wait for itself
        for (int i = 0; i < 4; ++i) least[i] = most[i] = number[i];
        for (int i = 4; i < N; i += 4) {
            for (int j = 0; j < 4; ++j) {
                least[j] = min(number[i + j], least[j]);
                most[j] = max(number[i + j], most[j]);
            }
        }
        low = min(min(least[0], least[1]), min(least[2], least[3]));
        high = max(max(most[0], most[1]), max(most[2], most[3]));
    }
    // The numbers less `origin`, times `unit`, as integers by twos.
    QUANT_INLINE void pairs(const Floats& origin, const Floats& unit, Pairs* out) const {
        for (int i = 0; i < N; i += 2) *out++ = Pairs::of((number[i] - origin) * unit, (number[i + 1] - origin) * unit);
    }
};

// Scales of sixteen blocks as they are stored; 0: for the thorough search.
struct Scales {
    Floats d;
    uint16_t bits[kGroup];

    QUANT_INLINE void store_inverses(float* out) const {
        const Floats zero = Floats::all(0), one = Floats::all(1);
        (one / choose_below(zero, magnitude(d), d, one)).store(out);
    }
};
// Where `good` is at most 0: none.
QUANT_INLINE Scales stored_scales(const Floats& wish, const Floats& good) {
    const Floats size = magnitude(wish), zero = Floats::all(0);
    const Floats fits = choose_below(size, Floats::all(60000.0f), choose_below(Floats::all(40 * kSmallestUnit), size, good, zero), zero);
    Scales out;
    out.d = choose_below(zero, fits, near_halves(wish), zero);
    store_halves(out.d, out.bits);
    return out;
}

// A row's blocks by sixteen; the last ones may be fewer, in an array of sixteen.
struct Sixteens {
    static constexpr int64_t kWeights = 32 * kGroup;
    const float* row;
    int64_t n, count;
    float last[kWeights];

    QUANT_INLINE Sixteens(const float* x, int64_t weights) : row(x), n(weights), count((weights + kWeights - 1) / kWeights) {
        const int64_t left = n % kWeights;
        if (left == 0) return;
        std::memcpy(last, row + n - left, static_cast<size_t>(left) * sizeof(float));
        std::memset(last + left, 0, static_cast<size_t>(kWeights - left) * sizeof(float));
    }
    QUANT_INLINE const float* weights(int64_t i) const { return (i + 1) * kWeights <= n ? row + i * kWeights : last; }
    QUANT_INLINE int blocks(int64_t i) const { return static_cast<int>(std::min<int64_t>(kGroup, n / 32 - i * kGroup)); }
};

// Calls encode(x, block, count) for each sixteen blocks of a row.
template <class Block, class Encode>
QUANT_INLINE void by_sixteen(const float* x, uint8_t* blocks, int64_t n, Encode encode) {
    const Sixteens all(x, n);
    for (int64_t i = 0; i < all.count; ++i) encode(all.weights(i), reinterpret_cast<Block*>(blocks) + i * kGroup, all.blocks(i));
}

// Sixteen blocks as integers, and the scales of least squares for the codes of the best of kTries levels.
template <int BITS>
struct SignedFit {
    using Shape = SignedShape<BITS>;
    static constexpr int kHalf = 1 << (BITS - 1);
    static constexpr float kReach = 8191;  // 32 squares of it are less than 2^31
    // Levels at which no number is beyond the last one of either side, of its own side.
    static constexpr int levels_below(double limit) {
        return static_cast<int>(std::count_if(Shape::kLevel, Shape::kLevel + Shape::kTries, [=](double level) { return level < limit; }));
    }
    static constexpr int kInside = levels_below(kHalf - 0.52), kOneSide = levels_below(kHalf + 0.48);

    Pairs pairs[16];  // the numbers by `unit`, whole
    Floats unit, squares;
    Scales scales;

    // First of all.
    QUANT_INLINE void prepare(const float* x) {
        const Columns<32> columns(x);
        const Floats zero = Floats::all(0), extreme = choose_below(columns.high, zero - columns.low, columns.low, columns.high), size = magnitude(extreme);
        const Floats fits = choose_below(size, Floats::all(0x1p18f), choose_below(Floats::all(40 * kSmallestUnit), size, size, zero), zero);
        unit = choose_below(zero, fits, extreme * Floats::all(-1 / kReach), zero);
        columns.pairs(zero, choose_below(zero, fits, Floats::all(-kReach) / extreme, zero), pairs);
        PairTotals sum;
        for (const Pairs& v : pairs) sum.add(v, v);
        squares = floats(sum);
    }

    // Then finds the scales.
    QUANT_INLINE void search() {
        const Floats zero = Floats::all(0);
        Floats xq[Shape::kTries], qq[Shape::kTries];
        for (int k = 0; k < kInside; ++k) try_level<false, false>(k, xq[k], qq[k]);
        for (int k = kInside; k < kOneSide; ++k) try_level<false, true>(k, xq[k], qq[k]);
        for (int k = kOneSide; k < Shape::kTries; ++k) try_level<true, true>(k, xq[k], qq[k]);
        // xq^2 / qq is what least squares gains: the better of each two.
        for (int half = Shape::kTries / 2; half > 0; half /= 2) {
            for (int k = 0; k < half; ++k) {
                const Floats here = xq[k] * xq[k] * qq[k + half], there = xq[k + half] * xq[k + half] * qq[k];
                xq[k] = choose_below(here, there, xq[k + half], xq[k]);
                qq[k] = choose_below(here, there, qq[k + half], qq[k]);
            }
        }
        const Floats step = xq[0] / choose_below(zero, qq[0], qq[0], Floats::all(1)), error = squares - xq[0] * step;
        scales = stored_scales(step * unit, error - Floats::all(0.02f * 32) * step * step);
    }

    // Levels for a scale that brings 1 / 2^(kFraction + 2) of the extreme element to `factor`; limits where they may be met.
    template <bool LEAST, bool MOST>
    QUANT_INLINE static Pairs levels(const Pairs& v, const Pairs& factor) {
        Pairs q = scaled(scaled(v, factor), Pairs::all(1 << (15 - Shape::kFraction)));
        if constexpr (LEAST) q = at_least(q, Pairs::all(-kHalf));
        if constexpr (MOST) q = at_most(q, Pairs::all(kHalf - 1));
        return q;
    }
    template <bool LEAST, bool MOST>
    QUANT_INLINE void try_level(int k, Floats& sum_xq, Floats& sum_qq) const {
        const Pairs factor = Pairs::all(static_cast<int16_t>(Shape::kLevel[k] * (1 << (Shape::kFraction + 2))));
        PairTotals xq, qq;
        for (const Pairs& v : pairs) {
            const Pairs q = levels<LEAST, MOST>(v, factor);
            xq.add(v, q);
            qq.add(q, q);
        }
        sum_xq = floats(xq);
        sum_qq = floats(qq);
    }

    // The levels for these scales; adds squares of numbers and of errors. Blocks for the thorough search: 0.
    QUANT_INLINE void final_levels(Pairs* q, Floats& all_errors, Floats& all_squares) const {
        const Floats zero = Floats::all(0), d = scales.d, size = magnitude(d), inverse = Floats::all(1) / choose_below(zero, size, d, Floats::all(1));
        const Pairs factors = Pairs::twice(choose_below(zero, size, Floats::all(0x1p15f * (1 << Shape::kFraction)) * unit * inverse, zero));
        PairTotals xq, qq;
        for (int i = 0; i < 16; ++i) {
            q[i] = levels<true, true>(pairs[i], factors);
            xq.add(pairs[i], q[i]);
            qq.add(q[i], q[i]);
        }
        const Floats sum = squares * unit * unit, product = floats(xq) * unit;
        all_errors = all_errors + choose_below(zero, size, sum - d * (product + product - d * floats(qq)), zero);
        all_squares = all_squares + choose_below(zero, size, sum, zero);
    }
};

template <int BITS>
QUANT_INLINE Shorts codes_of_16(const float* x, float inv) {
    constexpr int kHalf = 1 << (BITS - 1);
    const Shorts level = Shorts::nearest(Floats::load(x) * Floats::all(inv));
    return at_most(at_least(level, Shorts::all(-kHalf)), Shorts::all(kHalf - 1)) + Shorts::all(kHalf);
}

void q4_0_row(const float* row, uint8_t* blocks, int64_t n, const Thorough& thorough, EncodingError* sums) {
    const Sixteens all(row, n);
    auto* block = reinterpret_cast<BlockQ4_0*>(blocks);
    Floats errors = Floats::all(0), squares = errors;
    SignedFit<4> fits[2];
    fits[0].prepare(all.weights(0));
    for (int64_t i = 0; i < all.count; ++i) {
        SignedFit<4>& fit = fits[i % 2];
        fit.search();
        // Work for the processor while it waits for the scales.
        if (i + 1 < all.count) fits[(i + 1) % 2].prepare(all.weights(i + 1));
        Pairs q[16];
        fit.final_levels(q, errors, squares);
        const auto two = [&](int j) QUANT_LAMBDA { return q[j] + up<4>(q[j + 8]) + Pairs::all(0x88); };
        Floats codes[4];
        for (int j = 0; j < 4; ++j) codes[j] = bytes_of(two(2 * j), two(2 * j + 1));
        float rows[kGroup][4];
        rows_of_columns(codes, rows);
        for (int b = 0; b < all.blocks(i); ++b, ++block) {
            if (fit.scales.bits[b] == 0) {
                thorough.block(all.weights(i) + 32 * b, reinterpret_cast<uint8_t*>(block), 32, sums);
                continue;
            }
            block->d.set_bits(fit.scales.bits[b]);
            std::memcpy(block->qs, rows[b], sizeof block->qs);
            if (sums) sums->exact = false;  // nearly exact blocks are for the thorough search
        }
    }
    if (!sums) return;
    sums->error += static_cast<double>(errors.sum());
    sums->norm += static_cast<double>(squares.sum());
}

void q5_0_row(const float* row, uint8_t* blocks, int64_t n, EncodeFn* thorough) {
    by_sixteen<BlockQ5_0>(row, blocks, n, [&](const float* x, BlockQ5_0* block, int count) QUANT_LAMBDA {
        SignedFit<5> fit;
        fit.prepare(x);
        fit.search();
        const Scales& scales = fit.scales;
        float inverses[kGroup];
        scales.store_inverses(inverses);
        for (int b = 0; b < count; ++b, x += 32, ++block) {
            if (scales.bits[b] == 0) {
                thorough(nullptr, x, nullptr, reinterpret_cast<uint8_t*>(block), 32);
                continue;
            }
            const float inv = inverses[b];
            const Shorts low = codes_of_16<5>(x, inv), high = codes_of_16<5>(x + 16, inv);
            block->d.set_bits(scales.bits[b]);
            const uint32_t fifth = up<11>(low).negative() | up<11>(high).negative() << 16;
            std::memcpy(block->qh, &fifth, sizeof fifth);
            ((low & Shorts::all(15)) + up<4>(high)).store_bytes(block->qs);
        }
    });
}

// ---- IQ4_NL ----------------------------------------------------------------------------------------------------------

// 128 times the midpoints between the levels, and the gaps between the levels.
constexpr int16_t kIq4Mid[15] = {-14784, -11968, -9472, -7296, -5376, -3648, -2048, -576, 896, 2432, 4032, 5824, 7808, 10112, 12928};
constexpr int16_t kIq4Gap[15] = {23, 21, 18, 16, 14, 13, 12, 11, 12, 12, 13, 15, 16, 20, 24};

template <class Numbers>  // Shorts or Pairs
QUANT_INLINE Numbers iq4_level(const Numbers& v) {
    Numbers level = Numbers::all(-127);
    for (int i = 0; i < 15; ++i) level = add_above(level, v, Numbers::all(kIq4Mid[i]), Numbers::all(kIq4Gap[i]));
    return level;
}
QUANT_INLINE Shorts iq4_code(const Shorts& v) {
    Shorts code = Shorts::all(0);
    for (int i = 0; i < 15; ++i) code = count_above(code, v, Shorts::all(kIq4Mid[i]));
    return code;
}
// 128 x / d, cut where it is beyond the last level for certain.
QUANT_INLINE Shorts iq4_position(const float* x, float inv) {
    const Floats v = Floats::load(x) * Floats::all(128 * inv);
    return Shorts::from(round_even(min(max(v, Floats::all(-32000)), Floats::all(32000))));
}

// Twice 16 scales as 128 times the extreme element's place among the levels: 20 to the side of -127, 12 to that of 113.
struct Iq4Lanes {
    float factor[2][kLanes];
};
constexpr Iq4Lanes iq4_lanes() {
    Iq4Lanes out = {};
    double own = 95, mirrored = 93;
    for (int k = 0; k < 2 * kLanes; ++k) {
        out.factor[k / kLanes][k % kLanes] = static_cast<float>(static_cast<int>(k < 20 ? own * 128 : mirrored * -128));
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
        const Pairs factor = Pairs::twice(Floats::load(factors));
        PairTotals xq, qq;
        for (int i = 0; i < 32; i += 2) {
            const Pairs v = Pairs::repeat(fixed + i), q = iq4_level(scaled(v, factor));
            xq.add(v, q);
            qq.add(q, q);
        }
        const Floats h = floats(xq), s = h / floats(qq), g = h * s;
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

// Levels to which the extreme element is brought. The whole ones are those of rows that were encoded before.
constexpr float kByteLevel[16] = {128.4f, 128, 127.5f, 127, 126.5f, 126, 125.5f, 125, 124.5f, 124, 123.5f, 123, 122.5f, 122, 121.5f, 121};

// The best of sixteen halves for each of sixteen blocks.
QUANT_INLINE Scales byte_scales(const float* x) {
    constexpr float kReach = 32767;
    const Columns<32> columns(x);
    const Floats zero = Floats::all(0), below = zero - columns.low, high = columns.high;
    const Floats size = choose_below(high, below, below, high), other = choose_below(high, below, high, below);
    const Floats fits = choose_below(size, Floats::all(0x1p20f), choose_below(Floats::all(129 * 40 * kSmallestUnit), size, size, zero), zero);
    const Floats unit = choose_below(zero, fits, Floats::all(kReach) / size, zero);
    Pairs pairs[16];
    columns.pairs(zero, unit, pairs);
    // 1 / d without a division for each: d is nearly size / level, and 1 / (1 + e) nearly 1 - e.
    const Floats inverse = choose_below(zero, fits, Floats::all(1) / size, zero);
    Floats d[16];
    Pairs factor[16];
    for (int k = 0; k < 16; ++k) {
        d[k] = near_halves(size * Floats::all(1 / kByteLevel[k]));
        const Floats ratio = d[k] * inverse * Floats::all(kByteLevel[k]);
        // Levels with seven binary places, which are what is left of them, from half a level below to half a level above.
        const Floats level = Floats::all(32768 * 128 / kReach * kByteLevel[k]) * (Floats::all(2) - ratio);
        factor[k] = Pairs::twice(level);
    }
    Floats best = zero, best_error = Floats::all(0x1p126f);
    for (int k = 0; k < 16; ++k) {
        PairTotals squares;
        for (const Pairs& v : pairs) {
            const Pairs rest = down<9>(up<9>(scaled(v, factor[k])));
            squares.add(rest, rest);
        }
        const Floats error = choose_below(other, d[k] * Floats::all(127.5f), floats(squares) * d[k] * d[k], Floats::all(0x1p126f));
        best = choose_below(error, best_error, d[k], best);
        best_error = choose_below(error, best_error, error, best_error);
    }
    // The extreme element is below 0.
    const Floats turned = choose_below(high, below, best, zero - best);
    constexpr float kSquare = 0x1p14f;  // of a level, as the sums have it
    return stored_scales(turned, choose_below(zero, fits, best_error - Floats::all(0.02f * 32 * kSquare) * best * best, zero));
}

void q8_0_row(const float* row, uint8_t* blocks, int64_t n, EncodeFn* thorough) {
    by_sixteen<BlockQ8_0>(row, blocks, n, [&](const float* x, BlockQ8_0* block, int count) QUANT_LAMBDA {
        const Scales scales = byte_scales(x);
        float inverses[kGroup];
        scales.store_inverses(inverses);
        for (int b = 0; b < count; ++b, x += 32, ++block) {
            if (scales.bits[b] == 0) {
                thorough(nullptr, x, nullptr, reinterpret_cast<uint8_t*>(block), 32);
                continue;
            }
            const Floats inv = Floats::all(inverses[b]);
            block->d.set_bits(scales.bits[b]);
            for (int e = 0; e < 32; e += kLanes) store_nearest_bytes(Floats::load(x + e) * inv, block->qs + e);
        }
    });
}

}  // namespace
}  // namespace quant
