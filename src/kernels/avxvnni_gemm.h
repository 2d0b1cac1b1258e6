// Block formats times many activation rows for AVX-VNNI: two registers are a column, six columns and what they meet take 15
// of the 16. Included by AVX-VNNI files only.
#pragma once

#include "kernels/vnni_gemm.h"

namespace quant {
namespace {

struct Rows256 {
    static constexpr bool kKeepsTotals = false;
    static constexpr int kPanels = 1;
    static constexpr int64_t kChunk = 1024, kActivationRows = 256;  // 16 KiB of codes: half of the first-level cache
    __m256i low, high;
    static Rows256 both(__m256i v) { return {v, v}; }
    static Rows256 of_floats(__m256 low, __m256 high) { return {_mm256_castps_si256(low), _mm256_castps_si256(high)}; }
    static Rows256 zero() { return both(_mm256_setzero_si256()); }
    static Rows256 all(int32_t value) { return both(_mm256_set1_epi32(value)); }
    static Rows256 all_floats(float value) { return both(_mm256_castps_si256(_mm256_set1_ps(value))); }
    static Rows256 load_panels(const void* at) { return load(at); }
    static Rows256 load(const void* at) {
        const auto* v = static_cast<const __m256i*>(at);
        return {_mm256_load_si256(v), _mm256_load_si256(v + 1)};
    }
    void store(void* at) const {
        _mm256_store_si256(static_cast<__m256i*>(at), low);
        _mm256_store_si256(static_cast<__m256i*>(at) + 1, high);
    }
    void add_products(const Rows256& codes, int32_t x) {
        const __m256i four = _mm256_set1_epi32(x);
        low = dot_bytes(low, codes.low, four);
        high = dot_bytes(high, codes.high, four);
    }
    void turn_halves() {
        const __m256i other = _mm256_setr_epi8(2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
        low = _mm256_shuffle_epi8(low, other);
        high = _mm256_shuffle_epi8(high, other);
    }
    // Pairs of int16.
    void add_pairs(const Rows256& numbers, int32_t x) {
        const __m256i two = _mm256_set1_epi32(x);
        low = _mm256_dpwssd_avx_epi32(low, numbers.low, two);
        high = _mm256_dpwssd_avx_epi32(high, numbers.high, two);
    }
    __m256 low_floats() const { return _mm256_castsi256_ps(low); }
    __m256 high_floats() const { return _mm256_castsi256_ps(high); }
    Rows256 as_floats() const { return of_floats(_mm256_cvtepi32_ps(low), _mm256_cvtepi32_ps(high)); }
    Rows256 times(float factor) const {
        const __m256 by = _mm256_set1_ps(factor);
        return of_floats(_mm256_mul_ps(low_floats(), by), _mm256_mul_ps(high_floats(), by));
    }
    void add_floats(const Rows256& a, const Rows256& b) {
        *this = of_floats(_mm256_fmadd_ps(a.low_floats(), b.low_floats(), low_floats()), _mm256_fmadd_ps(a.high_floats(), b.high_floats(), high_floats()));
    }
};

using AvxVnni = Vnni<Rows256, 6>;

}  // namespace
}  // namespace quant
