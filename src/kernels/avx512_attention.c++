// Rows of the cache against several query rows (AVX-512): as the AVX2 file does it, with four registers of a row instead of two,
// so that six query rows are 24 independent sums.
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels/attention.h"
#include "kernels/avx512_lanes.h"

namespace quant {
namespace {

// Sixteen values of a row from d on, d a multiple of 16.
struct RowF32 {
    static int64_t bytes(int64_t n) { return 4 * n; }
    static __m512 load(const uint8_t* row, int64_t d) { return _mm512_loadu_ps(row + 4 * d); }
};
struct RowF16 {
    static int64_t bytes(int64_t n) { return 2 * n; }
    static __m512 load(const uint8_t* row, int64_t d) {
        return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + 2 * d)));
    }
};
inline __m128i load128(const void* at) { return _mm_loadu_si128(static_cast<const __m128i*>(at)); }
inline __m512 scaled(const uint8_t* half, __m128i codes) {
    uint16_t bits;
    __builtin_memcpy(&bits, half, sizeof bits);
    return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(codes)), _mm512_set1_ps(_cvtsh_ss(bits)));
}
struct RowQ8_0 {
    static int64_t bytes(int64_t n) { return n / 32 * 34; }
    static __m512 load(const uint8_t* row, int64_t d) {
        const uint8_t* block = row + d / 32 * 34;
        return scaled(block, load128(block + 2 + d % 32));
    }
};
struct RowQ4_0 {
    static int64_t bytes(int64_t n) { return n / 32 * 18; }
    static __m512 load(const uint8_t* row, int64_t d) {
        const uint8_t* block = row + d / 32 * 18;
        const __m128i stored = load128(block + 2);
        const __m128i nibbles = _mm_and_si128(d % 32 ? _mm_srli_epi16(stored, 4) : stored, _mm_set1_epi8(15));
        return scaled(block, _mm_sub_epi8(nibbles, _mm_set1_epi8(8)));
    }
};

// Rows [i, i + count) of what comes next. Hardware fetches ahead within a page of 4 KiB only, and keys and values take turns.
inline void fetch(const StoredRows& rows, int64_t bytes, int64_t i, int64_t count) {
    if (!rows.next) return;
    const uint8_t* at = rows.next + i * bytes;
    for (int64_t b = 0; b < count * bytes; b += 64) _mm_prefetch(reinterpret_cast<const char*>(at + b), _MM_HINT_T0);
}

// Sixteen sums at a time: as many rows as make them with these query rows (three are taken as four).
template <class R, int kQueries>
void dots_of(const StoredRows& rows, const float* x, float* out, int64_t stride) {
    constexpr int kQuarters = kQueries == 1 ? 4 : kQueries == 2 ? 2 : 1, kRows = 4 * kQuarters;  // quarters of the result a query row
    const int64_t bytes = R::bytes(rows.n);
    for (int64_t i = 0; i < rows.count; i += kRows) {
        const int64_t left = rows.count - i < kRows ? rows.count - i : kRows;
        fetch(rows, bytes, i, left);
        const uint8_t* at[kRows];
        for (int64_t r = 0; r < kRows; ++r) at[r] = rows.data + (i + (r < left ? r : left - 1)) * bytes;
        __m512 sum[4][4];  // [row % 4][query, row / 4]
        for (auto& some : sum)
            for (__m512& each : some) each = _mm512_setzero_ps();
        for (int64_t d = 0; d < rows.n; d += 16) {
            __m512 query[kQueries];
#pragma GCC unroll 4
            for (int q = 0; q < kQueries; ++q) query[q] = _mm512_loadu_ps(x + q * rows.n + d);
#pragma GCC unroll 16
            for (int r = 0; r < kRows; ++r) {
                const __m512 v = R::load(at[r], d);
#pragma GCC unroll 4
                for (int q = 0; q < kQueries; ++q) {
                    __m512& to = sum[r % 4][q * kQuarters + r / 4];
                    to = _mm512_fmadd_ps(v, query[q], to);
                }
            }
        }
        alignas(64) float sums[16];
        _mm512_store_ps(sums, across_16<Sum>(sum));
        for (int q = 0; q < kQueries; ++q)
            for (int64_t r = 0; r < left; r += 4) {
                const auto lanes = static_cast<__mmask8>(left - r >= 4 ? 15 : (1 << (left - r)) - 1);
                _mm_mask_storeu_ps(out + q * stride + i + r, lanes, _mm_load_ps(sums + 4 * (q * kQuarters + r / 4)));
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

// Values [d, d + 16 kParts) of y stay in registers over all rows.
template <class R, int kQueries, int kParts>
inline void sums_of_part(const StoredRows& rows, const float* factors, int64_t stride, int64_t d, float* y) {
    const int64_t n = rows.n, count = rows.count, bytes = R::bytes(n);
    const uint8_t* const data = rows.data;
    __m512 sum[kQueries][kParts];
    // All loops unrolled: the sums would lie in memory before and after the rows.
#pragma GCC unroll 6
    for (int q = 0; q < kQueries; ++q)
#pragma GCC unroll 4
        for (int p = 0; p < kParts; ++p) sum[q][p] = _mm512_loadu_ps(y + q * n + d + 16 * p);
    for (int64_t i = 0; i < count; ++i) {
        __m512 v[kParts];
#pragma GCC unroll 4
        for (int p = 0; p < kParts; ++p) v[p] = R::load(data + i * bytes, d + 16 * p);
        if (d == 0) fetch(rows, bytes, i, 1);
#pragma GCC unroll 6
        for (int q = 0; q < kQueries; ++q) {
            const __m512 factor = _mm512_set1_ps(factors[q * stride + i]);
#pragma GCC unroll 4
            for (int p = 0; p < kParts; ++p) sum[q][p] = _mm512_fmadd_ps(factor, v[p], sum[q][p]);
        }
    }
#pragma GCC unroll 6
    for (int q = 0; q < kQueries; ++q)
#pragma GCC unroll 4
        for (int p = 0; p < kParts; ++p) _mm512_storeu_ps(y + q * n + d + 16 * p, sum[q][p]);
}

template <class R, int kQueries>
void sums_of_rows(const StoredRows& rows, const float* factors, int64_t stride, float* y) {
    int64_t d = 0;
    for (; d + 64 <= rows.n; d += 64) sums_of_part<R, kQueries, 4>(rows, factors, stride, d, y);
    for (; d < rows.n; d += 16) sums_of_part<R, kQueries, 1>(rows, factors, stride, d, y);
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

// exp(x) for x <= 0, below -87 that of -87. The order of the operands keeps NaN.
inline __m512 exp_below(__m512 x) {
    const __m512 power = _mm512_mul_ps(_mm512_max_ps(_mm512_set1_ps(-87.0f), x), _mm512_set1_ps(kLog2E));
    return power_of_2(power, above_floor(power));
}

// Lane i of the result, for i below kRows: all lanes of v[i] as one.
template <class Op, int kRows>
inline __m128 across(const __m512 (&v)[kRows]) {
    __m512 quarters = quarters_of<Op>(v);
    quarters = Op::of(quarters, _mm512_permute_ps(quarters, 0x4e));
    quarters = Op::of(quarters, _mm512_permute_ps(quarters, 0xb1));
    return _mm512_castps512_ps128(_mm512_permutexvar_ps(_mm512_setr_epi32(0, 4, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), quarters));
}

// Some rows step by step together: what crosses lanes and what waits is shared.
template <int kRows>
void exps_of(float* x, int64_t stride, int64_t n, float* max, float* sum) {
    constexpr auto kStored = static_cast<__mmask8>((1 << kRows) - 1);
    const int64_t whole = n / 16 * 16;
    const __mmask16 left = lanes_below(n - whole);
    __m512 most[kRows], sums[kRows];
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
        most[r] = _mm512_set1_ps(max[r]);
        sums[r] = _mm512_setzero_ps();
    }
    for (int64_t i = 0; i < whole; i += 16)
#pragma GCC unroll 4
        for (int r = 0; r < kRows; ++r) most[r] = _mm512_max_ps(most[r], _mm512_loadu_ps(x + r * stride + i));
    if (left)
#pragma GCC unroll 4
        for (int r = 0; r < kRows; ++r) most[r] = _mm512_mask_max_ps(most[r], left, most[r], _mm512_maskz_loadu_ps(left, x + r * stride + whole));
    const __m128 largest = across<Most>(most);
    _mm_mask_storeu_ps(max, kStored, largest);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) most[r] = _mm512_permutexvar_ps(_mm512_set1_epi32(r), _mm512_castps128_ps512(largest));
    for (int64_t i = 0; i < whole; i += 16)
#pragma GCC unroll 4
        for (int r = 0; r < kRows; ++r) {
            const __m512 e = exp_below(_mm512_sub_ps(_mm512_loadu_ps(x + r * stride + i), most[r]));
            _mm512_storeu_ps(x + r * stride + i, e);
            sums[r] = _mm512_add_ps(sums[r], e);
        }
    if (left)
#pragma GCC unroll 4
        for (int r = 0; r < kRows; ++r) {
            const __m512 e = exp_below(_mm512_sub_ps(_mm512_maskz_loadu_ps(left, x + r * stride + whole), most[r]));
            _mm512_mask_storeu_ps(x + r * stride + whole, left, e);
            sums[r] = _mm512_mask_add_ps(sums[r], left, sums[r], e);
        }
    _mm_mask_storeu_ps(sum, kStored, across<Sum>(sums));
}

void exps(float* x, int64_t stride, int64_t rows, int64_t n, float* max, float* sum) {
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4) exps_of<4>(x + r * stride, stride, n, max + r, sum + r);
    for (; r < rows; ++r) exps_of<1>(x + r * stride, stride, n, max + r, sum + r);
}

template <class R>
void set(AttentionKernels& table, KvType type) {
    table.dots[static_cast<int>(type)] = dots<R>;
    table.sums[static_cast<int>(type)] = sums<R>;
}

}  // namespace

void fill_avx512_attention(AttentionKernels& table);
void fill_avx512_attention(AttentionKernels& table) {
    set<RowF32>(table, KvType::f32);
    set<RowF16>(table, KvType::f16);
    set<RowQ8_0>(table, KvType::q8_0);
    set<RowQ4_0>(table, KvType::q4_0);
    table.exps = exps;
}

}  // namespace quant
#endif
