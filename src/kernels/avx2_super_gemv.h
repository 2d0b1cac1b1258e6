// Blocks of 256 weights times one activation row, for AVX2, AVX-VNNI and AVX-512. Within a block the scales are
// integers: those of the activations' groups become multiples of one unit, so that a block is one sum in int32 with one
// conversion at its end instead of eight.
//
// The factor of a group, its own scale s times its activations' scale, is rounded to t = round(s * m / 128), where m is the
// activations' scale in units of the largest of the 256, F::kTop units: off by .75 of a unit of t, whose largest is 3840 or
// more (TQ2_0: .54 of 2047, move_into_place()). What that adds to a product is a few hundredths of what rounding the activations to int8 did (tests/unit/kernels.c++).
// kTop keeps a lane below 2^31: 32 products (16 where codes have more than 5 bits) of a code, 127 and t, and where it starts.
#pragma once

#include <type_traits>

#include "kernels/avx2_gemv.h"
#include "kernels/block_formats.h"

namespace quant {
namespace {

// 256 activations as these products want them.
struct alignas(64) UnitOfX {
    __m256i multiples[2];
    __m256i sums;
    float unit;  // times t is the factor of a group; NaN where an activation was
};
// And, where weights have a sign, what halves of pairs of groups meet: sign to the weights, magnitude as the other factor.
struct alignas(64) PairsOfX {
    __m256i codes[8], magnitudes[8];
};

constexpr int64_t kUnitsAtOnce = 1024;
static_assert(kUnitsAtOnce * (sizeof(UnitOfX) + sizeof(PairsOfX)) <= kMatmulScratch);

// Order of multiples and sums. per32: every multiple twice in four bytes, those of groups 0 to 3 in both halves, then of 4 to 7;
// per16 and pairs: all eight in both halves, sums of even and of odd parts in the low and the high half. twice: multiples twice in four
// bytes, in order, as are the sums; blocks with one scale have instead where the lanes start, -offset times multiple times sum.
enum class Layout { per32, per16, pairs, twice };

template <class F>
constexpr Layout layout_of() {
    if constexpr (!F::kSuper) return Layout::twice;
    else if constexpr (F::kMax == 128) return Layout::pairs;
    else return F::kGroup == 32 ? Layout::per32 : Layout::per16;
}

// Sums of 16 codes: even parts of 16 in the low half, odd ones in the high half.
inline __m256i sums_of_codes(const int8_t* codes) {
    const auto pairs = [codes](int g) { return _mm256_maddubs_epi16(_mm256_set1_epi8(1), load256(codes + 32 * g)); };
    const __m256i first = _mm256_hadd_epi16(_mm256_hadd_epi16(pairs(0), pairs(1)), _mm256_hadd_epi16(pairs(2), pairs(3)));
    const __m256i second = _mm256_hadd_epi16(_mm256_hadd_epi16(pairs(4), pairs(5)), _mm256_hadd_epi16(pairs(6), pairs(7)));
    return _mm256_hadd_epi16(first, second);
}
inline __m256i in_order(__m256i even_and_odd) {
    const __m128i even = _mm256_castsi256_si128(even_and_odd), odd = _mm256_extracti128_si256(even_and_odd, 1);
    return _mm256_set_m128i(_mm_unpackhi_epi16(even, odd), _mm_unpacklo_epi16(even, odd));
}

template <Layout layout, bool sums_in_order, int top>
inline void unit_of(const int8_t* codes, const float* scales, UnitOfX& out) {
    const __m256i m = multiples_of<top>(scales, out.unit), sums = sums_of_codes(codes);
    const __m256i twice = _mm256_or_si256(m, _mm256_slli_epi32(m, 16));
    out.sums = sums_in_order ? in_order(sums) : sums;
    if constexpr (layout == Layout::per32) {
        out.multiples[0] = _mm256_permute2x128_si256(twice, twice, 0x00);
        out.multiples[1] = _mm256_permute2x128_si256(twice, twice, 0x11);
    } else if constexpr (layout == Layout::per16 || layout == Layout::pairs) {
        out.multiples[0] = _mm256_permute4x64_epi64(_mm256_packs_epi32(m, m), 0x88);
    } else {
        out.multiples[0] = twice;
    }
}

inline void pairs_of(const int8_t* codes, PairsOfX& out) {
    for (int i = 0; i < 8; i += 2) {
        const __m256i first = load256(codes + 32 * i), second = load256(codes + 32 * i + 32);
        out.codes[i] = _mm256_permute2x128_si256(first, second, 0x20);
        out.codes[i + 1] = _mm256_permute2x128_si256(first, second, 0x31);
    }
    for (int i = 0; i < 8; ++i) out.magnitudes[i] = _mm256_abs_epi8(out.codes[i]);
}

// Multiples of codes that lie 4^place too high in their byte; the start of the lanes is made anew from them, offset included.
template <class F>
inline void move_into_place(UnitOfX& out) {
    constexpr auto bits = [](int g) { return 2 * F::place(g); };
    const __m256i places = _mm256_setr_epi32(bits(0), bits(1), bits(2), bits(3), bits(4), bits(5), bits(6), bits(7));
    const __m256i half = _mm256_srli_epi32(_mm256_sllv_epi32(_mm256_set1_epi32(1), places), 1);
    const __m256i m = _mm256_srlv_epi32(_mm256_add_epi32(_mm256_srli_epi32(out.multiples[0], 16), half), places);
    const __m256i sums = _mm256_madd_epi16(out.sums, _mm256_set1_epi16(-F::kOffset));
    out.multiples[0] = _mm256_or_si256(m, _mm256_slli_epi32(m, 16));
    out.sums = _mm256_sllv_epi32(_mm256_mullo_epi32(sums, m), places);
}

#if defined(QUANT_KERNELS_AVX512)
// TQ2_0 512 bits wide: a register is plane j of both halves of a block, groups j and 4 + j.
template <class F>
constexpr bool kWide = std::is_same_v<F, TQ2_0>;

inline void planes_of(const int8_t* codes, const UnitOfX& x, PairsOfX& out) {
    const auto* multiples = reinterpret_cast<const int32_t*>(x.multiples);
    for (int g = 0; g < 8; ++g) {
        out.codes[g % 4 * 2 + g / 4] = load256(codes + 32 * g);
        out.magnitudes[g % 4 * 2 + g / 4] = _mm256_set1_epi32(multiples[g]);
    }
}
// Adds the product of block `b` to the lanes of `sum`.
template <class F>
inline void add_planes(const uint8_t* b, const UnitOfX& x, const PairsOfX& planes, __m512& sum) {
    const __m512i bytes = _mm512_loadu_si512(b);
    __m512i even = _mm512_zextsi256_si512(x.sums), odd = _mm512_setzero_si512();
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
        const __m512i mask = _mm512_set1_epi8(static_cast<char>(3 << 2 * F::place(j)));
        const __m512i codes = _mm512_and_si512(j == 3 ? _mm512_srli_epi16(bytes, 2) : bytes, mask);
        const __m512i pairs = _mm512_maddubs_epi16(codes, _mm512_load_si512(planes.codes + 2 * j));
        __m512i& part = j % 2 ? odd : even;
        part = _mm512_dpwssd_epi32(part, pairs, _mm512_load_si512(planes.magnitudes + 2 * j));
    }
    const __m512 product = _mm512_cvtepi32_ps(_mm512_add_epi32(even, odd));
    sum = _mm512_fmadd_ps(product, _mm512_set1_ps(x.unit * F::scale(b)), sum);
}
#else
template <class F>
constexpr bool kWide = false;
#endif

// Fills the scratch with `count` units, and behind them with their pairs where the format wants them.
template <class F>
const UnitOfX* units_of(const int8_t* codes, const float* scales, int64_t count, void* scratch) {
    auto* out = static_cast<UnitOfX*>(scratch);
    auto* pairs = reinterpret_cast<PairsOfX*>(out + count);
    for (int64_t u = 0; u < count; ++u, codes += 256, scales += 8) {
        unit_of<layout_of<F>(), F::kMinimum || !F::kSuper, F::kTop>(codes, scales, out[u]);
        if constexpr (F::kSuper) out[u].unit *= 128;
        if constexpr (layout_of<F>() == Layout::pairs) pairs_of(codes, pairs[u]);
        if constexpr (!F::kSuper) move_into_place<F>(out[u]);
#if defined(QUANT_KERNELS_AVX512)
        if constexpr (kWide<F>) planes_of(codes, out[u], pairs[u]);
#endif
    }
    return out;
}

// The scales of groups lie as bytes, the same 16 in both halves of a register: what crosses halves is slow, so that they become
// int16 by a shuffle within. `up`: into the upper half of an int16, 256 times their value.
constexpr short byte_up(int index) { return static_cast<short>(index << 8 | 0x80); }
constexpr short byte_down(int index) { return static_cast<short>(0x8000 | index); }

// Bytes `first` and on as 16 int16, each `times` times.
template <int first, int times>
inline __m256i widen_bytes(__m256i bytes) {
    constexpr auto at = [](int i) { return byte_down(first + i / times); };
    return _mm256_shuffle_epi8(bytes, _mm256_setr_epi16(at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7), at(8), at(9), at(10), at(11),
                                                        at(12), at(13), at(14), at(15)));
}
// Bytes first, first + 1 .. in the low half and others + 0, 1 .. in the high one, each `times` times, `step` apart.
template <int low, int high, int step, int times>
inline __m256i bytes_up(__m256i bytes) {
    constexpr auto at = [](int i) { return byte_up((i < 8 ? low : high) + i % 8 / times * step); };
    return _mm256_shuffle_epi8(bytes, constant(_mm256_setr_epi16(at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7), at(8), at(9), at(10),
                                                                 at(11), at(12), at(13), at(14), at(15))));
}

inline __m256i add_products(__m256i sum, __m256i pairs, __m256i factors) {
#if defined(QUANT_KERNELS_VNNI)
    return dot_words(sum, pairs, factors);
#else
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, factors));
#endif
}

// Shuffles that repeat int16 g of each half, in memory: the compiler, which must not know it, would make those that find no
// register anew for every row.
struct alignas(32) Bytes32 {
    uint8_t of[32];
};
struct Repeats {
    Bytes32 of[8];
};
// int16 step * g of the low half and step * g + more of the high one.
constexpr Repeats repeats(int step, int more) {
    Repeats masks{};
    for (int g = 0; g < 8; ++g)
        for (int i = 0; i < 32; ++i) masks.of[g].of[i] = static_cast<uint8_t>(2 * (step * g + i / 16 * more) + i % 2);
    return masks;
}
constexpr Repeats kOfGroup = repeats(1, 0), kOfPair = repeats(2, 1);

inline __m256i repeat_of(const Repeats& table, int g) {
    const Bytes32* masks = table.of;
    asm("" : "+r"(masks));
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(masks + g));
}

// The factors of a block's groups, and group g's in all the int16 it multiplies.
template <class F>
struct Factors {
    __m256i t[2];
    Factors(__m256i scale_bytes, const UnitOfX& x) {
        if constexpr (layout_of<F>() == Layout::per32) {
            t[0] = _mm256_mulhrs_epi16(bytes_up<0, 0, 1, 2>(scale_bytes), x.multiples[0]);
            t[1] = _mm256_mulhrs_epi16(bytes_up<4, 4, 1, 2>(scale_bytes), x.multiples[1]);
        } else if constexpr (layout_of<F>() == Layout::pairs) {
            t[0] = _mm256_mulhrs_epi16(bytes_up<0, 0, 1, 1>(scale_bytes), x.multiples[0]);
        } else {
            t[0] = _mm256_mulhrs_epi16(bytes_up<0, 1, 2, 1>(scale_bytes), x.multiples[0]);
        }
    }
    template <int g>
    __m256i of_group() const {
        if constexpr (layout_of<F>() == Layout::per32) return _mm256_shuffle_epi32(t[g / 4], g % 4 * 0x55);
        return _mm256_shuffle_epi8(t[0], repeat_of(kOfGroup, g));
    }
    __m256i of_pair(int pair) const { return _mm256_shuffle_epi8(t[0], repeat_of(kOfPair, pair)); }
};

template <class F, int g>
inline void add_group(const uint8_t* b, const int8_t* codes, const Factors<F>& factors, __m256i& sum) {
    sum = add_products(sum, dot_pairs<F>(F::codes(b, g), load256(codes + 32 * g)), factors.template of_group<g>());
}
// Signed levels, none of which is -128.
template <class F>
inline void add_pair(const uint8_t* b, int pair, const PairsOfX& x, const Factors<F>& factors, __m256i& first, __m256i& second) {
    const auto pairs = [&](int half) {
        const __m256i w = _mm256_sign_epi8(F::halves_of_pair(b, pair, half != 0), x.codes[2 * pair + half]);
        return _mm256_maddubs_epi16(x.magnitudes[2 * pair + half], w);
    };
    first = add_products(first, pairs(0), factors.of_pair(pair));
    second = add_products(second, pairs(1), factors.of_pair(pair));
}

// The sum of minimum * activation of a block, 8 partial sums.
template <class F>
inline __m256 minima(const uint8_t* b, __m256i scale_bytes, const UnitOfX& x, const float* scales) {
    const __m256i each = widen_bytes<F::kMinimaAt, F::kGroup / 16>(F::minimum_bytes(b, scale_bytes));
    return _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_madd_epi16(each, x.sums)), _mm256_loadu_ps(scales));
}

// Adds the product of block `b` to the lanes of `sum`; `codes` and `scales` of its activations.
template <class F>
inline void add_super_block(const uint8_t* b, const UnitOfX& x, const PairsOfX& x_pairs, const int8_t* codes, const float* scales, __m256& sum) {
    const __m256i scale_bytes = F::scale_bytes(b);
    const Factors<F> factors(scale_bytes, x);
    __m256i even = _mm256_setzero_si256(), odd = even;
    if constexpr (F::kOffset != 0) {
        constexpr int kBits = __builtin_ctz(F::kOffset);
        static_assert(F::kOffset == 1 << kBits && layout_of<F>() == Layout::per16);
        even = _mm256_sub_epi32(even, _mm256_slli_epi32(_mm256_madd_epi16(factors.t[0], x.sums), kBits));
    }
    if constexpr (layout_of<F>() == Layout::pairs) {
#pragma GCC unroll 4
        for (int pair = 0; pair < 4; ++pair) add_pair<F>(b, pair, x_pairs, factors, even, odd);
    } else {
        add_group<F, 0>(b, codes, factors, even);
        add_group<F, 1>(b, codes, factors, odd);
        add_group<F, 2>(b, codes, factors, even);
        add_group<F, 3>(b, codes, factors, odd);
        add_group<F, 4>(b, codes, factors, even);
        add_group<F, 5>(b, codes, factors, odd);
        add_group<F, 6>(b, codes, factors, even);
        add_group<F, 7>(b, codes, factors, odd);
    }
    const __m256 unit = _mm256_broadcast_ss(&x.unit);
    __m256 product;
    if constexpr (F::kMax > 31) {  // one sum of both might not fit
        product = _mm256_add_ps(_mm256_cvtepi32_ps(even), _mm256_cvtepi32_ps(odd));
    } else {
        product = _mm256_cvtepi32_ps(_mm256_add_epi32(even, odd));
    }
    if constexpr (F::kMinimum) {
        const __m256 both = F::both_scales(b);
        sum = _mm256_fmadd_ps(product, _mm256_mul_ps(unit, _mm256_moveldup_ps(both)), sum);
        sum = _mm256_fnmadd_ps(minima<F>(b, scale_bytes, x, scales), _mm256_movehdup_ps(both), sum);
    } else {
        sum = _mm256_fmadd_ps(product, _mm256_mul_ps(unit, F::scale_everywhere(b)), sum);
    }
}

// The same for a block with a single scale.
template <class F>
inline void add_whole_block(const uint8_t* b, const UnitOfX& x, const int8_t* codes, __m256& sum) {
    __m256i even = x.sums, odd = _mm256_setzero_si256();
#pragma GCC unroll 8
    for (int g = 0; g < 8; ++g) {
        const __m256i factor = _mm256_set1_epi32(reinterpret_cast<const int32_t*>(x.multiples)[g]);
        __m256i& part = g % 2 ? odd : even;
        part = add_products(part, dot_pairs<F>(F::codes_in_place(b, g), load256(codes + 32 * g)), factor);
    }
    const __m256 product = _mm256_cvtepi32_ps(_mm256_add_epi32(even, odd));
    sum = _mm256_fmadd_ps(product, _mm256_mul_ps(_mm256_broadcast_ss(&x.unit), F::scale_everywhere(b)), sum);
}

// Blocks [first, first + count) of all rows times those of activation row t.
template <class F>
inline void multiply_super(const MatmulArgs& args, const UnitOfX* x, int64_t t, int64_t first, int64_t count) {
    const auto* pairs = reinterpret_cast<const PairsOfX*>(x + count);
    const int8_t* codes = args.xq->row_codes(t) + 256 * first;
    const float* scales = args.xq->row_scales(t) + 8 * first;
    for (int64_t row = args.row_begin; row < args.row_end; ++row) {
        const uint8_t* b = args.w.data + (row * (args.w.cols / 256) + first) * F::kBytes;
        __m256 sum = _mm256_setzero_ps();
#if defined(QUANT_KERNELS_AVX512)
        __m512 wide = _mm512_setzero_ps();
        for (int64_t u = 0; kWide<F> && u < count; ++u, b += F::kBytes) {
            prefetch_ahead(b, F::kBytes);
            if constexpr (kWide<F>) add_planes<F>(b, x[u], pairs[u], wide);
        }
        sum = _mm256_add_ps(_mm512_castps512_ps256(wide), _mm512_extractf32x8_ps(wide, 1));
#endif
        for (int64_t u = 0; !kWide<F> && u < count; ++u, b += F::kBytes) {
            prefetch_ahead(b, F::kBytes);
            if constexpr (F::kSuper) {
                add_super_block<F>(b, x[u], pairs[u], codes + 256 * u, scales + 8 * u, sum);
            } else {
                add_whole_block<F>(b, x[u], codes + 256 * u, sum);
            }
        }
        float& y = args.y[t * args.y_stride + row];
        y = first == 0 ? horizontal_sum(sum) : y + horizontal_sum(sum);
    }
}

// As many blocks at once as the scratch holds units of.
template <class F>
void gemv_super(const MatmulArgs& args) {
    const int64_t units = args.w.cols / 256;
    for (int64_t t = 0; t < args.n; ++t)
        for (int64_t first = 0; first < units; first += kUnitsAtOnce) {
            const int64_t count = units - first < kUnitsAtOnce ? units - first : kUnitsAtOnce;
            const UnitOfX* x = units_of<F>(args.xq->row_codes(t) + 256 * first, args.xq->row_scales(t) + 8 * first, count, args.scratch);
            multiply_super<F>(args, x, t, first, count);
        }
}

template <class F>
    requires(F::kUnit == 256)
void set_gemv(Kernels& table, FormatSlot slot, const char* name) {
    MatmulKernels& kernels = table.matmul[static_cast<size_t>(slot)];
    kernels.gemv = gemv_super<F>;
    kernels.gemv_name = name;
}

inline void set_stock_gemv(Kernels& table) {
#define SET(F, slot) set_gemv<F>(table, FormatSlot::slot, "gemv_" #slot "_q8_" QUANT_KERNELS_ISA);
    QUANT_STOCK_BLOCKS(SET)
#undef SET
}

}  // namespace
}  // namespace quant
