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
    // The whole numbers nearest to lane c of both, ties to even, in column c; within the range of 16 bits.
    QUANT_INLINE static Pairs of(const Floats& first, const Floats& second) {
        const __m512i even = _mm512_cvtps_epi32(reinterpret_cast<__m512>(first.a)), odd = _mm512_cvtps_epi32(reinterpret_cast<__m512>(second.a));
        return {_mm512_mask_blend_epi16(0xaaaaaaaau, even, _mm512_slli_epi32(odd, 16))};
    }
    // Both numbers of column c: the whole number nearest to lane c of x.
    QUANT_INLINE static Pairs twice(const Floats& x) {
        const __m512i number = _mm512_cvtps_epi32(reinterpret_cast<__m512>(x.a));
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

// Two sums in turn: the processor does not look far enough ahead to hide the latency of one.
struct PairTotals {
    __m512i now = _mm512_setzero_si512(), next = now;

    QUANT_INLINE void add(Pairs a, Pairs b) {
        const __m512i sum = _mm512_dpwssd_epi32(now, a.v, b.v);
        now = next;
        next = sum;
    }
    template <int bits>
    QUANT_INLINE void add_squares(Pairs a) { now = _mm512_add_epi32(now, _mm512_srli_epi32(_mm512_madd_epi16(a.v, a.v), bits)); }
};
QUANT_INLINE Floats floats(const PairTotals& totals) {
    return {reinterpret_cast<Floats::Part>(_mm512_cvtepi32_ps(_mm512_add_epi32(totals.now, totals.next)))};
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
    // The whole numbers nearest to lane c of both, ties to even, in column c; within the range of 16 bits.
    QUANT_INLINE static Pairs of(const Floats& first, const Floats& second) {
#if defined(__AVX2__)
        const auto half = [](Floats::Part a, Floats::Part b) QUANT_LAMBDA {
            const __m256i even = _mm256_cvtps_epi32(reinterpret_cast<__m256>(a)), odd = _mm256_cvtps_epi32(reinterpret_cast<__m256>(b));
            return Shorts{_mm256_blend_epi16(even, _mm256_slli_epi32(odd, 16), 0xaa)};
        };
        return {half(first.a, second.a), half(first.b, second.b)};
#elif defined(__ARM_NEON)
        const auto part = [](Floats::Part a, Floats::Part b) QUANT_LAMBDA {
            const int32x4_t even = vcvtnq_s32_f32(reinterpret_cast<float32x4_t>(a)), odd = vcvtnq_s32_f32(reinterpret_cast<float32x4_t>(b));
            return vreinterpretq_s16_s32(vsliq_n_s32(even, odd, 16));
        };
        return {{part(first.a, second.a), part(first.b, second.b)}, {part(first.c, second.c), part(first.d, second.d)}};
#else
        float number[2][kLanes];
        round_even(first).store(number[0]);
        round_even(second).store(number[1]);
        const auto half = [&](int from) QUANT_LAMBDA {
            return Shorts::each([&](int i) QUANT_LAMBDA { return static_cast<int>(number[i % 2][from + i / 2]); });
        };
        return {half(0), half(8)};
#endif
    }
    // Both numbers of column c: the whole number nearest to lane c of x.
    QUANT_INLINE static Pairs twice(const Floats& x) {
#if defined(__AVX2__)
        const auto half = [](Floats::Part p) QUANT_LAMBDA {
            const __m256i number = _mm256_cvtps_epi32(reinterpret_cast<__m256>(p)), packed = _mm256_packs_epi32(number, number);
            return Shorts{_mm256_unpacklo_epi16(packed, packed)};
        };
        return {half(x.a), half(x.b)};
#elif defined(__ARM_NEON)
        const Shorts once = Shorts::nearest(x);
        return {{vzip1q_s16(once.a, once.a), vzip2q_s16(once.a, once.a)}, {vzip1q_s16(once.b, once.b), vzip2q_s16(once.b, once.b)}};
#else
        float number[kLanes];
        round_even(x).store(number);
        const auto half = [&](int first) QUANT_LAMBDA {
            return Shorts::each([&](int i) QUANT_LAMBDA { return short_of(number[first + i / 2]); });
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

#endif

// Sixteen halves of numbers that a half can hold.
QUANT_INLINE void store_halves(const Floats& x, uint16_t* out) {
#if defined(QUANT_ENCODERS_AVX512)
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm512_cvtps_ph(reinterpret_cast<__m512>(x.a), _MM_FROUND_TO_NEAREST_INT));
#else
    float number[kLanes];
    x.store(number);
    for (int i = 0; i < kLanes; ++i) out[i] = f32_to_f16(number[i]);
#endif
}

// Four bytes in each lane: the low ones of column c of `a`, of `b`. No number is above 255.
QUANT_INLINE Floats bytes_of(const Pairs& a, const Pairs& b) {
#if defined(QUANT_ENCODERS_AVX512)
    const __m512i order = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15));
    return {reinterpret_cast<Floats::Part>(_mm512_shuffle_epi8(_mm512_packus_epi16(a.v, b.v), order))};
#elif defined(__AVX2__)
    const __m256i order = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15));
    const auto part = [&](const Shorts& x, const Shorts& y) QUANT_LAMBDA { return reinterpret_cast<Floats::Part>(_mm256_shuffle_epi8(_mm256_packus_epi16(x.v, y.v), order)); };
    return {part(a.low, b.low), part(a.high, b.high)};
#elif defined(__ARM_NEON)
    const auto part = [](int16x8_t x, int16x8_t y) QUANT_LAMBDA {
        const uint16x8_t first = vreinterpretq_u16_u8(vuzp1q_u8(vreinterpretq_u8_s16(x), vreinterpretq_u8_s16(x)));
        return reinterpret_cast<Floats::Part>(vzip1q_u16(first, vreinterpretq_u16_u8(vuzp1q_u8(vreinterpretq_u8_s16(y), vreinterpretq_u8_s16(y)))));
    };
    return {part(a.low.a, b.low.a), part(a.low.b, b.low.b), part(a.high.a, b.high.a), part(a.high.b, b.high.b)};
#else
    uint8_t bytes[kLanes][4];
    for (int c = 0; c < kLanes; ++c) {
        for (int i = 0; i < 4; ++i) {
            const Pairs& from = i < 2 ? a : b;
            bytes[c][i] = static_cast<uint8_t>((c < 8 ? from.low : from.high).v[c % 8 * 2 + i % 2]);
        }
    }
    Floats out;
    std::memcpy(&out, bytes, sizeof out);
    return out;
#endif
}

// Four floats of several rows in one register, and what turns them within quarters.
#if defined(QUANT_ENCODERS_AVX512)
struct Quads {
    using Register = __m512;
    QUANT_INLINE static Register load(const float* at, int64_t stride) {  // of rows 0, 4, 8 and 12
        const __m512 two = _mm512_mask_broadcast_f32x4(_mm512_castps128_ps512(_mm_loadu_ps(at)), 0x00f0, _mm_loadu_ps(at + 4 * stride));
        return _mm512_mask_broadcast_f32x4(_mm512_mask_broadcast_f32x4(two, 0x0f00, _mm_loadu_ps(at + 8 * stride)), 0xf000, _mm_loadu_ps(at + 12 * stride));
    }
    QUANT_INLINE static Register low(Register a, Register b) { return _mm512_unpacklo_ps(a, b); }
    QUANT_INLINE static Register high(Register a, Register b) { return _mm512_unpackhi_ps(a, b); }
    QUANT_INLINE static Register low_pair(Register a, Register b) { return _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b))); }
    QUANT_INLINE static Register high_pair(Register a, Register b) { return _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b))); }
};
#elif defined(__AVX2__)
struct Quads {
    using Register = __m256;
    QUANT_INLINE static Register load(const float* at, int64_t stride) {  // of rows 0 and 4
        return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(at)), _mm_loadu_ps(at + 4 * stride), 1);
    }
    QUANT_INLINE static Register low(Register a, Register b) { return _mm256_unpacklo_ps(a, b); }
    QUANT_INLINE static Register high(Register a, Register b) { return _mm256_unpackhi_ps(a, b); }
    QUANT_INLINE static Register low_pair(Register a, Register b) { return _mm256_castpd_ps(_mm256_unpacklo_pd(_mm256_castps_pd(a), _mm256_castps_pd(b))); }
    QUANT_INLINE static Register high_pair(Register a, Register b) { return _mm256_castpd_ps(_mm256_unpackhi_pd(_mm256_castps_pd(a), _mm256_castps_pd(b))); }
};
#else
struct Quads {
    using Register = Floats::Part;
    QUANT_INLINE static Register load(const float* at, int64_t) {  // of row 0
        Register out;
        std::memcpy(&out, at, sizeof out);
        return out;
    }
    QUANT_INLINE static Register low(Register a, Register b) { return __builtin_shufflevector(a, b, 0, 4, 1, 5); }
    QUANT_INLINE static Register high(Register a, Register b) { return __builtin_shufflevector(a, b, 2, 6, 3, 7); }
    QUANT_INLINE static Register low_pair(Register a, Register b) { return __builtin_shufflevector(a, b, 0, 1, 4, 5); }
    QUANT_INLINE static Register high_pair(Register a, Register b) { return __builtin_shufflevector(a, b, 2, 3, 6, 7); }
};
#endif

// Fours become columns: lane i of quarter q of row(j) goes to lane j of quarter q of out[i].
template <class Row>
QUANT_INLINE void turn_quarters(Row row, Floats* out, Floats::Part Floats::*to) {
    const Quads::Register a = row(0), b = row(1), c = row(2), d = row(3);
    const Quads::Register low = Quads::low(a, b), low2 = Quads::low(c, d), high = Quads::high(a, b), high2 = Quads::high(c, d);
    out[0].*to = reinterpret_cast<Floats::Part>(Quads::low_pair(low, low2));
    out[1].*to = reinterpret_cast<Floats::Part>(Quads::high_pair(low, low2));
    out[2].*to = reinterpret_cast<Floats::Part>(Quads::low_pair(high, high2));
    out[3].*to = reinterpret_cast<Floats::Part>(Quads::high_pair(high, high2));
}

// Lane b of out[i]: number i, of sixteen, of row b, of sixteen that are `stride` apart.
QUANT_INLINE void columns_of_numbers(const float* rows, int64_t stride, Floats* out) {
    const auto part = [&](int first, Floats::Part Floats::*to) QUANT_LAMBDA {
        for (int k = 0; k < kLanes; k += 4)
            turn_quarters([&](int j) QUANT_LAMBDA { return Quads::load(rows + (first + j) * stride + k, stride); }, out + k, to);
    };
    part(0, &Floats::a);
#if !defined(QUANT_ENCODERS_AVX512)
    part(kWidth, &Floats::b);
#if !defined(__AVX2__)
    part(8, &Floats::c);
    part(12, &Floats::d);
#endif
#endif
}

// Lane c of the four `columns` goes to row c of `rows`, of four.
QUANT_INLINE void rows_of_columns(const Floats* columns, float (*rows)[4]) {
    Floats turned[4];
    const auto part = [&](Floats::Part Floats::*at) QUANT_LAMBDA {
        turn_quarters([&](int j) QUANT_LAMBDA { return reinterpret_cast<Quads::Register>(columns[j].*at); }, turned, at);
    };
    part(&Floats::a);
#if !defined(QUANT_ENCODERS_AVX512)
    part(&Floats::b);
#if !defined(__AVX2__)
    part(&Floats::c);
    part(&Floats::d);
#endif
#endif
    for (int j = 0; j < 4; ++j) {
        float fours[4][4];
        turned[j].store(fours[0]);
        for (int k = 0; k < 4; ++k) std::memcpy(rows[4 * k + j], fours[k], sizeof fours[k]);
    }
}

}  // namespace
}  // namespace quant
