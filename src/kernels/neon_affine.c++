// The affine formats and L4 times int8 activations, and eight-bit floats times floats (plain NEON).
#if defined(__aarch64__)
#include "kernels/neon.h"
#include "kernels/neon_affine.h"
#include "kernels/neon_plain.h"

namespace quant {
namespace {

struct Floats8 {
    float32x4_t low, high;
};

// Eight E4M3 numbers: under a float's exponent bias they are 2^120 too small, subnormal ones too; 0x7f is no number.
struct E4M3 {
    static float32x4_t four(uint32x4_t wide) {
        const uint32x4_t size = vandq_u32(wide, vdupq_n_u32(0x7f)), sign = vshlq_n_u32(veorq_u32(wide, size), 24);
        const uint32x4_t none = vceqq_u32(size, vdupq_n_u32(0x7f));
        const float32x4_t value = vmulq_n_f32(vreinterpretq_f32_u32(vorrq_u32(vshlq_n_u32(size, 20), sign)), 0x1p120f);
        return vreinterpretq_f32_u32(vorrq_u32(vreinterpretq_u32_f32(value), none));
    }
    static Floats8 load8(const uint8_t* at) {
        const uint16x8_t wide = vmovl_u8(vld1_u8(at));
        return {four(vmovl_u16(vget_low_u16(wide))), four(vmovl_u16(vget_high_u16(wide)))};
    }
};

// E5M2 is the upper byte of a half.
struct E5M2 {
    static Floats8 load8(const uint8_t* at) {
        const float16x8_t halves = vreinterpretq_f16_u16(vshlq_n_u16(vmovl_u8(vld1_u8(at)), 8));
        return {vcvt_f32_f16(vget_low_f16(halves)), vcvt_f32_f16(vget_high_f16(halves))};
    }
};

template <class F>
inline float32x4_t dot_floats(const uint8_t* at, int64_t n, const float* x) {
    float32x4_t sum[4];
    for (float32x4_t& each : sum) each = vdupq_n_f32(0);
    for (int64_t k = 0; k < n; k += 16) {
        for (int i = 0; i < 2; ++i) {
            const Floats8 w = F::load8(at + k + 8 * i);
            sum[2 * i] = vfmaq_f32(sum[2 * i], w.low, vld1q_f32(x + k + 8 * i));
            sum[2 * i + 1] = vfmaq_f32(sum[2 * i + 1], w.high, vld1q_f32(x + k + 8 * i + 4));
        }
    }
    return vaddq_f32(vaddq_f32(sum[0], sum[1]), vaddq_f32(sum[2], sum[3]));
}

// A float scale before each kSpan numbers, or before the row's.
template <class F, int64_t kSpan>
void gemv_fp8(const MatmulArgs& args) {
    const int64_t cols = args.w.cols, span = kSpan ? kSpan : cols;
    const int64_t row_bytes = cols / span * (4 + span);
    for (int64_t t = 0; t < args.n; ++t) {
        const float* x = args.x + t * args.x_stride;
        for (int64_t row = args.row_begin; row < args.row_end; ++row) {
            const uint8_t* at = args.w.data + row * row_bytes;
            float32x4_t sum = vdupq_n_f32(0);
            for (int64_t k = 0; k < cols; k += span, at += 4 + span) {
                float scale;
                __builtin_memcpy(&scale, at, sizeof scale);
                sum = vfmaq_n_f32(sum, dot_floats<F>(at + 4, span, x + k), scale);
            }
            args.y[t * args.y_stride + row] = vaddvq_f32(sum);
        }
    }
}

}  // namespace

void fill_neon_affine(Kernels& table) {
#define SET(C, slot, name)                                             \
    set_affine_gemv<C>(table, slot, "gemv_" name "_q8_neon");          \
    set_affine_gemm<Plain, C>(table, slot, "gemm_" name "_q8_neon");
    QUANT_EACH_AFFINE(SET);
#undef SET
    set_kept_gemv(table, "gemv_q8_row_o_q8_neon");
    set_kept_gemm<Plain>(table, "gemm_q8_row_o_q8_neon");
    const auto set = [&](FormatSlot slot, MatmulFn gemv, const char* gemv_name) {
        table.matmul[static_cast<size_t>(slot)] = {gemv, table.matmul_exact, 3, gemv_name, "gemm_any_f32_neon"};
    };
    set(FormatSlot::fp8_e4m3, gemv_fp8<E4M3, 128>, "gemv_fp8_e4m3_f32_neon");
    set(FormatSlot::fp8_e4m3_row, gemv_fp8<E4M3, 0>, "gemv_fp8_e4m3_row_f32_neon");
    set(FormatSlot::fp8_e5m2, gemv_fp8<E5M2, 128>, "gemv_fp8_e5m2_f32_neon");
    set(FormatSlot::fp8_e5m2_row, gemv_fp8<E5M2, 0>, "gemv_fp8_e5m2_row_f32_neon");
}

}  // namespace quant
#endif
