// Blocks whose weights are points of a code book (IQ1, IQ2, IQ3) to codes, signs and scales (AVX2). Included by AVX2 and
// AVX-512 files only, everything in an unnamed namespace.
//
// A block is worked on in two steps. `prepare` does for all 256 weights what vectors do well: indices into the book,
// signs with their parity. `points` then looks up one group: unsigned codes, to be used with the group's signs where
// kSigned. For products with many rows `all_codes` makes unsigned codes of both: value = scale * s * (code - kOffset).
#pragma once

#include "formats/grids.h"
#include "kernels/avx2_unpack.h"

namespace quant {
namespace {

inline void store256(void* at, __m256i v) { _mm256_storeu_si256(static_cast<__m256i*>(at), v); }
inline __m128i load64_low(const void* at) { return _mm_loadl_epi64(static_cast<const __m128i*>(at)); }

// x with the sign of each byte turned where its bit of 32 is set.
inline __m256i with_signs(__m256i x, const void* signs) {
#if defined(QUANT_KERNELS_VNNI)
    return _mm256_mask_sub_epi8(x, load32(signs), _mm256_setzero_si256(), x);
#else
    const __m256i spread = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1,  //
                                            2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
    // With all bits but the wanted one set a byte is 255, or 255 - 2^i; adding 129 (130 for i = 7) makes the first negative
    // and the second positive, and neither zero.
    const __m256i others = _mm256_set1_epi64x(0x7fbfdfeff7fbfdfell);
    const __m256i add = _mm256_set1_epi64x(static_cast<long long>(0x8281818181818181ull));
    const __m256i bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int>(load32(signs))), spread);
    return _mm256_sign_epi8(x, _mm256_add_epi8(_mm256_or_si256(bytes, others), add));
#endif
}

// Bytes of 7 bits get an eighth that makes the number of bits even.
inline __m256i even_signs(__m256i sevens) {
    __m256i fold = _mm256_xor_si256(sevens, _mm256_srli_epi32(sevens, 4));
    fold = _mm256_xor_si256(fold, _mm256_srli_epi32(fold, 2));
    fold = _mm256_xor_si256(fold, _mm256_srli_epi32(fold, 1));
    return _mm256_or_si256(sevens, _mm256_slli_epi32(_mm256_and_si256(fold, _mm256_set1_epi8(1)), 7));
}

// The low 28 bits of each lane: four sevens -> four bytes.
inline __m256i spread_sevens(__m256i v) {
    const __m256i seven = _mm256_set1_epi32(0x7f);
    const __m256i a = _mm256_and_si256(v, seven);
    const __m256i b = _mm256_and_si256(_mm256_slli_epi32(v, 1), _mm256_slli_epi32(seven, 8));
    const __m256i c = _mm256_and_si256(_mm256_slli_epi32(v, 2), _mm256_slli_epi32(seven, 16));
    const __m256i d = _mm256_and_si256(_mm256_slli_epi32(v, 3), _mm256_slli_epi32(seven, 24));
    return _mm256_or_si256(_mm256_or_si256(a, b), _mm256_or_si256(c, d));
}

// 8 lanes, each at most 2^15 - 1 -> int16, twice.
inline __m256i pack_twice(__m256i v) {
    return _mm256_permute4x64_epi64(_mm256_packs_epi32(v, v), 0x88);
}

// 2s + 1
inline __m256i odd(__m256i s16) { return _mm256_or_si256(_mm256_add_epi16(s16, s16), _mm256_set1_epi16(1)); }

inline __m256i four_points(const uint64_t* grid, uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
    const auto two = [grid](uint64_t low, uint64_t high) {
        const __m128 first = _mm_castsi128_ps(load64_low(grid + low));
        return _mm_castps_si128(_mm_loadh_pi(first, reinterpret_cast<const __m64*>(grid + high)));
    };
    return _mm256_set_m128i(two(c, d), two(a, b));
}
inline __m256i four_points(const uint64_t* grid, const uint16_t* index) {
    return four_points(grid, index[0], index[1], index[2], index[3]);
}

template <class Index>
inline __m256i eight_points(const uint32_t* grid, const Index* index) {
    const auto four = [grid](const Index* i) {
        const auto at = [=](int n) { return static_cast<int>(grid[i[n]]); };
        __m128i v = _mm_cvtsi32_si128(at(0));
        v = _mm_insert_epi32(v, at(1), 1);
        v = _mm_insert_epi32(v, at(2), 2);
        return _mm_insert_epi32(v, at(3), 3);
    };
    return _mm256_set_m128i(four(index + 4), four(index));
}

struct GridBlock {
    static constexpr bool kSuper = true, kMinimum = false, kScalePer16 = false, kSigned = true;
    static constexpr int kUnit = 256, kGroup = 32;
    static constexpr int kHalved = 0;  // 1: codes of all_codes are half the points, and scale is twice as large
};

template <class F>
inline void unsigned_codes(const uint8_t* b, __m256i* out) {
    typename F::Ready ready;
    F::prepare(b, ready);
#pragma GCC unroll 8
    for (int g = 0; g < 8; ++g) {
        __m256i points = F::points(b, ready, g);
        if constexpr (F::kHalved) points = _mm256_srli_epi16(points, 1);  // all even
        if constexpr (F::kSigned) points = _mm256_add_epi8(with_signs(points, F::signs(b, ready, g)), _mm256_set1_epi8(F::kOffset));
        out[g] = points;
    }
}

// ---- IQ2: levels 8 25 43 ---------------------------------------------------------------------------------------

struct GridIq2 : GridBlock {
    static constexpr int kOffset = 43, kMax = 86;
    static float scale(const uint8_t* b) { return half_at(b) * 0.125f; }
};

struct IQ2_XXS : GridIq2 {
    static constexpr int kBytes = 66;
    struct alignas(32) Ready {
        uint32_t signs[8];
    };
    static __m256i words(const uint8_t* b) {  // signs and scale of each group
        const __m256 low = _mm256_castsi256_ps(load256(b + 2)), high = _mm256_castsi256_ps(load256(b + 34));
        return _mm256_permute4x64_epi64(_mm256_castps_si256(_mm256_shuffle_ps(low, high, 0xdd)), 0xd8);
    }
    static void prepare(const uint8_t* b, Ready& ready) { store256(ready.signs, even_signs(spread_sevens(words(b)))); }
    static const void* signs(const uint8_t*, const Ready& ready, int group) { return ready.signs + group; }
    static __m256i points(const uint8_t* b, const Ready&, int group) {
        const uint32_t i = load32(b + 2 + 8 * group);
        return four_points(kIq2XxsGrid.points, i & 255, i >> 8 & 255, i >> 16 & 255, i >> 24);
    }
    static void all_codes(const uint8_t* b, __m256i* out) { unsigned_codes<IQ2_XXS>(b, out); }
    static __m256i scales16(const uint8_t* b) { return odd(pack_twice(_mm256_srli_epi32(words(b), 28))); }
};

// Nibbles of 8 bytes in order -> 2s + 1 as int16.
inline __m256i odd_nibbles(const uint8_t* at) {
    const __m128i bytes = load64_low(at), mask = _mm_set1_epi8(15);
    const __m128i nibbles = _mm_unpacklo_epi8(_mm_and_si128(bytes, mask), _mm_and_si128(_mm_srli_epi16(bytes, 4), mask));
    return odd(_mm256_cvtepu8_epi16(nibbles));
}

struct IQ2_XS : GridIq2 {
    static constexpr int kBytes = 74, kGroup = 16;
    struct alignas(32) Ready {
        uint16_t index[32];
        uint32_t signs[8];
    };
    static void prepare(const uint8_t* b, Ready& ready) {
        const __m256i low = load256(b + 2), high = load256(b + 34), index = _mm256_set1_epi16(511);
        store256(ready.index, _mm256_and_si256(low, index));
        store256(ready.index + 16, _mm256_and_si256(high, index));
        const __m256i sevens = _mm256_packus_epi16(_mm256_srli_epi16(low, 9), _mm256_srli_epi16(high, 9));
        store256(ready.signs, even_signs(_mm256_permute4x64_epi64(sevens, 0xd8)));
    }
    static const void* signs(const uint8_t*, const Ready& ready, int group) { return ready.signs + group; }
    static __m256i points(const uint8_t*, const Ready& ready, int group) {
        return four_points(kIq2XsGrid.points, ready.index + 4 * group);
    }
    static void all_codes(const uint8_t* b, __m256i* out) { unsigned_codes<IQ2_XS>(b, out); }
    static __m256i scales16(const uint8_t* b) { return odd_nibbles(b + 66); }
};

// Byte `first` + 0, 1, 2, 3 of 8 bytes, each in four words.
inline __m256i bytes_in_words(const uint8_t* at, int first) {
    const __m256i pattern = _mm256_setr_epi8(0, -1, 0, -1, 0, -1, 0, -1, 1, -1, 1, -1, 1, -1, 1, -1,  //
                                             2, -1, 2, -1, 2, -1, 2, -1, 3, -1, 3, -1, 3, -1, 3, -1);
    return _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int>(load32(at + first))), pattern);
}

struct IQ2_S : GridIq2 {
    static constexpr int kBytes = 82, kGroup = 16;
    struct alignas(32) Ready {
        uint16_t index[32];
    };
    static void prepare(const uint8_t* b, Ready& ready) {
        const __m256i move = _mm256_set1_epi64x(0x0004001000400100ll);  // to bits 8, 9
        for (int half = 0; half < 2; ++half) {
            const __m256i top = _mm256_mullo_epi16(bytes_in_words(b + 66, 4 * half), move);
            const __m256i low = _mm256_cvtepu8_epi16(load128(b + 2 + 16 * half));
            store256(ready.index + 16 * half, _mm256_or_si256(low, _mm256_and_si256(top, _mm256_set1_epi16(0x300))));
        }
    }
    static const void* signs(const uint8_t* b, const Ready&, int group) { return b + 34 + 4 * group; }
    static __m256i points(const uint8_t*, const Ready& ready, int group) {
        return four_points(kIq2SGrid.points, ready.index + 4 * group);
    }
    static void all_codes(const uint8_t* b, __m256i* out) { unsigned_codes<IQ2_S>(b, out); }
    static __m256i scales16(const uint8_t* b) { return odd_nibbles(b + 74); }
};

// ---- IQ3: four weights to a point ------------------------------------------------------------------------------

struct IQ3_XXS : GridBlock {  // levels 4 12 20 28 36 44 52 62
    static constexpr int kBytes = 98, kOffset = 31, kMax = 62, kHalved = 1;
    struct alignas(32) Ready {
        uint32_t signs[8];
    };
    static void prepare(const uint8_t* b, Ready& ready) { store256(ready.signs, even_signs(spread_sevens(load256(b + 66)))); }
    static const void* signs(const uint8_t*, const Ready& ready, int group) { return ready.signs + group; }
    static __m256i points(const uint8_t* b, const Ready&, int group) { return eight_points(kIq3XxsGrid.points, b + 2 + 8 * group); }
    static void all_codes(const uint8_t* b, __m256i* out) { unsigned_codes<IQ3_XXS>(b, out); }
    static float scale(const uint8_t* b) { return half_at(b) * 0.5f; }
    static __m256i scales16(const uint8_t* b) { return odd(pack_twice(_mm256_srli_epi32(load256(b + 66), 28))); }
};

struct IQ3_S : GridBlock {  // levels 1 3 ... 15
    static constexpr int kBytes = 110, kOffset = 15, kMax = 30;
    struct alignas(32) Ready {
        uint16_t index[64];
    };
    static void prepare(const uint8_t* b, Ready& ready) {
        for (int half = 0; half < 2; ++half) {
            const __m256i low = load256(b + 2 + 32 * half), top = bits_to_bytes(b + 66 + 4 * half, 1);
            const __m256i a = _mm256_unpacklo_epi8(low, top), c = _mm256_unpackhi_epi8(low, top);
            store256(ready.index + 32 * half, _mm256_permute2x128_si256(a, c, 0x20));
            store256(ready.index + 32 * half + 16, _mm256_permute2x128_si256(a, c, 0x31));
        }
    }
    static const void* signs(const uint8_t* b, const Ready&, int group) { return b + 74 + 4 * group; }
    static __m256i points(const uint8_t*, const Ready& ready, int group) {
        return eight_points(kIq3SGrid.points, ready.index + 8 * group);
    }
    static void all_codes(const uint8_t* b, __m256i* out) { unsigned_codes<IQ3_S>(b, out); }
    static float scale(const uint8_t* b) { return half_at(b); }
    static __m256i scales16(const uint8_t* b) {
        const __m128i bytes = _mm_cvtsi32_si128(static_cast<int>(load32(b + 106))), mask = _mm_set1_epi8(15);
        const __m128i nibbles = _mm_unpacklo_epi8(_mm_and_si128(bytes, mask), _mm_and_si128(_mm_srli_epi16(bytes, 4), mask));
        return odd(_mm256_broadcastsi128_si256(_mm_cvtepu8_epi16(nibbles)));
    }
};

// ---- IQ1: levels 0 1 2, which stand for -1 0 1, and an eighth more or less --------------------------------------

struct IQ1_S : GridBlock {
    static constexpr bool kSigned = false, kMinimum = true;
    static constexpr int kBytes = 50, kOffset = 0, kMax = 2;
    struct alignas(32) Ready {
        uint16_t index[32];
    };
    static void prepare(const uint8_t* b, Ready& ready) {
        // Part p of a group has bits 3p to 3p + 2 of its word: to bits 8 to 10, up by multiplying and the last one down by 1.
        const __m256i pattern = _mm256_setr_epi8(0, 1, 0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 2, 3, 2, 3,  //
                                                 4, 5, 4, 5, 4, 5, 4, 5, 6, 7, 6, 7, 6, 7, 6, 7);
        const __m256i up = _mm256_set1_epi64x(0x0000000400200100ll);
        for (int half = 0; half < 2; ++half) {
            const __m256i words = _mm256_shuffle_epi8(_mm256_set1_epi64x(static_cast<long long>(load64(b + 34 + 8 * half))), pattern);
            const __m256i top = _mm256_blend_epi16(_mm256_mullo_epi16(words, up), _mm256_srli_epi16(words, 1), 0x88);
            const __m256i low = _mm256_cvtepu8_epi16(load128(b + 2 + 16 * half));
            store256(ready.index + 16 * half, _mm256_or_si256(low, _mm256_and_si256(top, _mm256_set1_epi16(0x700))));
        }
    }
    static __m256i points(const uint8_t*, const Ready& ready, int group) {
        return four_points(kIq1Grid.points, ready.index + 4 * group);
    }
    static void all_codes(const uint8_t* b, __m256i* out) { unsigned_codes<IQ1_S>(b, out); }
    static float scale(const uint8_t* b) { return half_at(b); }
    static float min_scale(const uint8_t* b) { return half_at(b) * 0.125f; }
    static __m256i scales16(const uint8_t* b) {
        const __m256i words = _mm256_broadcastsi128_si256(load128(b + 34));
        return odd(_mm256_and_si256(_mm256_srli_epi16(words, 12), _mm256_set1_epi16(7)));
    }
    static __m256i minima16(const uint8_t* b) {  // 1 - delta in eighths: 7, or 9 where bit 15 says so
        const __m256i sign = _mm256_srai_epi16(_mm256_broadcastsi128_si256(load128(b + 34)), 15);
        const __m256i eighths = _mm256_sub_epi16(_mm256_set1_epi16(7), _mm256_add_epi16(sign, sign));
        return _mm256_mullo_epi16(scales16(b), eighths);
    }
};

struct IQ1_M : GridBlock {  // codes are eighths: 8 * (level - 1) +- 1, raised by 9
    static constexpr bool kSigned = false;
    static constexpr int kBytes = 56, kGroup = 16, kOffset = 9, kMax = 18;
    struct alignas(32) Ready {
        uint16_t index[32];
        uint8_t delta[32];  // 0 or 2, of 8 weights
    };
    static void prepare(const uint8_t* b, Ready& ready) {
        const __m128i bytes = load128(b + 32);
        for (int half = 0; half < 2; ++half) {
            const __m256i lanes = _mm256_cvtepu8_epi32(half ? _mm_unpackhi_epi64(bytes, bytes) : bytes);
            const __m256i first = _mm256_and_si256(_mm256_slli_epi32(lanes, 8), _mm256_set1_epi32(0x700));
            const __m256i second = _mm256_and_si256(_mm256_slli_epi32(lanes, 20), _mm256_set1_epi32(0x7000000));
            const __m256i low = _mm256_cvtepu8_epi16(load128(b + 16 * half));
            store256(ready.index + 16 * half, _mm256_or_si256(low, _mm256_or_si256(first, second)));
        }
        const __m256i pairs = _mm256_cvtepu8_epi16(bytes);
        const __m256i nibbles = _mm256_or_si256(_mm256_srli_epi16(pairs, 2), _mm256_slli_epi16(pairs, 2));
        store256(ready.delta, _mm256_andnot_si256(nibbles, _mm256_set1_epi16(0x0202)));
    }
    static __m256i points(const uint8_t*, const Ready& ready, int group) {
        const __m256i spread = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1,  //
                                                2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
        const __m256i delta = _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int>(load32(ready.delta + 4 * group))), spread);
        return _mm256_or_si256(_mm256_slli_epi16(four_points(kIq1Grid.points, ready.index + 4 * group), 3), delta);
    }
    static void all_codes(const uint8_t* b, __m256i* out) { unsigned_codes<IQ1_M>(b, out); }
    static float scale(const uint8_t* b) {
        const uint64_t words = load64(b + 48);
        const auto bits = static_cast<unsigned short>((words >> 12 & 0xf) | (words >> 24 & 0xf0) | (words >> 36 & 0xf00) |
                                                      (words >> 48 & 0xf000));
        return _cvtsh_ss(bits) * 0.125f;
    }
    static __m256i scales16(const uint8_t* b) {
        const __m256i pattern = _mm256_setr_epi8(0, 1, 0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 2, 3, 2, 3,  //
                                                 4, 5, 4, 5, 4, 5, 4, 5, 6, 7, 6, 7, 6, 7, 6, 7);
        const __m256i words = _mm256_shuffle_epi8(_mm256_set1_epi64x(static_cast<long long>(load64(b + 48))), pattern);
        const __m256i moved = _mm256_mullo_epi16(words, _mm256_set1_epi64x(0x0001000800400200ll));  // to bits 9 to 11
        return odd(_mm256_and_si256(_mm256_srli_epi16(moved, 9), _mm256_set1_epi16(7)));
    }
};

}  // namespace
}  // namespace quant
