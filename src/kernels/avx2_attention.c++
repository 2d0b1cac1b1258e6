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
                    const __m256 v = _mm256_loadu_ps(x + q * rows.n + d + 8 * half);
                    sum[0][q] = _mm256_fmadd_ps(a[half], v, sum[0][q]);
                    sum[1][q] = _mm256_fmadd_ps(b[half], v, sum[1][q]);
                }
            }
        }
#pragma GCC unroll 4
        for (int q = 0; q < kQueries; q += 2) {
            const int other = q + 1 < kQueries ? q + 1 : q;
            alignas(16) float dots[4];
            _mm_store_ps(dots, sums_of(sum[0][q], sum[1][q], sum[0][other], sum[1][other]));
            for (int k = 0; k < 2; ++k) {
                float* at = out + (k ? other : q) * stride + i;
                at[0] = dots[2 * k];
                if (!single) at[1] = dots[2 * k + 1];
            }
        }
    }
}

template <class R>
void dots(const StoredRows& rows, const float* x, int64_t queries, float* out, int64_t stride) {
    for (; queries >= 4; queries -= 4, x += 4 * rows.n, out += 4 * stride) dots_of<R, 4>(rows, x, out, stride);
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
void sums(const StoredRows& rows, const float* factors, int64_t stride, int64_t queries, float* y) {
    for (; queries >= 6; queries -= 6, factors += 6 * stride, y += 6 * rows.n) sums_of_rows<R, 6>(rows, factors, stride, y);
    switch (queries) {
        case 5: return sums_of_rows<R, 5>(rows, factors, stride, y);
        case 4: return sums_of_rows<R, 4>(rows, factors, stride, y);
        case 3: return sums_of_rows<R, 3>(rows, factors, stride, y);
        case 2: return sums_of_rows<R, 2>(rows, factors, stride, y);
        case 1: return sums_of_rows<R, 1>(rows, factors, stride, y);
        default: return;
    }
}

template <class R>
void set(AttentionKernels& table, KvType type) {
    table.dots[static_cast<int>(type)] = dots<R>;
    table.sums[static_cast<int>(type)] = sums<R>;
}

}  // namespace

void fill_avx2_attention(AttentionKernels& table);
void fill_avx2_attention(AttentionKernels& table) {
    set<RowF32>(table, KvType::f32);
    set<RowF16>(table, KvType::f16);
    set<RowQ8_0>(table, KvType::q8_0);
    set<RowQ4_0>(table, KvType::q4_0);
}

}  // namespace quant
#endif
