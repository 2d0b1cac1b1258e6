// 16-bit integers as virtual vectors, and sums of their products: what the encoders' coarse searches compute with. Shorts are
// sixteen of them; Pairs are two neighbouring numbers for each of sixteen columns, lanes of Floats. Integer arithmetic is
// exact, so every instruction set gives the same. Knows nothing of formats.
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

#if defined(QUANT_ENCODERS_AVX512)
inline constexpr int kWidth = 16;  // of Vec
#elif defined(__AVX2__)
inline constexpr int kWidth = 8;
#else
inline constexpr int kWidth = 4;
#endif
using Floats = Vec<kWidth>;

#if defined(__AVX2__)

struct Shorts {
    __m256i v;

    QUANT_INLINE static Shorts all(int16_t value) { return {_mm256_set1_epi16(value)}; }
    QUANT_INLINE static Shorts load(const int16_t* at) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at))}; }
    // Whole numbers within the range of 16 bits.
    QUANT_INLINE static Shorts from(const Floats& whole) {
#if defined(QUANT_ENCODERS_AVX512)
        return {_mm512_cvtsepi32_epi16(_mm512_cvtps_epi32(reinterpret_cast<__m512>(whole.a)))};
#else
        const __m256i low = _mm256_cvtps_epi32(reinterpret_cast<__m256>(whole.a));
        const __m256i high = _mm256_cvtps_epi32(reinterpret_cast<__m256>(whole.b));
        return {_mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xd8)};
#endif
    }
    // Nearest whole numbers, ties to even, or the nearest end of the range of 16 bits; |x| < 2^22.
    QUANT_INLINE static Shorts nearest(const Floats& x) { return from(x); }
    QUANT_INLINE void store(int16_t* at) const { _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), v); }
    // The low byte of each.
    QUANT_INLINE void store_bytes(void* at) const {
#if defined(QUANT_ENCODERS_AVX512)
        _mm_storeu_si128(reinterpret_cast<__m128i*>(at), _mm256_cvtepi16_epi8(v));
#else
        const __m256i bytes = _mm256_and_si256(v, _mm256_set1_epi16(255));
        const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi16(bytes, bytes), 0xd8);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(at), _mm256_castsi256_si128(packed));
#endif
    }
    // Bit i: lane i is negative.
    QUANT_INLINE uint32_t negative() const {
        const __m256i signs = _mm256_permute4x64_epi64(_mm256_packs_epi16(v, v), 0xd8);
        return static_cast<uint32_t>(_mm256_movemask_epi8(signs)) & 0xffff;
    }
};
QUANT_INLINE Shorts operator+(Shorts a, Shorts b) { return {_mm256_add_epi16(a.v, b.v)}; }
QUANT_INLINE Shorts operator-(Shorts a, Shorts b) { return {_mm256_sub_epi16(a.v, b.v)}; }
QUANT_INLINE Shorts operator&(Shorts a, Shorts b) { return {_mm256_and_si256(a.v, b.v)}; }
// (a b + 2^14) / 2^15, rounded down; not both -2^15.
QUANT_INLINE Shorts scaled(Shorts a, Shorts b) { return {_mm256_mulhrs_epi16(a.v, b.v)}; }
QUANT_INLINE Shorts at_least(Shorts a, Shorts b) { return {_mm256_max_epi16(a.v, b.v)}; }
QUANT_INLINE Shorts at_most(Shorts a, Shorts b) { return {_mm256_min_epi16(a.v, b.v)}; }
// sum + more where v > limit; count + 1 there.
QUANT_INLINE Shorts add_above(Shorts sum, Shorts v, Shorts limit, Shorts more) {
    return {_mm256_add_epi16(sum.v, _mm256_and_si256(_mm256_cmpgt_epi16(v.v, limit.v), more.v))};
}
QUANT_INLINE Shorts count_above(Shorts count, Shorts v, Shorts limit) { return {_mm256_sub_epi16(count.v, _mm256_cmpgt_epi16(v.v, limit.v))}; }
template <int bits>
QUANT_INLINE Shorts up(Shorts a) { return {_mm256_slli_epi16(a.v, bits)}; }
template <int bits>
QUANT_INLINE Shorts down(Shorts a) { return {_mm256_srai_epi16(a.v, bits)}; }

#elif defined(__ARM_NEON)

struct Shorts {
    int16x8_t a, b;

    QUANT_INLINE static Shorts all(int16_t value) { return {vdupq_n_s16(value), vdupq_n_s16(value)}; }
    QUANT_INLINE static Shorts load(const int16_t* at) { return {vld1q_s16(at), vld1q_s16(at + 8)}; }
    QUANT_INLINE static Shorts from(const Floats& whole) {
        const auto part = [](Floats::Part p) QUANT_LAMBDA { return vmovn_s32(vcvtq_s32_f32(reinterpret_cast<float32x4_t>(p))); };
        return {vcombine_s16(part(whole.a), part(whole.b)), vcombine_s16(part(whole.c), part(whole.d))};
    }
    QUANT_INLINE static Shorts nearest(const Floats& x) {
        const auto part = [](Floats::Part p) QUANT_LAMBDA { return vqmovn_s32(vcvtnq_s32_f32(reinterpret_cast<float32x4_t>(p))); };
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
QUANT_INLINE Shorts operator&(Shorts a, Shorts b) { return {vandq_s16(a.a, b.a), vandq_s16(a.b, b.b)}; }
QUANT_INLINE Shorts scaled(Shorts a, Shorts b) { return {vqrdmulhq_s16(a.a, b.a), vqrdmulhq_s16(a.b, b.b)}; }
QUANT_INLINE Shorts at_least(Shorts a, Shorts b) { return {vmaxq_s16(a.a, b.a), vmaxq_s16(a.b, b.b)}; }
QUANT_INLINE Shorts at_most(Shorts a, Shorts b) { return {vminq_s16(a.a, b.a), vminq_s16(a.b, b.b)}; }
QUANT_INLINE Shorts add_above(Shorts sum, Shorts v, Shorts limit, Shorts more) {
    const auto part = [](int16x8_t s, int16x8_t x, int16x8_t l, int16x8_t m) QUANT_LAMBDA {
        return vaddq_s16(s, vandq_s16(vreinterpretq_s16_u16(vcgtq_s16(x, l)), m));
    };
    return {part(sum.a, v.a, limit.a, more.a), part(sum.b, v.b, limit.b, more.b)};
}
QUANT_INLINE Shorts count_above(Shorts count, Shorts v, Shorts limit) {
    const auto part = [](int16x8_t n, int16x8_t x, int16x8_t l) QUANT_LAMBDA { return vsubq_s16(n, vreinterpretq_s16_u16(vcgtq_s16(x, l))); };
    return {part(count.a, v.a, limit.a), part(count.b, v.b, limit.b)};
}
template <int bits>
QUANT_INLINE Shorts up(Shorts a) { return {vshlq_n_s16(a.a, bits), vshlq_n_s16(a.b, bits)}; }
template <int bits>
QUANT_INLINE Shorts down(Shorts a) { return {vshrq_n_s16(a.a, bits), vshrq_n_s16(a.b, bits)}; }

#else

// A whole number as 16 bits, or the nearest end of their range; the lower end for what is no number.
QUANT_INLINE int16_t short_of(float whole) {
    return !(whole > -32768) ? int16_t{-32768} : whole < 32767 ? static_cast<int16_t>(whole) : int16_t{32767};
}

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
    QUANT_INLINE static Shorts from(const Floats& whole) {
        float number[kLanes];
        whole.store(number);
        return each([&](int i) QUANT_LAMBDA { return short_of(number[i]); });
    }
    QUANT_INLINE static Shorts nearest(const Floats& x) {
        float number[kLanes];
        round_even(x).store(number);
        return each([&](int i) QUANT_LAMBDA { return short_of(number[i]); });
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
QUANT_INLINE Shorts add_above(const Shorts& sum, const Shorts& v, const Shorts& limit, const Shorts& more) {
    return Shorts::each([&](int i) QUANT_LAMBDA { return sum.v[i] + (v.v[i] > limit.v[i] ? more.v[i] : 0); });
}
QUANT_INLINE Shorts count_above(const Shorts& count, const Shorts& v, const Shorts& limit) {
    return Shorts::each([&](int i) QUANT_LAMBDA { return count.v[i] + (v.v[i] > limit.v[i]); });
}
template <int bits>
QUANT_INLINE Shorts up(const Shorts& a) {
    return Shorts::each([&](int i) QUANT_LAMBDA { return static_cast<int>(static_cast<unsigned>(a.v[i]) << bits); });
}
template <int bits>
QUANT_INLINE Shorts down(const Shorts& a) {
    return Shorts::each([&](int i) QUANT_LAMBDA { return a.v[i] >> bits; });
}

#endif

// Nearest whole numbers, ties to even, within the range of signed bytes; |x| < 2^22.
QUANT_INLINE void store_nearest_bytes(const Floats& x, void* at) {
#if defined(QUANT_ENCODERS_AVX512)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(at), _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(reinterpret_cast<__m512>(x.a))));
#else
    at_most(at_least(Shorts::nearest(x), Shorts::all(-128)), Shorts::all(127)).store_bytes(at);
#endif
}

QUANT_INLINE Floats floats(const Shorts& a) {
#if defined(QUANT_ENCODERS_AVX512)
    return {reinterpret_cast<Floats::Part>(_mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(a.v)))};
#elif defined(__AVX2__)
    const auto number = [](__m128i p) QUANT_LAMBDA { return reinterpret_cast<Floats::Part>(_mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(p))); };
    return {number(_mm256_castsi256_si128(a.v)), number(_mm256_extracti128_si256(a.v, 1))};
#elif defined(__ARM_NEON)
    const auto number = [](int16x4_t p) QUANT_LAMBDA { return reinterpret_cast<Floats::Part>(vcvtq_f32_s32(vmovl_s16(p))); };
    return {number(vget_low_s16(a.a)), number(vget_high_s16(a.a)), number(vget_low_s16(a.b)), number(vget_high_s16(a.b))};
#else
    float number[kLanes];
    for (int i = 0; i < kLanes; ++i) number[i] = static_cast<float>(a.v[i]);
    return Floats::load(number);
#endif
}

}  // namespace
}  // namespace quant
