// The affine formats, L4 and the eight-bit floats (formats/affine.h, formats/blocks.h) for AVX2 and (with
// QUANT_KERNELS_VNNI) AVX-512: codes of 32 weights to bytes, one activation row, and panels for many. One copy per number
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

// Products of `count` groups of 32 in 8 lanes.
template <class C>
inline __m256 dot_groups(const uint8_t* at, int64_t count, const int8_t* codes, const float* scales) {
    __m256 sum = _mm256_setzero_ps(), other = sum;
    int64_t i = 0;
    for (; i + 2 <= count; i += 2, at += 8 * C::kBits) {
        sum = _mm256_fmadd_ps(dot_lanes<C>(C::codes(at), load256(codes + 32 * i)), _mm256_broadcast_ss(scales + i), sum);
        other = _mm256_fmadd_ps(dot_lanes<C>(C::codes(at + 4 * C::kBits), load256(codes + 32 * i + 32)), _mm256_broadcast_ss(scales + i + 1), other);
    }
    if (i < count) sum = _mm256_fmadd_ps(dot_lanes<C>(C::codes(at), load256(codes + 32 * i)), _mm256_broadcast_ss(scales + i), sum);
    return _mm256_add_ps(sum, other);
}

template <class C>
void gemv_affine(const MatmulArgs& args) {
    const AffineLayout layout = C::layout(args.format->slot);
    const int64_t cols = args.w.cols, span = layout.group ? layout.group : cols, per = span / 32;
    const int64_t row_bytes = static_cast<int64_t>(args.format->row_bytes(cols));
    const Q8Matrix& q = *args.xq;
    for (int64_t t = 0; t < args.n; ++t) {
        const int8_t* codes = q.codes + t * cols;
        const float *scales = q.scales + t * (cols / 32), *sums = q.block_sums + t * (cols / 32);
        for (int64_t row = args.row_begin; row < args.row_end; ++row) {
            const uint8_t* at = args.w.data + row * row_bytes;
            __m256 sum = _mm256_setzero_ps();
            float rest = 0;
            for (int64_t g = 0; g < cols / 32; g += per) {
                _mm_prefetch(reinterpret_cast<const char*>(at) + 2048, _MM_HINT_T0);
                const AffineLine line = line_at<C>(layout, at);
                at += layout.header();
                sum = _mm256_fmadd_ps(dot_groups<C>(at, per, codes + 32 * g, scales + g), _mm256_set1_ps(line.step), sum);
                at += per * 4 * C::kBits;
                float total = 0;
                for (int64_t i = g; i < g + per; ++i) total += sums[i];
                rest += line.base * total;
            }
            args.y[t * args.y_stride + row] = horizontal_sum(sum) + rest;
        }
    }
}

template <class C, Style style>
constexpr PanelKind affine_kind() {
    PanelKind kind;
    kind.minimum = true;
    kind.is_signed = style == Style::pairs16 && C::kMax == 128;
    return style == Style::pairs16 && !kind.is_signed ? summed_in_16(kind, C::kMax, 0) : kind;
}

// 256 weights (or fewer) of a row from column k on.
template <class C, Style style>
inline void unpack_affine(const AffineLayout& layout, const uint8_t* row, int64_t k, int groups, RowPart& part) {
    constexpr bool kRaised = C::kMax == 128 && style == Style::sums32;
    constexpr int kShift = kRaised ? -128 : affine_kind<C, style>().center;
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
        for (int half = 0; half < 2; ++half) {
            RowPart part[8];
            for (int i = 0; i < 8; ++i) {
                const int64_t r = 8 * half + i < place.rows ? 8 * half + i : place.rows - 1;
                unpack_affine<C, style>(layout, args.w.data + (place.row + r) * row_bytes, place.k + at, groups, part[i]);
            }
            __m256i rows8[8];
            const auto turn = [&](auto member, void* out) {
                for (int i = 0; i < 8; ++i) rows8[i] = member(part[i]);
                transpose8(rows8, static_cast<uint8_t*>(out), 64);
            };
            turn_codes<affine_kind<C, style>().is_signed>(part, groups, first, half, panel);
            // Past the last group these write into rows of the panel that are not read.
            turn([](const RowPart& p) { return p.scale; }, &panel.scale[first][8 * half]);
            turn([](const RowPart& p) { return p.minimum[0]; }, &panel.minimum[first][8 * half]);
        }
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

// ISA is a string: "avx2".
#define QUANT_SET_AFFINE(table, Engine, ISA)                                                                          \
    do {                                                                                                              \
        const auto affine_slot = [](size_t index) { return static_cast<FormatSlot>(static_cast<size_t>(FormatSlot::affine) + index); }; \
        for (size_t i = 0; i < 8; ++i) {                                                                              \
            set_affine<Engine, AffineCodes<1>>(table, affine_slot(i), "gemv_a1_q8_" ISA, "gemm_a1_q8_" ISA);          \
            set_affine<Engine, AffineCodes<2>>(table, affine_slot(8 + i), "gemv_a2_q8_" ISA, "gemm_a2_q8_" ISA);      \
            set_affine<Engine, AffineCodes<3>>(table, affine_slot(16 + i), "gemv_a3_q8_" ISA, "gemm_a3_q8_" ISA);     \
            set_affine<Engine, AffineCodes<4>>(table, affine_slot(24 + i), "gemv_a4_q8_" ISA, "gemm_a4_q8_" ISA);     \
            set_affine<Engine, AffineCodes<5>>(table, affine_slot(32 + i), "gemv_a5_q8_" ISA, "gemm_a5_q8_" ISA);     \
            set_affine<Engine, AffineCodes<6>>(table, affine_slot(40 + i), "gemv_a6_q8_" ISA, "gemm_a6_q8_" ISA);     \
            set_affine<Engine, AffineCodes<7>>(table, affine_slot(48 + i), "gemv_a7_q8_" ISA, "gemm_a7_q8_" ISA);     \
            set_affine<Engine, AffineCodes<8>>(table, affine_slot(56 + i), "gemv_a8_q8_" ISA, "gemm_a8_q8_" ISA);     \
        }                                                                                                             \
        set_affine<Engine, L4Codes>(table, FormatSlot::l4, "gemv_l4_q8_" ISA, "gemm_l4_q8_" ISA);                     \
        table.matmul[static_cast<size_t>(FormatSlot::q8_row_o)] = {gemv_q8_row_o, gemm_q8_row_o<Engine>, 2,           \
                                                                   "gemv_q8_row_o_q8_" ISA, "gemm_q8_row_o_q8_" ISA}; \
    } while (0)

}  // namespace
}  // namespace quant
