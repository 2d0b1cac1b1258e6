// Blocks whose weights are points of a code book (IQ1, IQ2, IQ3) to codes, signs and scales (AVX2). Included by AVX2
// and AVX-512 files only, everything in an unnamed namespace.
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

// The signs of a block, or other bits: one for each weight.
struct Signs {
#if defined(QUANT_KERNELS_AVX512)
    alignas(32) uint32_t of_group[8];
#else
    __m256i halves;  // two bytes of each group in the low half, two in the high one
#endif
};

inline Signs signs_of_halves(__m256i halves) {
    Signs out;
#if defined(QUANT_KERNELS_AVX512)
    const __m128i first = _mm256_castsi256_si128(halves), second = _mm256_extracti128_si256(halves, 1);
    store256(out.of_group, _mm256_set_m128i(_mm_unpackhi_epi16(first, second), _mm_unpacklo_epi16(first, second)));
#else
    out.halves = halves;
#endif
    return out;
}

// Bytes of parts of 8 weights, in the order of the weights.
inline __m256i halves_of(__m256i bytes) {
    const __m256i words = _mm256_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15,  //
                                           0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
    return _mm256_permute4x64_epi64(_mm256_shuffle_epi8(bytes, words), 0xd8);
}
inline Signs signs_of(__m256i bytes) {
#if defined(QUANT_KERNELS_AVX512)
    Signs out;
    store256(out.of_group, bytes);
    return out;
#else
    return signs_of_halves(halves_of(bytes));
#endif
}

// Byte i / 8 of each half of `halves` for group `group`.
inline __m256i spread_bytes(__m256i halves, int group) {
    const __m256i first = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1,  //
                                           0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
    return _mm256_shuffle_epi8(halves, _mm256_add_epi8(first, _mm256_set1_epi8(static_cast<char>(2 * group))));
}

// x with the sign of each byte turned where its bit is set. `group` is a constant once the caller's loop is unrolled.
inline __m256i with_signs(__m256i x, const Signs& signs, int group) {
#if defined(QUANT_KERNELS_AVX512)
    return _mm256_mask_mov_epi8(x, signs.of_group[group], _mm256_sub_epi8(_mm256_setzero_si256(), x));
#else
    // With all bits but the wanted one set a byte is 255, or 255 - 2^i; adding 129 (130 for i = 7) makes the first
    // negative and the second positive, and neither zero.
    const __m256i others = _mm256_set1_epi64x(0x7fbfdfeff7fbfdfell);
    const __m256i add = _mm256_set1_epi64x(static_cast<long long>(0x8281818181818181ull));
    const __m256i bytes = spread_bytes(signs.halves, group);
    return _mm256_sign_epi8(x, _mm256_add_epi8(_mm256_or_si256(bytes, others), add));
#endif
}

// Bytes of 7 bits get an eighth that makes the number of bits even.
inline __m256i even_signs(__m256i sevens) {
    const __m256i odd_bits = _mm256_broadcastsi128_si256(  // bit 7 of entry i: whether i has an odd number of bits
        _mm_setr_epi8(0, -128, -128, 0, -128, 0, 0, -128, -128, 0, 0, -128, 0, -128, -128, 0));
    const __m256i upper = _mm256_and_si256(_mm256_srli_epi16(sevens, 4), _mm256_set1_epi8(7));
    return _mm256_xor_si256(_mm256_xor_si256(sevens, _mm256_shuffle_epi8(odd_bits, sevens)),
                            _mm256_shuffle_epi8(odd_bits, upper));
}

// In each 128 bits of v the low 28 bits of the words at bytes `a` and `b`, each with four sevens -> eight words of 7
// bits: the first two of both, then the last two.
inline __m256i sevens_at(__m256i v, int a, int b) {
    const auto byte = [](int i) { return static_cast<char>(i); };
    const __m128i spread = _mm_setr_epi8(byte(a), byte(a + 1), byte(a), byte(a + 1), byte(b), byte(b + 1), byte(b),
                                         byte(b + 1), byte(a + 1), byte(a + 2), byte(a + 2), byte(a + 3), byte(b + 1),
                                         byte(b + 2), byte(b + 2), byte(b + 3));
    // Now at bits 0, 7, 6, 5: to the top, then down.
    const __m256i up = _mm256_setr_epi16(512, 4, 512, 4, 8, 16, 8, 16, 512, 4, 512, 4, 8, 16, 8, 16);
    return _mm256_srli_epi16(_mm256_mullo_epi16(_mm256_shuffle_epi8(v, _mm256_broadcastsi128_si256(spread)), up), 9);
}
// Results of sevens_at for all groups -> signs; `order` of words of 32 bits brings pairs of groups into their order.
inline Signs signs_of_sevens(__m256i first, __m256i second, __m256i order) {
    return signs_of_halves(_mm256_permutevar8x32_epi32(even_signs(_mm256_packus_epi16(first, second)), order));
}

// 8 lanes, each at most 2^15 - 1 -> int16, twice.
inline __m256i pack_twice(__m256i v) { return _mm256_permute4x64_epi64(_mm256_packs_epi32(v, v), 0x88); }

// Words of signs and, in the top four bits, s -> 2s + 1.
inline __m256i odd_tops(__m256i words) { return _mm256_or_si256(_mm256_srli_epi32(words, 27), _mm256_set1_epi32(1)); }

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

// Indices made by vectors, to be read one by one. Through memory: compilers would rather take each out of the register
// with two instructions than load it with one.
template <int n>
struct Indices {
    alignas(32) uint16_t at[n];
    void finish() { __asm__("" : "+m"(*this)); }
};

template <class Index>
inline __m256i eight_points(const uint32_t* grid, const Index* index) {
    const auto four = [grid](const Index* i) {
        const auto at = [=](int n) { return _mm_load_ss(reinterpret_cast<const float*>(grid + i[n])); };
        const __m128 two = _mm_insert_ps(at(0), at(1), 0x10);
        return _mm_castps_si128(_mm_insert_ps(_mm_insert_ps(two, at(2), 0x20), at(3), 0x30));
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
        if constexpr (F::kSigned)
            points = _mm256_add_epi8(with_signs(points, ready.signs, g), _mm256_set1_epi8(F::kOffset));
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
    struct Ready {
        Signs signs;
    };
    static void prepare(const uint8_t* b, Ready& ready) {
        ready.signs = signs_of_sevens(sevens_at(load256(b + 2), 4, 12), sevens_at(load256(b + 34), 4, 12),
                                      _mm256_setr_epi32(0, 4, 2, 6, 1, 5, 3, 7));
    }
    static __m256i points(const uint8_t* b, const Ready&, int group) {
        const uint8_t* i = b + 2 + 8 * group;
        return four_points(kIq2XxsGrid.points, i[0], i[1], i[2], i[3]);
    }
    static void all_codes(const uint8_t* b, __m256i* out) { unsigned_codes<IQ2_XXS>(b, out); }
    static __m256i scales32(const uint8_t* b) {
        const __m256 low = _mm256_castsi256_ps(load256(b + 2)), high = _mm256_castsi256_ps(load256(b + 34));
        return odd_tops(_mm256_permute4x64_epi64(_mm256_castps_si256(_mm256_shuffle_ps(low, high, 0xdd)), 0xd8));
    }
    static __m256i scales16(const uint8_t* b) { return pack_twice(scales32(b)); }
};

// Nibbles of 8 bytes in order -> 2s + 1 as int16.
inline __m256i odd_nibbles(const uint8_t* at) {
    const __m128i bytes = load64_low(at), mask = _mm_set1_epi8(15);
    const __m128i nibbles =
        _mm_unpacklo_epi8(_mm_and_si128(bytes, mask), _mm_and_si128(_mm_srli_epi16(bytes, 4), mask));
    return odd(_mm256_cvtepu8_epi16(nibbles));
}

struct IQ2_XS : GridIq2 {
    static constexpr int kBytes = 74, kGroup = 16;
    struct Ready {
        Indices<32> index;
        Signs signs;
    };
    static void prepare(const uint8_t* b, Ready& ready) {
        const __m256i low = load256(b + 2), high = load256(b + 34), index = _mm256_set1_epi16(511);
        store256(ready.index.at, _mm256_and_si256(low, index));
        store256(ready.index.at + 16, _mm256_and_si256(high, index));
        const __m256i sevens = _mm256_packus_epi16(_mm256_srli_epi16(low, 9), _mm256_srli_epi16(high, 9));
        const __m256i words = _mm256_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15,  //
                                               0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
        const __m256i pairs = _mm256_shuffle_epi8(even_signs(sevens), words);
        ready.signs = signs_of_halves(_mm256_permutevar8x32_epi32(pairs, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)));
        ready.index.finish();
    }
    static __m256i points(const uint8_t*, const Ready& ready, int group) {
        return four_points(kIq2XsGrid.points, ready.index.at + 4 * group);
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
    struct Ready {
        Indices<32> index;
        Signs signs;
    };
    static void prepare(const uint8_t* b, Ready& ready) {
        const __m256i move = _mm256_set1_epi64x(0x0004001000400100ll);  // to bits 8, 9
        for (int half = 0; half < 2; ++half) {
            const __m256i top = _mm256_mullo_epi16(bytes_in_words(b + 66, 4 * half), move);
            const __m256i low = _mm256_cvtepu8_epi16(load128(b + 2 + 16 * half));
            store256(ready.index.at + 16 * half, _mm256_or_si256(low, _mm256_and_si256(top, _mm256_set1_epi16(0x300))));
        }
        ready.index.finish();
        ready.signs = signs_of(load256(b + 34));
    }
    static __m256i points(const uint8_t*, const Ready& ready, int group) {
        return four_points(kIq2SGrid.points, ready.index.at + 4 * group);
    }
    static void all_codes(const uint8_t* b, __m256i* out) { unsigned_codes<IQ2_S>(b, out); }
    static __m256i scales16(const uint8_t* b) { return odd_nibbles(b + 74); }
};

// ---- IQ3: four weights to a point ------------------------------------------------------------------------------

struct IQ3_XXS : GridBlock {  // levels 4 12 20 28 36 44 52 62
    static constexpr int kBytes = 98, kOffset = 31, kMax = 62, kHalved = 1;
    struct Ready {
        Signs signs;
    };
    static void prepare(const uint8_t* b, Ready& ready) {
        const __m256i words = load256(b + 66);
        ready.signs =
            signs_of_sevens(sevens_at(words, 0, 4), sevens_at(words, 8, 12), _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7));
    }
    static __m256i points(const uint8_t* b, const Ready&, int group) {
        return eight_points(kIq3XxsGrid.points, b + 2 + 8 * group);
    }
    static void all_codes(const uint8_t* b, __m256i* out) { unsigned_codes<IQ3_XXS>(b, out); }
    static float scale(const uint8_t* b) { return half_at(b) * 0.5f; }
    static __m256i scales32(const uint8_t* b) { return odd_tops(load256(b + 66)); }
    static __m256i scales16(const uint8_t* b) { return pack_twice(scales32(b)); }
};

struct IQ3_S : GridBlock {  // levels 1 3 ... 15
    static constexpr int kBytes = 110, kOffset = 15, kMax = 30;
    struct Ready {
        Indices<64> index;
        Signs signs;
    };
    static void prepare(const uint8_t* b, Ready& ready) {
        for (int half = 0; half < 2; ++half) {
            const __m256i low = load256(b + 2 + 32 * half), top = bits_to_bytes(b + 66 + 4 * half, 1);
            const __m256i a = _mm256_unpacklo_epi8(low, top), c = _mm256_unpackhi_epi8(low, top);
            store256(ready.index.at + 32 * half, _mm256_permute2x128_si256(a, c, 0x20));
            store256(ready.index.at + 32 * half + 16, _mm256_permute2x128_si256(a, c, 0x31));
        }
        ready.index.finish();
        ready.signs = signs_of(load256(b + 74));
    }
    static __m256i points(const uint8_t*, const Ready& ready, int group) {
        return eight_points(kIq3SGrid.points, ready.index.at + 8 * group);
    }
    static void all_codes(const uint8_t* b, __m256i* out) { unsigned_codes<IQ3_S>(b, out); }
    static float scale(const uint8_t* b) { return half_at(b); }
    static __m256i scales16(const uint8_t* b) {
        const __m128i bytes = _mm_cvtsi32_si128(static_cast<int>(load32(b + 106))), mask = _mm_set1_epi8(15);
        const __m128i nibbles =
            _mm_unpacklo_epi8(_mm_and_si128(bytes, mask), _mm_and_si128(_mm_srli_epi16(bytes, 4), mask));
        return odd(_mm256_broadcastsi128_si256(_mm_cvtepu8_epi16(nibbles)));
    }
};

// ---- IQ1: levels 0 1 2, which stand for -1 0 1, and an eighth more or less --------------------------------------

struct IQ1_S : GridBlock {
    static constexpr bool kSigned = false, kMinimum = true;
    static constexpr int kBytes = 50, kOffset = 0, kMax = 2;
    struct Ready {
        Indices<32> index;
    };
    static void prepare(const uint8_t* b, Ready& ready) {
        // Part p of a group has bits 3p to 3p + 2 of its word: to bits 8 to 10, up by multiplying and the last one down
        // by 1.
        const __m256i pattern = _mm256_setr_epi8(0, 1, 0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 2, 3, 2, 3,  //
                                                 4, 5, 4, 5, 4, 5, 4, 5, 6, 7, 6, 7, 6, 7, 6, 7);
        const __m256i up = _mm256_set1_epi64x(0x0000000400200100ll);
        for (int half = 0; half < 2; ++half) {
            const __m256i words =
                _mm256_shuffle_epi8(_mm256_set1_epi64x(static_cast<long long>(load64(b + 34 + 8 * half))), pattern);
            const __m256i top = _mm256_blend_epi16(_mm256_mullo_epi16(words, up), _mm256_srli_epi16(words, 1), 0x88);
            const __m256i low = _mm256_cvtepu8_epi16(load128(b + 2 + 16 * half));
            store256(ready.index.at + 16 * half, _mm256_or_si256(low, _mm256_and_si256(top, _mm256_set1_epi16(0x700))));
        }
        ready.index.finish();
    }
    static __m256i points(const uint8_t*, const Ready& ready, int group) {
        return four_points(kIq1Grid.points, ready.index.at + 4 * group);
    }
    static void all_codes(const uint8_t* b, __m256i* out) { unsigned_codes<IQ1_S>(b, out); }
    static float scale(const uint8_t* b) { return half_at(b); }
    static float min_scale(const uint8_t* b) { return half_at(b) * 0.125f; }
    static __m256i scales_of(__m256i words) { return odd(_mm256_and_si256(_mm256_srli_epi16(words, 12), _mm256_set1_epi16(7))); }
    // 1 - delta in eighths: 7, or 9 where bit 15 says so.
    static __m256i eighths_of(__m256i words) {
        const __m256i sign = _mm256_srai_epi16(words, 15);
        return _mm256_sub_epi16(_mm256_set1_epi16(7), _mm256_add_epi16(sign, sign));
    }
    static __m256i words(const uint8_t* b) { return _mm256_broadcastsi128_si256(load128(b + 34)); }
    static __m256i words_of_halves(const uint8_t* b) {
        const __m128i each = load128(b + 34);
        return _mm256_set_m128i(_mm_unpackhi_epi16(each, each), _mm_unpacklo_epi16(each, each));
    }
    static __m256i scales16(const uint8_t* b) { return scales_of(words(b)); }
    static __m256i minima16(const uint8_t* b) { return _mm256_mullo_epi16(scales16(b), eighths_of(words(b))); }
};

struct IQ1_M : GridBlock {  // codes are eighths: 8 * (level - 1) +- 1, raised by 9
    static constexpr bool kSigned = false;
    static constexpr int kBytes = 56, kGroup = 16, kOffset = 9, kMax = 18;
    struct Ready {
        Indices<32> index;
        __m256i delta;  // 0 or 2, of 8 weights; halves as in Signs
    };
    static void prepare(const uint8_t* b, Ready& ready) {
        const __m128i bytes = load128(b + 32);
        for (int half = 0; half < 2; ++half) {
            const __m256i lanes = _mm256_cvtepu8_epi32(half ? _mm_unpackhi_epi64(bytes, bytes) : bytes);
            const __m256i first = _mm256_and_si256(_mm256_slli_epi32(lanes, 8), _mm256_set1_epi32(0x700));
            const __m256i second = _mm256_and_si256(_mm256_slli_epi32(lanes, 20), _mm256_set1_epi32(0x7000000));
            const __m256i low = _mm256_cvtepu8_epi16(load128(b + 16 * half));
            store256(ready.index.at + 16 * half, _mm256_or_si256(low, _mm256_or_si256(first, second)));
        }
        ready.index.finish();
        const __m256i pairs = _mm256_cvtepu8_epi16(bytes);
        const __m256i nibbles = _mm256_or_si256(_mm256_srli_epi16(pairs, 2), _mm256_slli_epi16(pairs, 2));
        ready.delta = halves_of(_mm256_andnot_si256(nibbles, _mm256_set1_epi16(0x0202)));
    }
    static __m256i points(const uint8_t*, const Ready& ready, int group) {
        const __m256i delta = spread_bytes(ready.delta, group);
        return _mm256_or_si256(_mm256_slli_epi16(four_points(kIq1Grid.points, ready.index.at + 4 * group), 3), delta);
    }
    static void all_codes(const uint8_t* b, __m256i* out) { unsigned_codes<IQ1_M>(b, out); }
    static float scale(const uint8_t* b) {
        const uint64_t words = load64(b + 48);
        const auto bits = static_cast<unsigned short>((words >> 12 & 0xf) | (words >> 24 & 0xf0) |
                                                      (words >> 36 & 0xf00) | (words >> 48 & 0xf000));
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
