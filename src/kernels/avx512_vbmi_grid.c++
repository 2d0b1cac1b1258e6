// Code-book formats times one activation row, with instructions that permute bytes and choose bits (AVX-512 VBMI, BITALG, GFNI).
// A block is four registers of 64 weights, so laid out that a lane belongs to the same group of 32 in each: all four are one
// integer sum, which meets the groups' scales in float. Activations are brought into that order once.
//
// Points of 8 weights are gathered from the book, one of each group at a time; points of 4 are looked up in registers, a
// nibble for each weight. Signs go to the activations.
#if defined(__x86_64__)
#include "kernels/avx512_vbmi.h"

#include "formats/grids.h"
#include "kernels/block_formats.h"

namespace quant {
namespace {

// ---- activations of a block ------------------------------------------------------------------------------------

// Points of 8: byte 8 g + i of register p is weight 32 g + 8 p + i. Points of 4: weight 32 g + 4 i + p.
enum class Points { of8, of4 };

struct alignas(64) Planes {
    int8_t codes[4][64];
    float scales[16];  // of the lanes' groups, times what the format's scale wants
};
struct PlanesAndSums : Planes {
    float sums[16];  // of the lanes' codes
};
struct PlanesAndEighths : Planes {
    int32_t start[2][16];  // -7 times the sum of the lanes' codes in registers 0 and 1, and in 2 and 3
    int32_t twice[4][16];  // 2 times their sum in each register
};

// What register p gets of a group: 8 bytes from 8 p.
constexpr Pattern kGroupOf4 = pattern([](int p, int i) { return 4 * i + p; });

template <Points points>
inline void planes_of(const int8_t* codes, const float* scales, float factor, Planes& out) {
    const __m256i pattern = _mm256_load_si256(reinterpret_cast<const __m256i*>(kGroupOf4.of));
    for (int g = 0; g < 8; ++g) {
        __m256i group = load256(codes + 32 * g);
        if constexpr (points == Points::of4) group = _mm256_permutexvar_epi8(pattern, group);
        alignas(32) uint64_t parts[4];
        _mm256_store_si256(reinterpret_cast<__m256i*>(parts), group);
        for (int p = 0; p < 4; ++p) __builtin_memcpy(out.codes[p] + 8 * g, &parts[p], 8);
        out.scales[2 * g] = out.scales[2 * g + 1] = factor * scales[g];
    }
}
inline __m512i codes_of(const Planes& x, int p) { return _mm512_load_si512(x.codes[p]); }
inline __m512i lane_sums(const Planes& x, int p) {
    return _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(1), codes_of(x, p));
}

// ---- parts of a block ------------------------------------------------------------------------------------------

// 4 bytes of each group, in the low half of its 8.
inline __m512i four_of_each_group(const uint8_t* at) { return _mm512_cvtepu32_epi64(load256(at)); }

constexpr Pattern kTwoMore = pattern([](int g, int i) { return i == 4 || i == 5 ? 2 * g + i - 4 : 0; });
constexpr Pattern kOneMore = pattern([](int g, int i) { return i == 4 ? g : 0; });

// The same, and 8 or 16 bytes at `more` behind them, one or two of each group.
inline __m512i with_more(const uint8_t* four, const Pattern& pattern, __mmask64 places, __m128i more) {
    return _mm512_mask_permutexvar_epi8(four_of_each_group(four), places, bytes_of(pattern), _mm512_zextsi128_si512(more));
}

inline __m512i eight_bytes(const uint8_t* at) { return once(_mm512_set1_epi64(static_cast<long long>(load64(at)))); }

template <int first, int step>
constexpr Pattern kBitsOfGroups = pattern([](int g, int) { return (first + step * g) % 64; });

// Bits first + step * g and on of 64, at the bottom of both lanes of group g, as tables of 16 want them.
template <int first, int step>
inline __m512i bits_of_groups(__m512i v) {
    return _mm512_multishift_epi64_epi8(bytes_of(kBitsOfGroups<first, step>), v);
}
// 2 s + 1 for s in the low four bits of a lane; in the low three.
inline __m512 odd_of_four_bits(__m512i s) {
    return _mm512_permutexvar_ps(s, _mm512_setr_ps(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31));
}
inline __m512 odd_of_three_bits(__m512i s) {
    return _mm512_permutexvar_ps(s, _mm512_setr_ps(1, 3, 5, 7, 9, 11, 13, 15, 1, 3, 5, 7, 9, 11, 13, 15));
}

template <int first, int step>
constexpr Pattern kSevens = pattern([](int, int i) { return (first + step * i) % 64; });

// Seven bits from first, first + step .. of each group, and an eighth that makes their number even, in its first four bytes.
// The last row of the matrix sums the seven.
template <int first, int step>
inline __m512i even_signs(__m512i v) {
    const __m512i sevens = _mm512_multishift_epi64_epi8(bytes_of(kSevens<first, step>), v);
    return _mm512_gf2p8affine_epi64_epi8(sevens, _mm512_set1_epi64(0x010204081020407f), 0);
}

// The activations of register p with the signs of a group's 32 bits, which are in the order of the weights.
template <Points points>
inline __m512i signed_codes(const Planes& x, int p, __m512i bits) {
    constexpr long long kOf8 = 0x0706050403020100, kOf4 = 0x1c1814100c080400;
    const long long which = points == Points::of8 ? kOf8 + p * 0x0808080808080808 : kOf4 + p * 0x0101010101010101;
    const __mmask64 negative = _mm512_bitshuffle_epi64_mask(bits, _mm512_set1_epi64(which));
    const __m512i codes = codes_of(x, p);
    return _mm512_mask_sub_epi8(codes, negative, _mm512_setzero_si512(), codes);
}

// A mask that the compiler does not know to be full: it would drop the zeros.
inline __mmask8 all_lanes() {
    __mmask8 all = 0xff;
#if defined(__AVX512F__)
    asm("" : "+Yk"(all));
#endif
    return all;
}

template <size_t n>
inline __m512i gathered(const Grid8<n>& grid, __m512i index) {
    // Into zeros: what compilers leave undefined would make it wait for whatever the register held.
    return _mm512_mask_i64gather_epi64(once(_mm512_setzero_si512()), all_lanes(), index, grid.points, 8);
}

// The index of point p: 8 bits from 8 p, and above them those from 32 + step * p, `bits` altogether. Bits from 48 are zero.
template <int step, int bits>
inline __m512i index_of(__m512i group, int p) {
    const long long pattern = 0x3030303030300000 | (32 + step * p) << 8 | 8 * p;
    return _mm512_and_si512(_mm512_multishift_epi64_epi8(_mm512_set1_epi64(pattern), group), _mm512_set1_epi64((1 << bits) - 1));
}

// Products of registers 0 and 1, and of 2 and 3: the first and the second 16 weights of groups.
struct Products {
    __m512i halves[2];
    __m512 all() const { return _mm512_cvtepi32_ps(_mm512_add_epi32(halves[0], halves[1])); }
    __m512 of_half(int h) const { return _mm512_cvtepi32_ps(halves[h]); }
};
template <class PointsOf, class CodesOf>
inline Products products(PointsOf points, CodesOf codes) {
    __m512i first = _mm512_setzero_si512(), second = first;
    first = _mm512_dpbusd_epi32(first, points(0), codes(0));
    second = _mm512_dpbusd_epi32(second, points(2), codes(2));
    first = _mm512_dpbusd_epi32(first, points(1), codes(1));
    second = _mm512_dpbusd_epi32(second, points(3), codes(3));
    return {{first, second}};
}
inline __m512 times_scales(__m512 products, float d, const Planes& x, __m512 sum) {
    return _mm512_fmadd_ps(_mm512_mul_ps(products, _mm512_load_ps(x.scales)), _mm512_set1_ps(d), sum);
}

// ---- the formats, as multiply_laid_out() wants them --------------------------------------------------------------

template <Points points, int whole>  // the format's scale is in 1 / whole
struct Signed {
    using X = Planes;
    static void prepare(const int8_t* codes, const float* scales, X& out) { planes_of<points>(codes, scales, 1.0f / whole, out); }
};

// Byte p of each group alone; patterns of this kind number bytes in 16.
constexpr Pattern byte_alone(int p) {
    return pattern([p](int g, int i) { return i == 0 ? g % 2 * 8 + p : 0x80; });
}
constexpr Pattern kByte[4] = {byte_alone(0), byte_alone(1), byte_alone(2), byte_alone(3)};

struct IQ2_XXS : Signed<Points::of8, 8> {
    static constexpr int kBytes = 66;
    [[gnu::always_inline]] static __m512 add(const uint8_t* b, const X& x, __m512 sum) {
        const __m512i group = once(_mm512_loadu_si512(b + 2)), signs = even_signs<32, 7>(group);
        const auto points = [&](int p) { return gathered(kIq2XxsGrid, _mm512_shuffle_epi8(group, bytes_of(kByte[p]))); };
        const Products dots = products(points, [&](int p) { return signed_codes<Points::of8>(x, p, signs); });
        const __m512 scales = odd_of_four_bits(bits_of_groups<60, 0>(group));
        return times_scales(_mm512_mul_ps(dots.all(), scales), half_at(b), x, sum);
    }
};

// Scales of halves of groups: 4 bits each, in order.
inline __m512 nibble_scales(const uint8_t* at, const Products& dots) {
    const __m512i scales = eight_bytes(at);
    const __m512 first = odd_of_four_bits(bits_of_groups<0, 8>(scales)), second = odd_of_four_bits(bits_of_groups<4, 8>(scales));
    return _mm512_fmadd_ps(dots.of_half(1), second, _mm512_mul_ps(dots.of_half(0), first));
}

struct IQ2_XS : Signed<Points::of8, 8> {
    static constexpr int kBytes = 74;
    [[gnu::always_inline]] static __m512 add(const uint8_t* b, const X& x, __m512 sum) {
        const __m512i group = once(_mm512_loadu_si512(b + 2)), signs = even_signs<9, 16>(group);
        const auto points = [&](int p) {
            return gathered(kIq2XsGrid, _mm512_and_si512(_mm512_srli_epi64(group, 16 * p), _mm512_set1_epi64(511)));
        };
        const Products dots = products(points, [&](int p) { return signed_codes<Points::of8>(x, p, signs); });
        return times_scales(nibble_scales(b + 66, dots), half_at(b), x, sum);
    }
};

struct IQ2_S : Signed<Points::of8, 8> {
    static constexpr int kBytes = 82;
    [[gnu::always_inline]] static __m512 add(const uint8_t* b, const X& x, __m512 sum) {
        const __m512i group = with_more(b + 2, kOneMore, 0x1010101010101010u, _mm_loadl_epi64(reinterpret_cast<const __m128i*>(b + 66))), signs = four_of_each_group(b + 34);
        const Products dots = products([&](int p) { return gathered(kIq2SGrid, index_of<2, 10>(group, p)); },
                                       [&](int p) { return signed_codes<Points::of8>(x, p, signs); });
        return times_scales(nibble_scales(b + 74, dots), half_at(b), x, sum);
    }
};

// Points of 4 levels: the levels of weights 0 and 1 as nibbles of a byte, and those of 2 and 3.
template <size_t n>
struct alignas(64) Nibbles {
    uint8_t of[2][n];
};
Nibbles<256> iq3_xxs_nibbles;  // numbers of levels
Nibbles<512> iq3_s_nibbles;    // levels

template <size_t n, class Nibble>
void fill_nibbles(const Grid4<n>& grid, Nibbles<n>& out, Nibble nibble) {
    for (size_t i = 0; i < n; ++i)
        for (int half = 0; half < 2; ++half) {
            const uint32_t levels = grid.points[i] >> 16 * half;
            out.of[half][i] = static_cast<uint8_t>(nibble(levels & 255) | nibble(levels >> 8 & 255) << 4);
        }
}

struct IQ3_XXS : Signed<Points::of4, 4> {  // levels 4 12 20 28 36 44 52 62
    static constexpr int kBytes = 98;
    [[gnu::always_inline]] static __m512 add(const uint8_t* b, const X& x, __m512 sum) {
        const __m512i words = four_of_each_group(b + 66), signs = even_signs<0, 7>(words), index = once(_mm512_loadu_si512(b + 2));
        const __mmask64 upper = _mm512_movepi8_mask(index);
        const __m512i both[2] = {look_up(iq3_xxs_nibbles.of[0], index, upper), look_up(iq3_xxs_nibbles.of[1], index, upper)};
        const __m512i levels = _mm512_broadcast_i32x4(_mm_setr_epi8(4, 12, 20, 28, 36, 44, 52, 62, 0, 0, 0, 0, 0, 0, 0, 0));
        const auto points = [&](int p) {  // a number of three bits: the nibble above it does not reach the top of the byte
            return _mm512_shuffle_epi8(levels, p % 2 ? _mm512_srli_epi16(both[p / 2], 4) : both[p / 2]);
        };
        const Products dots = products(points, [&](int p) { return signed_codes<Points::of4>(x, p, signs); });
        const __m512 scales = odd_of_four_bits(bits_of_groups<28, 0>(words));
        return times_scales(_mm512_mul_ps(dots.all(), scales), half_at(b), x, sum);
    }
};

struct IQ3_S : Signed<Points::of4, 1> {
    static constexpr int kBytes = 110;
    [[gnu::always_inline]] static __m512 add(const uint8_t* b, const X& x, __m512 sum) {
        const __m512i signs = four_of_each_group(b + 74), index = once(_mm512_loadu_si512(b + 2));
        const __mmask64 upper = _mm512_movepi8_mask(index), top = load64(b + 66);
        const auto nibbles = [&](int half) {
            const uint8_t* table = iq3_s_nibbles.of[half];
            return _mm512_mask_blend_epi8(top, look_up(table, index, upper), look_up(table + 256, index, upper));
        };
        const __m512i both[2] = {nibbles(0), nibbles(1)}, low = _mm512_set1_epi8(15);
        const auto points = [&](int p) { return _mm512_and_si512(p % 2 ? _mm512_srli_epi16(both[p / 2], 4) : both[p / 2], low); };
        const Products dots = products(points, [&](int p) { return signed_codes<Points::of4>(x, p, signs); });
        const __m512i nibbles_of_groups = _mm512_set1_epi32(static_cast<int>(load32(b + 106)));
        const __m512 scales = odd_of_four_bits(bits_of_groups<0, 4>(nibbles_of_groups));
        return times_scales(_mm512_mul_ps(dots.all(), scales), half_at(b), x, sum);
    }
};

// Levels 0 1 2 stand for -1 0 1, and an eighth more or less for a group.
struct IQ1_S {
    static constexpr int kBytes = 50;
    using X = PlanesAndSums;
    static void prepare(const int8_t* codes, const float* scales, X& out) {
        planes_of<Points::of8>(codes, scales, 1, out);
        __m512i sum = _mm512_setzero_si512();
        for (int p = 0; p < 4; ++p) sum = _mm512_add_epi32(sum, lane_sums(out, p));
        _mm512_store_ps(out.sums, _mm512_cvtepi32_ps(sum));
    }
    [[gnu::always_inline]] static __m512 add(const uint8_t* b, const X& x, __m512 sum) {
        const __m512i group = with_more(b + 2, kTwoMore, 0x3030303030303030u, load128(b + 34));
        const Products dots = products([&](int p) { return gathered(kIq1Grid, index_of<3, 11>(group, p)); }, [&](int p) { return codes_of(x, p); });
        const __m512i top = bits_of_groups<44, 0>(group);  // three bits of scale, one for less
        const __m512 taken = _mm512_permutexvar_ps(top, _mm512_setr_ps(-.875f, -.875f, -.875f, -.875f, -.875f, -.875f, -.875f, -.875f, -1.125f,
                                                                       -1.125f, -1.125f, -1.125f, -1.125f, -1.125f, -1.125f, -1.125f));
        const __m512 all = _mm512_fmadd_ps(_mm512_load_ps(x.sums), taken, dots.all());
        return times_scales(_mm512_mul_ps(all, odd_of_three_bits(top)), half_at(b), x, sum);
    }
};

// Scales of halves of groups: four times three bits in a word of 16, for two groups.
template <int first>
constexpr Pattern kThrees = pattern([](int g, int) { return g / 2 * 16 + g % 2 * 6 + first; });

// The same with the eighth of 8 weights: all in eighths.
struct IQ1_M {
    static constexpr int kBytes = 56;
    using X = PlanesAndEighths;
    static void prepare(const int8_t* codes, const float* scales, X& out) {
        planes_of<Points::of8>(codes, scales, 0.125f, out);
        for (int half = 0; half < 2; ++half) {
            const __m512i first = lane_sums(out, 2 * half), second = lane_sums(out, 2 * half + 1);
            _mm512_store_si512(out.twice[2 * half], _mm512_add_epi32(first, first));
            _mm512_store_si512(out.twice[2 * half + 1], _mm512_add_epi32(second, second));
            _mm512_store_si512(out.start[half], _mm512_mullo_epi32(_mm512_add_epi32(first, second), _mm512_set1_epi32(-7)));
        }
    }
    [[gnu::always_inline]] static __m512 add(const uint8_t* b, const X& x, __m512 sum) {
        const __m128i nibbles = load128(b + 32);
        const __m512i group = with_more(b, kTwoMore, 0x3030303030303030u, nibbles);
        const Products dots = products([&](int p) { return gathered(kIq1Grid, index_of<4, 11>(group, p)); }, [&](int p) { return codes_of(x, p); });
        const __m512i signs[2] = {bits_of_groups<32, 0>(group), bits_of_groups<40, 0>(group)};
        const auto of_half = [&](int half) {
            __m512i eighths = _mm512_load_si512(x.start[half]);
            for (int p = 2 * half; p < 2 * half + 2; ++p) {
                const __mmask16 less = _mm512_test_epi32_mask(signs[half], _mm512_set1_epi32(p % 2 ? 0x80 : 0x08));
                eighths = _mm512_mask_sub_epi32(eighths, less, eighths, _mm512_load_si512(x.twice[p]));
            }
            return _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_slli_epi32(dots.halves[half], 3), eighths));
        };
        const uint64_t words = load64(b + 48);
        const auto scale = static_cast<unsigned short>((words >> 12 & 0xf) | (words >> 24 & 0xf0) | (words >> 36 & 0xf00) | (words >> 48 & 0xf000));
        const __m512i scales = eight_bytes(b + 48);
        const __m512 first = odd_of_three_bits(_mm512_multishift_epi64_epi8(bytes_of(kThrees<0>), scales));
        const __m512 second = odd_of_three_bits(_mm512_multishift_epi64_epi8(bytes_of(kThrees<3>), scales));
        const __m512 both = _mm512_fmadd_ps(of_half(1), second, _mm512_mul_ps(of_half(0), first));
        return times_scales(both, _cvtsh_ss(scale), x, sum);
    }
};

}  // namespace

void fill_avx512_vbmi_grid(Kernels& table) {
    fill_nibbles(kIq3XxsGrid, iq3_xxs_nibbles, [](uint32_t level) { return (level - 4) / 8; });
    fill_nibbles(kIq3SGrid, iq3_s_nibbles, [](uint32_t level) { return level; });
#define SET(F, slot) set_gemv_laid_out<F>(table, FormatSlot::slot, "gemv_" #slot "_q8_avx512_vbmi");
    QUANT_GRID_BLOCKS(SET)
#undef SET
}

}  // namespace quant
#endif
