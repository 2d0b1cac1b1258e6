// Float weights (F32, F16, BF16) times float activations, and the exact product of any format (AVX2 with FMA).
// One row: dot products. Many rows: 16 weight rows and a chunk of columns are decoded to a
// panel [k][16 rows] of f32, which meets six activation rows at a time: 12 sums in registers, one broadcast each.
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels/avx2.h"
#include "kernels/prefetch.h"

namespace quant {
namespace {

constexpr int kRows = 16;
constexpr int kTile = 6;
constexpr int64_t kChunk = 256;        // columns of a panel: 16 KiB, half of the first-level cache
constexpr int64_t kColumnBlock = 192;  // activation rows per decoded panel

inline uint16_t load16(const uint8_t* at) {
    uint16_t value;
    __builtin_memcpy(&value, at, sizeof value);
    return value;
}
inline uint32_t load32(const uint8_t* at) {
    uint32_t value;
    __builtin_memcpy(&value, at, sizeof value);
    return value;
}
inline float float_of(uint32_t bits) {
    float value;
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}

struct F32 {
    static constexpr int kBytes = 4;
    static __m256 load8(const uint8_t* at) { return _mm256_loadu_ps(reinterpret_cast<const float*>(at)); }
    static float load1(const uint8_t* at) { return float_of(load32(at)); }
};

struct F16 {
    static constexpr int kBytes = 2;
    static __m256 load8(const uint8_t* at) { return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at))); }
    static float load1(const uint8_t* at) { return _cvtsh_ss(load16(at)); }
};

struct BF16 {
    static constexpr int kBytes = 2;
    static __m256 load8(const uint8_t* at) {
        const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at)));
        return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
    }
    static float load1(const uint8_t* at) { return float_of(static_cast<uint32_t>(load16(at)) << 16); }
};

inline float horizontal_sum(__m256 v) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

template <class F>
inline float gemv_row(const uint8_t* w, const float* x, int64_t cols) {
    __m256 sum[4];
    for (__m256& each : sum) each = _mm256_setzero_ps();
    int64_t k = 0;
    for (; k + 32 <= cols; k += 32) {
        const uint8_t* at = w + k * F::kBytes;
        prefetch_ahead(at, 32 * F::kBytes);
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) sum[i] = _mm256_fmadd_ps(F::load8(at + 8 * i * F::kBytes), _mm256_loadu_ps(x + k + 8 * i), sum[i]);
    }
    for (; k + 8 <= cols; k += 8) sum[0] = _mm256_fmadd_ps(F::load8(w + k * F::kBytes), _mm256_loadu_ps(x + k), sum[0]);
    float total = horizontal_sum(_mm256_add_ps(_mm256_add_ps(sum[0], sum[1]), _mm256_add_ps(sum[2], sum[3])));
    for (; k < cols; ++k) total += F::load1(w + k * F::kBytes) * x[k];
    return total;
}

template <class F>
void gemv(const MatmulArgs& args) {
    const int64_t row_bytes = args.w.cols * F::kBytes;
    for (int64_t t = 0; t < args.n; ++t) {
        const float* x = args.x + t * args.x_stride;
        float* y = args.y + t * args.y_stride;
        for (int64_t row = args.row_begin; row < args.row_end; ++row) {
            y[row] = gemv_row<F>(args.w.data + row * row_bytes, x, args.w.cols);
        }
    }
}

// 8 x 8 floats: column i of the rows to out + i * kRows.
inline void transpose8(const __m256* rows, float* out) {
    __m256 t[8], u[8];
    for (int i = 0; i < 4; ++i) {
        t[2 * i] = _mm256_unpacklo_ps(rows[2 * i], rows[2 * i + 1]);
        t[2 * i + 1] = _mm256_unpackhi_ps(rows[2 * i], rows[2 * i + 1]);
    }
    for (int i = 0; i < 2; ++i) {
        u[4 * i] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
        u[4 * i + 1] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0xee);
        u[4 * i + 2] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
        u[4 * i + 3] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xee);
    }
    for (int i = 0; i < 4; ++i) {
        _mm256_storeu_ps(out + i * kRows, _mm256_permute2f128_ps(u[i], u[i + 4], 0x20));
        _mm256_storeu_ps(out + (i + 4) * kRows, _mm256_permute2f128_ps(u[i], u[i + 4], 0x31));
    }
}

// 8 rows of `count` floats in F, `stride` bytes apart -> 8 columns of the panel.
template <class F>
void pack8(const uint8_t* const* rows, int64_t count, float* panel) {
    int64_t k = 0;
    for (; k + 8 <= count; k += 8) {
        __m256 v[8];
        for (int r = 0; r < 8; ++r) v[r] = F::load8(rows[r] + k * F::kBytes);
        transpose8(v, panel + k * kRows);
    }
    for (; k < count; ++k) {
        for (int r = 0; r < 8; ++r) panel[k * kRows + r] = F::load1(rows[r] + k * F::kBytes);
    }
}

// out[t][16] = panel times kColumns activation rows.
template <int kColumns>
inline void multiply_panel(const float* panel, int64_t count, const float* x, int64_t x_stride, float (*out)[kRows]) {
    __m256 sum[kColumns][2];
    for (int t = 0; t < kColumns; ++t) sum[t][0] = sum[t][1] = _mm256_setzero_ps();
    for (int64_t k = 0; k < count; ++k) {
        const __m256 w0 = _mm256_load_ps(panel + k * kRows), w1 = _mm256_load_ps(panel + k * kRows + 8);
#pragma GCC unroll 6
        for (int t = 0; t < kColumns; ++t) {
            const __m256 xt = _mm256_broadcast_ss(x + t * x_stride + k);
            sum[t][0] = _mm256_fmadd_ps(w0, xt, sum[t][0]);
            sum[t][1] = _mm256_fmadd_ps(w1, xt, sum[t][1]);
        }
    }
    for (int t = 0; t < kColumns; ++t) {
        _mm256_storeu_ps(out[t], sum[t][0]);
        _mm256_storeu_ps(out[t] + 8, sum[t][1]);
    }
}

// The loops around multiply_panel; pack(row, rows, k, count, panel) decodes 16 rows (missing ones repeat the last).
template <class Pack>
inline void gemm_panels(const MatmulArgs& args, float* panel, Pack pack) {
    const int64_t cols = args.w.cols;
    for (int64_t t0 = 0; t0 < args.n; t0 += kColumnBlock) {
        const int64_t t1 = t0 + kColumnBlock < args.n ? t0 + kColumnBlock : args.n;
        for (int64_t row = args.row_begin; row < args.row_end; row += kRows) {
            const int64_t rows = args.row_end - row < kRows ? args.row_end - row : kRows;
            for (int64_t k = 0; k < cols; k += kChunk) {
                const int64_t count = cols - k < kChunk ? cols - k : kChunk;
                pack(row, rows, k, count, panel);
                for (int64_t t = t0; t < t1; t += kTile) {
                    const int64_t columns = t1 - t < kTile ? t1 - t : kTile;
                    const float* x = args.x + t * args.x_stride + k;
                    float out[kTile][kRows];
                    switch (columns) {
                        case 1: multiply_panel<1>(panel, count, x, args.x_stride, out); break;
                        case 2: multiply_panel<2>(panel, count, x, args.x_stride, out); break;
                        case 3: multiply_panel<3>(panel, count, x, args.x_stride, out); break;
                        case 4: multiply_panel<4>(panel, count, x, args.x_stride, out); break;
                        case 5: multiply_panel<5>(panel, count, x, args.x_stride, out); break;
                        default: multiply_panel<6>(panel, count, x, args.x_stride, out); break;
                    }
                    for (int64_t i = 0; i < columns; ++i) {
                        float* y = args.y + (t + i) * args.y_stride + row;
                        for (int64_t r = 0; r < rows; ++r) y[r] = k == 0 ? out[i][r] : y[r] + out[i][r];
                    }
                }
            }
        }
    }
}

template <class F>
void gemm(const MatmulArgs& args) {
    const int64_t row_bytes = args.w.cols * F::kBytes;
    gemm_panels(args, static_cast<float*>(args.scratch), [&](int64_t row, int64_t rows, int64_t k, int64_t count, float* panel) {
        for (int half = 0; half < 2; ++half) {
            const uint8_t* from[8];
            for (int i = 0; i < 8; ++i) {
                const int64_t r = 8 * half + i < rows ? 8 * half + i : rows - 1;
                from[i] = args.w.data + (row + r) * row_bytes + k * F::kBytes;
            }
            pack8<F>(from, count, panel + 8 * half);
        }
    });
}

// Any format: 16 rows through the format's own decode, then as F32. A chunk is a whole number of any format's blocks.
void matmul_exact(const MatmulArgs& args) {
    const Format& f = *args.format;
    auto* panel = static_cast<float*>(args.scratch);
    float* decoded = panel + kChunk * kRows;
    gemm_panels(args, panel, [&](int64_t row, int64_t rows, int64_t k, int64_t count, float* out) {
        const uint8_t* from[16];
        for (int64_t r = 0; r < kRows; ++r) {
            if (r < rows) decode_part(f, args.w, row + r, k, count, decoded + r * kChunk);
            from[r] = reinterpret_cast<const uint8_t*>(decoded + (r < rows ? r : rows - 1) * kChunk);
        }
        pack8<F32>(from, count, out);
        pack8<F32>(from + 8, count, out + 8);
    });
}

template <class F>
void set(Kernels& table, FormatSlot slot, const char* gemv_name, const char* gemm_name) {
    table.matmul[static_cast<size_t>(slot)] = {gemv<F>, gemm<F>, 3, gemv_name, gemm_name};
}

}  // namespace

void fill_avx2_float(Kernels& table) {
    set<F32>(table, FormatSlot::f32, "gemv_f32_f32_avx2", "gemm_f32_f32_avx2");
    set<F16>(table, FormatSlot::f16, "gemv_f16_f32_avx2", "gemm_f16_f32_avx2");
    set<BF16>(table, FormatSlot::bf16, "gemv_bf16_f32_avx2", "gemm_bf16_f32_avx2");
    table.matmul_exact = matmul_exact;
}

}  // namespace quant
#endif
