// Q2_K times one activation row with AVX-512 VBMI: a register is plane j of both halves of a block, groups j and 4 + j. The factors
// of groups are integers as in avx2_super_gemv.h, a byte's plane comes to its bottom by one product of bit matrices.
#if defined(__x86_64__)
#include "kernels/avx512_vbmi.h"
#include "kernels/avx2_super_gemv.h"

namespace quant {
namespace {

struct alignas(64) PlanesOfX {
    int8_t codes[4][64];
    float sums[16];         // of 16 activations each, scale included
    int16_t multiples[16];  // of the activations' scales, one for each 16 weights
    float unit;             // times multiple times scale / 128; NaN where an activation was
};

// Byte i of each int16 of plane j: the factor, of 16 in order, of the 16 weights it is among.
constexpr Pattern factors_of_plane(int j) {
    return pattern([=](int group, int i) { return 2 * (8 * (group / 4) + 2 * j + group / 2 % 2) + i % 2; });
}
constexpr Pattern kFactors[4] = {factors_of_plane(0), factors_of_plane(1), factors_of_plane(2), factors_of_plane(3)};
// 16 bytes, each the upper one of an int16.
constexpr Pattern kUp = pattern([](int group, int i) { return (4 * group + i / 2) & 15; });

struct Q2_K_Planes {
    using X = PlanesOfX;
    static constexpr int kBytes = Q2_K::kBytes;

    static void prepare(const int8_t* codes, const float* scales, X& out) {
        alignas(32) int32_t multiples[8];
        _mm256_store_si256(reinterpret_cast<__m256i*>(multiples), multiples_of<Q2_K::kTop>(scales, out.unit));
        out.unit *= 128;
        for (int g = 0; g < 8; ++g) __builtin_memcpy(out.codes[g % 4] + 32 * (g / 4), codes + 32 * g, 32);
        for (int s = 0; s < 16; ++s) {
            int sum = 0;
            for (int i = 0; i < 16; ++i) sum += codes[16 * s + i];
            out.sums[s] = scales[s / 2] * static_cast<float>(sum);
            out.multiples[s] = static_cast<int16_t>(multiples[s / 2]);
        }
    }

    template <int j>
    [[gnu::always_inline]] static __m512i add_plane(__m512i total, __m512i planes, __m512i factors, const X& x) {
        const __m512i codes = j == 0 ? _mm512_and_si512(planes, _mm512_set1_epi8(3))
                                     : _mm512_gf2p8affine_epi64_epi8(planes, _mm512_set1_epi64(uint64_t{0x0102} << 48 << 2 * j), 0);
        const __m512i pairs = _mm512_maddubs_epi16(codes, _mm512_load_si512(x.codes[j]));
        return _mm512_dpwssd_epi32(total, pairs, _mm512_permutexvar_epi8(bytes_of(kFactors[j]), factors));
    }

    [[gnu::always_inline]] static __m512 add(const uint8_t* b, const X& x, __m512 sum) {
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(b));
        const __m512i scales = _mm512_castsi128_si512(_mm_and_si128(bytes, _mm_set1_epi8(15)));
        const __m512i up = _mm512_maskz_permutexvar_epi8(0xaaaaaaaa, bytes_of(kUp), scales);
        const __m256i t = _mm256_mulhrs_epi16(_mm512_castsi512_si256(up), _mm256_load_si256(reinterpret_cast<const __m256i*>(x.multiples)));
        const __m512i factors = _mm512_castsi256_si512(t), planes = _mm512_loadu_si512(b + 16);
        __m512i even = add_plane<0>(_mm512_setzero_si512(), planes, factors, x), odd = add_plane<1>(_mm512_setzero_si512(), planes, factors, x);
        even = add_plane<2>(even, planes, factors, x);
        odd = add_plane<3>(odd, planes, factors, x);
        const __m128i minima = _mm_gf2p8affine_epi64_epi8(bytes, _mm_set1_epi64x(kUpperNibble), 0);
        const __m512 below = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(minima)), _mm512_load_ps(x.sums));
        const __m512 both = _mm512_castps128_ps512(four_halves(b + kBytes - 8));
        const __m512 scale = _mm512_mul_ps(_mm512_permutexvar_ps(_mm512_set1_epi32(2), both), _mm512_set1_ps(x.unit));
        sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_add_epi32(even, odd)), scale, sum);
        return _mm512_fnmadd_ps(below, _mm512_permutexvar_ps(_mm512_set1_epi32(3), both), sum);
    }
};

}  // namespace

void fill_avx512_vbmi_super(Kernels& table) {
    set_gemv_laid_out<Q2_K_Planes>(table, FormatSlot::q2_k, "gemv_q2_k_q8_avx512_vbmi");
}

}  // namespace quant
#endif
