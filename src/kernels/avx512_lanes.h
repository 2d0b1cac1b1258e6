// What crosses lanes, and powers, for the operations of AVX-512. Included by AVX-512 files only, everything in an unnamed namespace.
#pragma once

#include "kernels/avx512.h"

namespace quant {
namespace {

struct Most {
    static __m512 of(__m512 a, __m512 b) { return _mm512_max_ps(a, b); }
};
struct Sum {
    static __m512 of(__m512 a, __m512 b) { return _mm512_add_ps(a, b); }
};
// Quarter i of the result: the quarters of v[i % kCount] as one.
template <class Op, int kCount>
inline __m512 quarters_of(const __m512 (&v)[kCount]) {
    const auto halves = [](__m512 a, __m512 b) { return Op::of(_mm512_mask_blend_ps(0xff00, a, b), _mm512_shuffle_f32x4(a, b, 0x4e)); };
    const __m512 first = halves(v[0], v[1 % kCount]), second = halves(v[2 % kCount], v[3 % kCount]);
    return Op::of(_mm512_shuffle_f32x4(first, second, 0x88), _mm512_shuffle_f32x4(first, second, 0xdd));
}

// The lanes of 16 vectors as one each: lane 4 i + j of the result is that of v[j][i].
template <class Op>
inline __m512 across_16(const __m512 (&v)[4][4]) {
    const auto pairs = [](__m512 a, __m512 b) { return Op::of(_mm512_mask_blend_ps(0xcccc, a, b), _mm512_shuffle_ps(a, b, 0x4e)); };
    const __m512 even = pairs(quarters_of<Op>(v[0]), quarters_of<Op>(v[2])), odd = pairs(quarters_of<Op>(v[1]), quarters_of<Op>(v[3]));
    const __m512 others = _mm512_permute_ps(_mm512_mask_blend_ps(0x5555, even, odd), 0xb1);
    return Op::of(_mm512_mask_blend_ps(0xaaaa, even, odd), others);
}

constexpr float kLog2E = 1.44269504088896341f, kLog2ERest = 1.44269504088896341 - static_cast<double>(kLog2E);

inline __m512 above_floor(__m512 x) { return _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
// 2^(floor(x) + r), NaN for NaN, by a polynomial of r from 0 to 1 (greatest relative error 8e-8, 1 at 0).
inline __m512 power_of_2(__m512 x, __m512 r) {
    __m512 p = _mm512_set1_ps(0.00186713f);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.00901703f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.05579991f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.24016445f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.69315131f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(p, x);
}

}  // namespace
}  // namespace quant
