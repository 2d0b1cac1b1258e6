// The affine formats and L4 times int8 activations, and eight-bit floats times floats (AVX2).
#if defined(__x86_64__)
#include "kernels/avx2.h"
#include "kernels/avx2_affine.h"
#include "kernels/avx2_gemm.h"

namespace quant {
namespace {

// Eight E4M3 numbers: under a float's exponent bias they are 2^120 too small, subnormal ones too; 0x7f is no number.
struct E4M3 {
    static __m256 load8(const uint8_t* at) {
        const __m256i wide = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(static_cast<long long>(load64(at))));
        const __m256i size = _mm256_and_si256(wide, _mm256_set1_epi32(0x7f));
        const __m256i sign = _mm256_slli_epi32(_mm256_xor_si256(wide, size), 24);
        const __m256i none = _mm256_cmpeq_epi32(size, _mm256_set1_epi32(0x7f));
        const __m256 value = _mm256_castsi256_ps(_mm256_or_si256(_mm256_slli_epi32(size, 20), sign));
        return _mm256_or_ps(_mm256_mul_ps(value, _mm256_set1_ps(0x1p120f)), _mm256_castsi256_ps(none));
    }
};

// E5M2 is the upper byte of a half.
struct E5M2 {
    static __m256 load8(const uint8_t* at) {
        return _mm256_cvtph_ps(_mm_slli_epi16(_mm_cvtepu8_epi16(_mm_cvtsi64_si128(static_cast<long long>(load64(at)))), 8));
    }
};

template <class F>
inline __m256 dot_floats(const uint8_t* at, int64_t n, const float* x) {
    __m256 sum[4];
    for (__m256& each : sum) each = _mm256_setzero_ps();
    for (int64_t k = 0; k < n; k += 32) {
        prefetch_ahead(at + k, 32);
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) sum[i] = _mm256_fmadd_ps(F::load8(at + k + 8 * i), _mm256_loadu_ps(x + k + 8 * i), sum[i]);
    }
    return _mm256_add_ps(_mm256_add_ps(sum[0], sum[1]), _mm256_add_ps(sum[2], sum[3]));
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
            __m256 sum = _mm256_setzero_ps();
            for (int64_t k = 0; k < cols; k += span, at += 4 + span) {
                float scale;
                __builtin_memcpy(&scale, at, sizeof scale);
                sum = _mm256_fmadd_ps(dot_floats<F>(at + 4, span, x + k), _mm256_set1_ps(scale), sum);
            }
            args.y[t * args.y_stride + row] = horizontal_sum(sum);
        }
    }
}

}  // namespace

void fill_avx2_affine(Kernels& table) {
    set_affine<Avx2>(table);
    const auto set = [&](FormatSlot slot, MatmulFn gemv, const char* gemv_name, const char* gemm_name) {
        table.matmul[static_cast<size_t>(slot)] = {gemv, table.matmul_exact, 3, gemv_name, gemm_name};
    };
    set(FormatSlot::fp8_e4m3, gemv_fp8<E4M3, 128>, "gemv_fp8_e4m3_f32_avx2", "gemm_any_f32_avx2");
    set(FormatSlot::fp8_e4m3_row, gemv_fp8<E4M3, 0>, "gemv_fp8_e4m3_row_f32_avx2", "gemm_any_f32_avx2");
    set(FormatSlot::fp8_e5m2, gemv_fp8<E5M2, 128>, "gemv_fp8_e5m2_f32_avx2", "gemm_any_f32_avx2");
    set(FormatSlot::fp8_e5m2_row, gemv_fp8<E5M2, 0>, "gemv_fp8_e5m2_row_f32_avx2", "gemm_any_f32_avx2");
}

}  // namespace quant
#endif
