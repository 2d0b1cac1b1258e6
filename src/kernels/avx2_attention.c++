// Rows of the cache against several query rows (AVX2, FMA, F16C): each row is decoded in registers once for all of them.
// Bound by multiplications for four query rows and more, by decoding and memory for fewer.
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels/attention.h"

namespace quant {
namespace {

inline __m128i load128(const void* at) { return _mm_loadu_si128(static_cast<const __m128i*>(at)); }
inline __m256 half_at(const uint8_t* at) {
    uint16_t half;
    __builtin_memcpy(&half, at, sizeof half);
    return _mm256_set1_ps(_cvtsh_ss(half));
}
inline __m256 floats_of(__m128i codes) { return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(codes)); }

// Sixteen values of a row from d on, d a multiple of 16.
struct RowF32 {
    static int64_t bytes(int64_t n) { return 4 * n; }
    static void load(const uint8_t* row, int64_t d, __m256 (&out)[2]) {
        out[0] = _mm256_loadu_ps(reinterpret_cast<const float*>(row) + d);
        out[1] = _mm256_loadu_ps(reinterpret_cast<const float*>(row) + d + 8);
    }
};
struct RowF16 {
    static int64_t bytes(int64_t n) { return 2 * n; }
    static void load(const uint8_t* row, int64_t d, __m256 (&out)[2]) {
        out[0] = _mm256_cvtph_ps(load128(row + 2 * d));
        out[1] = _mm256_cvtph_ps(load128(row + 2 * d + 16));
    }
};
struct RowQ8_0 {
    static int64_t bytes(int64_t n) { return n / 32 * 34; }
    static void load(const uint8_t* row, int64_t d, __m256 (&out)[2]) {
        const uint8_t* block = row + d / 32 * 34;
        const __m128i codes = load128(block + 2 + d % 32);
        const __m256 scale = half_at(block);
        out[0] = _mm256_mul_ps(floats_of(codes), scale);
        out[1] = _mm256_mul_ps(floats_of(_mm_unpackhi_epi64(codes, codes)), scale);
    }
};
struct RowQ4_0 {
    static int64_t bytes(int64_t n) { return n / 32 * 18; }
    static void load(const uint8_t* row, int64_t d, __m256 (&out)[2]) {
        const uint8_t* block = row + d / 32 * 18;
        const __m128i bytes = load128(block + 2);
        const __m128i nibbles = _mm_and_si128(d % 32 ? _mm_srli_epi16(bytes, 4) : bytes, _mm_set1_epi8(15));
        const __m128i codes = _mm_sub_epi8(nibbles, _mm_set1_epi8(8));
        const __m256 scale = half_at(block);
        out[0] = _mm256_mul_ps(floats_of(codes), scale);
        out[1] = _mm256_mul_ps(floats_of(_mm_unpackhi_epi64(codes, codes)), scale);
    }
};

// Rows [i, i + count) of what comes next. Hardware fetches ahead within a page of 4 KiB only, and keys and values take turns.
inline void fetch(const StoredRows& rows, int64_t bytes, int64_t i, int64_t count) {
    if (!rows.next) return;
    const uint8_t* at = rows.next + i * bytes;
    for (int64_t b = 0; b < count * bytes; b += 64) _mm_prefetch(reinterpret_cast<const char*>(at + b), _MM_HINT_T0);
}

// The sums of four vectors.
inline __m128 sums_of(__m256 a, __m256 b, __m256 c, __m256 d) {
    const __m256 all = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
    return _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps(all, 1));
}

// Two rows at a time: the query rows are loaded once for both.
template <class R, int kQueries>
void dots_of(const StoredRows& rows, const float* x, float* out, int64_t stride) {
    const int64_t bytes = R::bytes(rows.n);
    for (int64_t i = 0; i < rows.count; i += 2) {
        const uint8_t* first = rows.data + i * bytes;
        const bool single = i + 1 == rows.count;
        fetch(rows, bytes, i, single ? 1 : 2);
        const uint8_t* second = single ? first : first + bytes;
        __m256 sum[2][kQueries];
        for (int q = 0; q < kQueries; ++q) sum[0][q] = sum[1][q] = _mm256_setzero_ps();
        for (int64_t d = 0; d < rows.n; d += 16) {
            __m256 a[2], b[2];
            R::load(first, d, a);
            R::load(second, d, b);
#pragma GCC unroll 4
            for (int q = 0; q < kQueries; ++q) {
#pragma GCC unroll 2
                for (int half = 0; half < 2; ++half) {
                    __m256 v = _mm256_loadu_ps(x + q * rows.n + d + 8 * half);
                    asm("" : "+x"(v));  // one load for both rows: compilers would load it for each, and loads are what is short
                    sum[0][q] = _mm256_fmadd_ps(a[half], v, sum[0][q]);
                    sum[1][q] = _mm256_fmadd_ps(b[half], v, sum[1][q]);
                }
            }
        }
#pragma GCC unroll 4
        for (int q = 0; q < kQueries; q += 2) {
            const int other = q + 1 < kQueries ? q + 1 : q;
            const __m128 dots = sums_of(sum[0][q], sum[1][q], sum[0][other], sum[1][other]);
            if (single) {
                _mm_store_ss(out + q * stride + i, dots);
                _mm_store_ss(out + other * stride + i, _mm_movehl_ps(dots, dots));
            } else {
                _mm_storel_pi(reinterpret_cast<__m64*>(out + q * stride + i), dots);
                _mm_storeh_pi(reinterpret_cast<__m64*>(out + other * stride + i), dots);
            }
        }
    }
}

template <class R>
void dots(const StoredRows& given, const float* x, int64_t queries, float* out, int64_t stride) {
    StoredRows rows = given;
    for (; queries >= 4; queries -= 4, x += 4 * rows.n, out += 4 * stride) {
        dots_of<R, 4>(rows, x, out, stride);
        rows.next = nullptr;
    }
    if (queries == 3) dots_of<R, 3>(rows, x, out, stride);
    if (queries == 2) dots_of<R, 2>(rows, x, out, stride);
    if (queries == 1) dots_of<R, 1>(rows, x, out, stride);
}

// Sixteen values of y at a time stay in registers over all rows.
template <class R, int kQueries>
void sums_of_rows(const StoredRows& rows, const float* factors, int64_t stride, float* y) {
    const int64_t bytes = R::bytes(rows.n);
    for (int64_t d = 0; d < rows.n; d += 16) {
        __m256 sum[kQueries][2];
        for (int q = 0; q < kQueries; ++q) {
            sum[q][0] = _mm256_loadu_ps(y + q * rows.n + d);
            sum[q][1] = _mm256_loadu_ps(y + q * rows.n + d + 8);
        }
        for (int64_t i = 0; i < rows.count; ++i) {
            __m256 v[2];
            R::load(rows.data + i * bytes, d, v);
            if (d == 0) fetch(rows, bytes, i, 1);
#pragma GCC unroll 6
            for (int q = 0; q < kQueries; ++q) {
                const __m256 factor = _mm256_broadcast_ss(factors + q * stride + i);
                sum[q][0] = _mm256_fmadd_ps(factor, v[0], sum[q][0]);
                sum[q][1] = _mm256_fmadd_ps(factor, v[1], sum[q][1]);
            }
        }
        for (int q = 0; q < kQueries; ++q) {
            _mm256_storeu_ps(y + q * rows.n + d, sum[q][0]);
            _mm256_storeu_ps(y + q * rows.n + d + 8, sum[q][1]);
        }
    }
}

template <class R>
void sums(const StoredRows& given, const float* factors, int64_t stride, int64_t queries, float* y) {
    StoredRows rows = given;
    for (; queries >= 6; queries -= 6, factors += 6 * stride, y += 6 * rows.n) {
        sums_of_rows<R, 6>(rows, factors, stride, y);
        rows.next = nullptr;
    }
    switch (queries) {
        case 5: return sums_of_rows<R, 5>(rows, factors, stride, y);
        case 4: return sums_of_rows<R, 4>(rows, factors, stride, y);
        case 3: return sums_of_rows<R, 3>(rows, factors, stride, y);
        case 2: return sums_of_rows<R, 2>(rows, factors, stride, y);
        case 1: return sums_of_rows<R, 1>(rows, factors, stride, y);
        default: return;
    }
}

inline void transpose8(__m256 (&r)[8]) {
    __m256 t[8], u[8];
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        u[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        u[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
        u[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        u[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
    for (int i = 0; i < 4; ++i) {
        r[i] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
        r[i + 4] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
    }
}

template <class R>
void columns(const StoredRows& rows, float* out, int64_t stride) {
    const int64_t bytes = R::bytes(rows.n);
    for (int64_t i = 0; i < stride; i += 8) {
        for (int64_t d = 0; d < rows.n; d += 16) {
            __m256 low[8], high[8];
            for (int64_t j = 0; j < 8; ++j) {
                __m256 v[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
                if (i + j < rows.count) R::load(rows.data + (i + j) * bytes, d, v);
                low[j] = v[0];
                high[j] = v[1];
            }
            transpose8(low);
            transpose8(high);
            for (int64_t j = 0; j < 8; ++j) {
                _mm256_storeu_ps(out + (d + j) * stride + i, low[j]);
                _mm256_storeu_ps(out + (d + 8 + j) * stride + i, high[j]);
            }
        }
    }
}

// exp(x) for x <= 0, below -87 that of -87; about 1 ulp, as in avx2_operations.c++ but for what such x do not need. The order of
// the operands keeps NaN.
inline __m256 exp_below(__m256 x) {
    const __m256 from = _mm256_max_ps(_mm256_set1_ps(-87.0f), x);
    const __m256 n = _mm256_round_ps(_mm256_mul_ps(from, _mm256_set1_ps(1.44269504088896341f)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693145751953125f), from);
    r = _mm256_fnmadd_ps(n, _mm256_set1_ps(1.42860682030941723212e-6f), r);
    __m256 p = _mm256_set1_ps(1.0f / 5040);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 720));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 120));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 24));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 6));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.5f));
    p = _mm256_fmadd_ps(p, _mm256_mul_ps(r, r), r);
    p = _mm256_add_ps(p, _mm256_set1_ps(1.0f));
    const __m256i power = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
    return _mm256_mul_ps(p, _mm256_castsi256_ps(power));
}

float exps_of_row(float* x, int64_t n, float& max) {
    const int64_t whole = n / 8 * 8, left = n - whole;
    const __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(left)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    const __m256 lowest = _mm256_set1_ps(max);
    __m256 most = lowest;
    for (int64_t i = 0; i < whole; i += 8) most = _mm256_max_ps(most, _mm256_loadu_ps(x + i));
    if (left) most = _mm256_max_ps(most, _mm256_blendv_ps(lowest, _mm256_maskload_ps(x + whole, mask), _mm256_castsi256_ps(mask)));
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(most), _mm256_extractf128_ps(most, 1));
    four = _mm_max_ps(four, _mm_movehl_ps(four, four));
    max = _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
    const __m256 shift = _mm256_set1_ps(max);
    __m256 sum = _mm256_setzero_ps();
    for (int64_t i = 0; i < whole; i += 8) {
        const __m256 e = exp_below(_mm256_sub_ps(_mm256_loadu_ps(x + i), shift));
        _mm256_storeu_ps(x + i, e);
        sum = _mm256_add_ps(sum, e);
    }
    if (left) {
        const __m256 e = _mm256_and_ps(exp_below(_mm256_sub_ps(_mm256_maskload_ps(x + whole, mask), shift)), _mm256_castsi256_ps(mask));
        _mm256_maskstore_ps(x + whole, mask, e);
        sum = _mm256_add_ps(sum, e);
    }
    const __m256 zero = _mm256_setzero_ps();
    return _mm_cvtss_f32(_mm_hadd_ps(sums_of(sum, zero, zero, zero), _mm_setzero_ps()));
}

void exps(float* x, int64_t stride, int64_t rows, int64_t n, float* max, float* sum) {
    for (int64_t r = 0; r < rows; ++r) sum[r] = exps_of_row(x + r * stride, n, max[r]);
}

template <class R>
void set(AttentionKernels& table, KvType type) {
    table.dots[static_cast<int>(type)] = dots<R>;
    table.sums[static_cast<int>(type)] = sums<R>;
    table.columns[static_cast<int>(type)] = columns<R>;
}

}  // namespace

void fill_avx2_attention(AttentionKernels& table);
void fill_avx2_attention(AttentionKernels& table) {
    set<RowF32>(table, KvType::f32);
    set<RowF16>(table, KvType::f16);
    set<RowQ8_0>(table, KvType::q8_0);
    set<RowQ4_0>(table, KvType::q4_0);
    table.exps = exps;
}

}  // namespace quant
#endif
