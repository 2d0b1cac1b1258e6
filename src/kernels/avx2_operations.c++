// Everything but products with weights: activations to int8, dots and axpys of the cache, norms, softmax, gates, rope
// (AVX2, FMA, F16C). Any length: the last 1 to 7 elements go through masked loads or a padded copy.
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels/avx2.h"

namespace quant {
namespace {

inline __m128i load128(const void* at) { return _mm_loadu_si128(static_cast<const __m128i*>(at)); }

// Lanes 0 .. left-1 set, for maskload and maskstore; left is 1 to 7.
inline __m256i lanes_below(int64_t left) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(left)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

inline float horizontal_sum(__m256 v) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

inline double horizontal_sum_double(__m256 v) {
    const __m256d s = _mm256_add_pd(_mm256_cvtps_pd(_mm256_castps256_ps128(v)), _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1)));
    const __m128d t = _mm_add_pd(_mm256_castpd256_pd128(s), _mm256_extractf128_pd(s, 1));
    return _mm_cvtsd_f64(_mm_add_sd(t, _mm_unpackhi_pd(t, t)));
}

inline float horizontal_max(__m256 v) {
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

// exp(x) to about 1 ulp: x = n ln 2 + r, |r| <= ln 2 / 2, a polynomial for exp(r) (Taylor terms to r^7: the rest is below
// 2^-27), then two steps of scaling so that subnormal results are right too. Below -104 it is 0, above 88.8 infinity.
inline __m256 exp8(__m256 x) {
    const __m256 clamped = _mm256_min_ps(_mm256_max_ps(x, _mm256_set1_ps(-104.0f)), _mm256_set1_ps(89.0f));
    const __m256 n = _mm256_round_ps(_mm256_mul_ps(clamped, _mm256_set1_ps(1.44269504088896341f)),
                                     _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    // ln 2 in two parts, the first with zeros at its end, so that n times it is exact.
    __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693145751953125f), clamped);
    r = _mm256_fnmadd_ps(n, _mm256_set1_ps(1.42860682030941723212e-6f), r);
    __m256 p = _mm256_set1_ps(1.0f / 5040);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 720));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 120));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 24));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 6));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.5f));
    p = _mm256_fmadd_ps(p, _mm256_mul_ps(r, r), r);
    p = _mm256_add_ps(p, _mm256_set1_ps(1.0f));
    const __m256i exponent = _mm256_cvtps_epi32(n), first = _mm256_srai_epi32(exponent, 1);
    const auto power = [](__m256i e) {
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(e, _mm256_set1_epi32(127)), 23));
    };
    const __m256 value = _mm256_mul_ps(_mm256_mul_ps(p, power(first)), power(_mm256_sub_epi32(exponent, first)));
    return _mm256_blendv_ps(value, x, _mm256_cmp_ps(x, x, _CMP_UNORD_Q));  // NaN stays NaN
}

inline int sum_of_lanes(__m128i v) {
    v = _mm_add_epi32(v, _mm_shuffle_epi32(v, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(v, _mm_shuffle_epi32(v, 0xb1)));
}

void quantize_q8_avx2(const float* x, int64_t x_stride, Q8Matrix out, int64_t row_begin, int64_t row_end) {
    const int64_t blocks = out.cols / 32;
    const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
    for (int64_t row = row_begin; row < row_end; ++row) {
        const float* from = x + row * x_stride;
        int8_t* codes = out.codes + row * out.stride;
        float* scales = out.scales + row * (out.stride / 32);
        float* sums = out.sums + row * (out.stride / 16);
        float* block_sums = out.block_sums + row * (out.stride / 32);
        for (int64_t block = 0; block < blocks; ++block, from += 32, codes += 32) {
            __m256 v[4];
            for (int i = 0; i < 4; ++i) v[i] = _mm256_loadu_ps(from + 8 * i);
            // Magnitudes order as the integers of their bits; NaN is above infinity.
            __m256i m = _mm256_and_si256(_mm256_castps_si256(v[0]), magnitude);
            for (int i = 1; i < 4; ++i) m = _mm256_max_epi32(m, _mm256_and_si256(_mm256_castps_si256(v[i]), magnitude));
            __m128i m4 = _mm_max_epi32(_mm256_castsi256_si128(m), _mm256_extracti128_si256(m, 1));
            m4 = _mm_max_epi32(m4, _mm_shuffle_epi32(m4, 0x4e));
            m4 = _mm_max_epi32(m4, _mm_shuffle_epi32(m4, 0xb1));
            const auto largest = static_cast<uint32_t>(_mm_cvtsi128_si32(m4));
            if (largest < kQ8TinyBits || largest >= kQ8InfinityBits) {
                const uint32_t bits = largest < kQ8TinyBits ? 0u : kQ8NanBits;
                float scale;
                __builtin_memcpy(&scale, &bits, sizeof scale);
                _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes), _mm256_setzero_si256());
                scales[block] = sums[2 * block] = sums[2 * block + 1] = block_sums[block] = scale;
                continue;
            }
            const float max = _mm_cvtss_f32(_mm_castsi128_ps(m4));
            const float scale = max / 127.0f;
            const __m256 inverse = _mm256_set1_ps(127.0f / max);
            __m256i q[4];
            for (int i = 0; i < 4; ++i) q[i] = _mm256_cvtps_epi32(_mm256_mul_ps(v[i], inverse));
            const __m256i low = _mm256_packs_epi32(q[0], q[1]), high = _mm256_packs_epi32(q[2], q[3]);
            // The packs interleave 128-bit halves: put the dwords back in order.
            const __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high),
                                                              _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes), bytes);
            const __m256i four = _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), bytes), _mm256_set1_epi16(1));
            const int first = sum_of_lanes(_mm256_castsi256_si128(four)), second = sum_of_lanes(_mm256_extracti128_si256(four, 1));
            scales[block] = scale;
            sums[2 * block] = scale * static_cast<float>(first);
            sums[2 * block + 1] = scale * static_cast<float>(second);
            block_sums[block] = scale * static_cast<float>(first + second);
        }
    }
}

float dot_f32_avx2(const float* a, const float* b, int64_t n) {
    __m256 s[4];
    for (__m256& each : s) each = _mm256_setzero_ps();
    int64_t i = 0;
    for (; i + 32 <= n; i += 32) {
        for (int j = 0; j < 4; ++j) s[j] = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 8 * j), _mm256_loadu_ps(b + i + 8 * j), s[j]);
    }
    for (; i + 8 <= n; i += 8) s[0] = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), s[0]);
    if (i < n) {
        const __m256i mask = lanes_below(n - i);
        s[1] = _mm256_fmadd_ps(_mm256_maskload_ps(a + i, mask), _mm256_maskload_ps(b + i, mask), s[1]);
    }
    return horizontal_sum(_mm256_add_ps(_mm256_add_ps(s[0], s[1]), _mm256_add_ps(s[2], s[3])));
}

inline __m256 load8_half(const uint16_t* at) { return _mm256_cvtph_ps(load128(at)); }

// The last 1 to 7 halves as floats, zeros behind.
inline __m256 load_half_tail(const uint16_t* at, int64_t left) {
    alignas(16) uint16_t padded[8] = {};
    for (int64_t i = 0; i < left; ++i) padded[i] = at[i];
    return _mm256_cvtph_ps(load128(padded));
}

float dot_f16_avx2(const uint16_t* a, const float* b, int64_t n) {
    __m256 s[4];
    for (__m256& each : s) each = _mm256_setzero_ps();
    int64_t i = 0;
    for (; i + 32 <= n; i += 32) {
        for (int j = 0; j < 4; ++j) s[j] = _mm256_fmadd_ps(load8_half(a + i + 8 * j), _mm256_loadu_ps(b + i + 8 * j), s[j]);
    }
    for (; i + 8 <= n; i += 8) s[0] = _mm256_fmadd_ps(load8_half(a + i), _mm256_loadu_ps(b + i), s[0]);
    if (i < n) {
        s[1] = _mm256_fmadd_ps(load_half_tail(a + i, n - i), _mm256_maskload_ps(b + i, lanes_below(n - i)), s[1]);
    }
    return horizontal_sum(_mm256_add_ps(_mm256_add_ps(s[0], s[1]), _mm256_add_ps(s[2], s[3])));
}

constexpr int64_t kQ80Bytes = 34;  // an f16 scale, then 32 codes

inline float block_scale(const uint8_t* block) {
    uint16_t half;
    __builtin_memcpy(&half, block, sizeof half);
    return _cvtsh_ss(half);
}

inline __m256 eight_codes(const uint8_t* at) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(at))));
}

float dot_q8_0_avx2(const uint8_t* a, const float* b, int64_t n) {
    __m256 sum = _mm256_setzero_ps();
    for (int64_t i = 0; i < n; i += 32, a += kQ80Bytes, b += 32) {
        __m256 part = _mm256_mul_ps(eight_codes(a + 2), _mm256_loadu_ps(b));
        for (int j = 1; j < 4; ++j) part = _mm256_fmadd_ps(eight_codes(a + 2 + 8 * j), _mm256_loadu_ps(b + 8 * j), part);
        sum = _mm256_fmadd_ps(part, _mm256_set1_ps(block_scale(a)), sum);
    }
    return horizontal_sum(sum);
}

constexpr int64_t kQ40Bytes = 18;  // an f16 scale, then 16 bytes: codes 0 to 15 in the low nibbles, 16 to 31 in the high ones

// Codes 8j to 8j + 7, less 8, as floats.
inline __m256 eight_nibbles(const uint8_t* block, int j) {
    __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(block + 2 + 8 * (j & 1)));
    if (j >= 2) bytes = _mm_srli_epi16(bytes, 4);
    bytes = _mm_sub_epi8(_mm_and_si128(bytes, _mm_set1_epi8(15)), _mm_set1_epi8(8));
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
}

float dot_q4_0_avx2(const uint8_t* a, const float* b, int64_t n) {
    __m256 sum = _mm256_setzero_ps();
    for (int64_t i = 0; i < n; i += 32, a += kQ40Bytes, b += 32) {
        __m256 part = _mm256_mul_ps(eight_nibbles(a, 0), _mm256_loadu_ps(b));
        for (int j = 1; j < 4; ++j) part = _mm256_fmadd_ps(eight_nibbles(a, j), _mm256_loadu_ps(b + 8 * j), part);
        sum = _mm256_fmadd_ps(part, _mm256_set1_ps(block_scale(a)), sum);
    }
    return horizontal_sum(sum);
}

void axpy_f32_avx2(float scale, const float* x, float* y, int64_t n) {
    const __m256 factor = _mm256_set1_ps(scale);
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) _mm256_storeu_ps(y + i, _mm256_fmadd_ps(factor, _mm256_loadu_ps(x + i), _mm256_loadu_ps(y + i)));
    if (i < n) {
        const __m256i mask = lanes_below(n - i);
        _mm256_maskstore_ps(y + i, mask, _mm256_fmadd_ps(factor, _mm256_maskload_ps(x + i, mask), _mm256_maskload_ps(y + i, mask)));
    }
}

void axpy_f16_avx2(float scale, const uint16_t* x, float* y, int64_t n) {
    const __m256 factor = _mm256_set1_ps(scale);
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) _mm256_storeu_ps(y + i, _mm256_fmadd_ps(factor, load8_half(x + i), _mm256_loadu_ps(y + i)));
    if (i < n) {
        const __m256i mask = lanes_below(n - i);
        _mm256_maskstore_ps(y + i, mask, _mm256_fmadd_ps(factor, load_half_tail(x + i, n - i), _mm256_maskload_ps(y + i, mask)));
    }
}

void axpy_q8_0_avx2(float scale, const uint8_t* x, float* y, int64_t n) {
    for (int64_t i = 0; i < n; i += 32, x += kQ80Bytes, y += 32) {
        const __m256 factor = _mm256_set1_ps(scale * block_scale(x));
        for (int j = 0; j < 4; ++j) {
            _mm256_storeu_ps(y + 8 * j, _mm256_fmadd_ps(factor, eight_codes(x + 2 + 8 * j), _mm256_loadu_ps(y + 8 * j)));
        }
    }
}

void axpy_q4_0_avx2(float scale, const uint8_t* x, float* y, int64_t n) {
    for (int64_t i = 0; i < n; i += 32, x += kQ40Bytes, y += 32) {
        const __m256 factor = _mm256_set1_ps(scale * block_scale(x));
        for (int j = 0; j < 4; ++j)
            _mm256_storeu_ps(y + 8 * j, _mm256_fmadd_ps(factor, eight_nibbles(x, j), _mm256_loadu_ps(y + 8 * j)));
    }
}

void f32_to_f16_avx2(const float* x, uint16_t* out, int64_t n) {
    constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), _mm256_cvtps_ph(_mm256_loadu_ps(x + i), kNearest));
    }
    for (; i < n; ++i) out[i] = static_cast<uint16_t>(_cvtss_sh(x[i], kNearest));
}

void f16_to_f32_avx2(const uint16_t* x, float* out, int64_t n) {
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) _mm256_storeu_ps(out + i, load8_half(x + i));
    for (; i < n; ++i) out[i] = _cvtsh_ss(x[i]);
}

// out[i] = f(a[i], b[i]), eight at a time, the tail masked.
template <class Function>
inline void map2(const float* a, const float* b, float* out, int64_t n, Function f) {
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) _mm256_storeu_ps(out + i, f(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i)));
    if (i < n) {
        const __m256i mask = lanes_below(n - i);
        _mm256_maskstore_ps(out + i, mask, f(_mm256_maskload_ps(a + i, mask), _mm256_maskload_ps(b + i, mask)));
    }
}

void add_avx2(const float* a, const float* b, float* out, int64_t n) {
    map2(a, b, out, n, [](__m256 u, __m256 v) { return _mm256_add_ps(u, v); });
}

void multiply_avx2(const float* a, const float* b, float* out, int64_t n) {
    map2(a, b, out, n, [](__m256 u, __m256 v) { return _mm256_mul_ps(u, v); });
}

void scale_avx2(float factor, float* x, int64_t n) {
    const __m256 f = _mm256_set1_ps(factor);
    map2(x, x, x, n, [f](__m256 u, __m256) { return _mm256_mul_ps(u, f); });
}

void rms_norm_avx2(const float* x, const float* weight, float eps, float* out, int64_t n) {
    __m256 s[4];
    for (__m256& each : s) each = _mm256_setzero_ps();
    int64_t i = 0;
    for (; i + 32 <= n; i += 32) {
        for (int j = 0; j < 4; ++j) {
            const __m256 v = _mm256_loadu_ps(x + i + 8 * j);
            s[j] = _mm256_fmadd_ps(v, v, s[j]);
        }
    }
    for (; i + 8 <= n; i += 8) {
        const __m256 v = _mm256_loadu_ps(x + i);
        s[0] = _mm256_fmadd_ps(v, v, s[0]);
    }
    if (i < n) {
        const __m256 v = _mm256_maskload_ps(x + i, lanes_below(n - i));
        s[1] = _mm256_fmadd_ps(v, v, s[1]);
    }
    const double sum = horizontal_sum_double(s[0]) + horizontal_sum_double(s[1]) + horizontal_sum_double(s[2]) +
                       horizontal_sum_double(s[3]);
    const double mean = sum / static_cast<double>(n) + static_cast<double>(eps);
    const __m256 factor = _mm256_set1_ps(static_cast<float>(1.0 / _mm_cvtsd_f64(_mm_sqrt_sd(_mm_setzero_pd(), _mm_set_sd(mean)))));
    if (weight) {
        map2(x, weight, out, n, [factor](__m256 v, __m256 w) { return _mm256_mul_ps(_mm256_mul_ps(v, factor), w); });
    } else {
        map2(x, x, out, n, [factor](__m256 v, __m256) { return _mm256_mul_ps(v, factor); });
    }
}

void softmax_avx2(float* x, int64_t n, const float* sink) {
    constexpr float kLowest = -__builtin_inff();
    __m256 largest = _mm256_set1_ps(sink ? *sink : kLowest);
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) largest = _mm256_max_ps(largest, _mm256_loadu_ps(x + i));
    if (i < n) {
        const __m256i mask = lanes_below(n - i);
        const __m256 v = _mm256_maskload_ps(x + i, mask);
        largest = _mm256_max_ps(largest, _mm256_blendv_ps(_mm256_set1_ps(kLowest), v, _mm256_castsi256_ps(mask)));
    }
    float max = horizontal_max(largest);
    if (max == kLowest) max = 0;  // nothing visible: all zero
    const __m256 shift = _mm256_set1_ps(max);
    __m256 sum = _mm256_setzero_ps();
    double total = 0;
    int64_t part = 0;  // lanes add up at most 1024 values before they go to the double
    for (i = 0; i + 8 <= n; i += 8) {
        const __m256 e = exp8(_mm256_sub_ps(_mm256_loadu_ps(x + i), shift));
        _mm256_storeu_ps(x + i, e);
        sum = _mm256_add_ps(sum, e);
        if (++part == 1024) {
            total += horizontal_sum_double(sum);
            sum = _mm256_setzero_ps();
            part = 0;
        }
    }
    if (i < n) {
        const __m256i mask = lanes_below(n - i);
        const __m256 e = exp8(_mm256_sub_ps(_mm256_maskload_ps(x + i, mask), shift));
        _mm256_maskstore_ps(x + i, mask, e);
        sum = _mm256_add_ps(sum, _mm256_and_ps(e, _mm256_castsi256_ps(mask)));
    }
    total += horizontal_sum_double(sum);
    if (sink) total += static_cast<double>(_mm256_cvtss_f32(exp8(_mm256_set1_ps(*sink - max))));
    scale_avx2(total > 0 ? static_cast<float>(1.0 / total) : 0.0f, x, n);
}

// g / (1 + exp(-u))
inline __m256 times_sigmoid(__m256 g, __m256 u) {
    const __m256 one = _mm256_set1_ps(1.0f);
    return _mm256_div_ps(g, _mm256_add_ps(one, exp8(_mm256_sub_ps(_mm256_setzero_ps(), u))));
}

void gated_avx2(Gate kind, const float* gate, const float* up, float* out, int64_t n) {
    switch (kind) {
        case Gate::silu:
            map2(gate, up, out, n, [](__m256 g, __m256 u) { return _mm256_mul_ps(times_sigmoid(g, g), u); });
            break;
        case Gate::gelu_tanh:
            // 0.5 g (1 + tanh(v)) = g / (1 + exp(-2v)), v = sqrt(2/pi) (g + 0.044715 g^3)  (Hendrycks & Gimpel 2016)
            map2(gate, up, out, n, [](__m256 g, __m256 u) {
                const __m256 inner = _mm256_fmadd_ps(_mm256_mul_ps(_mm256_set1_ps(0.044715f), _mm256_mul_ps(g, g)), g, g);
                return _mm256_mul_ps(times_sigmoid(g, _mm256_mul_ps(_mm256_set1_ps(2 * 0.7978845608028654f), inner)), u);
            });
            break;
        case Gate::relu2:
            map2(gate, up, out, n, [](__m256 g, __m256 u) {
                const __m256 positive = _mm256_max_ps(g, _mm256_setzero_ps());
                return _mm256_mul_ps(_mm256_mul_ps(positive, positive), u);
            });
            break;
    }
}

inline void rotate1(float* first, float* second, const float* cos_sin) {
    const float a = *first, b = *second;
    *first = a * cos_sin[0] - b * cos_sin[1];
    *second = a * cos_sin[1] + b * cos_sin[0];
}

// Pairs (i, i + half). Cosines and sines come interleaved: eight pairs are split first.
void rope_neox(float* x, const float* cos_sin, int64_t heads, int64_t head_dim, int64_t half) {
    int64_t i = 0;
    for (; i + 8 <= half; i += 8) {
        const __m256 a = _mm256_loadu_ps(cos_sin + 2 * i), b = _mm256_loadu_ps(cos_sin + 2 * i + 8);
        const auto order = [](__m256 v) { return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(v), 0xd8)); };
        const __m256 c = order(_mm256_shuffle_ps(a, b, 0x88)), s = order(_mm256_shuffle_ps(a, b, 0xdd));
        for (int64_t head = 0; head < heads; ++head) {
            float* first = x + head * head_dim + i;
            float* second = first + half;
            const __m256 u = _mm256_loadu_ps(first), v = _mm256_loadu_ps(second);
            _mm256_storeu_ps(first, _mm256_fmsub_ps(u, c, _mm256_mul_ps(v, s)));
            _mm256_storeu_ps(second, _mm256_fmadd_ps(u, s, _mm256_mul_ps(v, c)));
        }
    }
    for (; i < half; ++i) {
        for (int64_t head = 0; head < heads; ++head) {
            float* first = x + head * head_dim + i;
            rotate1(first, first + half, cos_sin + 2 * i);
        }
    }
}

// Pairs (2i, 2i + 1): x * cos, and the swapped pair * sin with alternating sign.
void rope_pairs(float* x, const float* cos_sin, int64_t heads, int64_t head_dim, int64_t half) {
    int64_t i = 0;
    for (; i + 4 <= half; i += 4) {
        const __m256 cs = _mm256_loadu_ps(cos_sin + 2 * i);
        const __m256 c = _mm256_moveldup_ps(cs), s = _mm256_movehdup_ps(cs);
        for (int64_t head = 0; head < heads; ++head) {
            float* at = x + head * head_dim + 2 * i;
            const __m256 v = _mm256_loadu_ps(at);
            const __m256 swapped = _mm256_permute_ps(v, 0xb1);
            _mm256_storeu_ps(at, _mm256_fmaddsub_ps(v, c, _mm256_mul_ps(swapped, s)));
        }
    }
    for (; i < half; ++i) {
        for (int64_t head = 0; head < heads; ++head) {
            float* first = x + head * head_dim + 2 * i;
            rotate1(first, first + 1, cos_sin + 2 * i);
        }
    }
}

void rope_avx2(float* x, const float* cos_sin, int64_t heads, int64_t head_dim, int64_t n_rot, bool neox) {
    (neox ? rope_neox : rope_pairs)(x, cos_sin, heads, head_dim, n_rot / 2);
}

}  // namespace

void fill_avx2_operations(Kernels& table) {
    table.quantize_q8 = quantize_q8_avx2;
    table.dot_f32 = dot_f32_avx2;
    table.dot_f16 = dot_f16_avx2;
    table.dot_q8_0 = dot_q8_0_avx2;
    table.dot_q4_0 = dot_q4_0_avx2;
    table.axpy_f32 = axpy_f32_avx2;
    table.axpy_f16 = axpy_f16_avx2;
    table.axpy_q8_0 = axpy_q8_0_avx2;
    table.axpy_q4_0 = axpy_q4_0_avx2;
    table.f32_to_f16 = f32_to_f16_avx2;
    table.f16_to_f32 = f16_to_f32_avx2;
    table.add = add_avx2;
    table.multiply = multiply_avx2;
    table.scale = scale_avx2;
    table.rms_norm = rms_norm_avx2;
    table.softmax = softmax_avx2;
    table.gated = gated_avx2;
    table.rope = rope_avx2;
}

}  // namespace quant
#endif
