// Float weights (F32, F16, BF16) times float activations, and the exact product of any format (NEON).
// One row: dot products of four weight rows at a time. Many rows: 8 weight rows and a chunk of columns are decoded to a
// panel [k][8 rows] of f32, which meets eight activation rows at a time: 16 sums in registers.
#if defined(__aarch64__)
#include <arm_neon.h>

#include "kernels/neon.h"

namespace quant {
namespace {

constexpr int kRows = 8;
constexpr int kTile = 8;
constexpr int64_t kChunk = 256;        // columns of a panel: 8 KiB
constexpr int64_t kColumnBlock = 192;  // activation rows per decoded panel

struct F32 {
    static constexpr int kBytes = 4;
    static float32x4_t load4(const uint8_t* at) { return vld1q_f32(reinterpret_cast<const float*>(at)); }
    static float load1(const uint8_t* at) {
        float value;
        __builtin_memcpy(&value, at, sizeof value);
        return value;
    }
};

struct F16 {
    static constexpr int kBytes = 2;
    static float32x4_t load4(const uint8_t* at) { return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(at))); }
    static float load1(const uint8_t* at) {
        __fp16 value;
        __builtin_memcpy(&value, at, sizeof value);
        return static_cast<float>(value);
    }
};

struct BF16 {
    static constexpr int kBytes = 2;
    static float32x4_t load4(const uint8_t* at) { return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(at)), 16)); }
    static float load1(const uint8_t* at) {
        uint16_t half;
        __builtin_memcpy(&half, at, sizeof half);
        const uint32_t bits = static_cast<uint32_t>(half) << 16;
        float value;
        __builtin_memcpy(&value, &bits, sizeof value);
        return value;
    }
};

template <class F, int kCount>
inline void gemv_rows(const uint8_t* w, int64_t row_bytes, const float* x, int64_t cols, float* y) {
    float32x4_t sum[kCount][2];
    for (int r = 0; r < kCount; ++r) sum[r][0] = sum[r][1] = vdupq_n_f32(0);
    int64_t k = 0;
    for (; k + 8 <= cols; k += 8) {
        const float32x4_t x0 = vld1q_f32(x + k), x1 = vld1q_f32(x + k + 4);
#pragma GCC unroll 4
        for (int r = 0; r < kCount; ++r) {
            const uint8_t* at = w + r * row_bytes + k * F::kBytes;
            __builtin_prefetch(at + 1024);
            sum[r][0] = vfmaq_f32(sum[r][0], F::load4(at), x0);
            sum[r][1] = vfmaq_f32(sum[r][1], F::load4(at + 4 * F::kBytes), x1);
        }
    }
    for (int r = 0; r < kCount; ++r) {
        float total = vaddvq_f32(vaddq_f32(sum[r][0], sum[r][1]));
        for (int64_t i = k; i < cols; ++i) total += F::load1(w + r * row_bytes + i * F::kBytes) * x[i];
        y[r] = total;
    }
}

template <class F>
void gemv(const MatmulArgs& args) {
    const int64_t row_bytes = args.w.cols * F::kBytes;
    for (int64_t t = 0; t < args.n; ++t) {
        const float* x = args.x + t * args.x_stride;
        float* y = args.y + t * args.y_stride;
        int64_t row = args.row_begin;
        for (; row + 4 <= args.row_end; row += 4) {
            gemv_rows<F, 4>(args.w.data + row * row_bytes, row_bytes, x, args.w.cols, y + row);
        }
        for (; row < args.row_end; ++row) gemv_rows<F, 1>(args.w.data + row * row_bytes, row_bytes, x, args.w.cols, y + row);
    }
}

// 8 rows of `count` weights -> panel.
template <class F>
void pack8(const uint8_t* const* rows, int64_t count, float* panel) {
    int64_t k = 0;
    for (; k + 4 <= count; k += 4) {
        for (int half = 0; half < 2; ++half) {
            float32x4_t v[4];
            for (int r = 0; r < 4; ++r) v[r] = F::load4(rows[4 * half + r] + k * F::kBytes);
            const float64x2_t a = vreinterpretq_f64_f32(vzip1q_f32(v[0], v[1])), b = vreinterpretq_f64_f32(vzip2q_f32(v[0], v[1]));
            const float64x2_t c = vreinterpretq_f64_f32(vzip1q_f32(v[2], v[3])), d = vreinterpretq_f64_f32(vzip2q_f32(v[2], v[3]));
            float* out = panel + k * kRows + 4 * half;
            vst1q_f32(out, vreinterpretq_f32_f64(vzip1q_f64(a, c)));
            vst1q_f32(out + kRows, vreinterpretq_f32_f64(vzip2q_f64(a, c)));
            vst1q_f32(out + 2 * kRows, vreinterpretq_f32_f64(vzip1q_f64(b, d)));
            vst1q_f32(out + 3 * kRows, vreinterpretq_f32_f64(vzip2q_f64(b, d)));
        }
    }
    for (; k < count; ++k) {
        for (int r = 0; r < kRows; ++r) panel[k * kRows + r] = F::load1(rows[r] + k * F::kBytes);
    }
}

// out[t][8] = panel times kColumns activation rows.
template <int kColumns>
inline void multiply_panel(const float* panel, int64_t count, const float* x, int64_t x_stride, float (*out)[kRows]) {
    float32x4_t sum[kColumns][2];
    for (int t = 0; t < kColumns; ++t) sum[t][0] = sum[t][1] = vdupq_n_f32(0);
    for (int64_t k = 0; k < count; ++k) {
        const float32x4_t low = vld1q_f32(panel + k * kRows), high = vld1q_f32(panel + k * kRows + 4);
#pragma GCC unroll 8
        for (int t = 0; t < kColumns; ++t) {
            const float xt = x[t * x_stride + k];
            sum[t][0] = vfmaq_n_f32(sum[t][0], low, xt);
            sum[t][1] = vfmaq_n_f32(sum[t][1], high, xt);
        }
    }
    for (int t = 0; t < kColumns; ++t) {
        vst1q_f32(out[t], sum[t][0]);
        vst1q_f32(out[t] + 4, sum[t][1]);
    }
}

template <int kColumns>
inline void multiply_upto(int64_t columns, const float* panel, int64_t count, const float* x, int64_t stride, float (*out)[kRows]) {
    if constexpr (kColumns == 1) {
        multiply_panel<1>(panel, count, x, stride, out);
    } else if (columns == kColumns) {
        multiply_panel<kColumns>(panel, count, x, stride, out);
    } else {
        multiply_upto<kColumns - 1>(columns, panel, count, x, stride, out);
    }
}

// The loops around multiply_panel; pack(row, rows, k, count, panel) decodes 8 rows (missing ones repeat the last).
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
                    float out[kTile][kRows];
                    multiply_upto<kTile>(columns, panel, count, args.x + t * args.x_stride + k, args.x_stride, out);
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
        const uint8_t* from[kRows];
        for (int64_t r = 0; r < kRows; ++r) from[r] = args.w.data + (row + (r < rows ? r : rows - 1)) * row_bytes + k * F::kBytes;
        pack8<F>(from, count, panel);
    });
}

// Any format: 8 rows through the format's own decode, then as F32. A chunk is a whole number of any format's blocks.
void matmul_exact(const MatmulArgs& args) {
    const Format& f = *args.format;
    auto* panel = static_cast<float*>(args.scratch);
    float* decoded = panel + kChunk * kRows;
    gemm_panels(args, panel, [&](int64_t row, int64_t rows, int64_t k, int64_t count, float* out) {
        const uint8_t* from[kRows];
        for (int64_t r = 0; r < kRows; ++r) {
            if (r < rows) decode_part(f, args.w, row + r, k, count, decoded + r * kChunk);
            from[r] = reinterpret_cast<const uint8_t*>(decoded + (r < rows ? r : rows - 1) * kChunk);
        }
        pack8<F32>(from, count, out);
    });
}

template <class F>
void set(Kernels& table, FormatSlot slot, const char* gemv_name, const char* gemm_name) {
    table.matmul[static_cast<size_t>(slot)] = {gemv<F>, gemm<F>, 3, gemv_name, gemm_name};
}

}  // namespace

void fill_neon_float(Kernels& table) {
    set<F32>(table, FormatSlot::f32, "gemv_f32_f32_neon", "gemm_f32_f32_neon");
    set<F16>(table, FormatSlot::f16, "gemv_f16_f32_neon", "gemm_f16_f32_neon");
    set<BF16>(table, FormatSlot::bf16, "gemv_bf16_f32_neon", "gemm_bf16_f32_neon");
    table.matmul_exact = matmul_exact;
}

}  // namespace quant
#endif
