// Palettes of single levels times one activation row, straight from the stored blocks, for AVX2, AVX-VNNI
// and AVX-512. Those of pairs and fours are staged (avx2_staged.h), as are all in products with many rows.
// Everything in an unnamed namespace.
#pragma once

#include "kernels/avx2_gemv.h"
#include "kernels/avx2_level_unpack.h"
#include "kernels/avx2_staged.h"
#include "kernels/block_formats.h"

namespace quant {
namespace {

// The squares of the scale codes of four blocks.
inline __m128 four_palette_scales(const uint8_t* b, int step) {
    const uint32_t codes = b[0] | static_cast<uint32_t>(b[step]) << 8 | static_cast<uint32_t>(b[2 * step]) << 16 |
                           static_cast<uint32_t>(b[3 * step]) << 24;
    const __m128 code = _mm_cvtepi32_ps(_mm_cvtepu8_epi32(_mm_cvtsi32_si128(static_cast<int>(codes))));
    return _mm_mul_ps(code, code);
}

template <int bits>
inline __m256 palette_lanes(const int8_t* level, const uint8_t* block, const int8_t* x) {
    const __m256i index = palette_indices<bits>(block + 1);
    return dot_lanes<Staged>(bits == 6 ? look_up64(level, index) : look_up(level, index), load256(x));
}

// The product of a row but for the factors of the row and of its table.
template <int bits>
inline float palette_row(const uint8_t* b, int64_t blocks, const int8_t* level, const Activations& x) {
    constexpr int kBytes = Palette{bits, 1, false}.block_bytes();
    __m256 sum[4];
    for (__m256& each : sum) each = _mm256_setzero_ps();
    int64_t u = 0;
    for (; u + 4 <= blocks; u += 4, b += 4 * kBytes) {
        prefetch_ahead(b, 4 * kBytes);
        alignas(16) float factors[4];
        _mm_store_ps(factors, _mm_mul_ps(four_palette_scales(b, kBytes), _mm_loadu_ps(x.scales + u)));
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i)
            sum[i] = _mm256_fmadd_ps(palette_lanes<bits>(level, b + i * kBytes, x.codes + 32 * (u + i)), _mm256_broadcast_ss(factors + i), sum[i]);
    }
    for (; u < blocks; ++u, b += kBytes) {
        const float factor = static_cast<float>(b[0] * b[0]) * x.scales[u];
        sum[0] = _mm256_fmadd_ps(palette_lanes<bits>(level, b, x.codes + 32 * u), _mm256_set1_ps(factor), sum[0]);
    }
    return horizontal_sum(_mm256_add_ps(_mm256_add_ps(sum[0], sum[1]), _mm256_add_ps(sum[2], sum[3])));
}

template <int bits, bool int8>
void gemv_palette(const MatmulArgs& args) {
    const int64_t cols = args.w.cols;
    const Q8Matrix& q = *args.xq;
    Levels8<bits, 1, int8> levels;
    int64_t group = -1;
    for (int64_t row = args.row_begin; row < args.row_end; ++row) {
        const uint8_t* stored = row_at(*args.format, args.w, row);
        const int64_t own = (args.w.first_row + row) / args.w.group;
        if (own != group) levels.read(args.w.data + kGroupedHead + own * Palette{bits, 1, int8}.table_bytes());
        group = own;
        const float factor = float_at(stored) * kPaletteUnit * levels.scale;
        for (int64_t t = 0; t < args.n; ++t) {
            const Activations x{q.codes + t * cols, q.scales + t * (cols / 32), nullptr, nullptr, nullptr};
            args.y[t * args.y_stride + row] = factor * palette_row<bits>(stored + kPaletteRowHead, cols / 32, levels.level, x);
        }
    }
}

// In the place of the staged ones, under their names.
inline void set_palette_gemv(Kernels& table) {
    const auto set = [&](FormatSlot slot, MatmulFn gemv) { table.matmul[static_cast<size_t>(slot)].gemv = gemv; };
    set(FormatSlot::pal1, gemv_palette<1, false>);
    set(FormatSlot::pal2, gemv_palette<2, false>);
    set(FormatSlot::pal3, gemv_palette<3, false>);
    set(FormatSlot::pal4, gemv_palette<4, false>);
    set(FormatSlot::pal6, gemv_palette<6, false>);
    set(FormatSlot::pal4_i8, gemv_palette<4, true>);
}

// All own formats with levels in a table.
template <class Engine>
void set_levels(Kernels& table) {
#define SET(F, slot)                                                                   \
    set_gemv<F>(table, FormatSlot::slot, "gemv_" #slot "_q8_" QUANT_KERNELS_ISA);      \
    set_gemm<Engine, F>(table, FormatSlot::slot, "gemm_" #slot "_q8_" QUANT_KERNELS_ISA);
    QUANT_LEVEL_BLOCKS(SET)
#undef SET
#define SET(Stage, slot)                                                                      \
    set_gemv_staged<Stage>(table, FormatSlot::slot, "gemv_" #slot "_q8_" QUANT_KERNELS_ISA);  \
    set_gemm_staged<Engine, Stage>(table, FormatSlot::slot, "gemm_" #slot "_q8_" QUANT_KERNELS_ISA);
    QUANT_LEVEL_STAGES(SET)
#undef SET
    set_palette_gemv(table);
    // 256 levels are finer than int8: the exact product serves.
    table.matmul[static_cast<size_t>(FormatSlot::pal8)] = {table.matmul_exact, table.matmul_exact, 2, "gemv_pal8_f32_" QUANT_KERNELS_ISA,
                                                           "gemm_pal8_f32_" QUANT_KERNELS_ISA};
}

}  // namespace
}  // namespace quant
