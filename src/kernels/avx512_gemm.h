// Block formats times many activation rows for AVX-512 with VNNI: a register is a column. Included by AVX-512 files only.
#pragma once

#include "kernels/avx512.h"
#include "kernels/vnni_gemm.h"

namespace quant {
namespace {

struct Rows512 {
    static constexpr bool kKeepsTotals = true;
    __m512i v;
    static Rows512 zero() { return {_mm512_setzero_si512()}; }
    static Rows512 all(int32_t value) { return {_mm512_set1_epi32(value)}; }
    static Rows512 all_floats(float value) { return {_mm512_castps_si512(_mm512_set1_ps(value))}; }
    static Rows512 load(const void* at) { return {_mm512_load_si512(at)}; }
    void store(void* at) const { _mm512_store_si512(at, v); }
    void add_products(const Rows512& codes, int32_t x) { v = _mm512_dpbusd_epi32(v, codes.v, _mm512_set1_epi32(x)); }
    __m512 floats() const { return _mm512_castsi512_ps(v); }
    Rows512 as_floats() const { return {_mm512_castps_si512(_mm512_cvtepi32_ps(v))}; }
    Rows512 times(float factor) const { return {_mm512_castps_si512(_mm512_mul_ps(floats(), _mm512_set1_ps(factor)))}; }
    void add_floats(const Rows512& a, const Rows512& b) { v = _mm512_castps_si512(_mm512_fmadd_ps(a.floats(), b.floats(), floats())); }
};

using Avx512 = Vnni<Rows512, 12>;

}  // namespace
}  // namespace quant
