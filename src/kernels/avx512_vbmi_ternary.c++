// TQ1_0 times one activation row with AVX-512 VBMI: a block's 52 bytes of trits in one register, four of a byte's five looked up at
// once as two bits each, which are multiplied where they lie; the fifth, the first in a byte, by comparing.
//
// The factors of groups are integers as in avx2_super_gemv.h, so that a block is one integer sum: multiples of 1 / 32767 of the
// largest scale of the 256, divided by 4^place and rounded there, off by half of 2047 at most.
#if defined(__x86_64__)
#include "kernels/avx512_vbmi.h"
#include "kernels/avx2_super_gemv.h"

namespace quant {
namespace {

constexpr int kTrits = 52;  // bytes of a block that hold them

// Where trit n lies in its register, in steps of two bits: trit 0 alone; 4 is moved to the bottom.
constexpr int place_of(int n) { return n == 0 || n == 4 ? 0 : n - 1; }

// A byte is the fraction of 256 that its trits are of 3^5, rounded up: the trits are what passes 256 when it is tripled.
struct alignas(64) Trits {
    uint8_t of[256];
};
constexpr Trits later_trits() {
    Trits out{};
    for (int byte = 0; byte < 256; ++byte) {
        int rest = byte * 3 % 256;
        for (int n = 1; n < 5; ++n, rest = rest * 3 % 256) out.of[byte] |= static_cast<uint8_t>(rest * 3 / 256 << 2 * (n - 1));
    }
    return out;
}
constexpr Trits kLaterTrits = later_trits();

// Trit n of byte j is weight 32 n + j, of the next 16 bytes 160 + 16 n + j, of the last 4, which have four, 240 + 4 n + j.
struct alignas(64) TritsOfX {
    int8_t codes[5][64];
    int32_t factors[5][16];  // int16, twice in four bytes
    int32_t start[16];       // minus the products of all factors and codes: trits stand for -1, 0, 1
    float unit;              // of the factors; NaN where an activation was
};

inline __m512i add_trits(__m512i sum, __m512i trits, const TritsOfX& x, int n) {
    return _mm512_dpwssd_epi32(sum, _mm512_maddubs_epi16(trits, _mm512_load_si512(x.codes[n])), _mm512_load_si512(x.factors[n]));
}

struct TQ1_0_InPlace {
    using X = TritsOfX;
    static constexpr int kBytes = 54;

    static void prepare(const int8_t* codes, const float* scales, X& out) {
        alignas(32) int32_t multiples[8];
        _mm256_store_si256(reinterpret_cast<__m256i*>(multiples), multiples_of<32767>(scales, out.unit));
        __m512i start = _mm512_setzero_si512();
        for (int n = 0; n < 5; ++n) {
            const int middle = 160 + 16 * n, bits = 2 * place_of(n), half = bits ? 1 << (bits - 1) : 0;
            __builtin_memset(out.codes[n] + 48, 0, 16);
            __builtin_memcpy(out.codes[n], codes + 32 * n, 32);
            __builtin_memcpy(out.codes[n] + 32, codes + middle, 16);
            if (n < 4) __builtin_memcpy(out.codes[n] + 48, codes + 240 + 4 * n, 4);
            for (int lane = 0; lane < 16; ++lane) {
                const int group = lane < 8 ? n : lane < 12 ? middle / 32 : 7;
                out.factors[n][lane] = (multiples[group] + half) >> bits;
            }
            const __m512i factors = _mm512_load_si512(out.factors[n]);
            const __m512i sums = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(1), _mm512_load_si512(out.codes[n]));
            start = _mm512_sub_epi32(start, _mm512_mullo_epi32(_mm512_slli_epi32(factors, bits), sums));
            _mm512_store_si512(out.factors[n], _mm512_or_si512(factors, _mm512_slli_epi32(factors, 16)));
        }
        _mm512_store_si512(out.start, start);
    }

    [[gnu::always_inline]] static __m512 add(const uint8_t* b, const X& x, __m512 sum) {
        const __m512i bytes = _mm512_maskz_loadu_epi8((uint64_t{1} << kTrits) - 1, b);
        const __m512i later = look_up(kLaterTrits.of, bytes, Quarters(bytes));
        const __m512i one = _mm512_set1_epi8(1);
        const __m512i first = _mm512_mask_add_epi8(_mm512_maskz_mov_epi8(_mm512_cmpge_epu8_mask(bytes, _mm512_set1_epi8(86)), one),
                                                   _mm512_cmpge_epu8_mask(bytes, _mm512_set1_epi8(static_cast<char>(171))), one, one);
        const auto bits_at = [](__m512i v, int place) { return _mm512_and_si512(v, _mm512_set1_epi8(static_cast<char>(3 << 2 * place))); };
        // One sum of all fits: 20 trits of 2 at most, times 127 and 32767, twice that for the start.
        __m512i even = add_trits(_mm512_load_si512(x.start), first, x, 0), odd = _mm512_setzero_si512();
        odd = add_trits(odd, bits_at(later, 0), x, 1);
        even = add_trits(even, bits_at(later, 1), x, 2);
        odd = add_trits(odd, bits_at(later, 2), x, 3);
        even = add_trits(even, _mm512_gf2p8affine_epi64_epi8(later, _mm512_set1_epi64(0x4080000000000000), 0), x, 4);
        const __m512 product = _mm512_cvtepi32_ps(_mm512_add_epi32(even, odd));
        return _mm512_fmadd_ps(product, _mm512_mul_ps(_mm512_set1_ps(x.unit), last_half(b + kTrits - 6)), sum);
    }
};

}  // namespace

void fill_avx512_vbmi_ternary(Kernels& table) {
    set_gemv_laid_out<TQ1_0_InPlace>(table, FormatSlot::tq1_0, "gemv_tq1_0_q8_avx512_vbmi");
}

}  // namespace quant
#endif
