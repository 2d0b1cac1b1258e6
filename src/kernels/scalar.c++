// Kernels in plain C++: the reference that every other table is tested against, and the only one on unknown processors.
// Right before fast: every format goes through its own decode. Must not use intrinsics.
#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <cstring>

#include "kernels/kept_columns.h"
#include "kernels/tables.h"

namespace quant {
namespace {

// Weights of one row decoded at a time: a whole number of blocks of any format.
constexpr int64_t kPiece = 16384;

// Calls product(weights, t, k, count) for each piece of a row and each activation row; its results add up to y.
template <class Product>
void matmul_scalar(const MatmulArgs& args, bool fast, Product product) {
    auto* weights = static_cast<float*>(args.scratch);
    for (int64_t row = args.row_begin; row < args.row_end; ++row) {
        for (int64_t k = 0; k < args.w.cols; k += kPiece) {
            const int64_t count = std::min(kPiece, args.w.cols - k);
            decode_part(*args.format, args.w, row, k, count, weights, fast);
            for (int64_t t = 0; t < args.n; ++t) {
                float& y = args.y[t * args.y_stride + row];
                y = static_cast<float>((k == 0 ? 0.0 : static_cast<double>(y)) + product(weights, t, k, count));
            }
        }
    }
}

void matmul_any_f32_scalar(const MatmulArgs& args) {
    matmul_scalar(args, false, [&](const float* w, int64_t t, int64_t k, int64_t count) {
        const float* x = args.x + t * args.x_stride + k;
        double sum = 0;
        for (int64_t i = 0; i < count; ++i) sum += static_cast<double>(w[i]) * static_cast<double>(x[i]);
        return sum;
    });
}

void matmul_any_q8_scalar(const MatmulArgs& args) {
    assert(args.w.cols % kQ8Block == 0);
    matmul_scalar(args, true, [&](const float* w, int64_t t, int64_t k, int64_t count) {
        const int8_t* codes = args.xq->row_codes(t) + k;
        const float* scales = args.xq->row_scales(t) + k / kQ8Block;
        double sum = 0;
        for (int64_t block = 0; block < count / kQ8Block; ++block) {
            double part = 0;
            for (int64_t i = 0; i < kQ8Block; ++i) {
                part += static_cast<double>(w[block * kQ8Block + i]) * codes[block * kQ8Block + i];
            }
            sum += part * static_cast<double>(scales[block]);
        }
        return sum;
    });
}

void matmul_q8_row_o_scalar(const MatmulArgs& args) {
    matmul_any_q8_scalar(args);
    add_kept(args, [](const uint8_t* at) {
        uint16_t half;
        std::memcpy(&half, at, sizeof half);
        return f16_to_f32(half);
    });
}

void quantize_q8_scalar(const float* x, int64_t x_stride, Q8Matrix out, int64_t row_begin, int64_t row_end) {
    assert(out.cols % kQ8Block == 0);
    for (int64_t row = row_begin; row < row_end; ++row) {
        const float* from = x + row * x_stride;
        int8_t* codes = out.row_codes(row);
        float* scales = out.row_scales(row);
        float* sums = out.row_sums(row);
        float* block_sums = out.row_block_sums(row);
        for (int64_t block = 0; block < out.cols / kQ8Block; ++block, from += kQ8Block, codes += kQ8Block) {
            uint32_t largest = 0;
            for (int64_t i = 0; i < kQ8Block; ++i) {
                largest = std::max(largest, std::bit_cast<uint32_t>(from[i]) & 0x7fffffffu);
            }
            if (largest < kQ8TinyBits || largest >= kQ8InfinityBits) {
                const float scale = largest < kQ8TinyBits ? 0.0f : std::bit_cast<float>(kQ8NanBits);
                std::memset(codes, 0, kQ8Block);
                scales[block] = sums[2 * block] = sums[2 * block + 1] = block_sums[block] = scale;
                continue;
            }
            const float max = std::bit_cast<float>(largest);
            const float scale = max / 127.0f, inverse = 127.0f / max;
            for (int64_t i = 0; i < kQ8Block; ++i) {
                codes[i] = static_cast<int8_t>(std::nearbyint(from[i] * inverse));
            }
            scales[block] = scale;
            int sum[2] = {0, 0};
            for (int i = 0; i < kQ8Block; ++i) sum[i / 16] += codes[i];
            sums[2 * block] = scale * static_cast<float>(sum[0]);
            sums[2 * block + 1] = scale * static_cast<float>(sum[1]);
            block_sums[block] = scale * static_cast<float>(sum[0] + sum[1]);
        }
    }
}

float dot_f32_scalar(const float* a, const float* b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    return static_cast<float>(sum);
}

float dot_f16_scalar(const uint16_t* a, const float* b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(f16_to_f32(a[i])) * static_cast<double>(b[i]);
    return static_cast<float>(sum);
}

// Q8_0: an f16 scale, then 32 codes.
constexpr int64_t kQ80Bytes = 34;

float block_scale(const uint8_t* block) {
    uint16_t half;
    std::memcpy(&half, block, sizeof half);
    return f16_to_f32(half);
}

float dot_q8_0_scalar(const uint8_t* a, const float* b, int64_t n) {
    assert(n % 32 == 0);
    double sum = 0;
    for (int64_t i = 0; i < n; i += 32, a += kQ80Bytes, b += 32) {
        double part = 0;
        for (int j = 0; j < 32; ++j) part += static_cast<double>(static_cast<int8_t>(a[2 + j])) * static_cast<double>(b[j]);
        sum += part * static_cast<double>(block_scale(a));
    }
    return static_cast<float>(sum);
}

// Q4_0: an f16 scale, then 16 bytes: low nibbles are codes 0 to 15, high ones 16 to 31; 8 stands for 0.
constexpr int64_t kQ40Bytes = 18;

int q4_0_code(const uint8_t* block, int i) { return (i < 16 ? block[2 + i] & 15 : block[2 + i - 16] >> 4) - 8; }

float dot_q4_0_scalar(const uint8_t* a, const float* b, int64_t n) {
    assert(n % 32 == 0);
    double sum = 0;
    for (int64_t i = 0; i < n; i += 32, a += kQ40Bytes, b += 32) {
        double part = 0;
        for (int j = 0; j < 32; ++j) part += static_cast<double>(q4_0_code(a, j)) * static_cast<double>(b[j]);
        sum += part * static_cast<double>(block_scale(a));
    }
    return static_cast<float>(sum);
}

void axpy_f32_scalar(float scale, const float* x, float* y, int64_t n) {
    for (int64_t i = 0; i < n; ++i) y[i] += scale * x[i];
}

void axpy_f16_scalar(float scale, const uint16_t* x, float* y, int64_t n) {
    for (int64_t i = 0; i < n; ++i) y[i] += scale * f16_to_f32(x[i]);
}

void axpy_q8_0_scalar(float scale, const uint8_t* x, float* y, int64_t n) {
    assert(n % 32 == 0);
    for (int64_t i = 0; i < n; i += 32, x += kQ80Bytes, y += 32) {
        const float factor = scale * block_scale(x);
        for (int j = 0; j < 32; ++j) y[j] += factor * static_cast<float>(static_cast<int8_t>(x[2 + j]));
    }
}

void axpy_q4_0_scalar(float scale, const uint8_t* x, float* y, int64_t n) {
    assert(n % 32 == 0);
    for (int64_t i = 0; i < n; i += 32, x += kQ40Bytes, y += 32) {
        const float factor = scale * block_scale(x);
        for (int j = 0; j < 32; ++j) y[j] += factor * static_cast<float>(q4_0_code(x, j));
    }
}

void f32_to_f16_scalar(const float* x, uint16_t* out, int64_t n) {
    for (int64_t i = 0; i < n; ++i) out[i] = f32_to_f16(x[i]);
}

void f16_to_f32_scalar(const uint16_t* x, float* out, int64_t n) {
    for (int64_t i = 0; i < n; ++i) out[i] = f16_to_f32(x[i]);
}

void add_scalar(const float* a, const float* b, float* out, int64_t n) {
    for (int64_t i = 0; i < n; ++i) out[i] = a[i] + b[i];
}

void multiply_scalar(const float* a, const float* b, float* out, int64_t n) {
    for (int64_t i = 0; i < n; ++i) out[i] = a[i] * b[i];
}

void scale_scalar(float factor, float* x, int64_t n) {
    for (int64_t i = 0; i < n; ++i) x[i] *= factor;
}

void rms_norm_scalar(const float* x, const float* weight, float eps, float* out, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    const double mean = sum / static_cast<double>(n);
    const auto factor = static_cast<float>(1.0 / std::sqrt(mean + static_cast<double>(eps)));
    for (int64_t i = 0; i < n; ++i) out[i] = x[i] * factor * (weight ? weight[i] : 1.0f);
}

void softmax_scalar(float* x, int64_t n, const float* sink) {
    float max = sink ? *sink : -INFINITY;
    for (int64_t i = 0; i < n; ++i) max = std::max(max, x[i]);
    if (max == -INFINITY) max = 0;  // nothing visible: all zero
    double sum = sink ? std::exp(static_cast<double>(*sink - max)) : 0.0;
    for (int64_t i = 0; i < n; ++i) {
        x[i] = std::exp(x[i] - max);
        sum += static_cast<double>(x[i]);
    }
    const float factor = sum > 0 ? static_cast<float>(1.0 / sum) : 0.0f;
    for (int64_t i = 0; i < n; ++i) x[i] *= factor;
}

float gate_scalar(Gate kind, float g) {
    switch (kind) {
        case Gate::silu: return g / (1.0f + std::exp(-g));
        case Gate::gelu_tanh: {
            // 0.5 g (1 + tanh(u)) = g / (1 + exp(-2u)), u = sqrt(2/pi) (g + 0.044715 g^3)  (Hendrycks & Gimpel 2016)
            const float u = 0.7978845608028654f * (g + 0.044715f * g * g * g);
            return g / (1.0f + std::exp(-2.0f * u));
        }
        case Gate::relu2: return g > 0 ? g * g : 0.0f;
    }
    return 0.0f;
}

void gated_scalar(Gate kind, const float* gate, const float* up, float* out, int64_t n) {
    for (int64_t i = 0; i < n; ++i) out[i] = gate_scalar(kind, gate[i]) * up[i];
}

void rope_scalar(float* x, const float* cos_sin, int64_t heads, int64_t head_dim, int64_t n_rot, bool neox) {
    assert(n_rot % 2 == 0 && n_rot <= head_dim);
    const int64_t half = n_rot / 2;
    const int64_t apart = neox ? half : 1, step = neox ? 1 : 2;
    for (int64_t head = 0; head < heads; ++head, x += head_dim) {
        for (int64_t i = 0; i < half; ++i) {
            const float c = cos_sin[2 * i], s = cos_sin[2 * i + 1];
            float& first = x[i * step];
            float& second = x[i * step + apart];
            const float a = first, b = second;
            first = a * c - b * s;
            second = a * s + b * c;
        }
    }
}

}  // namespace

void fill_scalar(Kernels& table) {
    for (const Format& f : formats()) {
        MatmulKernels& slot = table.matmul[static_cast<size_t>(f.slot)];
        if (f.activation == Activation::f32) {
            slot = {matmul_any_f32_scalar, matmul_any_f32_scalar, 2, "gemv_any_f32_scalar", "gemm_any_f32_scalar"};
        } else if (f.activation == Activation::q8) {
            slot = {matmul_any_q8_scalar, matmul_any_q8_scalar, 2, "gemv_any_q8_scalar", "gemm_any_q8_scalar"};
        }
    }
    table.matmul[static_cast<size_t>(FormatSlot::q8_row_o)] = {matmul_q8_row_o_scalar, matmul_q8_row_o_scalar, 2, "gemv_q8_row_o_q8_scalar",
                                                               "gemm_q8_row_o_q8_scalar"};
    table.matmul_exact = matmul_any_f32_scalar;
    table.quantize_q8 = quantize_q8_scalar;
    table.dot_f32 = dot_f32_scalar;
    table.dot_f16 = dot_f16_scalar;
    table.dot_q8_0 = dot_q8_0_scalar;
    table.dot_q4_0 = dot_q4_0_scalar;
    table.axpy_f32 = axpy_f32_scalar;
    table.axpy_f16 = axpy_f16_scalar;
    table.axpy_q8_0 = axpy_q8_0_scalar;
    table.axpy_q4_0 = axpy_q4_0_scalar;
    table.f32_to_f16 = f32_to_f16_scalar;
    table.f16_to_f32 = f16_to_f32_scalar;
    table.add = add_scalar;
    table.multiply = multiply_scalar;
    table.scale = scale_scalar;
    table.rms_norm = rms_norm_scalar;
    table.softmax = softmax_scalar;
    table.gated = gated_scalar;
    table.rope = rope_scalar;
}

}  // namespace quant
