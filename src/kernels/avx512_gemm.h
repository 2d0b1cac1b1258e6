// Block formats times many activation rows for AVX-512 with VNNI: 32 weight rows and six columns, so that eight loads serve
// twelve multiplications. Included by AVX-512 files only.
#pragma once

#include "kernels/avx512.h"
#include "kernels/vnni_gemm.h"

namespace quant {
namespace {

struct Rows512 {
    static constexpr bool kKeepsTotals = true;
    static constexpr int kPanels = 2;
    // Codes come from the second-level cache for free; fewer columns mean more passes over y, fewer rows more decoding.
    static constexpr int64_t kChunk = 2048, kActivationRows = 512;
    __m512i a, b;
    static Rows512 both(__m512i v) { return {v, v}; }
    static Rows512 of_floats(__m512 a, __m512 b) { return {_mm512_castps_si512(a), _mm512_castps_si512(b)}; }
    static Rows512 zero() { return both(_mm512_setzero_si512()); }
    static Rows512 all(int32_t value) { return both(once(_mm512_set1_epi32(value))); }
    static Rows512 all_floats(float value) { return both(once(_mm512_castps_si512(_mm512_set1_ps(value)))); }
    // The same place of two panels.
    static Rows512 load_panels(const void* at) {
        return {_mm512_load_si512(at), _mm512_load_si512(static_cast<const uint8_t*>(at) + sizeof(Panel))};
    }
    static Rows512 load(const float* at) { return {_mm512_load_si512(at), _mm512_load_si512(at + 16)}; }
    void store(float* at) const {
        _mm512_store_si512(at, a);
        _mm512_store_si512(at + 16, b);
    }
    void add_products(const Rows512& codes, int32_t x) {
        const __m512i four = once(_mm512_set1_epi32(x));
        a = _mm512_dpbusd_epi32(a, codes.a, four);
        b = _mm512_dpbusd_epi32(b, codes.b, four);
    }
    void turn_halves() {
        a = _mm512_rol_epi32(a, 16);
        b = _mm512_shuffle_epi8(b, _mm512_set4_epi32(0x0d0c0f0e, 0x09080b0a, 0x05040706, 0x01000302));  // on the other port
    }
    // Pairs of int16.
    void add_pairs(const Rows512& numbers, int32_t x) {
        const __m512i two = once(_mm512_set1_epi32(x));
        a = _mm512_dpwssd_epi32(a, numbers.a, two);
        b = _mm512_dpwssd_epi32(b, numbers.b, two);
    }
    __m512 a_floats() const { return _mm512_castsi512_ps(a); }
    __m512 b_floats() const { return _mm512_castsi512_ps(b); }
    Rows512 as_floats() const { return of_floats(_mm512_cvtepi32_ps(a), _mm512_cvtepi32_ps(b)); }
    Rows512 times(float factor) const {
        const Rows512 by = all_floats(factor);
        return of_floats(_mm512_mul_ps(a_floats(), by.a_floats()), _mm512_mul_ps(b_floats(), by.b_floats()));
    }
    void add_floats(const Rows512& x, const Rows512& y) {
        *this = of_floats(_mm512_fmadd_ps(x.a_floats(), y.a_floats(), a_floats()), _mm512_fmadd_ps(x.b_floats(), y.b_floats(), b_floats()));
    }
};

using Avx512 = Vnni<Rows512, 6>;

}  // namespace
}  // namespace quant
