// Code-book formats times one activation row, with instructions that permute bytes and multiply matrices of bits (AVX-512 VBMI, GFNI).
// A block is four registers of 64 weights, so laid out that a lane belongs to the same 16 weights in each: all four are one
// integer sum, which meets the scales in float. Activations are brought into that order once.
//
// A point is looked up packed: two bits for each of 8 levels, or a nibble for each of 4. One product with a matrix over GF(2) turns
// the bits of a register's weights into levels where they lie. Small books are looked up in registers, large ones gathered. Signs
// go to the activations.
#if defined(__x86_64__)
#include "kernels/avx512_vbmi.h"

#include "formats/grids.h"
#include "kernels/block_formats.h"

namespace quant {
namespace {

// ---- activations of a block ------------------------------------------------------------------------------------

// Byte i of a group in register p is weight 4 i + p of its 32.
constexpr Pattern kOrder = pattern([](int p, int i) { return p < 4 ? 4 * i + p : 0; });

struct alignas(64) Planes {
    int8_t codes[4][64];
    float scales[16];  // of the lanes' groups, times what the format's scale wants
};
struct PlanesAndSums : Planes {
    float sums[16];  // of the lanes' codes
};
struct PlanesAndEighths : Planes {
    int32_t start[16];     // -7 times the sum of the lanes' codes
    int32_t twice[2][16];  // 2 times that of each of the lanes' two points
};

inline void planes_of(const int8_t* codes, const float* scales, float factor, Planes& out) {
    const __m256i order = _mm256_load_si256(reinterpret_cast<const __m256i*>(kOrder.of));
    for (int g = 0; g < 8; ++g) {
        alignas(32) uint64_t parts[4];
        _mm256_store_si256(reinterpret_cast<__m256i*>(parts), _mm256_permutexvar_epi8(order, load256(codes + 32 * g)));
        for (int p = 0; p < 4; ++p) __builtin_memcpy(out.codes[p] + 8 * g, &parts[p], 8);
        out.scales[2 * g] = out.scales[2 * g + 1] = factor * scales[g];
    }
}
inline __m512i codes_of(const Planes& x, int p) { return _mm512_load_si512(x.codes[p]); }
// Sums of the lanes' codes, of the bytes that are 1 in `of`.
inline __m512i lane_sums(const Planes& x, int of) {
    __m512i sum = _mm512_setzero_si512();
    for (int p = 0; p < 4; ++p) sum = _mm512_dpbusd_epi32(sum, _mm512_set1_epi32(of), codes_of(x, p));
    return sum;
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

template <int first, int step, int second>
constexpr Pattern kBitsOfGroups = pattern([](int g, int i) { return (first + step * g + i / 4 * second) % 64; });

// Bits first + step * g and on of 64 at the bottom of the first lane of group g, those `second` above in the second, as tables of 16
// want them.
template <int first, int step, int second = 0>
inline __m512i bits_of_groups(__m512i v) {
    return _mm512_multishift_epi64_epi8(bytes_of(kBitsOfGroups<first, step, second>), v);
}
// 2 s + 1 for s in the low four bits of a lane; in the low three.
inline __m512 odd_of_four_bits(__m512i s) {
    return _mm512_permutexvar_ps(s, _mm512_setr_ps(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31));
}
inline __m512 odd_of_three_bits(__m512i s) {
    return _mm512_permutexvar_ps(s, _mm512_setr_ps(1, 3, 5, 7, 9, 11, 13, 15, 1, 3, 5, 7, 9, 11, 13, 15));
}

// The signs of each 8 weights, twice: half of the bytes serve four weights each.
template <int first, int step>
constexpr Pattern kSevens = pattern([](int, int i) { return (first + step * (i / 2)) % 64; });
constexpr Pattern kEights = pattern([](int g, int i) { return 4 * g + i / 2; });

// Seven bits from first, first + step .. of each group, and an eighth that makes their number even. The last row of the matrix sums
// the seven.
template <int first, int step>
inline __m512i even_signs(__m512i v) {
    const __m512i sevens = _mm512_multishift_epi64_epi8(bytes_of(kSevens<first, step>), v);
    return _mm512_gf2p8affine_epi64_epi8(sevens, _mm512_set1_epi64(0x010204081020407f), 0);
}
// Those of 32 bytes.
inline __m512i stored_signs(const uint8_t* at) {
    return _mm512_permutexvar_epi8(bytes_of(kEights), _mm512_castsi256_si512(load256(at)));
}

// Eight numbers as one, the first least significant.
template <class Of>
constexpr long long eight(Of of) {
    uint64_t out = 0;
    for (int i = 0; i < 8; ++i) out |= static_cast<uint64_t>(of(i)) << 8 * i;
    return static_cast<long long>(out);
}

// The activations of register p with these signs.
inline __m512i signed_codes(const Planes& x, int p, __m512i signs) {
    const __mmask64 negative = _mm512_test_epi8_mask(signs, _mm512_set1_epi16(static_cast<short>(0x1001 << p)));
    const __m512i codes = codes_of(x, p);
    return _mm512_mask_sub_epi8(codes, negative, _mm512_setzero_si512(), codes);
}

// Which bits of a level are turned by each of the packed bits.
struct Turns {
    int of[4];
};
// The matrix by which the packed bits from `first` on turn bits of levels: row i makes bit 7 - i.
constexpr long long turning(Turns turns, int first) {
    uint64_t out = 0;
    for (int bit = 0; bit < 8; ++bit)
        for (int n = 0; n < 4; ++n)
            if (turns.of[n] >> bit & 1) out |= uint64_t{1} << (8 * (7 - bit) + first + n);
    return static_cast<long long>(out);
}
// Levels 8 25 43; 0 1 2.
inline __m512i levels_of_iq2(__m512i packed, int p) {
    return _mm512_gf2p8affine_epi64_epi8(packed, _mm512_set1_epi64(turning({{8 ^ 25, 8 ^ 43, 0, 0}}, 2 * p)), 8);
}
inline __m512i levels_of_iq1(__m512i packed, int p) {
    return _mm512_gf2p8affine_epi64_epi8(packed, _mm512_set1_epi64(turning({{1, 2, 0, 0}}, 2 * p)), 0);
}

// A mask that the compiler does not know to be full: it would drop the zeros.
inline __mmask16 all_lanes() {
    __mmask16 all = 0xffff;
#if defined(__AVX512F__)
    asm("" : "+Yk"(all));
#endif
    return all;
}

// Points of 8 that are gathered: weights 0 to 3 in a byte and 4 to 7 in the next, two bits for each; the same again above them.
template <size_t n>
struct alignas(64) Packed {
    uint32_t of[n];
};
Packed<1024> iq2_s_points;
Packed<2048> iq1_points;

// Which bits stand for a level, by its two low bits: 0 1 2 for themselves; 8 25 43.
uint32_t bits_of_level(uint64_t level) { return static_cast<uint32_t>(level & 3) - (level == 43); }
uint32_t packed_half(uint64_t point, int half) {
    uint32_t out = 0;
    for (int i = 0; i < 4; ++i) out |= bits_of_level(point >> (32 * half + 8 * i) & 255) << 2 * i;
    return out;
}
template <size_t n>
void fill_packed(const Grid8<n>& grid, Packed<n>& out) {
    for (size_t i = 0; i < n; ++i) out.of[i] = (packed_half(grid.points[i], 0) | packed_half(grid.points[i], 1) << 8) * 0x10001;
}

// The points of a block from the indices of the lanes' first and second.
template <size_t n>
inline __m512i gathered(const Packed<n>& points, __m512i first, __m512i second) {
    // Into zeros: what compilers leave undefined would make it wait for whatever the register held.
    const auto of = [&](__m512i index) { return _mm512_mask_i32gather_epi32(once(_mm512_setzero_si512()), all_lanes(), index, points.of, 4); };
    return _mm512_mask_blend_epi16(0xaaaaaaaau, of(first), of(second));
}

// The index of the lanes' first points (p = 0) or second (1): 8 bits in order, and above them those from 32 + step * point, `bits`
// altogether.
template <int step, int bits>
inline __m512i index_of(__m512i group, int p) {
    const long long which = eight([p](int i) { return i % 4 == 0 ? 8 * (p + i / 2) : i % 4 == 1 ? 32 + step * (p + i / 4 * 2) : 0; });
    return _mm512_and_si512(_mm512_multishift_epi64_epi8(_mm512_set1_epi64(which), group), _mm512_set1_epi32((1 << bits) - 1));
}

// The sum of the four registers' products.
template <class LevelsOf, class CodesOf>
inline __m512i products(LevelsOf levels, CodesOf codes) {
    __m512i sum = _mm512_setzero_si512();
    for (int p = 0; p < 4; ++p) sum = _mm512_dpbusd_epi32(sum, levels(p), codes(p));
    return sum;
}
inline __m512 times_scales(__m512 products, __m512 d, const Planes& x, __m512 sum) {
    return _mm512_fmadd_ps(_mm512_mul_ps(products, _mm512_load_ps(x.scales)), d, sum);
}

// ---- the formats, as multiply_laid_out() wants them --------------------------------------------------------------

template <int whole>  // the format's scale is in 1 / whole
struct Signed {
    using X = Planes;
    static void prepare(const int8_t* codes, const float* scales, X& out) { planes_of(codes, scales, 1.0f / whole, out); }
};

// A block of packed points of 8 whose scales are in the lanes' low four bits.
inline __m512 add_iq2(__m512i points, __m512i signs, __m512i scales, __m512 d, const Planes& x, __m512 sum) {
    const __m512i dots = products([&](int p) { return levels_of_iq2(points, p); }, [&](int p) { return signed_codes(x, p, signs); });
    return times_scales(_mm512_mul_ps(_mm512_cvtepi32_ps(dots), odd_of_four_bits(scales)), d, x, sum);
}

// Points of 8 that are looked up: weights 0 to 3, and 4 to 7.
template <size_t n>
struct alignas(64) Halves {
    uint8_t of[2][n];
};
Halves<256> iq2_xxs_halves;
Halves<512> iq2_xs_halves;

template <size_t n>
void fill_halves(const Grid8<n>& grid, Halves<n>& out) {
    for (size_t i = 0; i < n; ++i)
        for (int half = 0; half < 2; ++half) out.of[half][i] = static_cast<uint8_t>(packed_half(grid.points[i], half));
}

// Two blocks at a time, which together have indices for a whole register.
struct IQ2_XXS : Signed<8> {
    static constexpr int kBytes = 66;
    [[gnu::always_inline]] static __m512 add_two(const uint8_t* a, const uint8_t* b, const X& xa, const X& xb, __m512 sum) {
        const __m512i of_a = once(_mm512_loadu_si512(a + 2)), of_b = once(_mm512_loadu_si512(b + 2));
        const __m512i index = _mm512_castps_si512(_mm512_shuffle_ps(_mm512_castsi512_ps(of_a), _mm512_castsi512_ps(of_b), 0x88));
        const Quarters in(index);
        const __m512i first = look_up(iq2_xxs_halves.of[0], index, in), second = look_up(iq2_xxs_halves.of[1], index, in);
        sum = add_iq2(_mm512_unpacklo_epi8(first, second), even_signs<32, 7>(of_a), bits_of_groups<60, 0>(of_a), first_half(a), xa, sum);
        return add_iq2(_mm512_unpackhi_epi8(first, second), even_signs<32, 7>(of_b), bits_of_groups<60, 0>(of_b), first_half(b), xb, sum);
    }
};

// Scales of halves of groups: 4 bits each, in order.
inline __m512i nibble_scales(const uint8_t* at) { return bits_of_groups<0, 8, 4>(eight_bytes(at)); }

// Two blocks as the lower and the upper bytes of words, nine bits of index in each word of a block.
struct IQ2_XS : Signed<8> {
    static constexpr int kBytes = 74;
    // Bits of `a` where `of_a` has ones, else of b.
    static __m512i either(__m512i of_a, __m512i a, __m512i b) { return _mm512_ternarylogic_epi64(of_a, a, b, 0xca); }
    [[gnu::always_inline]] static __m512 add_two(const uint8_t* a, const uint8_t* b, const X& xa, const X& xb, __m512 sum) {
        const __m512i of_a = once(_mm512_loadu_si512(a + 2)), of_b = once(_mm512_loadu_si512(b + 2)), low = once(_mm512_set1_epi16(255));
        const __m512i index = either(low, of_a, _mm512_slli_epi16(of_b, 8));
        const __mmask64 upper = _mm512_movepi8_mask(either(low, _mm512_srli_epi16(of_a, 1), _mm512_slli_epi16(of_b, 7)));
        const Quarters in(index);
        const auto half = [&](int h) {
            const uint8_t* table = iq2_xs_halves.of[h];
            return _mm512_mask_blend_epi8(upper, look_up(table, index, in), look_up(table + 256, index, in));
        };
        const __m512i first = half(0), second = half(1);
        sum = add_iq2(either(low, first, _mm512_slli_epi16(second, 8)), even_signs<9, 16>(of_a), nibble_scales(a + 66), first_half(a), xa, sum);
        return add_iq2(either(low, _mm512_srli_epi16(first, 8), second), even_signs<9, 16>(of_b), nibble_scales(b + 66), first_half(b), xb, sum);
    }
};

struct IQ2_S : Signed<8> {
    static constexpr int kBytes = 82;
    [[gnu::always_inline]] static __m512 add(const uint8_t* b, const X& x, __m512 sum) {
        const __m512i group = with_more(b + 2, kOneMore, 0x1010101010101010u, _mm_loadl_epi64(reinterpret_cast<const __m128i*>(b + 66)));
        const __m512i points = gathered(iq2_s_points, index_of<2, 10>(group, 0), index_of<2, 10>(group, 1));
        return add_iq2(points, stored_signs(b + 34), nibble_scales(b + 74), first_half(b), x, sum);
    }
};

// Points of 4 levels: the levels of weights 0 and 1 as nibbles of a byte, and those of 2 and 3.
template <size_t n>
struct alignas(64) Nibbles {
    uint8_t of[2][n];
};
Nibbles<256> iq3_xxs_nibbles;  // numbers of levels 4 12 .. 60, and a bit for 62 instead of 60
Nibbles<512> iq3_s_nibbles;    // levels

template <size_t n, class Nibble>
void fill_nibbles(const Grid4<n>& grid, Nibbles<n>& out, Nibble nibble) {
    for (size_t i = 0; i < n; ++i)
        for (int half = 0; half < 2; ++half) {
            const uint32_t levels = grid.points[i] >> 16 * half;
            out.of[half][i] = static_cast<uint8_t>(nibble(levels & 255) | nibble(levels >> 8 & 255) << 4);
        }
}

struct IQ3_XXS : Signed<4> {
    static constexpr int kBytes = 98;
    [[gnu::always_inline]] static __m512 add(const uint8_t* b, const X& x, __m512 sum) {
        const __m512i words = four_of_each_group(b + 66), signs = even_signs<0, 7>(words), index = once(_mm512_loadu_si512(b + 2));
        const Quarters in(index);
        const __m512i both[2] = {look_up(iq3_xxs_nibbles.of[0], index, in), look_up(iq3_xxs_nibbles.of[1], index, in)};
        const auto levels = [&](int p) {
            return _mm512_gf2p8affine_epi64_epi8(both[p / 2], _mm512_set1_epi64(turning({{8, 16, 32, 2}}, p % 2 * 4)), 4);
        };
        const __m512i dots = products(levels, [&](int p) { return signed_codes(x, p, signs); });
        return times_scales(_mm512_mul_ps(_mm512_cvtepi32_ps(dots), odd_of_four_bits(bits_of_groups<28, 0>(words))), first_half(b), x, sum);
    }
};

struct IQ3_S : Signed<1> {
    static constexpr int kBytes = 110;
    [[gnu::always_inline]] static __m512 add(const uint8_t* b, const X& x, __m512 sum) {
        const __m512i signs = stored_signs(b + 74), index = once(_mm512_loadu_si512(b + 2));
        const Quarters in(index);
        const __mmask64 top = load64(b + 66);
        const auto nibbles = [&](int half) {
            const uint8_t* table = iq3_s_nibbles.of[half];
            return _mm512_mask_blend_epi8(top, look_up(table, index, in), look_up(table + 256, index, in));
        };
        const __m512i both[2] = {nibbles(0), nibbles(1)};
        const auto levels = [&](int p) {
            return _mm512_gf2p8affine_epi64_epi8(both[p / 2], _mm512_set1_epi64(turning({{1, 2, 4, 8}}, p % 2 * 4)), 0);
        };
        const __m512i dots = products(levels, [&](int p) { return signed_codes(x, p, signs); });
        const __m512 scales = odd_of_four_bits(bits_of_groups<0, 4>(_mm512_set1_epi32(static_cast<int>(load32(b + 106)))));
        return times_scales(_mm512_mul_ps(_mm512_cvtepi32_ps(dots), scales), first_half(b), x, sum);
    }
};

inline __m512i dots_of_iq1(__m512i points, const Planes& x) {
    return products([&](int p) { return levels_of_iq1(points, p); }, [&](int p) { return codes_of(x, p); });
}

// Levels 0 1 2 stand for -1 0 1, and an eighth more or less for a group.
struct IQ1_S {
    static constexpr int kBytes = 50;
    using X = PlanesAndSums;
    static void prepare(const int8_t* codes, const float* scales, X& out) {
        planes_of(codes, scales, 1, out);
        _mm512_store_ps(out.sums, _mm512_cvtepi32_ps(lane_sums(out, 0x01010101)));
    }
    [[gnu::always_inline]] static __m512 add(const uint8_t* b, const X& x, __m512 sum) {
        const __m512i group = with_more(b + 2, kTwoMore, 0x3030303030303030u, load128(b + 34));
        const __m512i points = gathered(iq1_points, index_of<3, 11>(group, 0), index_of<3, 11>(group, 1));
        const __m512i top = bits_of_groups<44, 0>(group);  // three bits of scale, one for less
        const __m512 taken = _mm512_permutexvar_ps(top, _mm512_setr_ps(-.875f, -.875f, -.875f, -.875f, -.875f, -.875f, -.875f, -.875f, -1.125f,
                                                                       -1.125f, -1.125f, -1.125f, -1.125f, -1.125f, -1.125f, -1.125f));
        const __m512 all = _mm512_fmadd_ps(_mm512_load_ps(x.sums), taken, _mm512_cvtepi32_ps(dots_of_iq1(points, x)));
        return times_scales(_mm512_mul_ps(all, odd_of_three_bits(top)), first_half(b), x, sum);
    }
};

// Scales of halves of groups: four times three bits in a word of 16, for two groups.
constexpr Pattern kThrees = pattern([](int g, int i) { return g / 2 * 16 + g % 2 * 6 + i / 4 * 3; });

// The same with the eighth of 8 weights: all in eighths.
struct IQ1_M {
    static constexpr int kBytes = 56;
    using X = PlanesAndEighths;
    static void prepare(const int8_t* codes, const float* scales, X& out) {
        planes_of(codes, scales, 0.125f, out);
        for (int point = 0; point < 2; ++point) {
            const __m512i sums = lane_sums(out, point ? 0x01010000 : 0x00000101);
            _mm512_store_si512(out.twice[point], _mm512_add_epi32(sums, sums));
        }
        _mm512_store_si512(out.start, _mm512_mullo_epi32(lane_sums(out, 0x01010101), _mm512_set1_epi32(-7)));
    }
    [[gnu::always_inline]] static __m512 add(const uint8_t* b, const X& x, __m512 sum) {
        const __m128i nibbles = load128(b + 32);
        const __m512i group = with_more(b, kTwoMore, 0x3030303030303030u, nibbles), of_lanes = _mm512_cvtepu8_epi32(nibbles);
        const __m512i points = gathered(iq1_points, index_of<4, 11>(group, 0), index_of<4, 11>(group, 1));
        const __m512i dots = dots_of_iq1(points, x);
        __m512i eighths = _mm512_load_si512(x.start);
        for (int point = 0; point < 2; ++point) {
            const __mmask16 less = _mm512_test_epi32_mask(of_lanes, _mm512_set1_epi32(point ? 0x80 : 0x08));
            eighths = _mm512_mask_sub_epi32(eighths, less, eighths, _mm512_load_si512(x.twice[point]));
        }
        const __m512 all = _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_slli_epi32(dots, 3), eighths));
        const uint64_t words = load64(b + 48);
        const auto scale = static_cast<unsigned short>((words >> 12 & 0xf) | (words >> 24 & 0xf0) | (words >> 36 & 0xf00) | (words >> 48 & 0xf000));
        const __m512 scales = odd_of_three_bits(_mm512_multishift_epi64_epi8(bytes_of(kThrees), eight_bytes(b + 48)));
        return times_scales(_mm512_mul_ps(all, scales), _mm512_set1_ps(_cvtsh_ss(scale)), x, sum);
    }
};

}  // namespace

void fill_avx512_vbmi_grid(Kernels& table) {
    fill_halves(kIq2XxsGrid, iq2_xxs_halves);
    fill_halves(kIq2XsGrid, iq2_xs_halves);
    fill_packed(kIq2SGrid, iq2_s_points);
    fill_packed(kIq1Grid, iq1_points);
    fill_nibbles(kIq3XxsGrid, iq3_xxs_nibbles, [](uint32_t level) { return level == 62 ? 15 : (level - 4) / 8; });
    fill_nibbles(kIq3SGrid, iq3_s_nibbles, [](uint32_t level) { return level; });
#define SET(F, slot) set_gemv_laid_out<F>(table, FormatSlot::slot, "gemv_" #slot "_q8_avx512_vbmi");
    QUANT_GRID_BLOCKS(SET)
#undef SET
}

}  // namespace quant
#endif
