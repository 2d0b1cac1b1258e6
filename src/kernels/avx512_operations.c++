// Activations to int8 and gates, 512 bits wide (AVX-512 with VNNI). The other operations are those of AVX2.
#if defined(__x86_64__)
#include "kernels/avx512_lanes.h"

namespace quant {
namespace {

constexpr int64_t kBlocks = 16;  // of a row at once: one in each lane of what is made of them

// Magnitudes order as the integers of their bits; NaN is above infinity.
struct MostBits {
    static __m512 of(__m512 a, __m512 b) { return _mm512_castsi512_ps(_mm512_max_epi32(_mm512_castps_si512(a), _mm512_castps_si512(b))); }
};

struct ScalesOfBlocks {
    __m512 scale, inverse;
    __mmask16 empty;  // all codes are 0: nearly nothing there, or not finite
};
// `block(b)` is where block b begins.
template <class Block>
inline ScalesOfBlocks scales_of(const Block& block) {
    __m512 most[4][4];
#pragma GCC unroll 16
    for (int b = 0; b < kBlocks; ++b)
        most[b % 4][b / 4] = MostBits::of(_mm512_abs_ps(_mm512_loadu_ps(block(b))), _mm512_abs_ps(_mm512_loadu_ps(block(b) + 16)));
    const __m512 max = across_16<MostBits>(most), whole = _mm512_set1_ps(127.0f);
    const __m512i bits = _mm512_castps_si512(max);
    const __mmask16 tiny = _mm512_cmpgt_epi32_mask(_mm512_set1_epi32(kQ8TinyBits), bits);
    const __mmask16 infinite = _mm512_cmpgt_epi32_mask(bits, _mm512_set1_epi32(kQ8InfinityBits - 1));
    __m512 scale = _mm512_maskz_div_ps(static_cast<__mmask16>(~tiny), max, whole);
    scale = _mm512_mask_blend_ps(infinite, scale, _mm512_castsi512_ps(_mm512_set1_epi32(kQ8NanBits)));
    return {scale, _mm512_div_ps(whole, max), static_cast<__mmask16>(tiny | infinite)};
}

// The codes of two blocks, in order.
inline __m512i codes_of(const float* first, const float* second, float first_inverse, float second_inverse) {
    const auto numbers = [](const float* at, float inverse) { return _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(at), _mm512_set1_ps(inverse))); };
    const __m512i low = _mm512_packs_epi32(numbers(first, first_inverse), numbers(first + 16, first_inverse));
    const __m512i high = _mm512_packs_epi32(numbers(second, second_inverse), numbers(second + 16, second_inverse));
    // The packs work within 128 bits each.
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    return _mm512_permutexvar_epi32(order, _mm512_packs_epi16(low, high));
}

// Sums of 16 codes each, those of eight blocks in order.
inline __m512i sums_of_16(const __m512i (&codes)[4]) {
    __m512i four[4];
    for (int i = 0; i < 4; ++i) four[i] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(1), codes[i]);
    const auto eight = [](__m512i a, __m512i b) { return _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b)); };
    const __m512i first = eight(four[0], four[1]), second = eight(four[2], four[3]);
    const __m512i sums = _mm512_add_epi32(_mm512_unpacklo_epi64(first, second), _mm512_unpackhi_epi64(first, second));
    return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), sums);
}

// `count` blocks, up to 16, of a row from `from` on; block `at` of the row is the first.
template <bool kAll>
inline void quantize_blocks(const float* from, int64_t count, int8_t* codes, float* scales, float* sums, float* block_sums) {
    const auto block = [&](int64_t b) { return from + 32 * (kAll || b < count ? b : count - 1); };
    const ScalesOfBlocks s = scales_of(block);
    alignas(64) float inverse[kBlocks];
    _mm512_store_ps(inverse, s.inverse);
    __m512i sums_of_half[2];
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
        __m512i both[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
            const int b = 8 * half + 2 * i;
            both[i] = codes_of(block(b), block(b + 1), inverse[b], inverse[b + 1]);
            if (kAll || b + 1 < count) _mm512_storeu_si512(codes + 32 * b, both[i]);
            else if (b < count) _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes + 32 * b), _mm512_castsi512_si256(both[i]));
        }
        sums_of_half[half] = sums_of_16(both);
    }
    for (int b = 0; s.empty >> b != 0; ++b)
        if ((s.empty >> b & 1) && b < count) _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes + 32 * b), _mm256_setzero_si256());
    const auto times_scale = [](__m512i sum, __m512 scale, __mmask16 empty) {
        return _mm512_mask_blend_ps(empty, _mm512_mul_ps(_mm512_cvtepi32_ps(sum), scale), scale);
    };
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i firsts = _mm512_permutex2var_epi32(sums_of_half[0], even, sums_of_half[1]);
    const __m512i seconds = _mm512_permutex2var_epi32(sums_of_half[0], _mm512_add_epi32(even, _mm512_set1_epi32(1)), sums_of_half[1]);
    const __mmask16 stored = kAll ? static_cast<__mmask16>(0xffff) : lanes_below(count);
    _mm512_mask_storeu_ps(scales, stored, s.scale);
    _mm512_mask_storeu_ps(block_sums, stored, times_scale(_mm512_add_epi32(firsts, seconds), s.scale, s.empty));
    for (int half = 0; half < 2; ++half) {
        const __m512i twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
        const __m512 scale = _mm512_permutexvar_ps(_mm512_add_epi32(twice, _mm512_set1_epi32(8 * half)), s.scale);
        const auto empty = _mm512_cmp_ps_mask(_mm512_mul_ps(scale, _mm512_setzero_ps()), scale, _CMP_EQ_UQ);  // 0 and NaN
        const int64_t left = 2 * count - 16 * half;
        if (kAll || left > 0) _mm512_mask_storeu_ps(sums + 16 * half, kAll ? static_cast<__mmask16>(0xffff) : lanes_below(left), times_scale(sums_of_half[half], scale, empty));
    }
}

void quantize_q8_avx512(const float* x, int64_t x_stride, Q8Matrix out, int64_t row_begin, int64_t row_end) {
    const int64_t blocks = out.cols / 32, whole = blocks / kBlocks * kBlocks;
    for (int64_t row = row_begin; row < row_end; ++row) {
        const float* from = x + row * x_stride;
        int8_t* codes = out.codes + row * out.stride;
        float* scales = out.scales + row * (out.stride / 32);
        float* sums = out.sums + row * (out.stride / 16);
        float* block_sums = out.block_sums + row * (out.stride / 32);
        for (int64_t at = 0; at < whole; at += kBlocks)
            quantize_blocks<true>(from + 32 * at, kBlocks, codes + 32 * at, scales + at, sums + 2 * at, block_sums + at);
        if (whole < blocks)
            quantize_blocks<false>(from + 32 * whole, blocks - whole, codes + 32 * whole, scales + whole, sums + 2 * whole, block_sums + whole);
    }
}

// out[i] = f(gate[i], up[i])
template <class Function>
inline void map2(const float* gate, const float* up, float* out, int64_t n, const Function& f) {
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) _mm512_storeu_ps(out + i, f(_mm512_loadu_ps(gate + i), _mm512_loadu_ps(up + i)));
    if (i < n) {
        const __mmask16 left = lanes_below(n - i);
        _mm512_mask_storeu_ps(out + i, left, f(_mm512_maskz_loadu_ps(left, gate + i), _mm512_maskz_loadu_ps(left, up + i)));
    }
}

// g / (1 + exp(-u)), for u beyond 87 that of 87. The quotient by an estimate of 14 bits and one step of Newton's. The order of the
// operands keeps NaN.
inline __m512 times_sigmoid(__m512 g, __m512 u) {
    const __m512 x = _mm512_max_ps(_mm512_set1_ps(-87.0f), _mm512_min_ps(_mm512_set1_ps(87.0f), u));
    const __m512 log2_e = _mm512_set1_ps(-kLog2E), power = _mm512_mul_ps(x, log2_e);
    const __m512 lost = _mm512_fmadd_ps(x, _mm512_set1_ps(-kLog2ERest), _mm512_fmsub_ps(x, log2_e, power));
    const __m512 divisor = _mm512_add_ps(_mm512_set1_ps(1.0f), power_of_2(power, _mm512_add_ps(above_floor(power), lost)));
    const __m512 estimate = _mm512_rcp14_ps(divisor);
    return _mm512_mul_ps(g, _mm512_mul_ps(estimate, _mm512_fnmadd_ps(divisor, estimate, _mm512_set1_ps(2.0f))));
}

void gated_avx512(Gate kind, const float* gate, const float* up, float* out, int64_t n) {
    switch (kind) {
        case Gate::silu:
            map2(gate, up, out, n, [](__m512 g, __m512 u) { return _mm512_mul_ps(times_sigmoid(g, g), u); });
            break;
        case Gate::gelu_tanh:
            // 0.5 g (1 + tanh(v)) = g / (1 + exp(-2v)), v = sqrt(2/pi) (g + 0.044715 g^3)  (Hendrycks & Gimpel 2016)
            map2(gate, up, out, n, [](__m512 g, __m512 u) {
                const __m512 inner = _mm512_fmadd_ps(_mm512_mul_ps(_mm512_set1_ps(0.044715f), _mm512_mul_ps(g, g)), g, g);
                return _mm512_mul_ps(times_sigmoid(g, _mm512_mul_ps(_mm512_set1_ps(2 * 0.7978845608028654f), inner)), u);
            });
            break;
        case Gate::relu2:
            map2(gate, up, out, n, [](__m512 g, __m512 u) {
                const __m512 positive = _mm512_max_ps(g, _mm512_setzero_ps());
                return _mm512_mul_ps(_mm512_mul_ps(positive, positive), u);
            });
            break;
    }
}

}  // namespace

void fill_avx512_operations(Kernels& table) {
    table.quantize_q8 = quantize_q8_avx512;
    table.gated = gated_avx512;
}

}  // namespace quant
#endif
