// Float weights (F32, F16, BF16) times float activations (AVX-512). Same plan as the AVX2 file: one row by dot products,
// many rows by a panel [k][32 rows], here two registers wide, against eight activation rows at a time.
#if defined(__x86_64__)
#include "kernels/avx512.h"

#include <immintrin.h>

#include "kernels/prefetch.h"

namespace quant {
namespace {

constexpr int kRows = 32;
constexpr int kTile = 8;
constexpr int64_t kChunk = 512;        // columns of a panel: 64 KiB, from the second-level cache; fewer mean more passes over y
constexpr int64_t kColumnBlock = 360;  // activation rows per decoded panel: whole tiles
// Of the scratch: the panel, decoded rows where a format has no kernel of its own, activations in the order of use.
constexpr int64_t kDecodedAt = kChunk * kRows * 4, kPackedAt = 2 * kDecodedAt;
static_assert(kPackedAt + kColumnBlock * kChunk * 4 <= static_cast<int64_t>(kMatmulScratch));

struct F32 {
    static constexpr int kBytes = 4;
    static __m512 load(const uint8_t* at, __mmask16 lanes) { return _mm512_maskz_loadu_ps(lanes, at); }
};

struct F16 {
    static constexpr int kBytes = 2;
    static __m512 load(const uint8_t* at, __mmask16 lanes) { return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(lanes, at)); }
};

struct BF16 {
    static constexpr int kBytes = 2;
    static __m512 load(const uint8_t* at, __mmask16 lanes) {
        const __m512i wide = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, at));
        return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
    }
};

// One row at a time: its next lines are what comes next in memory.
template <class F>
inline float gemv_row(const uint8_t* w, const float* x, int64_t cols) {
    __m512 sum[4];
    for (__m512& each : sum) each = _mm512_setzero_ps();
    int64_t k = 0;
    for (; k + 64 <= cols; k += 64) {
        const uint8_t* at = w + k * F::kBytes;
        prefetch_ahead(at, 64 * F::kBytes);
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) sum[i] = _mm512_fmadd_ps(F::load(at + 16 * i * F::kBytes, 0xffff), _mm512_loadu_ps(x + k + 16 * i), sum[i]);
    }
    for (; k < cols; k += 16) {
        const __mmask16 lanes = lanes_below(cols - k);
        sum[0] = _mm512_fmadd_ps(F::load(w + k * F::kBytes, lanes), _mm512_maskz_loadu_ps(lanes, x + k), sum[0]);
    }
    return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sum[0], sum[1]), _mm512_add_ps(sum[2], sum[3])));
}

template <class F>
void gemv(const MatmulArgs& args) {
    const int64_t row_bytes = args.w.cols * F::kBytes;
    for (int64_t t = 0; t < args.n; ++t) {
        float* y = args.y + t * args.y_stride;
        const float* x = args.x + t * args.x_stride;
        for (int64_t row = args.row_begin; row < args.row_end; ++row) y[row] = gemv_row<F>(args.w.data + row * row_bytes, x, args.w.cols);
    }
}

inline void transpose16(__m512 (&rows)[16]) {
    __m512 t[16];
    for (int i = 0; i < 8; ++i) {
        t[2 * i] = _mm512_unpacklo_ps(rows[2 * i], rows[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_ps(rows[2 * i], rows[2 * i + 1]);
    }
    for (int i = 0; i < 4; ++i) {
        rows[4 * i] = _mm512_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
        rows[4 * i + 1] = _mm512_shuffle_ps(t[4 * i], t[4 * i + 2], 0xee);
        rows[4 * i + 2] = _mm512_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
        rows[4 * i + 3] = _mm512_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xee);
    }
    // rows[4i + c] holds columns c, c+4, c+8, c+12 (one in each 128 bits) of rows 4i .. 4i+3.
    for (int c = 0; c < 4; ++c) {
        const __m512 low = _mm512_shuffle_f32x4(rows[c], rows[4 + c], 0x44), high = _mm512_shuffle_f32x4(rows[c], rows[4 + c], 0xee);
        const __m512 low2 = _mm512_shuffle_f32x4(rows[8 + c], rows[12 + c], 0x44), high2 = _mm512_shuffle_f32x4(rows[8 + c], rows[12 + c], 0xee);
        t[c] = _mm512_shuffle_f32x4(low, low2, 0x88);
        t[c + 4] = _mm512_shuffle_f32x4(low, low2, 0xdd);
        t[c + 8] = _mm512_shuffle_f32x4(high, high2, 0x88);
        t[c + 12] = _mm512_shuffle_f32x4(high, high2, 0xdd);
    }
    for (int c = 0; c < 16; ++c) rows[c] = t[c];
}

// Columns [k, k + count) of rows [t, t + columns) of x, one column after the other.
inline void pack_tile(const MatmulArgs& args, int64_t t, int64_t columns, int64_t k, int64_t count, float* out) {
    const auto these = static_cast<__mmask16>((1 << columns) - 1);
    for (int64_t i = 0; i < count; i += 16) {
        __m512 part[16];
        for (int64_t c = 0; c < 16; ++c)
            part[c] = c < columns ? _mm512_maskz_loadu_ps(lanes_below(count - i), args.x + (t + c) * args.x_stride + k + i) : _mm512_setzero_ps();
        transpose16(part);
        for (int64_t c = 0; c < 16 && i + c < count; ++c) _mm512_mask_storeu_ps(out + (i + c) * columns, these, part[c]);
    }
}

// out[t][32] = panel times kColumns activation rows.
template <int kColumns>
inline void multiply_panel(const float* panel, int64_t count, const float* x, float (*out)[kRows]) {
    __m512 low[kColumns], high[kColumns];
    for (int t = 0; t < kColumns; ++t) low[t] = high[t] = _mm512_setzero_ps();
    for (int64_t k = 0; k < count; ++k) {
        const __m512 a = _mm512_load_ps(panel + k * kRows), b = _mm512_load_ps(panel + k * kRows + 16);
#pragma GCC unroll 16
        for (int t = 0; t < kColumns; ++t) {
            const __m512 xt = once(_mm512_set1_ps(x[k * kColumns + t]));
            low[t] = _mm512_fmadd_ps(a, xt, low[t]);
            high[t] = _mm512_fmadd_ps(b, xt, high[t]);
        }
    }
    for (int t = 0; t < kColumns; ++t) {
        _mm512_store_ps(out[t], low[t]);
        _mm512_store_ps(out[t] + 16, high[t]);
    }
}

template <int kColumns>
inline void multiply_upto(int64_t columns, const float* panel, int64_t count, const float* x, float (*out)[kRows]) {
    if constexpr (kColumns == 1) {
        multiply_panel<1>(panel, count, x, out);
    } else if (columns == kColumns) {
        multiply_panel<kColumns>(panel, count, x, out);
    } else {
        multiply_upto<kColumns - 1>(columns, panel, count, x, out);
    }
}

// The loops around multiply_panel; row(r, k, count) gives the address of row r at column k, decoded to F.
template <class F, class Rows>
inline void gemm_panels(const MatmulArgs& args, Rows rows_at) {
    auto* panel = static_cast<float*>(args.scratch);
    float* packed = panel + kPackedAt / 4;
    const int64_t cols = args.w.cols;
    const auto least = [](int64_t a, int64_t b) { return a < b ? a : b; };
    for (int64_t t0 = 0; t0 < args.n; t0 += kColumnBlock) {
        const int64_t t1 = least(t0 + kColumnBlock, args.n);
        for (int64_t k = 0; k < cols; k += kChunk) {
            const int64_t count = least(cols - k, kChunk);
            for (int64_t t = t0; t < t1; t += kTile) pack_tile(args, t, least(t1 - t, kTile), k, count, packed + (t - t0) * count);
            for (int64_t row = args.row_begin; row < args.row_end; row += kRows) {
                const int64_t rows = least(args.row_end - row, kRows);
                const uint8_t* from[kRows];
                rows_at(row, rows, k, count, from);
                for (int64_t half = 0; half < kRows; half += 16)
                    for (int64_t i = 0; i < count; i += 16) {
                        __m512 part[16];
                        for (int r = 0; r < 16; ++r) part[r] = F::load(from[half + r] + i * F::kBytes, lanes_below(count - i));
                        transpose16(part);
                        for (int64_t c = 0; c < 16 && i + c < count; ++c) _mm512_store_ps(panel + (i + c) * kRows + half, part[c]);
                    }
                for (int64_t t = t0; t < t1; t += kTile) {
                    const int64_t columns = least(t1 - t, kTile);
                    alignas(64) float out[kTile][kRows];
                    float* y = args.y + t * args.y_stride + row;
                    for (int64_t i = 0; i < columns; ++i)  // in pages of their own: fetched while the product runs
                        for (int64_t r = 0; r < rows; r += 16) _mm_prefetch(reinterpret_cast<const char*>(y + i * args.y_stride + r), _MM_HINT_T0);
                    multiply_upto<kTile>(columns, panel, count, packed + (t - t0) * count, out);
                    for (int64_t i = 0; i < columns; ++i, y += args.y_stride)
                        for (int64_t r = 0; r < rows; r += 16) {
                            const __mmask16 lanes = lanes_below(rows - r);
                            __m512 sum = _mm512_load_ps(out[i] + r);
                            if (k != 0) sum = _mm512_add_ps(_mm512_maskz_loadu_ps(lanes, y + r), sum);
                            _mm512_mask_storeu_ps(y + r, lanes, sum);
                        }
                }
            }
        }
    }
}

template <class F>
void gemm(const MatmulArgs& args) {
    const int64_t row_bytes = args.w.cols * F::kBytes;
    gemm_panels<F>(args, [&](int64_t row, int64_t rows, int64_t k, int64_t, const uint8_t** from) {
        for (int64_t r = 0; r < kRows; ++r) from[r] = args.w.data + (row + (r < rows ? r : rows - 1)) * row_bytes + k * F::kBytes;
    });
}

// Any format: 32 rows through the format's own decode, then as F32. A chunk is a whole number of any format's blocks.
void matmul_exact(const MatmulArgs& args) {
    const Format& f = *args.format;
    auto* decoded = static_cast<float*>(args.scratch) + kDecodedAt / 4;
    gemm_panels<F32>(args, [&](int64_t row, int64_t rows, int64_t k, int64_t count, const uint8_t** from) {
        for (int64_t r = 0; r < kRows; ++r) {
            if (r < rows) decode_part(f, args.w, row + r, k, count, decoded + r * kChunk);
            from[r] = reinterpret_cast<const uint8_t*>(decoded + (r < rows ? r : rows - 1) * kChunk);
        }
    });
}

void f16_to_f32_avx512(const uint16_t* x, float* out, int64_t n) {
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) _mm512_storeu_ps(out + i, _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + i))));
    const __mmask16 left = lanes_below(n - i);
    if (left) _mm512_mask_storeu_ps(out + i, left, _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(left, x + i)));
}

template <class F>
void set(Kernels& table, FormatSlot slot, const char* gemv_name, const char* gemm_name) {
    table.matmul[static_cast<size_t>(slot)] = {gemv<F>, gemm<F>, 3, gemv_name, gemm_name};
}

}  // namespace

void fill_avx512_float(Kernels& table) {
    set<F32>(table, FormatSlot::f32, "gemv_f32_f32_avx512", "gemm_f32_f32_avx512");
    set<F16>(table, FormatSlot::f16, "gemv_f16_f32_avx512", "gemm_f16_f32_avx512");
    set<BF16>(table, FormatSlot::bf16, "gemv_bf16_f32_avx512", "gemm_bf16_f32_avx512");
    table.matmul_exact = matmul_exact;
    table.f16_to_f32 = f16_to_f32_avx512;
}

}  // namespace quant
#endif
