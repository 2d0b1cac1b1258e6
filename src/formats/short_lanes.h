// Sixteen 16-bit integers as one value, and sums of their products: the virtual vector of the encoders' coarse searches.
// Integer arithmetic is exact, so every instruction set gives the same. Knows nothing of formats.
// Everything here belongs to the file that includes it: each is built for one instruction set.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#include "formats/lanes.h"

namespace quant {
namespace {

#if defined(__AVX2__)

inline constexpr int kWidth = 8;  // of Vec

struct Shorts {
    __m256i v;

    QUANT_INLINE static Shorts all(int16_t value) { return {_mm256_set1_epi16(value)}; }
    QUANT_INLINE static Shorts load(const int16_t* at) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at))}; }
    // Whole numbers within the range of 16 bits.
    QUANT_INLINE static Shorts from(const Vec<8>& whole) {
        const __m256i low = _mm256_cvtps_epi32(reinterpret_cast<__m256>(whole.a));
        const __m256i high = _mm256_cvtps_epi32(reinterpret_cast<__m256>(whole.b));
        return {_mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xd8)};
    }
    // Nearest whole numbers, ties to even, or the nearest end of the range of 16 bits; |x| < 2^22.
    QUANT_INLINE static Shorts nearest(const Vec<8>& x) { return from(x); }
    QUANT_INLINE void store(int16_t* at) const { _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), v); }
    // The low byte of each.
    QUANT_INLINE void store_bytes(void* at) const {
        const __m256i bytes = _mm256_and_si256(v, _mm256_set1_epi16(255));
        const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi16(bytes, bytes), 0xd8);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(at), _mm256_castsi256_si128(packed));
    }
    // Bit i: lane i is negative.
    QUANT_INLINE uint32_t negative() const {
        const __m256i signs = _mm256_permute4x64_epi64(_mm256_packs_epi16(v, v), 0xd8);
        return static_cast<uint32_t>(_mm256_movemask_epi8(signs)) & 0xffff;
    }
};
QUANT_INLINE Shorts operator+(Shorts a, Shorts b) { return {_mm256_add_epi16(a.v, b.v)}; }
QUANT_INLINE Shorts operator-(Shorts a, Shorts b) { return {_mm256_sub_epi16(a.v, b.v)}; }
QUANT_INLINE Shorts operator*(Shorts a, Shorts b) { return {_mm256_mullo_epi16(a.v, b.v)}; }
QUANT_INLINE Shorts operator&(Shorts a, Shorts b) { return {_mm256_and_si256(a.v, b.v)}; }
// (a b + 2^14) / 2^15, rounded down; not both -2^15.
QUANT_INLINE Shorts scaled(Shorts a, Shorts b) { return {_mm256_mulhrs_epi16(a.v, b.v)}; }
QUANT_INLINE Shorts at_least(Shorts a, Shorts b) { return {_mm256_max_epi16(a.v, b.v)}; }
QUANT_INLINE Shorts at_most(Shorts a, Shorts b) { return {_mm256_min_epi16(a.v, b.v)}; }
// -1 where a > b, else 0.
QUANT_INLINE Shorts above(Shorts a, Shorts b) { return {_mm256_cmpgt_epi16(a.v, b.v)}; }
template <int bits>
QUANT_INLINE Shorts up(Shorts a) { return {_mm256_slli_epi16(a.v, bits)}; }
template <int bits>
QUANT_INLINE Shorts down(Shorts a) { return {_mm256_srai_epi16(a.v, bits)}; }

struct Totals {
    __m256i low = _mm256_setzero_si256(), high = low;

    // + a x[0] + b x[1]
    QUANT_INLINE void add(Shorts a, Shorts b, const int16_t* x) {
        int32_t pair;
        std::memcpy(&pair, x, sizeof pair);
        const __m256i factors = _mm256_set1_epi32(pair);
        low = _mm256_add_epi32(low, _mm256_madd_epi16(_mm256_unpacklo_epi16(a.v, b.v), factors));
        high = _mm256_add_epi32(high, _mm256_madd_epi16(_mm256_unpackhi_epi16(a.v, b.v), factors));
    }
    QUANT_INLINE void add_squares(Shorts a, Shorts b) {
        const __m256i l = _mm256_unpacklo_epi16(a.v, b.v), h = _mm256_unpackhi_epi16(a.v, b.v);
        low = _mm256_add_epi32(low, _mm256_madd_epi16(l, l));
        high = _mm256_add_epi32(high, _mm256_madd_epi16(h, h));
    }
    QUANT_INLINE Vec<8> floats() const {
        Vec<8> out;
        out.a = reinterpret_cast<Vec<8>::Part>(_mm256_cvtepi32_ps(_mm256_permute2x128_si256(low, high, 0x20)));
        out.b = reinterpret_cast<Vec<8>::Part>(_mm256_cvtepi32_ps(_mm256_permute2x128_si256(low, high, 0x31)));
        return out;
    }
};
QUANT_INLINE Vec<8> floats(Shorts a) {
    Vec<8> out;
    out.a = reinterpret_cast<Vec<8>::Part>(_mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(_mm256_castsi256_si128(a.v))));
    out.b = reinterpret_cast<Vec<8>::Part>(_mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(_mm256_extracti128_si256(a.v, 1))));
    return out;
}

// Two lanes for each of eight columns: sums of products of both.
struct ColumnTotals {
    __m256i v = _mm256_setzero_si256();

    QUANT_INLINE void add(Shorts a, Shorts b) { v = _mm256_add_epi32(v, _mm256_madd_epi16(a.v, b.v)); }
    // + (a^2 + a'^2) / 2^bits, rounded down.
    template <int bits>
    QUANT_INLINE void add_squares(Shorts a) {
        v = _mm256_add_epi32(v, _mm256_srli_epi32(_mm256_madd_epi16(a.v, a.v), bits));
    }
};
QUANT_INLINE Vec<8> floats(ColumnTotals low, ColumnTotals high) {
    Vec<8> out;
    out.a = reinterpret_cast<Vec<8>::Part>(_mm256_cvtepi32_ps(low.v));
    out.b = reinterpret_cast<Vec<8>::Part>(_mm256_cvtepi32_ps(high.v));
    return out;
}
// Lanes 2 b and 2 b + 1 of out[h]: lane 8 h + b of `whole`, within the range of 16 bits.
QUANT_INLINE void twice(const Vec<8>& whole, Shorts* out) {
    const auto part = [](Vec<8>::Part p) QUANT_LAMBDA {
        const __m256i number = _mm256_cvtps_epi32(reinterpret_cast<__m256>(p)), packed = _mm256_packs_epi32(number, number);
        return Shorts{_mm256_unpacklo_epi16(packed, packed)};
    };
    out[0] = part(whole.a);
    out[1] = part(whole.b);
}
// Lanes 2 b and 2 b + 1 of out[i]: numbers 2 i and 2 i + 1 of the eight rows of 16 that are `stride` apart.
QUANT_INLINE void columns_of_pairs(const int16_t* rows, int stride, Shorts* out) {
    __m256i r[8], t[8];
    for (int b = 0; b < 8; ++b) r[b] = Shorts::load(rows + b * stride).v;
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
        out[i].v = _mm256_permute2x128_si256(r[i], r[i + 4], 0x20);
        out[i + 4].v = _mm256_permute2x128_si256(r[i], r[i + 4], 0x31);
    }
}
// Lane b: the least lane of v[b], of sixteen.
QUANT_INLINE Vec<8> least_of_each(const Vec<8>* v) {
    const auto part = [](const Vec<8>* each) QUANT_LAMBDA {
        __m256 m[8];
        for (int b = 0; b < 8; ++b) m[b] = _mm256_min_ps(reinterpret_cast<__m256>(each[b].a), reinterpret_cast<__m256>(each[b].b));
        for (int b = 0; b < 4; ++b) m[b] = _mm256_min_ps(_mm256_unpacklo_ps(m[2 * b], m[2 * b + 1]), _mm256_unpackhi_ps(m[2 * b], m[2 * b + 1]));
        for (int b = 0; b < 2; ++b) {
            const __m256d low = _mm256_castps_pd(m[2 * b]), high = _mm256_castps_pd(m[2 * b + 1]);
            m[b] = _mm256_min_ps(_mm256_castpd_ps(_mm256_unpacklo_pd(low, high)), _mm256_castpd_ps(_mm256_unpackhi_pd(low, high)));
        }
        return reinterpret_cast<Vec<8>::Part>(_mm256_min_ps(_mm256_permute2f128_ps(m[0], m[1], 0x20), _mm256_permute2f128_ps(m[0], m[1], 0x31)));
    };
    return {part(v), part(v + 8)};
}

#elif defined(__ARM_NEON)

inline constexpr int kWidth = 4;

struct Shorts {
    int16x8_t a, b;

    QUANT_INLINE static Shorts all(int16_t value) { return {vdupq_n_s16(value), vdupq_n_s16(value)}; }
    QUANT_INLINE static Shorts load(const int16_t* at) { return {vld1q_s16(at), vld1q_s16(at + 8)}; }
    QUANT_INLINE static Shorts from(const Vec<4>& whole) {
        const auto part = [](Vec<4>::Part p) QUANT_LAMBDA { return vmovn_s32(vcvtq_s32_f32(reinterpret_cast<float32x4_t>(p))); };
        return {vcombine_s16(part(whole.a), part(whole.b)), vcombine_s16(part(whole.c), part(whole.d))};
    }
    QUANT_INLINE static Shorts nearest(const Vec<4>& x) {
        const auto part = [](Vec<4>::Part p) QUANT_LAMBDA { return vqmovn_s32(vcvtnq_s32_f32(reinterpret_cast<float32x4_t>(p))); };
        return {vcombine_s16(part(x.a), part(x.b)), vcombine_s16(part(x.c), part(x.d))};
    }
    QUANT_INLINE void store(int16_t* at) const { vst1q_s16(at, a), vst1q_s16(at + 8, b); }
    QUANT_INLINE void store_bytes(void* at) const {
        vst1q_u8(static_cast<uint8_t*>(at), vcombine_u8(vmovn_u16(vreinterpretq_u16_s16(a)), vmovn_u16(vreinterpretq_u16_s16(b))));
    }
    QUANT_INLINE uint32_t negative() const {
        const uint16_t places[8] = {1, 2, 4, 8, 16, 32, 64, 128};
        const uint16x8_t place = vld1q_u16(places);
        const auto part = [&](int16x8_t p) QUANT_LAMBDA {
            return static_cast<uint32_t>(vaddvq_u16(vandq_u16(vreinterpretq_u16_s16(vshrq_n_s16(p, 15)), place)));
        };
        return part(a) | part(b) << 8;
    }
};
QUANT_INLINE Shorts operator+(Shorts a, Shorts b) { return {vaddq_s16(a.a, b.a), vaddq_s16(a.b, b.b)}; }
QUANT_INLINE Shorts operator-(Shorts a, Shorts b) { return {vsubq_s16(a.a, b.a), vsubq_s16(a.b, b.b)}; }
QUANT_INLINE Shorts operator*(Shorts a, Shorts b) { return {vmulq_s16(a.a, b.a), vmulq_s16(a.b, b.b)}; }
QUANT_INLINE Shorts operator&(Shorts a, Shorts b) { return {vandq_s16(a.a, b.a), vandq_s16(a.b, b.b)}; }
QUANT_INLINE Shorts scaled(Shorts a, Shorts b) { return {vqrdmulhq_s16(a.a, b.a), vqrdmulhq_s16(a.b, b.b)}; }
QUANT_INLINE Shorts at_least(Shorts a, Shorts b) { return {vmaxq_s16(a.a, b.a), vmaxq_s16(a.b, b.b)}; }
QUANT_INLINE Shorts at_most(Shorts a, Shorts b) { return {vminq_s16(a.a, b.a), vminq_s16(a.b, b.b)}; }
QUANT_INLINE Shorts above(Shorts a, Shorts b) {
    return {vreinterpretq_s16_u16(vcgtq_s16(a.a, b.a)), vreinterpretq_s16_u16(vcgtq_s16(a.b, b.b))};
}
template <int bits>
QUANT_INLINE Shorts up(Shorts a) { return {vshlq_n_s16(a.a, bits), vshlq_n_s16(a.b, bits)}; }
template <int bits>
QUANT_INLINE Shorts down(Shorts a) { return {vshrq_n_s16(a.a, bits), vshrq_n_s16(a.b, bits)}; }

struct Totals {
    int32x4_t part[4] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};

    QUANT_INLINE void add(Shorts v, int16_t x) {
        part[0] = vmlal_n_s16(part[0], vget_low_s16(v.a), x);
        part[1] = vmlal_n_s16(part[1], vget_high_s16(v.a), x);
        part[2] = vmlal_n_s16(part[2], vget_low_s16(v.b), x);
        part[3] = vmlal_n_s16(part[3], vget_high_s16(v.b), x);
    }
    QUANT_INLINE void add(Shorts a, Shorts b, const int16_t* x) { add(a, x[0]), add(b, x[1]); }
    QUANT_INLINE void add_squares(Shorts a, Shorts b) {
        for (const Shorts& v : {a, b}) {
            part[0] = vmlal_s16(part[0], vget_low_s16(v.a), vget_low_s16(v.a));
            part[1] = vmlal_s16(part[1], vget_high_s16(v.a), vget_high_s16(v.a));
            part[2] = vmlal_s16(part[2], vget_low_s16(v.b), vget_low_s16(v.b));
            part[3] = vmlal_s16(part[3], vget_high_s16(v.b), vget_high_s16(v.b));
        }
    }
    QUANT_INLINE Vec<4> floats() const {
        const auto number = [](int32x4_t p) QUANT_LAMBDA { return reinterpret_cast<Vec<4>::Part>(vcvtq_f32_s32(p)); };
        return {number(part[0]), number(part[1]), number(part[2]), number(part[3])};
    }
};
struct ColumnTotals {
    int32x4_t low = vdupq_n_s32(0), high = low;

    QUANT_INLINE static int32x4_t product(int16x8_t a, int16x8_t b) {
        return vpaddq_s32(vmull_s16(vget_low_s16(a), vget_low_s16(b)), vmull_high_s16(a, b));
    }
    QUANT_INLINE void add(Shorts a, Shorts b) {
        low = vaddq_s32(low, product(a.a, b.a));
        high = vaddq_s32(high, product(a.b, b.b));
    }
    template <int bits>
    QUANT_INLINE void add_squares(Shorts a) {
        const auto down = [](int32x4_t p) QUANT_LAMBDA { return vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_s32(p), bits)); };
        low = vaddq_s32(low, down(product(a.a, a.a)));
        high = vaddq_s32(high, down(product(a.b, a.b)));
    }
};
QUANT_INLINE Vec<4> floats(ColumnTotals low, ColumnTotals high) {
    const auto number = [](int32x4_t p) QUANT_LAMBDA { return reinterpret_cast<Vec<4>::Part>(vcvtq_f32_s32(p)); };
    return {number(low.low), number(low.high), number(high.low), number(high.high)};
}
QUANT_INLINE Vec<4> floats(Shorts v) {
    const auto number = [](int16x4_t p) QUANT_LAMBDA { return reinterpret_cast<Vec<4>::Part>(vcvtq_f32_s32(vmovl_s16(p))); };
    return {number(vget_low_s16(v.a)), number(vget_high_s16(v.a)), number(vget_low_s16(v.b)), number(vget_high_s16(v.b))};
}

#else

inline constexpr int kWidth = 4;

struct Shorts {
    int16_t v[kLanes];

    template <class F>
    QUANT_INLINE static Shorts each(F value) {
        Shorts out;
        for (int i = 0; i < kLanes; ++i) out.v[i] = static_cast<int16_t>(value(i));
        return out;
    }
    QUANT_INLINE static Shorts all(int16_t value) {
        return each([=](int) QUANT_LAMBDA { return value; });
    }
    QUANT_INLINE static Shorts load(const int16_t* at) {
        return each([=](int i) QUANT_LAMBDA { return at[i]; });
    }
    QUANT_INLINE static Shorts from(const Vec<4>& whole) {
        float number[kLanes];
        whole.store(number);
        return each([&](int i) QUANT_LAMBDA { return static_cast<int>(number[i]); });
    }
    QUANT_INLINE static Shorts nearest(const Vec<4>& x) {
        float number[kLanes];
        round_even(x).store(number);
        return each([&](int i) QUANT_LAMBDA { return number[i] < -32768 ? -32768 : number[i] > 32767 ? 32767 : static_cast<int>(number[i]); });
    }
    QUANT_INLINE void store(int16_t* at) const { std::memcpy(at, v, sizeof v); }
    QUANT_INLINE void store_bytes(void* at) const {
        uint8_t bytes[kLanes];
        for (int i = 0; i < kLanes; ++i) bytes[i] = static_cast<uint8_t>(v[i]);
        std::memcpy(at, bytes, sizeof bytes);
    }
    QUANT_INLINE uint32_t negative() const {
        uint32_t bits = 0;
        for (int i = 0; i < kLanes; ++i) bits |= (v[i] < 0 ? 1u : 0u) << i;
        return bits;
    }
};
QUANT_INLINE Shorts operator+(const Shorts& a, const Shorts& b) {
    return Shorts::each([&](int i) QUANT_LAMBDA { return a.v[i] + b.v[i]; });
}
QUANT_INLINE Shorts operator-(const Shorts& a, const Shorts& b) {
    return Shorts::each([&](int i) QUANT_LAMBDA { return a.v[i] - b.v[i]; });
}
QUANT_INLINE Shorts operator*(const Shorts& a, const Shorts& b) {
    return Shorts::each([&](int i) QUANT_LAMBDA { return a.v[i] * b.v[i]; });
}
QUANT_INLINE Shorts operator&(const Shorts& a, const Shorts& b) {
    return Shorts::each([&](int i) QUANT_LAMBDA { return a.v[i] & b.v[i]; });
}
QUANT_INLINE Shorts scaled(const Shorts& a, const Shorts& b) {
    return Shorts::each([&](int i) QUANT_LAMBDA { return (a.v[i] * b.v[i] + 0x4000) >> 15; });
}
QUANT_INLINE Shorts at_least(const Shorts& a, const Shorts& b) {
    return Shorts::each([&](int i) QUANT_LAMBDA { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
}
QUANT_INLINE Shorts at_most(const Shorts& a, const Shorts& b) {
    return Shorts::each([&](int i) QUANT_LAMBDA { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
}
QUANT_INLINE Shorts above(const Shorts& a, const Shorts& b) {
    return Shorts::each([&](int i) QUANT_LAMBDA { return a.v[i] > b.v[i] ? -1 : 0; });
}
template <int bits>
QUANT_INLINE Shorts up(const Shorts& a) {
    return Shorts::each([&](int i) QUANT_LAMBDA { return static_cast<int>(static_cast<unsigned>(a.v[i]) << bits); });
}
template <int bits>
QUANT_INLINE Shorts down(const Shorts& a) {
    return Shorts::each([&](int i) QUANT_LAMBDA { return a.v[i] >> bits; });
}

struct Totals {
    int32_t v[kLanes] = {};

    QUANT_INLINE void add(const Shorts& a, const Shorts& b, const int16_t* x) {
        for (int i = 0; i < kLanes; ++i) v[i] += a.v[i] * x[0] + b.v[i] * x[1];
    }
    QUANT_INLINE void add_squares(const Shorts& a, const Shorts& b) {
        for (int i = 0; i < kLanes; ++i) v[i] += a.v[i] * a.v[i] + b.v[i] * b.v[i];
    }
    QUANT_INLINE Vec<4> floats() const {
        float number[kLanes];
        for (int i = 0; i < kLanes; ++i) number[i] = static_cast<float>(v[i]);
        return Vec<4>::load(number);
    }
};
QUANT_INLINE Vec<4> floats(const Shorts& a) {
    float number[kLanes];
    for (int i = 0; i < kLanes; ++i) number[i] = static_cast<float>(a.v[i]);
    return Vec<4>::load(number);
}

struct ColumnTotals {
    int32_t v[8] = {};

    QUANT_INLINE void add(const Shorts& a, const Shorts& b) {
        for (int i = 0; i < 8; ++i) v[i] += a.v[2 * i] * b.v[2 * i] + a.v[2 * i + 1] * b.v[2 * i + 1];
    }
    template <int bits>
    QUANT_INLINE void add_squares(const Shorts& a) {
        const auto square = [](int16_t each) QUANT_LAMBDA { return static_cast<uint32_t>(each * each); };
        for (int i = 0; i < 8; ++i) v[i] += static_cast<int32_t>((square(a.v[2 * i]) + square(a.v[2 * i + 1])) >> bits);
    }
};
QUANT_INLINE Vec<4> floats(const ColumnTotals& low, const ColumnTotals& high) {
    float number[kLanes];
    for (int i = 0; i < kLanes; ++i) number[i] = static_cast<float>((i < 8 ? low : high).v[i % 8]);
    return Vec<4>::load(number);
}

#endif

#if !defined(__AVX2__)
QUANT_INLINE void twice(const Vec<4>& whole, Shorts* out) {
    float number[kLanes];
    int16_t each[2 * kLanes];
    whole.store(number);
    for (int i = 0; i < 2 * kLanes; ++i) each[i] = static_cast<int16_t>(number[i / 2]);
    out[0] = Shorts::load(each);
    out[1] = Shorts::load(each + kLanes);
}
QUANT_INLINE void columns_of_pairs(const int16_t* rows, int stride, Shorts* out) {
    int16_t column[kLanes];
    for (int i = 0; i < 8; ++i) {
        for (int b = 0; b < 8; ++b) std::memcpy(column + 2 * b, rows + b * stride + 2 * i, 2 * sizeof *column);
        out[i] = Shorts::load(column);
    }
}
QUANT_INLINE Vec<4> least_of_each(const Vec<4>* v) {
    float least[kLanes];
    for (int b = 0; b < kLanes; ++b) least[b] = v[b].least();
    return Vec<4>::load(least);
}
#endif

}  // namespace
}  // namespace quant
