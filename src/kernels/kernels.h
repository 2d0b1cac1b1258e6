// The kernel table: one slot per operation and format, one table per instruction set, chosen once from the CPU.
// Kernels know tensors' rows only: no files, no graphs, no model. Full contract and naming in src/kernels/README.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/result.h"
#include "formats/format.h"

namespace quant {

inline constexpr int64_t kQ8Block = 32;

// Activations as int8: one f32 scale per 32 codes, x = scale * code, codes in [-127, 127].
// Rows are contiguous; cols is a multiple of 32. Memory belongs to the caller, 64-byte aligned.
struct Q8Matrix {
    int8_t* codes = nullptr;  // [rows, cols]
    float* scales = nullptr;  // [rows, cols / 32]
    float* sums = nullptr;    // [rows, cols / 16]: scale * (sum of 16 codes), for formats with a minimum
    float* block_sums = nullptr;  // [rows, cols / 32]: scale * (sum of 32 codes), likewise
    int64_t cols = 0, rows = 0;
    int64_t stride = 0;  // columns from row to row: cols, more for some columns of a matrix, which only quantize_q8 takes

    int8_t* row_codes(int64_t row) const { return codes + row * stride; }
    float* row_scales(int64_t row) const { return scales + row * (stride / 32); }
    float* row_sums(int64_t row) const { return sums + row * (stride / 16); }
    float* row_block_sums(int64_t row) const { return block_sums + row * (stride / 32); }
    // Rows [row, row + count) as a matrix of their own.
    Q8Matrix slice(int64_t row, int64_t count) const {
        return {row_codes(row), row_scales(row), row_sums(row), row_block_sums(row), cols, count, stride};
    }
    // Columns [column, column + count) of all rows; whole blocks.
    Q8Matrix columns(int64_t column, int64_t count) const {
        return {codes + column, scales + column / 32, sums + column / 16, block_sums + column / 32, count, rows, stride};
    }
};
// Bytes for `rows` rows, and the views into one buffer of that size.
size_t q8_matrix_bytes(int64_t cols, int64_t rows);
Q8Matrix q8_matrix_at(void* buffer, int64_t cols, int64_t rows);

// y[t * y_stride + r] = sum over k of w[r, k] * x[t, k], for r in [row_begin, row_end), t in [0, n).
struct MatmulArgs {
    const Format* format = nullptr;
    EncodedView w;                   // stored rows, as in the file
    const float* x = nullptr;        // [n, x_stride], for formats whose activation is f32 and for exact products
    int64_t x_stride = 0;
    const Q8Matrix* xq = nullptr;    // for formats whose activation is q8
    int64_t n = 0;                   // activation rows
    float* y = nullptr;
    int64_t y_stride = 0;
    int64_t row_begin = 0, row_end = 0;
    void* scratch = nullptr;         // kMatmulScratch bytes of the calling thread, 64-byte aligned
    // The call before had this format, x, xq and n, and nothing else used the scratch since: what it made of x is still there.
    bool same_activations = false;
};
inline constexpr size_t kMatmulScratch = size_t{1} << 21;
using MatmulFn = void (*)(const MatmulArgs&);

// Products with a weight of one format. `gemv` serves n = 1 (and may serve few), `gemm` serves from gemm_min_rows on.
struct MatmulKernels {
    MatmulFn gemv = nullptr;
    MatmulFn gemm = nullptr;
    int64_t gemm_min_rows = 2;
    const char* gemv_name = "";  // op_weight_activation_isa, for example gemv_q4k_q8_avx2
    const char* gemm_name = "";
};

enum class KvType : uint8_t { f32, f16, q8_0, q4_0 };
enum class Gate : uint8_t { silu, gelu_tanh, relu2 };

struct Kernels {
    const char* isa = "scalar";
    MatmulKernels matmul[kFormatCount];        // fast path, by FormatSlot
    MatmulFn matmul_exact = nullptr;           // any format: decode to f32, f32 products

    // x[rows, cols] -> out; cols a multiple of 32. Round to nearest even; the same codes on every instruction set.
    void (*quantize_q8)(const float* x, int64_t x_stride, Q8Matrix out, int64_t row_begin, int64_t row_end) = nullptr;
    float (*dot_f32)(const float* a, const float* b, int64_t n) = nullptr;
    float (*dot_f16)(const uint16_t* a, const float* b, int64_t n) = nullptr;   // a in f16
    float (*dot_q8_0)(const uint8_t* a, const float* b, int64_t n) = nullptr;   // a in Q8_0 blocks; n a multiple of 32
    float (*dot_q4_0)(const uint8_t* a, const float* b, int64_t n) = nullptr;   // a in Q4_0 blocks, likewise
    void (*axpy_f32)(float scale, const float* x, float* y, int64_t n) = nullptr;       // y += scale * x
    void (*axpy_f16)(float scale, const uint16_t* x, float* y, int64_t n) = nullptr;
    void (*axpy_q8_0)(float scale, const uint8_t* x, float* y, int64_t n) = nullptr;
    void (*axpy_q4_0)(float scale, const uint8_t* x, float* y, int64_t n) = nullptr;
    void (*f32_to_f16)(const float* x, uint16_t* out, int64_t n) = nullptr;
    void (*f16_to_f32)(const uint16_t* x, float* out, int64_t n) = nullptr;
    void (*add)(const float* a, const float* b, float* out, int64_t n) = nullptr;
    void (*multiply)(const float* a, const float* b, float* out, int64_t n) = nullptr;
    void (*scale)(float factor, float* x, int64_t n) = nullptr;
    // out = x / sqrt(mean(x^2) + eps) * weight; weight may be null (all 1). Sums in f32 lanes, reduced in double.
    void (*rms_norm)(const float* x, const float* weight, float eps, float* out, int64_t n) = nullptr;
    // In place over n scores: exp(x - max) / sum. `sink` (or null) is one more score that takes part and is dropped.
    void (*softmax)(float* x, int64_t n, const float* sink) = nullptr;
    // out[i] = activation(gate[i]) * up[i]
    void (*gated)(Gate kind, const float* gate, const float* up, float* out, int64_t n) = nullptr;
    // Rotates `n_rot` values of each of `heads` vectors of `head_dim`: pairs (i, i+1) or, neox, (i, i + n_rot/2).
    // cos_sin holds n_rot/2 pairs (cos, sin), magnitude scale included.
    void (*rope)(float* x, const float* cos_sin, int64_t heads, int64_t head_dim, int64_t n_rot, bool neox) = nullptr;
};

// The table in use: chosen on first call from CPU features, or by the environment variable QUANT_ISA.
const Kernels& kernels();
// All tables that this processor can run, lowest first (tests walk them). The first is scalar.
std::span<const Kernels* const> available_kernels();
// Chooses by name ("scalar", "avx2", "avxvnni", "avx512", "avx512_vbmi", "neon", "neon_dotprod", "neon_i8mm"); error when unknown or not runnable here.
Status force_kernels(std::string_view isa);
// The error of an unusable QUANT_ISA, so that main can refuse before work starts.
Status check_kernel_environment();

}  // namespace quant
