// Two neighbouring 16-bit integers for each of sixteen columns as one value, and sums of their products: see short_lanes.h.
// Columns are lanes of Floats. Everything here belongs to the file that includes it: each is built for one instruction set.
#pragma once

#include "formats/short_lanes.h"

namespace quant {
namespace {

#if defined(QUANT_ENCODERS_AVX512)

struct Pairs {
    __m512i v;  // lanes 2 c and 2 c + 1: column c

    QUANT_INLINE static Pairs all(int16_t value) { return {_mm512_set1_epi16(value)}; }
    QUANT_INLINE static Pairs load(const int16_t* at) { return {_mm512_loadu_si512(at)}; }
    // The same two numbers in every column.
    QUANT_INLINE static Pairs repeat(const int16_t* two) {
        int32_t both;
        std::memcpy(&both, two, sizeof both);
        return {_mm512_set1_epi32(both)};
    }
    // Both numbers of column c: lane c of `whole`, within the range of 16 bits.
    QUANT_INLINE static Pairs twice(const Floats& whole) {
        const __m512i number = _mm512_cvtps_epi32(reinterpret_cast<__m512>(whole.a));
        return {_mm512_mask_blend_epi16(0xaaaaaaaau, number, _mm512_slli_epi32(number, 16))};
    }
};
QUANT_INLINE Pairs operator+(Pairs a, Pairs b) { return {_mm512_add_epi16(a.v, b.v)}; }
QUANT_INLINE Pairs operator-(Pairs a, Pairs b) { return {_mm512_sub_epi16(a.v, b.v)}; }
QUANT_INLINE Pairs scaled(Pairs a, Pairs b) { return {_mm512_mulhrs_epi16(a.v, b.v)}; }
QUANT_INLINE Pairs at_least(Pairs a, Pairs b) { return {_mm512_max_epi16(a.v, b.v)}; }
QUANT_INLINE Pairs at_most(Pairs a, Pairs b) { return {_mm512_min_epi16(a.v, b.v)}; }
QUANT_INLINE Pairs add_above(Pairs sum, Pairs v, Pairs limit, Pairs more) {
    return {_mm512_mask_add_epi16(sum.v, _mm512_cmpgt_epi16_mask(v.v, limit.v), sum.v, more.v)};
}
QUANT_INLINE Pairs count_above(Pairs count, Pairs v, Pairs limit) { return add_above(count, v, limit, Pairs::all(1)); }
template <int bits>
QUANT_INLINE Pairs up(Pairs a) { return {_mm512_slli_epi16(a.v, bits)}; }
template <int bits>
QUANT_INLINE Pairs down(Pairs a) { return {_mm512_srai_epi16(a.v, bits)}; }

struct PairTotals {
    __m512i v = _mm512_setzero_si512();

    QUANT_INLINE void add(Pairs a, Pairs b) { v = _mm512_dpwssd_epi32(v, a.v, b.v); }
    template <int bits>
    QUANT_INLINE void add_squares(Pairs a) { v = _mm512_add_epi32(v, _mm512_srli_epi32(_mm512_madd_epi16(a.v, a.v), bits)); }
};
QUANT_INLINE Floats floats(const PairTotals& totals) { return {reinterpret_cast<Floats::Part>(_mm512_cvtepi32_ps(totals.v))}; }

QUANT_INLINE void columns_of_pairs(const int16_t* rows, int stride, Pairs* out) {
    __m512i r[8], t[8];
    for (int b = 0; b < 8; ++b) {
        r[b] = _mm512_inserti64x4(_mm512_castsi256_si512(Shorts::load(rows + b * stride).v), Shorts::load(rows + (b + 8) * stride).v, 1);
    }
    for (int b = 0; b < 8; b += 2) {
        t[b] = _mm512_unpacklo_epi32(r[b], r[b + 1]);
        t[b + 1] = _mm512_unpackhi_epi32(r[b], r[b + 1]);
    }
    for (int b = 0; b < 8; b += 4) {
        r[b] = _mm512_unpacklo_epi64(t[b], t[b + 2]);
        r[b + 1] = _mm512_unpackhi_epi64(t[b], t[b + 2]);
        r[b + 2] = _mm512_unpacklo_epi64(t[b + 1], t[b + 3]);
        r[b + 3] = _mm512_unpackhi_epi64(t[b + 1], t[b + 3]);
    }
    const __m512i first = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13), second = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
    for (int i = 0; i < 4; ++i) {
        out[i].v = _mm512_permutex2var_epi64(r[i], first, r[i + 4]);
        out[i + 4].v = _mm512_permutex2var_epi64(r[i], second, r[i + 4]);
    }
}

QUANT_INLINE Floats least_of_each(const Floats* v) {
    __m512 m[16];
    for (int b = 0; b < 16; ++b) m[b] = reinterpret_cast<__m512>(v[b].a);
    // Rows b and b + 4 in halves, then with those 8 further in quarters, four rows in the lanes of each at last.
    for (int b : {0, 1, 2, 3, 8, 9, 10, 11}) m[b] = _mm512_min_ps(_mm512_shuffle_f32x4(m[b], m[b + 4], 0x44), _mm512_shuffle_f32x4(m[b], m[b + 4], 0xee));
    for (int b = 0; b < 4; ++b) m[b] = _mm512_min_ps(_mm512_shuffle_f32x4(m[b], m[b + 8], 0x88), _mm512_shuffle_f32x4(m[b], m[b + 8], 0xdd));
    for (int b = 0; b < 2; ++b) m[b] = _mm512_min_ps(_mm512_unpacklo_ps(m[2 * b], m[2 * b + 1]), _mm512_unpackhi_ps(m[2 * b], m[2 * b + 1]));
    const __m512d low = _mm512_castps_pd(m[0]), high = _mm512_castps_pd(m[1]);
    const __m512 least = _mm512_min_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(low, high)), _mm512_castpd_ps(_mm512_unpackhi_pd(low, high)));
    return {reinterpret_cast<Floats::Part>(least)};
}

#else

struct Pairs {
    Shorts low, high;  // lanes 2 c and 2 c + 1: column c of the first eight, of the last

    QUANT_INLINE static Pairs all(int16_t value) { return {Shorts::all(value), Shorts::all(value)}; }
    QUANT_INLINE static Pairs load(const int16_t* at) { return {Shorts::load(at), Shorts::load(at + kLanes)}; }
    // The same two numbers in every column.
    QUANT_INLINE static Pairs repeat(const int16_t* two) {
#if defined(__AVX2__)
        int32_t both;
        std::memcpy(&both, two, sizeof both);
        const Shorts half = {_mm256_set1_epi32(both)};
#elif defined(__ARM_NEON)
        const int16x8_t four = vreinterpretq_s16_s32(vld1q_dup_s32(reinterpret_cast<const int32_t*>(two)));
        const Shorts half = {four, four};
#else
        const Shorts half = Shorts::each([&](int i) QUANT_LAMBDA { return two[i % 2]; });
#endif
        return {half, half};
    }
    // Both numbers of column c: lane c of `whole`, within the range of 16 bits.
    QUANT_INLINE static Pairs twice(const Floats& whole) {
#if defined(__AVX2__)
        const auto half = [](Floats::Part p) QUANT_LAMBDA {
            const __m256i number = _mm256_cvtps_epi32(reinterpret_cast<__m256>(p)), packed = _mm256_packs_epi32(number, number);
            return Shorts{_mm256_unpacklo_epi16(packed, packed)};
        };
        return {half(whole.a), half(whole.b)};
#elif defined(__ARM_NEON)
        const Shorts once = Shorts::from(whole);
        return {{vzip1q_s16(once.a, once.a), vzip2q_s16(once.a, once.a)}, {vzip1q_s16(once.b, once.b), vzip2q_s16(once.b, once.b)}};
#else
        float number[kLanes];
        whole.store(number);
        const auto half = [&](int first) QUANT_LAMBDA {
            return Shorts::each([&](int i) QUANT_LAMBDA { return static_cast<int>(number[first + i / 2]); });
        };
        return {half(0), half(8)};
#endif
    }
};
QUANT_INLINE Pairs operator+(const Pairs& a, const Pairs& b) { return {a.low + b.low, a.high + b.high}; }
QUANT_INLINE Pairs operator-(const Pairs& a, const Pairs& b) { return {a.low - b.low, a.high - b.high}; }
QUANT_INLINE Pairs scaled(const Pairs& a, const Pairs& b) { return {scaled(a.low, b.low), scaled(a.high, b.high)}; }
QUANT_INLINE Pairs at_least(const Pairs& a, const Pairs& b) { return {at_least(a.low, b.low), at_least(a.high, b.high)}; }
QUANT_INLINE Pairs at_most(const Pairs& a, const Pairs& b) { return {at_most(a.low, b.low), at_most(a.high, b.high)}; }
QUANT_INLINE Pairs add_above(const Pairs& sum, const Pairs& v, const Pairs& limit, const Pairs& more) {
    return {add_above(sum.low, v.low, limit.low, more.low), add_above(sum.high, v.high, limit.high, more.high)};
}
QUANT_INLINE Pairs count_above(const Pairs& count, const Pairs& v, const Pairs& limit) {
    return {count_above(count.low, v.low, limit.low), count_above(count.high, v.high, limit.high)};
}
template <int bits>
QUANT_INLINE Pairs up(const Pairs& a) { return {up<bits>(a.low), up<bits>(a.high)}; }
template <int bits>
QUANT_INLINE Pairs down(const Pairs& a) { return {down<bits>(a.low), down<bits>(a.high)}; }

// Sums of eight columns.
struct HalfTotals {
#if defined(__AVX2__)
    __m256i v = _mm256_setzero_si256();

    QUANT_INLINE void add(Shorts a, Shorts b) { v = _mm256_add_epi32(v, _mm256_madd_epi16(a.v, b.v)); }
    template <int bits>
    QUANT_INLINE void add_squares(Shorts a) { v = _mm256_add_epi32(v, _mm256_srli_epi32(_mm256_madd_epi16(a.v, a.v), bits)); }
#elif defined(__ARM_NEON)
    int32x4_t v[4] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};  // two columns each, two sums for a column

    QUANT_INLINE void add(Shorts a, Shorts b) {
        v[0] = vmlal_s16(v[0], vget_low_s16(a.a), vget_low_s16(b.a));
        v[1] = vmlal_high_s16(v[1], a.a, b.a);
        v[2] = vmlal_s16(v[2], vget_low_s16(a.b), vget_low_s16(b.b));
        v[3] = vmlal_high_s16(v[3], a.b, b.b);
    }
    template <int bits>
    QUANT_INLINE void add_squares(Shorts a) {
        const auto down = [](int16x8_t p) QUANT_LAMBDA {
            const int32x4_t square = vpaddq_s32(vmull_s16(vget_low_s16(p), vget_low_s16(p)), vmull_high_s16(p, p));
            return vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_s32(square), bits));
        };
        const int32x4_t first = down(a.a), second = down(a.b), zero = vdupq_n_s32(0);
        v[0] = vaddq_s32(v[0], vzip1q_s32(first, zero));
        v[1] = vaddq_s32(v[1], vzip2q_s32(first, zero));
        v[2] = vaddq_s32(v[2], vzip1q_s32(second, zero));
        v[3] = vaddq_s32(v[3], vzip2q_s32(second, zero));
    }
#else
    int32_t v[8] = {};

    QUANT_INLINE void add(const Shorts& a, const Shorts& b) {
        for (int i = 0; i < 8; ++i) v[i] += a.v[2 * i] * b.v[2 * i] + a.v[2 * i + 1] * b.v[2 * i + 1];
    }
    template <int bits>
    QUANT_INLINE void add_squares(const Shorts& a) {
        const auto square = [](int16_t each) QUANT_LAMBDA { return static_cast<uint32_t>(each * each); };
        for (int i = 0; i < 8; ++i) v[i] += static_cast<int32_t>((square(a.v[2 * i]) + square(a.v[2 * i + 1])) >> bits);
    }
#endif
};

struct PairTotals {
    HalfTotals low, high;

    QUANT_INLINE void add(const Pairs& a, const Pairs& b) { low.add(a.low, b.low), high.add(a.high, b.high); }
    // + (a^2 + a'^2) / 2^bits, rounded down.
    template <int bits>
    QUANT_INLINE void add_squares(const Pairs& a) {
        low.template add_squares<bits>(a.low);
        high.template add_squares<bits>(a.high);
    }
};
QUANT_INLINE Floats floats(const PairTotals& totals) {
#if defined(__AVX2__)
    const auto number = [](__m256i p) QUANT_LAMBDA { return reinterpret_cast<Floats::Part>(_mm256_cvtepi32_ps(p)); };
    return {number(totals.low.v), number(totals.high.v)};
#elif defined(__ARM_NEON)
    const auto number = [](const int32x4_t* p) QUANT_LAMBDA { return reinterpret_cast<Floats::Part>(vcvtq_f32_s32(vpaddq_s32(p[0], p[1]))); };
    return {number(totals.low.v), number(totals.low.v + 2), number(totals.high.v), number(totals.high.v + 2)};
#else
    float number[kLanes];
    for (int i = 0; i < kLanes; ++i) number[i] = static_cast<float>((i < 8 ? totals.low : totals.high).v[i % 8]);
    return Floats::load(number);
#endif
}

// Column b of out[i]: numbers 2 i and 2 i + 1, of sixteen, of row b, of sixteen that are `stride` apart.
QUANT_INLINE void columns_of_pairs(const int16_t* rows, int stride, Pairs* out) {
#if defined(__AVX2__)
    const auto half = [&](const int16_t* first, Shorts Pairs::*part) QUANT_LAMBDA {
        __m256i r[8], t[8];
        for (int b = 0; b < 8; ++b) r[b] = Shorts::load(first + b * stride).v;
        for (int b = 0; b < 8; b += 2) {
            t[b] = _mm256_unpacklo_epi32(r[b], r[b + 1]);
            t[b + 1] = _mm256_unpackhi_epi32(r[b], r[b + 1]);
        }
        for (int b = 0; b < 8; b += 4) {
            r[b] = _mm256_unpacklo_epi64(t[b], t[b + 2]);
            r[b + 1] = _mm256_unpackhi_epi64(t[b], t[b + 2]);
            r[b + 2] = _mm256_unpacklo_epi64(t[b + 1], t[b + 3]);
            r[b + 3] = _mm256_unpackhi_epi64(t[b + 1], t[b + 3]);
        }
        for (int i = 0; i < 4; ++i) {
            (out[i].*part).v = _mm256_permute2x128_si256(r[i], r[i + 4], 0x20);
            (out[i + 4].*part).v = _mm256_permute2x128_si256(r[i], r[i + 4], 0x31);
        }
    };
    half(rows, &Pairs::low);
    half(rows + 8 * stride, &Pairs::high);
#else
    int16_t column[2 * kLanes];
    for (int i = 0; i < 8; ++i) {
        for (int b = 0; b < kLanes; ++b) std::memcpy(column + 2 * b, rows + b * stride + 2 * i, 2 * sizeof *column);
        out[i] = Pairs::load(column);
    }
#endif
}

// Lane b: the least lane of v[b], of sixteen.
QUANT_INLINE Floats least_of_each(const Floats* v) {
#if defined(__AVX2__)
    const auto part = [](const Floats* each) QUANT_LAMBDA {
        __m256 m[8];
        for (int b = 0; b < 8; ++b) m[b] = _mm256_min_ps(reinterpret_cast<__m256>(each[b].a), reinterpret_cast<__m256>(each[b].b));
        for (int b = 0; b < 4; ++b) m[b] = _mm256_min_ps(_mm256_unpacklo_ps(m[2 * b], m[2 * b + 1]), _mm256_unpackhi_ps(m[2 * b], m[2 * b + 1]));
        for (int b = 0; b < 2; ++b) {
            const __m256d low = _mm256_castps_pd(m[2 * b]), high = _mm256_castps_pd(m[2 * b + 1]);
            m[b] = _mm256_min_ps(_mm256_castpd_ps(_mm256_unpacklo_pd(low, high)), _mm256_castpd_ps(_mm256_unpackhi_pd(low, high)));
        }
        return reinterpret_cast<Floats::Part>(_mm256_min_ps(_mm256_permute2f128_ps(m[0], m[1], 0x20), _mm256_permute2f128_ps(m[0], m[1], 0x31)));
    };
    return {part(v), part(v + 8)};
#else
    float least[kLanes];
    for (int b = 0; b < kLanes; ++b) least[b] = v[b].least();
    return Floats::load(least);
#endif
}

#endif

}  // namespace
}  // namespace quant
