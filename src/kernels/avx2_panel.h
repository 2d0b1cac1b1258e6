// The panel of the x86 products with many activation rows: 16 weight rows and a chunk of columns, decoded once, with the
// loops over panels. Included by the AVX2, AVX-VNNI and AVX-512 files, which bring the inner loop; everything in an unnamed namespace.
//
// Panel: codes [k / 4][16 rows][4 consecutive k], so that a 32-bit lane is a row and no sum across lanes is needed: four
// activation bytes are broadcast against 16 rows. AVX2 keeps signed codes as int16, two to a lane.
// Minima are one more product: minimum of the group times the sum of its activations.
#pragma once

#include "kernels/avx2_unpack.h"
#include "kernels/block_formats.h"

namespace quant {
namespace {

constexpr int kRows = 16;         // of a panel
constexpr int64_t kChunk = 2048;  // columns of a panel at most

struct alignas(64) Panel {
    uint8_t codes[kChunk * kRows];
    float scale[kChunk / 32][kRows];    // of a group of 32; of the super-block where integer scales are per 16
    float minimum[kChunk / 16][kRows];  // per 32 or per 16
    int32_t scale16[kChunk / 16][kRows];  // per 16: the integer scale, twice as int16; or a float's bits
};
// Of the scratch: activations as an engine wants them, behind the panel and what formats stage.
constexpr int64_t kPackedAt = 128 << 10;
constexpr int kMostPanels = 2;  // multiplied at once
static_assert(kMostPanels * sizeof(Panel) <= kPackedAt);

// How the inner loop adds: int16 pairs (vpmaddubsw), or int32 at once (vpdpbusd: unsigned codes times signed ones).
enum class Style { pairs16, sums32 };

// Sums in pairs are raised by this, so that none is negative: codes up to 3 and activations down to -128.
constexpr int32_t kRaisedPairs = 3 * 128 * 32;

// What the inner loop must know of a format. Formats of one kind share its code.
struct PanelKind {
    bool is_signed = false;       // codes are signed
    bool minimum = false;         // each group has one
    bool integer_scales = false;  // scale16 holds integers, scale the super-block's
    bool float_scales = false;    // scale16 holds floats, scale is not used
    bool merged = false;          // codes come times their scales per 16; scale is the super-block's, that of eight groups
    bool in_32 = false;           // sums32
    bool in_pairs = false;        // sums32: units of 256; the sums of two groups fit int16, and meet integer factors together
    int steps = 0;                // unsigned codes: steps of four k in a run, for pairs16 those that stay in int16
    int center = 0;               // likewise: sums are of (code - center) * x
    constexpr bool per16() const { return integer_scales || float_scales; }
    constexpr int minima() const { return !minimum ? 0 : per16() || merged ? 2 : 1; }  // of 32
    // Minima of 256 columns are one more integer product: those of a group of 32 as two int16, behind eight such their unit.
    constexpr bool integer_minima() const { return minimum && merged; }
    // For the loop itself it only matters whether there is a center.
    constexpr PanelKind loop() const {
        PanelKind kind = *this;
        kind.center = center != 0;
        return kind;
    }
};

// Steps whose sums of (code - center) * x stay in int16: two products per step and lane, each at most reach * 127. The sums
// of code * x on the way may wrap around, only a single pair must not saturate: 127 * 127 * 2 < 2^15.
constexpr int steps_in_16(int reach, int most) {
    int steps = most;
    while (steps > 1 && steps * 2 * 127 * reach > 32767) steps /= 2;
    return steps;
}

// Chooses steps and center for codes 0 .. max with this offset (0 where the format has a minimum). A center costs an addition
// per run of steps and saves the offset's share in floats, or makes the runs longer; runs of 2 would gain nothing.
constexpr PanelKind summed_in_16(PanelKind kind, int max, int offset) {
    const int most = kind.per16() ? 4 : 8;
    const auto larger = [](int a, int b) { return a > b ? a : b; };
    kind.steps = steps_in_16(max, most);
    if (offset == 0 && kind.steps == most) return kind;
    const int center = offset ? offset : (max + 1) / 2;
    const int steps = steps_in_16(larger(center, max - center), most);
    if (steps > 2) {
        kind.steps = steps;
        kind.center = center;
    } else if (offset) {
        kind.minimum = true;
    }
    return kind;
}

template <class F, Style style>
struct Traits {
    static constexpr bool kRaised = F::kMax == 128 && style == Style::sums32;  // codes + 128
    static constexpr int kMerged = [] {
        if constexpr (requires { F::kMerged; }) return style == Style::sums32 ? F::kMerged : 0;
        return 0;
    }();
    static constexpr bool kMerges = kMerged != 0;
    static constexpr PanelKind kKind = [] {
        PanelKind kind;
        bool super16 = false;
        if constexpr (F::kSuper) super16 = F::kGroup == 16;
        if (style == Style::sums32) {
            kind.merged = kMerges;
            kind.float_scales = F::kScalePer16 || (super16 && !kMerges);
            kind.minimum = F::kMinimum;
            kind.in_32 = true;
            kind.in_pairs = F::kUnit == 256 && !F::kSuper && F::kMax <= 3;
            kind.steps = kind.float_scales ? 4 : 8;
            kind.center = kRaised || (kMerges && F::kOffset) ? 128 : F::kOffset;
            return kind;
        }
        kind.integer_scales = super16;
        kind.float_scales = F::kScalePer16;
        kind.minimum = F::kMinimum;
        kind.is_signed = F::kMax == 128;
        return kind.is_signed ? kind : summed_in_16(kind, F::kMax, F::kOffset);
    }();
    // The minimum in the panel: the format's own and this many scales.
    static constexpr int kShift = kMerges ? 0 : kKind.center - F::kOffset - (kRaised ? 128 : 0);
    static_assert(kKind.minimum || kShift == 0);
};

// 8 rows of 8 dwords -> dword i of each row in out[i], `stride` bytes apart.
inline void transpose8(const __m256i* rows, uint8_t* out, int64_t stride) {
    __m256i t[8], u[8];
    for (int i = 0; i < 4; ++i) {
        t[2 * i] = _mm256_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
        t[2 * i + 1] = _mm256_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
    }
    for (int i = 0; i < 2; ++i) {
        u[4 * i] = _mm256_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
        u[4 * i + 1] = _mm256_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
        u[4 * i + 2] = _mm256_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
        u[4 * i + 3] = _mm256_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
    }
    for (int i = 0; i < 4; ++i) {
        _mm256_store_si256(reinterpret_cast<__m256i*>(out + i * stride), _mm256_permute2x128_si256(u[i], u[i + 4], 0x20));
        _mm256_store_si256(reinterpret_cast<__m256i*>(out + (i + 4) * stride), _mm256_permute2x128_si256(u[i], u[i + 4], 0x31));
    }
}

// What one row has in 256 weights (or fewer: then the rest is not used).
struct alignas(64) RowPart {
    __m256i codes[8];
    __m256i scale;       // 8 floats
    __m256i minimum[2];  // 8 or 16 floats
    __m256i scale16[2];  // 16 pairs of int16, or floats
};

inline __m256i bits(__m256 v) { return _mm256_castps_si256(v); }
inline __m256i pairs16(__m128i v16) {
    const __m256i wide = _mm256_cvtepu16_epi32(v16);
    return _mm256_or_si256(wide, _mm256_slli_epi32(wide, 16));
}

template <class F, Style style>
inline __m256i raised(__m256i codes) {
    if constexpr (Traits<F, style>::kRaised) return _mm256_xor_si256(codes, _mm256_set1_epi8(static_cast<char>(128)));
    return codes;
}

// Formats of which 256 codes lie in planes of two bits, each a group of 32: see turn_planes.
template <class F>
constexpr bool turns_planes() {
#if defined(QUANT_KERNELS_AVX512)
    return requires { F::kPlanes; };
#else
    return false;
#endif
}

template <class F, Style style>
inline void unpack_super(const uint8_t* b, RowPart& part) {
    constexpr int kMerged = Traits<F, style>::kMerged;
    if constexpr (turns_planes<F>()) {
    } else if constexpr (kMerged != 0) {
        F::merged_codes(b, part.codes);
    } else if constexpr (requires { F::all_codes(b, part.codes); }) {
        F::all_codes(b, part.codes);
    } else {
#pragma GCC unroll 8
        for (int g = 0; g < 8; ++g) part.codes[g] = raised<F, style>(F::codes(b, g));
    }
    [[maybe_unused]] const __m256i scales = kMerged != 0 ? _mm256_setzero_si256() : F::scales16(b);
    const float d = F::scale(b);
    if constexpr (kMerged != 0) {
        part.scale = bits(_mm256_set1_ps(kMerged * d));
    } else if constexpr (F::kGroup == 32) {
        part.scale = bits(_mm256_mul_ps(floats_low(scales), _mm256_set1_ps(d)));
    } else {
        part.scale = bits(_mm256_set1_ps(d));
        if constexpr (style == Style::pairs16) {
            part.scale16[0] = pairs16(_mm256_castsi256_si128(scales));
            part.scale16[1] = pairs16(_mm256_extracti128_si256(scales, 1));
        } else {
            part.scale16[0] = bits(_mm256_mul_ps(floats_low(scales), _mm256_set1_ps(d)));
            part.scale16[1] = bits(_mm256_mul_ps(floats_high(scales), _mm256_set1_ps(d)));
        }
    }
    if constexpr (Traits<F, style>::kKind.integer_minima()) {
        part.minimum[0] = F::minima16(b);
        part.minimum[1] = bits(_mm256_set1_ps(-F::min_scale(b)));
    } else if constexpr (Traits<F, style>::kKind.minimum) {
        constexpr int kShift = Traits<F, style>::kShift;
        __m256 low = _mm256_setzero_ps(), high = low;
        if constexpr (F::kMinimum) {
            const __m256i minima = F::minima16(b);
            const __m256 unit = _mm256_set1_ps(-F::min_scale(b));
            low = _mm256_mul_ps(floats_low(minima), unit);
            high = _mm256_mul_ps(floats_high(minima), unit);
        }
        if constexpr (kShift != 0) {
            const __m256 unit = _mm256_set1_ps(kShift * d);
            low = _mm256_fmadd_ps(floats_low(scales), unit, low);
            high = _mm256_fmadd_ps(floats_high(scales), unit, high);
        }
        part.minimum[0] = bits(low);
        part.minimum[1] = bits(high);
    }
}

// `groups` of 32 weights of units with one scale each (or one per 16).
template <class F, Style style>
inline void unpack_units(const uint8_t* b, int groups, RowPart& part) {
    constexpr int kPerUnit = F::kUnit / 32;
    [[maybe_unused]] constexpr int kShift = Traits<F, style>::kShift;
    [[maybe_unused]] auto* scale = reinterpret_cast<float*>(&part.scale);
    auto* minimum = reinterpret_cast<float*>(part.minimum);
    auto* scale16 = reinterpret_cast<float*>(part.scale16);
    for (int g = 0; g < groups; g += kPerUnit, b += F::kBytes) {
#pragma GCC unroll 8
        for (int i = 0; i < kPerUnit; ++i) {
            if constexpr (!turns_planes<F>()) part.codes[g + i] = raised<F, style>(F::codes(b, i));
            if constexpr (F::kScalePer16) {
                static_assert(kPerUnit == 2);
                const __m128 d = F::scales16(b);
                _mm_storeu_ps(scale16 + 2 * g, d);
                _mm_storeu_ps(minimum + 2 * g, _mm_mul_ps(d, _mm_set1_ps(kShift)));
            } else {
                const float d = F::scale(b);
                if constexpr (kPerUnit == 8) part.scale = bits(_mm256_set1_ps(d));
                else scale[g + i] = d;
                if constexpr (Traits<F, style>::kKind.minimum) {
                    minimum[g + i] = kShift * d;
                    if constexpr (F::kMinimum) minimum[g + i] += F::minimum(b);
                }
            }
        }
    }
}

// Dword i of the 8 that member(part) gives for each of 16 rows, to out + i * stride.
template <class Member>
inline void turn_rows(const RowPart (&part)[kRows], const Member& member, void* to, int64_t stride) {
    auto* out = static_cast<uint8_t*>(to);
#if defined(QUANT_KERNELS_AVX512)
    __m512i rows[8], t[8], u[8];  // rows i and i + 4 beside each other, so that what is turned comes out in order
    for (int i = 0; i < 8; ++i) {
        const int r = i % 4 + i / 4 * 8;
        rows[i] = _mm512_inserti64x4(_mm512_castsi256_si512(member(part[r])), member(part[r + 4]), 1);
    }
    for (int i = 0; i < 4; ++i) {
        t[2 * i] = _mm512_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
    }
    for (int i = 0; i < 2; ++i) {
        u[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
        u[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
        u[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
        u[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
    }
    for (int i = 0; i < 4; ++i) {
        _mm512_store_si512(out + i * stride, _mm512_shuffle_i32x4(u[i], u[i + 4], 0x88));
        _mm512_store_si512(out + (i + 4) * stride, _mm512_shuffle_i32x4(u[i], u[i + 4], 0xdd));
    }
#else
    for (int half = 0; half < 2; ++half) {
        __m256i rows8[8];
        for (int i = 0; i < 8; ++i) rows8[i] = member(part[8 * half + i]);
        transpose8(rows8, out + 32 * half, stride);
    }
#endif
}

// The codes of `groups` groups into the panel. Signed ones are widened to int16, because only those can be
// multiplied by signed activations: then a 32-bit lane holds two k, elements 4 i and 4 i + 2 or 4 i + 1 and 4 i + 3.
template <bool is_signed>
inline void turn_codes(const RowPart (&part)[kRows], int groups, int64_t first, Panel& panel) {
    for (int g = 0; g < groups; ++g) {
        if constexpr (is_signed) {
            uint8_t* out = panel.codes + (first + g) * 64 * kRows;
            turn_rows(part, [g](const RowPart& p) { return _mm256_srai_epi16(_mm256_slli_epi16(p.codes[g], 8), 8); }, out, 128);
            turn_rows(part, [g](const RowPart& p) { return _mm256_srai_epi16(p.codes[g], 8); }, out + 64, 128);
        } else {
            turn_rows(part, [g](const RowPart& p) { return p.codes[g]; }, panel.codes + (first + g) * 32 * kRows, 64);
        }
    }
}

#if defined(QUANT_KERNELS_AVX512)
// 64 bytes of each of 16 rows, each half of them four planes of two bits: turned as they are stored, then taken apart.
inline void turn_planes(const uint8_t* const (&rows)[kRows], uint8_t* out) {
    __m512i t[16], u[16];
    for (int i = 0; i < 8; ++i) {
        const __m512i a = _mm512_loadu_si512(rows[2 * i]), b = _mm512_loadu_si512(rows[2 * i + 1]);
        t[2 * i] = _mm512_unpacklo_epi32(a, b);
        t[2 * i + 1] = _mm512_unpackhi_epi32(a, b);
    }
    for (int i = 0; i < 16; i += 4)
        for (int j = 0; j < 2; ++j) {
            u[i + 2 * j] = _mm512_unpacklo_epi64(t[i + j], t[i + j + 2]);
            u[i + 2 * j + 1] = _mm512_unpackhi_epi64(t[i + j], t[i + j + 2]);
        }
    const __m512i mask = _mm512_set1_epi8(3);
    for (int i = 0; i < 4; ++i) {  // quarter q of u[4 r + i]: numbers 4 q + i of rows 4 r to 4 r + 3
        const __m512i even[2] = {_mm512_shuffle_i32x4(u[i], u[4 + i], 0x88), _mm512_shuffle_i32x4(u[8 + i], u[12 + i], 0x88)};
        const __m512i odd[2] = {_mm512_shuffle_i32x4(u[i], u[4 + i], 0xdd), _mm512_shuffle_i32x4(u[8 + i], u[12 + i], 0xdd)};
        const __m512i quarters[4] = {_mm512_shuffle_i32x4(even[0], even[1], 0x88), _mm512_shuffle_i32x4(odd[0], odd[1], 0x88),
                                     _mm512_shuffle_i32x4(even[0], even[1], 0xdd), _mm512_shuffle_i32x4(odd[0], odd[1], 0xdd)};
        for (int q = 0; q < 4; ++q)
            for (int plane = 0; plane < 4; ++plane) {
                const __m512i codes = _mm512_and_si512(_mm512_srli_epi16(quarters[q], static_cast<unsigned>(2 * plane)), mask);
                _mm512_store_si512(out + (8 * (q / 2 * 4 + plane) + q % 2 * 4 + i) * 64, codes);
            }
    }
}
#endif
// Decodes columns [k, k + count) of `rows` rows from `row` on; missing rows repeat the last one.
template <class F, Style style>
void decode_panel(const MatmulArgs& args, int64_t row, int64_t rows, int64_t k, int64_t count, Panel& panel) {
    constexpr PanelKind kKind = Traits<F, style>::kKind;
    const int64_t row_bytes = args.w.cols / F::kUnit * F::kBytes;
    for (int64_t at = 0; at < count; at += 256) {
        const int groups = static_cast<int>((count - at < 256 ? count - at : 256) / 32);
        const int64_t first = at / 32;
        RowPart part[kRows];
        [[maybe_unused]] const uint8_t* blocks[kRows];
        for (int64_t i = 0; i < kRows; ++i) {
            const uint8_t* b = blocks[i] = args.w.data + (row + (i < rows ? i : rows - 1)) * row_bytes + (k + at) / F::kUnit * F::kBytes;
            if constexpr (F::kSuper) {
                unpack_super<F, style>(b, part[i]);
            } else {
                unpack_units<F, style>(b, groups, part[i]);
            }
        }
#if defined(QUANT_KERNELS_AVX512)
        if constexpr (turns_planes<F>()) {
            static_assert(F::kUnit == 256 && !Traits<F, style>::kMerges && !kKind.is_signed);
            turn_planes(blocks, panel.codes + first * 32 * kRows);
        }
#endif
        if constexpr (!turns_planes<F>()) turn_codes<kKind.is_signed>(part, groups, first, panel);
        // Past the last group these write into rows of the panel that are not read.
        if constexpr (!kKind.float_scales) turn_rows(part, [](const RowPart& p) { return p.scale; }, panel.scale[first], 64);
        for (int i = 0; i < kKind.minima(); ++i)
            turn_rows(part, [i](const RowPart& p) { return p.minimum[i]; }, panel.minimum[first * kKind.minima() + 8 * i], 64);
        for (int i = 0; kKind.per16() && i < 2; ++i)
            turn_rows(part, [i](const RowPart& p) { return p.scale16[i]; }, panel.scale16[first * 2 + 8 * i], 64);
    }
}

// The part of the product that a decoded panel stands for: where it lies in y and in the activations.
struct Place {
    int64_t row, rows;  // of y, at most 16 a panel
    int64_t k, count;   // columns of the weights
    int64_t t0, t1;     // activation rows
};

// An engine is an inner loop: multiply<kind, kColumns>(panel, groups, x, out) gives out[t][16 kPanels], the products of kPanels
// panels, one behind the other, and kColumns activation rows, of which kTile fit its registers. Before, prepare<kind>(args, place)
// sees the activations that all panels of these columns will meet, at most kActivationRows; x is tile<kind>(args, place, t), for
// the rows from t on. chunk<kind>() columns a panel.
template <class Engine, PanelKind kind, int kColumns, class Tile>
inline void multiply_upto(int64_t columns, const Panel& panel, int64_t groups, const Tile& x, float (*out)[kRows * Engine::kPanels]) {
    if constexpr (kColumns == 1) {
        Engine::template multiply<kind, 1>(panel, groups, x, out);
    } else if (columns == kColumns) {
        Engine::template multiply<kind, kColumns>(panel, groups, x, out);
    } else {
        multiply_upto<Engine, kind, kColumns - 1>(columns, panel, groups, x, out);
    }
}

// Activation rows of the next tile: what is left for two tiles is shared out evenly, because small tiles are slow.
inline int64_t columns_next(int64_t left, int64_t tile) {
    if (left <= tile) return left;
    return left < 2 * tile ? (left + 1) / 2 : tile;
}

// Products of a panel and one activation row, of which `rows` are wanted.
inline void add_products(const float* out, int64_t rows, bool first, float* y) {
    if (rows < kRows) {
        for (int64_t r = 0; r < rows; ++r) y[r] = first ? out[r] : y[r] + out[r];
        return;
    }
    __m256 low = _mm256_load_ps(out), high = _mm256_load_ps(out + 8);
    if (!first) low = _mm256_add_ps(_mm256_loadu_ps(y), low), high = _mm256_add_ps(_mm256_loadu_ps(y + 8), high);
    _mm256_storeu_ps(y, low);
    _mm256_storeu_ps(y + 8, high);
}

// Panels times all activation rows of their place. Not inlined: one copy serves all formats of the kind.
template <class Engine, PanelKind kind>
[[gnu::noinline]] void multiply_place(const MatmulArgs& args, const Panel& panel, const Place& at) {
    constexpr int kTile = Engine::kTile;
    int64_t columns;
    for (int64_t t = at.t0; t < at.t1; t += columns) {
        columns = columns_next(at.t1 - t, kTile);
        alignas(64) float out[kTile][kRows * Engine::kPanels];
        float* y = args.y + t * args.y_stride + at.row;
        // Each row of y is a cache line in a page of its own, in the same few sets of the caches: fetched while the product runs.
        for (int64_t i = 0; i < columns; ++i)
            for (int64_t r = 0; r < at.rows; r += kRows) _mm_prefetch(reinterpret_cast<const char*>(y + i * args.y_stride + r), _MM_HINT_T0);
        multiply_upto<Engine, kind, kTile>(columns, panel, at.count / 32, Engine::template tile<kind>(args, at, t), out);
        for (int64_t i = 0; i < columns; ++i, y += args.y_stride)
            for (int64_t r = 0; r < at.rows; r += kRows) add_products(out[i] + r, at.rows - r < kRows ? at.rows - r : kRows, at.k == 0, y + r);
    }
}

// Calls decode(place, panel) for every panel of the product, and multiplies.
template <class Engine, PanelKind kind, int64_t kMost = kChunk, class Decode>
inline void for_places(const MatmulArgs& args, const Decode& decode) {
    const auto least = [](int64_t a, int64_t b) { return a < b ? a : b; };
    constexpr int64_t kEngine = Engine::template chunk<kind>(), kCount = kMost < kEngine ? kMost : kEngine;
    static_assert(kCount <= kChunk);
    auto* panels = static_cast<Panel*>(args.scratch);
    const bool prepared = args.same_activations && args.n <= Engine::kActivationRows && args.w.cols <= kCount;  // one place, the same
    for (int64_t t0 = 0; t0 < args.n; t0 += Engine::kActivationRows) {
        for (int64_t k = 0; k < args.w.cols; k += kCount) {
            Place at{0, 0, k, least(kCount, args.w.cols - k), t0, least(args.n, t0 + Engine::kActivationRows)};
            if (!prepared) Engine::template prepare<kind>(args, at);
            for (at.row = args.row_begin; at.row < args.row_end; at.row += kRows * Engine::kPanels) {
                at.rows = least(kRows * Engine::kPanels, args.row_end - at.row);
                for (int i = 0; i < Engine::kPanels; ++i) {  // the first once more where there are no rows for another
                    Place one = at;
                    if (kRows * i < at.rows) one.row += kRows * i, one.rows -= kRows * i;
                    one.rows = least(kRows, one.rows);
                    decode(one, panels[i]);
                }
                multiply_place<Engine, kind.loop()>(args, *panels, at);
            }
        }
    }
}

template <class Engine, class F>
void gemm(const MatmulArgs& args) {
    for_places<Engine, Traits<F, Engine::kStyle>::kKind>(args, [&](const Place& at, Panel& panel) {
        decode_panel<F, Engine::kStyle>(args, at.row, at.rows, at.k, at.count, panel);
    });
}

template <class Engine, class F>
void set_gemm(Kernels& table, FormatSlot slot, const char* name) {
    MatmulKernels& kernels = table.matmul[static_cast<size_t>(slot)];
    kernels.gemm = gemm<Engine, F>;
    kernels.gemm_name = name;
    kernels.gemm_min_rows = 2;
}

template <class Engine>
void set_stock_gemm(Kernels& table) {
#define SET(F, slot) set_gemm<Engine, F>(table, FormatSlot::slot, "gemm_" #slot "_q8_" QUANT_KERNELS_ISA);
    QUANT_STOCK_BLOCKS(SET)
#undef SET
}

}  // namespace
}  // namespace quant
