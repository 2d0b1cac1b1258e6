// The affine formats, L4 and the eight-bit floats (formats/affine.h, formats/blocks.h) for AVX2, AVX-VNNI
// and AVX-512: codes of 32 weights to bytes, one activation row, and panels for many. One copy per number
// of bits: groups, rows and zero points are parameters at run time. Everything in an unnamed namespace.
//
// A weight is step * (code - center) + base (affine_line()), a product step * dot + (base - step * center) * sum of x.
#pragma once

#include "formats/affine.h"
#include "kernels/avx2_gemv.h"
#include "kernels/avx2_panel.h"
#include "kernels/kept_columns.h"

namespace quant {
namespace {

inline __m256i plane2of(const uint8_t* at) {  // 8 bytes -> 32 pairs of bits
    const __m256i v = _mm256_set1_epi64x(static_cast<long long>(load64(at)));
    return _mm256_and_si256(_mm256_srlv_epi64(v, _mm256_setr_epi64x(0, 2, 4, 6)), _mm256_set1_epi8(3));
}
inline __m256i plane1of(const uint8_t* at) {  // 4 bytes -> 32 bits
    const __m256i v = _mm256_set1_epi32(static_cast<int>(load32(at)));
    return _mm256_and_si256(_mm256_srlv_epi32(v, _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)), _mm256_set1_epi8(1));
}

// How 32 codes lie, and what the sums of their products need to know: kMax as in avx2_unpack.h.
template <int bits>
struct AffineCodes {
    static constexpr int kBits = bits, kMax = bits == 8 ? 128 : (1 << bits) - 1;
    static AffineLayout layout(FormatSlot slot) {
        return affine_layout(static_cast<size_t>(slot) - static_cast<size_t>(FormatSlot::affine));
    }
    static constexpr int kCenter = bits == 8 ? 0 : 1 << (bits - 1);
    static __m256i codes(const uint8_t* at) {
        if constexpr (bits == 8) return load256(at);
        __m256i out = _mm256_setzero_si256();
        int low = 0;
        if constexpr (bits & 4) out = nibbles_split(at), at += 16, low = 4;
        if constexpr (bits & 2) out = _mm256_or_si256(out, _mm256_slli_epi16(plane2of(at), low)), at += 8, low += 2;
        if constexpr (bits & 1) out = _mm256_or_si256(out, _mm256_slli_epi16(plane1of(at), low));
        return out;
    }
};

// L4 as if affine: levels looked up, no base.
struct L4Codes {
    static constexpr int kBits = 4, kMax = 128, kCenter = 0;
    static AffineLayout layout(FormatSlot) { return {4, 32, false}; }
    static __m256i codes(const uint8_t* at) { return look_up(kL4Levels, nibbles_split(at)); }
};

// Step and what each activation's sum is multiplied with, of the header at `at`.
template <class C>
inline AffineLine line_at(const AffineLayout& layout, const uint8_t* at) {
    AffineLine line;
    if (layout.group) {
        line = affine_line(layout, half_at(at), layout.zero ? half_at(at + 2) : 0.0f);
    } else {
        float header[2] = {0, 0};
        __builtin_memcpy(header, at, layout.zero ? 8 : 4);
        line = affine_line(layout, header[0], header[1]);
    }
    line.base -= line.step * static_cast<float>(C::kCenter);
    return line;
}

// Where four groups of 32 codes in a row have their headers and codes.
struct FourGroups {
    int64_t header[4] = {}, codes[4] = {}, bytes = 0;
    explicit FourGroups(const AffineLayout& layout) {
        const int head = layout.group ? layout.header() : 0, per = layout.group ? layout.group / 32 : 4;
        for (int i = 0; i < 4; ++i) {
            header[i] = i / per * (head + per * layout.codes32());
            codes[i] = (i / per + 1) * head + i * layout.codes32();
        }
        bytes = 4 / per * head + 4 * layout.codes32();
    }
};

inline __m128 four_halves_at(const uint8_t* at, const int64_t* offset) {
    const uint64_t low = load16(at + offset[0]) | static_cast<uint32_t>(load16(at + offset[1])) << 16;
    const uint64_t high = load16(at + offset[2]) | static_cast<uint32_t>(load16(at + offset[3])) << 16;
    return _mm_cvtph_ps(_mm_cvtsi64_si128(static_cast<long long>(low | high << 32)));
}

// What stands before the codes of a group.
enum class Header { none, scale, scale_and_zero };

// A row but for its own header. Without a zero point the activations' sums go times the scale and -center (AffineLine).
template <class C, Header header>
inline float affine_row(const uint8_t* at, int64_t groups, const FourGroups& four, const Activations& x) {
    constexpr bool kTwice = C::kBits == 1 && header == Header::scale;  // d or -d: the step is 2 d
    constexpr float kCenter = header == Header::scale_and_zero ? 1.0f : static_cast<float>(C::kCenter);
    __m256 sum[4];
    for (__m256& each : sum) each = _mm256_setzero_ps();
    __m128 rest = _mm_setzero_ps();
    int64_t u = 0;
    for (; u + 4 <= groups; u += 4, at += four.bytes) {
        prefetch_ahead(at, 16 * C::kBits);
        alignas(16) float factors[4];
        __m128 factor = _mm_loadu_ps(x.scales + u);
        if constexpr (header != Header::none) {
            const __m128 scales = four_halves_at(at, four.header);
            factor = _mm_mul_ps(factor, kTwice ? _mm_add_ps(scales, scales) : scales);
            __m128 base = scales;
            if constexpr (header == Header::scale_and_zero) base = _mm_mul_ps(scales, four_halves_at(at + 2, four.header));
            if constexpr (kCenter != 0) rest = _mm_fmadd_ps(base, _mm_loadu_ps(x.block_sums + u), rest);
        }
        _mm_store_ps(factors, factor);
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i)
            sum[i] = _mm256_fmadd_ps(dot_lanes<C>(C::codes(at + four.codes[i]), load256(x.codes + 32 * (u + i))), _mm256_broadcast_ss(factors + i), sum[i]);
    }
    for (int i = 0; u < groups; ++u, ++i) {
        float factor = x.scales[u];
        if constexpr (header != Header::none) {
            const float scale = half_at(at + four.header[i]);
            factor *= kTwice ? 2 * scale : scale;
            const float base = header == Header::scale_and_zero ? scale * half_at(at + four.header[i] + 2) : scale;
            rest = _mm_add_ss(rest, _mm_set_ss(base * x.block_sums[u]));
        }
        sum[0] = _mm256_fmadd_ps(dot_lanes<C>(C::codes(at + four.codes[i]), load256(x.codes + 32 * u)), _mm256_set1_ps(factor), sum[0]);
    }
    const float product = horizontal_sum(_mm256_add_ps(_mm256_add_ps(sum[0], sum[1]), _mm256_add_ps(sum[2], sum[3])));
    return kCenter == 0 ? product : product - kCenter * horizontal_sum(_mm256_zextps128_ps256(rest));
}

template <class C>
void gemv_affine(const MatmulArgs& args) {
    const AffineLayout layout = C::layout(args.format->slot);
    const FourGroups four(layout);
    const int64_t cols = args.w.cols, groups = cols / 32;
    const int64_t row_bytes = static_cast<int64_t>(args.format->row_bytes(cols));
    const Q8Matrix& q = *args.xq;
    for (int64_t t = 0; t < args.n; ++t) {
        const Activations x{q.codes + t * cols, q.scales + t * groups, nullptr, q.block_sums + t * groups, nullptr};
        float* y = args.y + t * args.y_stride;
        float total = 0;
        for (int64_t i = 0; layout.group == 0 && i < groups; ++i) total += x.block_sums[i];
        for (int64_t row = args.row_begin; row < args.row_end; ++row) {
            const uint8_t* at = args.w.data + row * row_bytes;
            if (layout.group == 0) {
                const AffineLine line = line_at<C>(layout, at);
                y[row] = line.step * affine_row<C, Header::none>(at + layout.header(), groups, four, x) + line.base * total;
            } else if (layout.zero) {
                y[row] = affine_row<C, Header::scale_and_zero>(at, groups, four, x);
            } else {
                y[row] = affine_row<C, Header::scale>(at, groups, four, x);
            }
        }
    }
}

template <class C, Style style>
constexpr PanelKind affine_kind() {
    PanelKind kind;
    kind.minimum = true;
    kind.is_signed = style == Style::pairs16 && C::kMax == 128;
    if (style == Style::sums32) {
        kind.in_32 = true;
        kind.steps = 8;
        kind.center = C::kMax == 128 ? 128 : 0;
    }
    return style == Style::pairs16 && !kind.is_signed ? summed_in_16(kind, C::kMax, 0) : kind;
}

// 256 weights (or fewer) of a row from column k on.
template <class C, Style style>
inline void unpack_affine(const AffineLayout& layout, const uint8_t* row, int64_t k, int groups, RowPart& part) {
    constexpr bool kRaised = C::kMax == 128 && style == Style::sums32;
    constexpr int kShift = affine_kind<C, style>().center - (kRaised ? 128 : 0);
    auto* scale = reinterpret_cast<float*>(&part.scale);
    auto* minimum = reinterpret_cast<float*>(part.minimum);
    const int per = layout.group ? layout.group / 32 : groups;
    const uint8_t* at = row + (layout.group ? k / layout.group * layout.block_bytes() : layout.row_head() + k / 32 * layout.codes32());
    for (int g = 0; g < groups; g += per) {
        AffineLine line = line_at<C>(layout, layout.group ? at : row);
        if (layout.group) at += layout.header();
        line.base += kShift * line.step;
        for (int i = g; i < g + per; ++i, at += 4 * C::kBits) {
            const __m256i codes = C::codes(at);
            part.codes[i] = kRaised ? _mm256_xor_si256(codes, _mm256_set1_epi8(static_cast<char>(128))) : codes;
            scale[i] = line.step;
            minimum[i] = line.base;
        }
    }
}

template <class C, Style style>
void decode_affine_panel(const MatmulArgs& args, const AffineLayout& layout, const Place& place, Panel& panel) {
    const int64_t row_bytes = static_cast<int64_t>(args.format->row_bytes(args.w.cols));
    for (int64_t at = 0; at < place.count; at += 256) {
        const int groups = static_cast<int>((place.count - at < 256 ? place.count - at : 256) / 32);
        const int64_t first = at / 32;
        RowPart part[kRows];
        for (int64_t i = 0; i < kRows; ++i) {
            const int64_t r = i < place.rows ? i : place.rows - 1;
            unpack_affine<C, style>(layout, args.w.data + (place.row + r) * row_bytes, place.k + at, groups, part[i]);
        }
        turn_codes<affine_kind<C, style>().is_signed>(part, groups, first, panel);
        // Past the last group these write into rows of the panel that are not read.
        turn_rows(part, [](const RowPart& p) { return p.scale; }, panel.scale[first], 64);
        turn_rows(part, [](const RowPart& p) { return p.minimum[0]; }, panel.minimum[first], 64);
    }
}

template <class Engine, class C>
void gemm_affine(const MatmulArgs& args) {
    const AffineLayout layout = C::layout(args.format->slot);
    for_places<Engine, affine_kind<C, Engine::kStyle>()>(args, [&](const Place& at, Panel& panel) {
        decode_affine_panel<C, Engine::kStyle>(args, layout, at, panel);
    });
}

template <class Engine, class C>
void set_affine(Kernels& table, FormatSlot slot, const char* gemv_name, const char* gemm_name) {
    table.matmul[static_cast<size_t>(slot)] = {gemv_affine<C>, gemm_affine<Engine, C>, 2, gemv_name, gemm_name};
}

// Rows of int8 behind their kept columns.
struct KeptCodes : AffineCodes<8> {
    static AffineLayout layout(FormatSlot) { return {8, 0, false}; }
};
inline void gemv_q8_row_o(const MatmulArgs& args) {
    gemv_affine<KeptCodes>(behind_kept(args));
    add_kept(args, [](const uint8_t* at) { return half_at(at); });
}
template <class Engine>
void gemm_q8_row_o(const MatmulArgs& args) {
    gemm_affine<Engine, KeptCodes>(behind_kept(args));
    add_kept(args, [](const uint8_t* at) { return half_at(at); });
}

template <class Engine>
void set_affine(Kernels& table) {
    const auto slot = [](size_t index) { return static_cast<FormatSlot>(static_cast<size_t>(FormatSlot::affine) + index); };
    for (size_t i = 0; i < 8; ++i) {
#define SET(bits) \
    set_affine<Engine, AffineCodes<bits>>(table, slot(8 * (bits - 1) + i), "gemv_a" #bits "_q8_" QUANT_KERNELS_ISA, "gemm_a" #bits "_q8_" QUANT_KERNELS_ISA);
        SET(1) SET(2) SET(3) SET(4) SET(5) SET(6) SET(7) SET(8)
#undef SET
    }
    set_affine<Engine, L4Codes>(table, FormatSlot::l4, "gemv_l4_q8_" QUANT_KERNELS_ISA, "gemm_l4_q8_" QUANT_KERNELS_ISA);
    table.matmul[static_cast<size_t>(FormatSlot::q8_row_o)] = {gemv_q8_row_o, gemm_q8_row_o<Engine>, 2, "gemv_q8_row_o_q8_" QUANT_KERNELS_ISA,
                                                               "gemm_q8_row_o_q8_" QUANT_KERNELS_ISA};
}

}  // namespace
}  // namespace quant
