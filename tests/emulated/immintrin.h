// Stands in front of the compiler's <immintrin.h> when the AVX-512 and AVX-VNNI kernels and encoders are built for a processor
// without them: the intrinsics become SIMDe's functions in terms of what the processor has. Used by scripts/test-avx512-emulated.sh only.
#pragma once

#include_next <immintrin.h>

#include <cstring>

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <simde/x86/gfni.h>

// What SIMDe 0.7.4 lacks, from Intel's description of each. The macros take the place of the compiler's own declarations,
// which need the instruction set.
namespace emulated {

template <class To, class From>
inline To cast(const From& from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}
struct Floats { float at[16]; };
struct Words { int at[16]; };
struct Halves { unsigned short at[16]; };

inline __m512 cvtepi32_ps(__m512i v) {
    const auto from = cast<Words>(v);
    Floats out;
    for (int i = 0; i < 16; ++i) out.at[i] = static_cast<float>(from.at[i]);
    return cast<__m512>(out);
}
inline __m512i cvtps_epi32(__m512 v) {
    struct Halves512 { __m256 at[2]; };
    struct Whole { __m256i at[2]; };
    const auto from = cast<Halves512>(v);
    return cast<__m512i>(Whole{{_mm256_cvtps_epi32(from.at[0]), _mm256_cvtps_epi32(from.at[1])}});
}
inline __m512i cvtepu16_epi32(__m256i v) {
    const auto from = cast<Halves>(v);
    Words out;
    for (int i = 0; i < 16; ++i) out.at[i] = from.at[i];
    return cast<__m512i>(out);
}
inline __m512i cvtepi16_epi32(__m256i v) {
    const auto from = cast<Halves>(v);
    Words out;
    for (int i = 0; i < 16; ++i) out.at[i] = static_cast<short>(from.at[i]);
    return cast<__m512i>(out);
}
inline __m128i cvtepi16_epi8(__m256i v) {
    struct Bytes { unsigned char at[16]; };
    const auto from = cast<Halves>(v);
    Bytes out;
    for (int i = 0; i < 16; ++i) out.at[i] = static_cast<unsigned char>(from.at[i]);
    return cast<__m128i>(out);
}
inline unsigned cmpgt_epi16_mask(__m512i a, __m512i b) {
    struct Shorts { short at[32]; };
    const auto from_a = cast<Shorts>(a), from_b = cast<Shorts>(b);
    unsigned out = 0;
    for (unsigned i = 0; i < 32; ++i) out |= static_cast<unsigned>(from_a.at[i] > from_b.at[i]) << i;
    return out;
}
// To the nearest half, ties to even, as the only users ask.
inline __m256i cvtps_ph(__m512 v) {
    const auto from = cast<Floats>(v);
    Halves out;
    for (int i = 0; i < 16; ++i) out.at[i] = static_cast<unsigned short>(_cvtss_sh(from.at[i], _MM_FROUND_TO_NEAREST_INT));
    return cast<__m256i>(out);
}
inline __m512 cvtph_ps(__m256i v) {
    const auto from = cast<Halves>(v);
    Floats out;
    for (int i = 0; i < 16; ++i) out.at[i] = _cvtsh_ss(from.at[i]);
    return cast<__m512>(out);
}
// Masked loads touch the chosen lanes only, as the instructions do.
inline __m512 maskz_loadu_ps(unsigned mask, const void* at) {
    Floats out{};
    for (unsigned i = 0; i < 16; ++i) {
        if (mask >> i & 1) std::memcpy(&out.at[i], static_cast<const char*>(at) + 4 * i, 4);
    }
    return cast<__m512>(out);
}
inline __m256i maskz_loadu_epi16(unsigned mask, const void* at) {
    Halves out{};
    for (unsigned i = 0; i < 16; ++i) {
        if (mask >> i & 1) std::memcpy(&out.at[i], static_cast<const char*>(at) + 2 * i, 2);
    }
    return cast<__m256i>(out);
}
inline float reduce_add_ps(__m512 v) {
    auto part = cast<Floats>(v);
    for (int half = 8; half; half /= 2) {
        for (int i = 0; i < half; ++i) part.at[i] += part.at[i + half];
    }
    return part.at[0];
}
inline __m512 shuffle_f32x4(__m512 a, __m512 b, int order) {
    const auto from_a = cast<Floats>(a), from_b = cast<Floats>(b);
    Floats out;
    for (int quarter = 0; quarter < 4; ++quarter) {
        const int from = order >> (2 * quarter) & 3;
        std::memcpy(&out.at[4 * quarter], &(quarter < 2 ? from_a : from_b).at[4 * from], 16);
    }
    return cast<__m512>(out);
}

inline __m512i cvtepi8_epi32(__m128i v) {
    struct Bytes { signed char at[16]; };
    const auto from = cast<Bytes>(v);
    Words out;
    for (int i = 0; i < 16; ++i) out.at[i] = from.at[i];
    return cast<__m512i>(out);
}
template <int lanes, class Vector>
inline void mask_storeu_ps(void* at, unsigned mask, const Vector& v) {
    static_assert(sizeof(Vector) == 4 * lanes);
    float from[lanes];
    std::memcpy(from, &v, sizeof from);
    for (unsigned i = 0; i < lanes; ++i) {
        if (mask >> i & 1) std::memcpy(static_cast<char*>(at) + 4 * i, &from[i], 4);
    }
}
inline __m512 permute_ps(__m512 v, int order) {
    const auto from = cast<Floats>(v);
    Floats out;
    for (int i = 0; i < 16; ++i) out.at[i] = from.at[i / 4 * 4 + (order >> i % 4 * 2 & 3)];
    return cast<__m512>(out);
}
inline __m256 extractf32x8_ps(__m512 v, int half) {
    __m256 out;
    std::memcpy(&out, reinterpret_cast<const char*>(&v) + 32 * half, sizeof out);
    return out;
}
inline __m512i zextsi128_si512(__m128i v) {
    Words out{};
    std::memcpy(&out, &v, sizeof v);
    return cast<__m512i>(out);
}
inline __m512i zextsi256_si512(__m256i v) {
    Words out{};
    std::memcpy(&out, &v, sizeof v);
    return cast<__m512i>(out);
}

inline __m512i cvtepu32_epi64(__m256i v) {
    struct Low { unsigned at[8]; };
    struct Wide { unsigned long long at[8]; };
    const auto from = cast<Low>(v);
    Wide out;
    for (int i = 0; i < 8; ++i) out.at[i] = from.at[i];
    return cast<__m512i>(out);
}
inline __m512i maskz_loadu_epi8(unsigned long long mask, const void* at) {
    struct Bytes { unsigned char at[64]; };
    Bytes out{};
    for (int i = 0; i < 64; ++i) {
        if (mask >> i & 1) out.at[i] = static_cast<const unsigned char*>(at)[i];
    }
    return cast<__m512i>(out);
}
// The rest above the next lower whole number; the only rounding in use.
inline __m512 reduce_ps(__m512 v) {
    auto at = cast<Floats>(v);
    for (float& each : at.at) each -= __builtin_floorf(each);
    return cast<__m512>(at);
}
// As little as is promised: a reciprocal cut to 14 bits.
inline __m512 rcp14_ps(__m512 v) {
    auto at = cast<Floats>(v);
    for (float& each : at.at) {
        unsigned bits;
        each = 1 / each;
        std::memcpy(&bits, &each, sizeof bits);
        bits &= ~0x1ffu;
        std::memcpy(&each, &bits, sizeof bits);
    }
    return cast<__m512>(at);
}
inline __m512i mask_i32gather_epi32(__m512i into, unsigned mask, __m512i index, const void* base, int scale) {
    auto out = cast<Words>(into);
    const auto where = cast<Words>(index);
    for (unsigned i = 0; i < 16; ++i) {
        if (mask >> i & 1) std::memcpy(&out.at[i], static_cast<const char*>(base) + static_cast<long long>(where.at[i]) * scale, 4);
    }
    return cast<__m512i>(out);
}
inline __m512i cvtepu8_epi32(__m128i v) {
    struct Bytes { unsigned char at[16]; };
    const auto from = cast<Bytes>(v);
    Words out;
    for (int i = 0; i < 16; ++i) out.at[i] = from.at[i];
    return cast<__m512i>(out);
}

// VPDPBUSD and VPDPWSSD without saturation, VEX-coded.
inline __m256i dpbusd(__m256i sum, __m256i unsigned_bytes, __m256i signed_bytes) {
    struct Lanes { int at[8]; };
    struct Bytes { unsigned char at[32]; };
    auto out = cast<Lanes>(sum);
    const auto u = cast<Bytes>(unsigned_bytes), s = cast<Bytes>(signed_bytes);
    for (int i = 0; i < 32; ++i) out.at[i / 4] += u.at[i] * static_cast<signed char>(s.at[i]);
    return cast<__m256i>(out);
}
inline __m256i dpwssd(__m256i sum, __m256i a, __m256i b) { return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b)); }

}  // namespace emulated

#define _mm256_dpbusd_avx_epi32(sum, u, s) emulated::dpbusd(sum, u, s)
#define _mm256_dpwssd_avx_epi32(sum, a, b) emulated::dpwssd(sum, a, b)
#define _mm512_cvtepu32_epi64(v) emulated::cvtepu32_epi64(v)
#define _mm512_maskz_loadu_epi8(mask, at) emulated::maskz_loadu_epi8(mask, at)
#undef _mm512_mask_i32gather_epi32
#define _mm512_mask_i32gather_epi32(into, mask, index, base, scale) emulated::mask_i32gather_epi32(into, mask, index, base, scale)
#define _mm512_reduce_ps(v, rounding) emulated::reduce_ps(v)
#define _mm512_rcp14_ps(v) emulated::rcp14_ps(v)
#define _mm512_cvtepu8_epi32(v) emulated::cvtepu8_epi32(v)
#undef _mm512_madd_epi16
#define _mm512_madd_epi16(a, b) _mm512_dpwssd_epi32(_mm512_setzero_si512(), a, b)
#define _mm512_cvtepi32_ps(v) emulated::cvtepi32_ps(v)
#define _mm512_cvtps_epi32(v) emulated::cvtps_epi32(v)
#define _mm512_cvtepu16_epi32(v) emulated::cvtepu16_epi32(v)
#define _mm512_cvtepi16_epi32(v) emulated::cvtepi16_epi32(v)
#define _mm256_cvtepi16_epi8(v) emulated::cvtepi16_epi8(v)
#define _mm512_cmpgt_epi16_mask(a, b) emulated::cmpgt_epi16_mask(a, b)
#undef _mm512_cvtps_ph
#define _mm512_cvtps_ph(v, rounding) emulated::cvtps_ph(v)
#define _mm512_cvtph_ps(v) emulated::cvtph_ps(v)
#define _mm512_maskz_loadu_ps(mask, at) emulated::maskz_loadu_ps(mask, at)
#define _mm256_maskz_loadu_epi16(mask, at) emulated::maskz_loadu_epi16(mask, at)
#define _mm512_reduce_add_ps(v) emulated::reduce_add_ps(v)
#define _mm512_cvtepi8_epi32(v) emulated::cvtepi8_epi32(v)
#define _mm512_mask_storeu_ps(at, mask, v) emulated::mask_storeu_ps<16>(at, mask, v)
#define _mm_mask_storeu_ps(at, mask, v) emulated::mask_storeu_ps<4>(at, mask, v)
#define _mm512_permute_ps(v, order) emulated::permute_ps(v, order)
#define _mm512_extractf32x8_ps(v, half) emulated::extractf32x8_ps(v, half)
#define _mm512_zextsi128_si512(v) emulated::zextsi128_si512(v)
#define _mm512_zextsi256_si512(v) emulated::zextsi256_si512(v)
#define _mm512_shuffle_f32x4(a, b, order) emulated::shuffle_f32x4(a, b, order)
