// Blocks of every format to int8 codes in the order of the weights, 32 at a time, and to their scales (AVX2).
// Included by AVX2 files only, everything in an unnamed namespace: nothing here may become linkable inline code.
//
// A unit is what shares one header: a block of the file. Its value is, for code q of group g,
//   one scale:     d * (q - offset) + m          m only where kMinimum
//   super-block:   d * s[g] * (q - offset) - dmin * m[g]     integers s[g], m[g]; groups of kGroup weights
// Codes are unsigned, at most kMax, unless kMax is 128: then they are signed and the offset is 0.
#pragma once

#include <immintrin.h>

#include "formats/blocks.h"
#include "kernels/tables.h"

// A file of AVX-VNNI or AVX-512 says so before it includes these headers.
#if defined(QUANT_KERNELS_AVX512)
#define QUANT_KERNELS_ISA "avx512"
#elif defined(QUANT_KERNELS_AVXVNNI)
#define QUANT_KERNELS_ISA "avxvnni"
#else
#define QUANT_KERNELS_ISA "avx2"
#endif
#if defined(QUANT_KERNELS_AVX512) || defined(QUANT_KERNELS_AVXVNNI)
#define QUANT_KERNELS_VNNI 1
#endif

namespace quant {
namespace {

// A constant that the compiler does not know: kept in a register or in memory over a loop. g++ would make it anew in general
// registers for every block, with moves across that take longer than what they serve.
inline __m256i constant(__m256i v) {
    asm("" : "+x"(v));
    return v;
}
#if defined(QUANT_KERNELS_AVX512)
inline __m256i dot_bytes(__m256i sum, __m256i u8, __m256i s8) { return _mm256_dpbusd_epi32(sum, u8, s8); }
inline __m256i dot_words(__m256i sum, __m256i a16, __m256i b16) { return _mm256_dpwssd_epi32(sum, a16, b16); }
#elif defined(QUANT_KERNELS_AVXVNNI)
inline __m256i dot_bytes(__m256i sum, __m256i u8, __m256i s8) { return _mm256_dpbusd_avx_epi32(sum, u8, s8); }
inline __m256i dot_words(__m256i sum, __m256i a16, __m256i b16) { return _mm256_dpwssd_avx_epi32(sum, a16, b16); }
#endif
inline __m256i load256(const void* at) { return _mm256_loadu_si256(static_cast<const __m256i*>(at)); }
inline __m128i load128(const void* at) { return _mm_loadu_si128(static_cast<const __m128i*>(at)); }
inline uint16_t load16(const void* at) {
    uint16_t value;
    __builtin_memcpy(&value, at, sizeof value);
    return value;
}
inline uint32_t load32(const void* at) {
    uint32_t value;
    __builtin_memcpy(&value, at, sizeof value);
    return value;
}
inline uint64_t load64(const void* at) {
    uint64_t value;
    __builtin_memcpy(&value, at, sizeof value);
    return value;
}
inline float half_at(const void* at) { return _cvtsh_ss(load16(at)); }

// Without what crosses the halves of a register.
inline __m256 half_everywhere(const void* at) { return _mm256_cvtph_ps(_mm_set1_epi16(static_cast<short>(load16(at)))); }

inline float largest_of(__m256 v) {
    __m128 most = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    most = _mm_max_ps(most, _mm_movehl_ps(most, most));
    return _mm_cvtss_f32(_mm_max_ss(most, _mm_movehdup_ps(most)));
}

// The scales of 256 activations as multiples of a unit, the largest of them `top`. NaN as the unit where a scale is.
template <int top>
inline __m256i multiples_of(const float* scales, float& unit) {
    const __m256 s = _mm256_loadu_ps(scales);
    const float largest = largest_of(s);
    const bool finite = !_mm256_movemask_ps(_mm256_cmp_ps(s, s, _CMP_UNORD_Q));
    unit = finite ? largest / top : __builtin_nanf("");
    return finite && largest > 0 ? _mm256_cvtps_epi32(_mm256_mul_ps(s, _mm256_set1_ps(top / largest))) : _mm256_setzero_si256();
}

inline float horizontal_sum(__m256 v) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

// int16 0-7 and 8-15 as floats.
inline __m256 floats_low(__m256i v16) { return _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(_mm256_castsi256_si128(v16))); }
inline __m256 floats_high(__m256i v16) { return _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(_mm256_extracti128_si256(v16, 1))); }

inline __m256i twice128(const void* at) { return _mm256_broadcastsi128_si256(load128(at)); }

// 16 bytes -> 32 nibbles: low ones first, then high ones.
inline __m256i nibbles_split(const uint8_t* at) {
    const __m256i shifted = _mm256_srlv_epi32(twice128(at), constant(_mm256_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4)));
    return _mm256_and_si256(shifted, constant(_mm256_set1_epi8(15)));
}

// 32 bits -> 32 bytes, `value` where the bit is set.
inline __m256i bits_to_bytes(const uint8_t* at, char value) {
    const __m256i spread = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1,  //
                                            2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
    const __m256i mask = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201ull));
    const __m256i bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int>(load32(at))), spread);
    return _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_and_si256(bytes, mask), mask), _mm256_set1_epi8(value));
}

inline __m256i look_up(const int8_t* table16, __m256i nibbles) {
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(load128(table16)), nibbles);
}

// ---- units with one scale --------------------------------------------------------------------------------------

struct OneScale {
    static constexpr bool kSuper = false, kMinimum = false, kScalePer16 = false;
    static constexpr bool kHalfScale = true;  // the scale is a half at the start of the unit
    static constexpr int kUnit = 32, kMax = 15, kOffset = 0;
    static constexpr float kRowFactor = 1;  // of the whole row's product, where scale_everywhere() leaves it out
};

struct Q8_0 : OneScale {
    static constexpr int kBytes = 34, kMax = 128;
    static __m256i codes(const uint8_t* b, int) { return load256(b + 2); }
    static float scale(const uint8_t* b) { return half_at(b); }
};

struct Q4_0 : OneScale {
    static constexpr int kBytes = 18, kOffset = 8;
    static __m256i codes(const uint8_t* b, int) { return nibbles_split(b + 2); }
    static float scale(const uint8_t* b) { return half_at(b); }
};

struct Q4_1 : OneScale {
    static constexpr bool kMinimum = true;
    static constexpr int kBytes = 20;
    static __m256i codes(const uint8_t* b, int) { return nibbles_split(b + 4); }
    static float scale(const uint8_t* b) { return half_at(b); }
    static float minimum(const uint8_t* b) { return half_at(b + 2); }
};

struct Q5_0 : OneScale {
    static constexpr int kBytes = 22, kOffset = 16, kMax = 31;
    static __m256i codes(const uint8_t* b, int) { return _mm256_or_si256(nibbles_split(b + 6), bits_to_bytes(b + 2, 16)); }
    static float scale(const uint8_t* b) { return half_at(b); }
};

struct Q5_1 : OneScale {
    static constexpr bool kMinimum = true;
    static constexpr int kBytes = 24, kMax = 31;
    static __m256i codes(const uint8_t* b, int) { return _mm256_or_si256(nibbles_split(b + 8), bits_to_bytes(b + 4, 16)); }
    static float scale(const uint8_t* b) { return half_at(b); }
    static float minimum(const uint8_t* b) { return half_at(b + 2); }
};

struct IQ4_NL : OneScale {
    static constexpr int kBytes = 18, kMax = 128;
    static __m256i codes(const uint8_t* b, int) { return look_up(kIq4Levels, nibbles_split(b + 2)); }
    static float scale(const uint8_t* b) { return half_at(b); }
};

// The 16 values of E2M1, doubled and raised by 12: 0 to 24.
alignas(16) constexpr int8_t kE2m1Raised[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};

struct MXFP4 : OneScale {
    static constexpr bool kHalfScale = false;
    static constexpr int kBytes = 17, kOffset = 12, kMax = 24;
    static __m256i codes(const uint8_t* b, int) { return look_up(kE2m1Raised, nibbles_split(b + 1)); }
    // 2^(e - 128): half the stored power, because the codes are doubled; the two lowest are subnormal.
    static float scale(const uint8_t* b) {
        const uint32_t bits = b[0] < 2 ? uint32_t{0x00200000} << b[0] : static_cast<uint32_t>(b[0] - 1) << 23;
        float value;
        __builtin_memcpy(&value, &bits, sizeof value);
        return value;
    }
    static __m128 four_scales(const uint8_t* b) {
        const uint32_t codes = b[0] | static_cast<uint32_t>(b[kBytes]) << 8 | static_cast<uint32_t>(b[2 * kBytes]) << 16 |
                               static_cast<uint32_t>(b[3 * kBytes]) << 24;
        const __m128i e = _mm_cvtepu8_epi32(_mm_cvtsi32_si128(static_cast<int>(codes)));
        const __m128i normal = _mm_slli_epi32(_mm_sub_epi32(e, _mm_set1_epi32(1)), 23);
        const __m128i subnormal = _mm_sllv_epi32(_mm_set1_epi32(0x00200000), e);
        return _mm_castsi128_ps(_mm_blendv_epi8(normal, subnormal, _mm_cmplt_epi32(e, _mm_set1_epi32(2))));
    }
};

// Scale per 16: scales[0..3], each half of an E4M3 number because the codes are doubled.
struct NVFP4 : OneScale {
    static constexpr bool kScalePer16 = true;
    static constexpr int kUnit = 64, kBytes = 36, kOffset = 12, kMax = 24;
    static __m256i codes(const uint8_t* b, int group) {
        const __m128i bytes = load128(b + 4 + 16 * group);  // low nibbles: 0-7 of each 16, high: 8-15
        const __m128i low = _mm_and_si128(bytes, _mm_set1_epi8(15));
        const __m128i high = _mm_and_si128(_mm_srli_epi16(bytes, 4), _mm_set1_epi8(15));
        return look_up(kE2m1Raised, _mm256_set_m128i(_mm_unpackhi_epi64(low, high), _mm_unpacklo_epi64(low, high)));
    }
    // As halves, the codes' exponent is biased by 8 more; 127 is the code of 0.
    static __m128 scales16(const uint8_t* b) {
        const __m128i codes = _mm_and_si128(_mm_cvtepu8_epi16(_mm_cvtsi32_si128(static_cast<int>(load32(b)))), _mm_set1_epi16(127));
        const __m128i zero = _mm_cmpeq_epi16(codes, _mm_set1_epi16(127));
        return _mm_mul_ps(_mm_cvtph_ps(_mm_slli_epi16(_mm_andnot_si128(zero, codes), 7)), _mm_set1_ps(128.0f));
    }
};

// Q1_0: code 0 or 2, so that the offset 1 makes -1 and 1.
struct Q1_0 : OneScale {
    static constexpr int kUnit = 128, kBytes = 18, kOffset = 1, kMax = 3;
    static __m256i codes(const uint8_t* b, int group) { return bits_to_bytes(b + 2 + 4 * group, 2); }
    static __m256 scale_everywhere(const uint8_t* b) { return half_everywhere(b); }
    static float scale(const uint8_t* b) { return half_at(b); }
};

struct Q2_0 : OneScale {
    static constexpr int kUnit = 64, kBytes = 18, kOffset = 1, kMax = 3;
    static __m256i codes(const uint8_t* b, int group) {
        const __m256i spread = _mm256_setr_epi8(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3,  //
                                                4, 4, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7);
        const __m256i v = _mm256_shuffle_epi8(_mm256_set1_epi64x(static_cast<long long>(load64(b + 2 + 8 * group))), spread);
        // Byte i of a group of four takes bits 2i: blend the shifts by 0, 2, 4, 6.
        const __m256i by4 = _mm256_blendv_epi8(v, _mm256_srli_epi16(v, 4), _mm256_set1_epi32(static_cast<int>(0xffff0000)));
        const __m256i by2 = _mm256_blendv_epi8(by4, _mm256_srli_epi16(by4, 2), _mm256_set1_epi32(static_cast<int>(0xff00ff00)));
        return _mm256_and_si256(by2, _mm256_set1_epi8(3));
    }
    static __m256 scale_everywhere(const uint8_t* b) { return half_everywhere(b); }
    static float scale(const uint8_t* b) { return half_at(b); }
};

// Vector `group` of 2-bit planes: byte 32h + l, shift 2j holds element 128h + 32j + l.
inline __m256i plane2(const uint8_t* planes, int group) {
    const __m256i bytes = load256(planes + 32 * (group / 4));
    return _mm256_and_si256(_mm256_srli_epi16(bytes, 2 * (group % 4)), constant(_mm256_set1_epi8(3)));
}

struct TQ2_0 : OneScale {
    static constexpr bool kPlanes = true;
    static constexpr int kUnit = 256, kBytes = 66, kOffset = 1, kMax = 3, kTop = 32767;
    static __m256i codes(const uint8_t* b, int group) { return plane2(b, group); }
    // Where they lie in their byte, but for the last, which would be too large: times 4^place.
    static constexpr int place(int group) { return group % 4 < 2 ? group % 4 : 2; }
    static __m256i codes_in_place(const uint8_t* b, int group) {
        const __m256i bytes = load256(b + 32 * (group / 4));
        const __m256i mask = constant(_mm256_set1_epi8(static_cast<char>(3 << 2 * place(group))));
        return _mm256_and_si256(group % 4 == 3 ? _mm256_srli_epi16(bytes, 2) : bytes, mask);
    }
    static __m256 scale_everywhere(const uint8_t* b) { return half_everywhere(b + 64); }
    static float scale(const uint8_t* b) { return half_at(b + 64); }
};

struct TQ1_0 : OneScale {
    static constexpr int kUnit = 256, kBytes = 54, kOffset = 1, kMax = 3, kTop = 32767;
    // The first trit of each byte: (v * 3) >> 8 is 1 from 86 on, 2 from 171 on.
    static __m256i first_trit(__m256i v) {
        const __m256i one = constant(_mm256_set1_epi8(1));
        const __m256i low = _mm256_min_epu8(_mm256_subs_epu8(v, constant(_mm256_set1_epi8(85))), one);
        return _mm256_add_epi8(low, _mm256_min_epu8(_mm256_subs_epu8(v, _mm256_set1_epi8(static_cast<char>(170))), one));
    }
    // Times 3^n modulo 256; the steps are shared by the groups that need them.
    static __m256i power(__m256i v, int n) {
        for (int i = 0; i < n; ++i) v = _mm256_add_epi8(_mm256_add_epi8(v, v), v);
        return v;
    }
    static constexpr int place(int) { return 0; }
    static __m256i codes_in_place(const uint8_t* b, int group) { return codes(b, group); }
    static __m256i codes(const uint8_t* b, int group) {
        if (group < 5) return first_trit(power(load256(b), group));
        const __m256i middle = _mm256_castsi128_si256(load128(b + 32));
        const __m256i pair = _mm256_set_m128i(_mm256_castsi256_si128(power(middle, 1)), _mm256_castsi256_si128(middle));
        if (group < 7) return first_trit(power(pair, 2 * (group - 5)));
        // The last bytes times 1, 3, 9, 27: even and odd bytes of words apart.
        const __m128i last = _mm_cvtepu8_epi16(_mm_set1_epi32(static_cast<int>(load32(b + 48))));
        const __m128i low = _mm_mullo_epi16(last, _mm_setr_epi16(1, 1, 1, 1, 3, 3, 3, 3));
        const __m128i high = _mm_mullo_epi16(last, _mm_setr_epi16(9, 9, 9, 9, 27, 27, 27, 27));
        const __m128i bytes = _mm_set1_epi16(255);
        const __m128i tail = _mm_packus_epi16(_mm_and_si128(low, bytes), _mm_and_si128(high, bytes));
        return first_trit(_mm256_set_m128i(tail, _mm256_castsi256_si128(power(pair, 4))));
    }
    static __m256 scale_everywhere(const uint8_t* b) { return half_everywhere(b + 52); }
    static float scale(const uint8_t* b) { return half_at(b + 52); }
};

// ---- super-blocks ----------------------------------------------------------------------------------------------

// scales16: the 8 or 16 integer scales as int16, repeated to 16 where there are 8. For products with one row: scale_bytes, the
// scales as bytes, the same in both halves (unsigned or int8); minimum_bytes likewise, from kMinimaAt on; both_scales,
// d and dmin in turn.
struct SuperBlock {
    static constexpr bool kSuper = true, kMinimum = false, kScalePer16 = false;
    static constexpr int kUnit = 256, kGroup = 32, kOffset = 0;
    static constexpr int kTop = 32767;  // avx2_super_gemv.h
};

// Of 16 bytes, those at even places as int16 in the low half and those at odd places in the high one; then bytes 2 g and 2 g + 1, each
// in its whole half.
inline __m256i even_and_odd(__m128i bytes) {
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(bytes), _mm256_setr_epi8(0, -1, 2, -1, 4, -1, 6, -1, 8, -1, 10, -1, 12, -1, 14, -1,  //
                                                                                    1, -1, 3, -1, 5, -1, 7, -1, 9, -1, 11, -1, 13, -1, 15, -1));
}
inline __m256i pair_of(__m256i even_and_odd, int g) {
    return _mm256_shuffle_epi8(even_and_odd, _mm256_set1_epi16(static_cast<short>((2 * g + 1) << 8 | 2 * g)));
}

// 6-bit scales and minima of Q4_K and Q5_K: bytes 0-7 the scales, 8-15 the minima.
inline __m128i scales_and_minima(const uint8_t* at) {
    const uint32_t a = load32(at), b = load32(at + 4), c = load32(at + 8);
    const uint32_t scales_high = (c & 0x0f0f0f0fu) | (a >> 2 & 0x30303030u);
    const uint32_t minima_high = (c >> 4 & 0x0f0f0f0fu) | (b >> 2 & 0x30303030u);
    return _mm_setr_epi32(static_cast<int>(a & 0x3f3f3f3fu), static_cast<int>(scales_high),
                          static_cast<int>(b & 0x3f3f3f3fu), static_cast<int>(minima_high));
}

inline __m256 two_halves_in_turn(const uint8_t* at) { return _mm256_cvtph_ps(_mm_set1_epi32(static_cast<int>(load32(at)))); }

// The same in both halves.
inline __m256i scale_and_minimum_bytes(const uint8_t* at) {
    const __m256i stored = twice128(at);
    const __m256i low = _mm256_srlv_epi32(_mm256_shuffle_epi32(stored, 0b10011000), _mm256_setr_epi32(0, 0, 0, 4, 0, 0, 0, 4));
    const __m256i top = _mm256_srli_epi32(_mm256_shuffle_epi32(stored, 0b01010000), 2);
    const __m256i low_bits = _mm256_set1_epi64x(0x0f0f0f0f3f3f3f3f), top_bits = _mm256_set1_epi64x(0x3030303000000000);
    return _mm256_or_si256(_mm256_and_si256(low, low_bits), _mm256_and_si256(top, top_bits));
}

struct Q4_K : SuperBlock {
    static constexpr bool kMinimum = true;
    static constexpr int kBytes = 144, kMax = 15, kMinimaAt = 8;
    static __m256i scale_bytes(const uint8_t* b) { return scale_and_minimum_bytes(b + 4); }
    static __m256i minimum_bytes(const uint8_t*, __m256i scales) { return scales; }
    static __m256 both_scales(const uint8_t* b) { return two_halves_in_turn(b); }
    static __m256i codes(const uint8_t* b, int group) {
        const __m256i bytes = load256(b + 16 + 32 * (group / 2));
        return _mm256_and_si256(group % 2 ? _mm256_srli_epi16(bytes, 4) : bytes, constant(_mm256_set1_epi8(15)));
    }
    static float scale(const uint8_t* b) { return half_at(b); }
    static float min_scale(const uint8_t* b) { return half_at(b + 2); }
    static __m256i scales16(const uint8_t* b) {
        const __m128i all = scales_and_minima(b + 4);
        return _mm256_cvtepu8_epi16(_mm_unpacklo_epi64(all, all));
    }
    static __m256i minima16(const uint8_t* b) {
        const __m128i all = scales_and_minima(b + 4);
        return _mm256_cvtepu8_epi16(_mm_unpackhi_epi64(all, all));
    }
};

struct Q5_K : SuperBlock {
    static constexpr bool kMinimum = true;
    static constexpr int kBytes = 176, kMax = 31, kMinimaAt = 8;
    static __m256i scale_bytes(const uint8_t* b) { return scale_and_minimum_bytes(b + 4); }
    static __m256i minimum_bytes(const uint8_t*, __m256i scales) { return scales; }
    static __m256 both_scales(const uint8_t* b) { return two_halves_in_turn(b); }
    static __m256i codes(const uint8_t* b, int group) {
        const __m256i bytes = load256(b + 48 + 32 * (group / 2));
        const __m256i low = _mm256_and_si256(group % 2 ? _mm256_srli_epi16(bytes, 4) : bytes, constant(_mm256_set1_epi8(15)));
        const __m256i fifth = load256(b + 16);
        const __m256i moved = group <= 4 ? _mm256_slli_epi16(fifth, 4 - group) : _mm256_srli_epi16(fifth, group - 4);
        return _mm256_or_si256(low, _mm256_and_si256(moved, constant(_mm256_set1_epi8(16))));
    }
    static float scale(const uint8_t* b) { return half_at(b); }
    static float min_scale(const uint8_t* b) { return half_at(b + 2); }
    static __m256i scales16(const uint8_t* b) { return Q4_K::scales16(b); }
    static __m256i minima16(const uint8_t* b) { return Q4_K::minima16(b); }
};

struct Q6_K : SuperBlock {
    static __m256i scale_bytes(const uint8_t* b) { return twice128(b + 192); }
    static __m256 scale_everywhere(const uint8_t* b) { return half_everywhere(b + 208); }
    static constexpr int kBytes = 210, kGroup = 16, kMax = 63, kOffset = 32, kTop = 8191;
    static __m256i codes(const uint8_t* b, int group) {
        const int half = group / 4, quarter = group % 4;
        const __m256i bytes = load256(b + 64 * half + 32 * (quarter % 2));
        const __m256i low = _mm256_and_si256(quarter < 2 ? bytes : _mm256_srli_epi16(bytes, 4), constant(_mm256_set1_epi8(15)));
        const __m256i top = load256(b + 128 + 32 * half);
        const __m256i moved = quarter <= 2 ? _mm256_slli_epi16(top, 4 - 2 * quarter) : _mm256_srli_epi16(top, 2);
        return _mm256_or_si256(low, _mm256_and_si256(moved, constant(_mm256_set1_epi8(0x30))));
    }
    static float scale(const uint8_t* b) { return half_at(b + 208); }
    static __m256i scales16(const uint8_t* b) { return _mm256_cvtepi8_epi16(load128(b + 192)); }
};

struct Q3_K : SuperBlock {
    static __m256 scale_everywhere(const uint8_t* b) { return half_everywhere(b + 108); }
    // From two bytes before them, because two bytes behind them the block ends.
    static __m256i scale_bytes(const uint8_t* b) {
        const __m256i stored = twice128(b + 94);
        const __m256i nibbles = _mm256_shuffle_epi8(stored, _mm256_broadcastsi128_si256(_mm_setr_epi8(2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5, 6, 7, 8, 9)));
        const __m256i tops = _mm256_shuffle_epi8(stored, _mm256_set1_epi32(0x0d0c0b0a));
        const __m256i low = _mm256_and_si256(_mm256_srlv_epi32(nibbles, _mm256_setr_epi32(0, 0, 4, 4, 0, 0, 4, 4)), constant(_mm256_set1_epi8(15)));
        const __m256i top = _mm256_and_si256(_mm256_srlv_epi32(tops, _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6)), constant(_mm256_set1_epi8(3)));
        return _mm256_sub_epi8(_mm256_or_si256(low, _mm256_slli_epi16(top, 4)), constant(_mm256_set1_epi8(32)));
    }
    static constexpr int kBytes = 110, kGroup = 16, kMax = 7, kOffset = 4;
    static __m256i codes(const uint8_t* b, int group) {
        const __m256i mask = load256(b);
        const __m256i moved = group <= 2 ? _mm256_slli_epi16(mask, 2 - group) : _mm256_srli_epi16(mask, group - 2);
        return _mm256_or_si256(plane2(b + 32, group), _mm256_and_si256(moved, constant(_mm256_set1_epi8(4))));
    }
    static float scale(const uint8_t* b) { return half_at(b + 108); }
    static __m256i scales16(const uint8_t* b) {
        const uint8_t* s = b + 96;  // low nibbles of 0-7, high ones of 8-15; then 4 bytes of four 2-bit tops
        const uint64_t low = load64(s);
        const uint32_t top = load32(s + 8);
        const __m128i bottom = _mm_set_epi64x(static_cast<long long>(low >> 4 & 0x0f0f0f0f0f0f0f0full),
                                              static_cast<long long>(low & 0x0f0f0f0f0f0f0f0full));
        const __m128i tops = _mm_setr_epi32(static_cast<int>(top << 4 & 0x30303030u), static_cast<int>(top << 2 & 0x30303030u),
                                            static_cast<int>(top & 0x30303030u), static_cast<int>(top >> 2 & 0x30303030u));
        return _mm256_cvtepi8_epi16(_mm_sub_epi8(_mm_or_si128(bottom, tops), _mm_set1_epi8(32)));
    }
    // 128 - (code - 4) * scale, from 0 to 252. Two bytes at once, with no carry between them: code * -scale + (128 + 4 scale).
    static constexpr int kMerged = -1;
    static void merged_codes(const uint8_t* b, __m256i* out) {
        const __m256i scales = scales16(b);
        const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(scales), _mm256_extracti128_si256(scales, 1));
        const __m256i less = even_and_odd(_mm_sub_epi8(_mm_setzero_si128(), bytes));
        const __m256i factors = _mm256_srai_epi16(_mm256_slli_epi16(less, 8), 8);
        const __m256i starts = _mm256_sub_epi16(_mm256_set1_epi16(static_cast<short>(128 * 257)), _mm256_mullo_epi16(factors, _mm256_set1_epi16(4 * 257)));
#pragma GCC unroll 8
        for (int g = 0; g < 8; ++g) out[g] = _mm256_add_epi16(_mm256_mullo_epi16(codes(b, g), pair_of(factors, g)), pair_of(starts, g));
    }
};

struct Q2_K : SuperBlock {
    static constexpr bool kMinimum = true;
    static constexpr int kBytes = 84, kGroup = 16, kMax = 3, kMinimaAt = 0;
    static __m256i scale_bytes(const uint8_t* b) { return _mm256_and_si256(twice128(b), constant(_mm256_set1_epi8(15))); }
    static __m256i minimum_bytes(const uint8_t* b, __m256i) {
        return _mm256_and_si256(_mm256_srli_epi16(twice128(b), 4), constant(_mm256_set1_epi8(15)));
    }
    static __m256 both_scales(const uint8_t* b) { return two_halves_in_turn(b + 80); }
    static __m256i codes(const uint8_t* b, int group) { return plane2(b + 16, group); }
    static float scale(const uint8_t* b) { return half_at(b + 80); }
    static float min_scale(const uint8_t* b) { return half_at(b + 82); }
    static __m256i scales16(const uint8_t* b) {
        return _mm256_cvtepu8_epi16(_mm_and_si128(load128(b), _mm_set1_epi8(15)));
    }
    static __m256i minima16(const uint8_t* b) {
        return _mm256_cvtepu8_epi16(_mm_and_si128(_mm_srli_epi16(load128(b), 4), _mm_set1_epi8(15)));
    }
    static constexpr int kMerged = 1;  // at most 45
    static void merged_codes(const uint8_t* b, __m256i* out) {
        const __m256i factors = even_and_odd(_mm_and_si128(load128(b), _mm_set1_epi8(15)));
#pragma GCC unroll 8
        for (int g = 0; g < 8; ++g) out[g] = _mm256_mullo_epi16(codes(b, g), pair_of(factors, g));
    }
};

struct IQ4_XS : SuperBlock {
    static constexpr int kBytes = 136, kMax = 128;
    static __m256 scale_everywhere(const uint8_t* b) { return half_everywhere(b); }
    static __m256i scale_bytes(const uint8_t* b) {
        const __m256i at = _mm256_broadcastsi128_si256(_mm_setr_epi16(short(0x8000), short(0x8000), short(0x8001), short(0x8001), short(0x8002), short(0x8002),
                                                                      short(0x8003), short(0x8003)));
        const __m256i pairs = _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int>(load32(b + 4))), at);  // two nibbles each
        const __m256i even_up = _mm256_mullo_epi16(pairs, _mm256_set1_epi32(0x00010010));
        const __m256i low = _mm256_and_si256(_mm256_srli_epi16(even_up, 4), _mm256_set1_epi16(15));
        const __m256i powers = _mm256_broadcastsi128_si256(_mm_setr_epi16(1 << 14, 1 << 12, 1 << 10, 1 << 8, 1 << 6, 1 << 4, 1 << 2, 1));
        const __m256i moved = _mm256_mullo_epi16(_mm256_set1_epi16(static_cast<short>(load16(b + 2))), powers);
        const __m256i top = _mm256_slli_epi16(_mm256_srli_epi16(moved, 14), 4);
        const __m256i scales = _mm256_sub_epi16(_mm256_or_si256(low, top), _mm256_set1_epi16(32));
        return _mm256_packs_epi16(scales, scales);
    }
    static __m256i codes(const uint8_t* b, int group) { return look_up(kIq4Levels, nibbles_split(b + 8 + 16 * group)); }
    // The first halves of groups 2 `pair` and 2 `pair` + 1, or their second ones: fewer operations than group by group.
    static __m256i halves_of_pair(const uint8_t* b, int pair, bool second) {
        const __m256i bytes = load256(b + 8 + 32 * pair);
        return look_up(kIq4Levels, _mm256_and_si256(second ? _mm256_srli_epi16(bytes, 4) : bytes, constant(_mm256_set1_epi8(15))));
    }
    static float scale(const uint8_t* b) { return half_at(b); }
    static __m256i scales16(const uint8_t* b) {
        const uint32_t low = load32(b + 4), high = load16(b + 2);
        const __m128i bytes = _mm_cvtepu8_epi16(_mm_cvtsi32_si128(static_cast<int>(low)));  // two nibbles in 16 bits
        const __m128i even = _mm_and_si128(bytes, _mm_set1_epi16(15)), odd = _mm_srli_epi16(bytes, 4);
        const __m128i bottom = _mm_unpacklo_epi16(even, odd);
        // Bits 2b, 2b+1 of `high` to bits 4, 5: multiply to the top of 16 bits, then down.
        const __m128i moved = _mm_mullo_epi16(_mm_set1_epi16(static_cast<short>(high)),
                                              _mm_setr_epi16(1 << 14, 1 << 12, 1 << 10, 1 << 8, 1 << 6, 1 << 4, 1 << 2, 1));
        const __m128i top = _mm_slli_epi16(_mm_srli_epi16(moved, 14), 4);
        return _mm256_broadcastsi128_si256(_mm_sub_epi16(_mm_or_si128(bottom, top), _mm_set1_epi16(32)));
    }
};

}  // namespace
}  // namespace quant
