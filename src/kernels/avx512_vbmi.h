// The parts of the AVX-512 VBMI table, and what its files share: patterns of bytes, the loops over rows. Included by these files only.
#pragma once

#include "kernels/avx512.h"

#define QUANT_KERNELS_AVX512 1
#include "kernels/avx2_gemv.h"

namespace quant {
namespace {

// A pattern for instructions that move bytes, or bits of each 8 bytes.
struct alignas(64) Pattern {
    uint8_t of[64];
};
// of(group, i): byte i of 8 for each of eight groups.
template <class Of>
constexpr Pattern pattern(Of of) {
    Pattern out{};
    for (int at = 0; at < 64; ++at) out.of[at] = static_cast<uint8_t>(of(at / 8, at % 8));
    return out;
}
inline __m512i bytes_of(const Pattern& pattern) { return _mm512_load_si512(pattern.of); }

// The bit matrix that brings a byte's upper four bits to its bottom.
constexpr long long kUpperNibble = 0x1020408000000000;

// Four halves in memory. Converted as they are loaded they take one instruction less of those that move lanes, of which the kernels
// here are full; g++ would load them first.
inline __m128 four_halves(const uint8_t* at) {
#if defined(__AVX512F__)
    __m128 values;
    asm("vcvtph2ps %1, %0" : "=v"(values) : "m"(*reinterpret_cast<const uint8_t(*)[8]>(at)));
    return values;
#else
    return _mm_cvtph_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(at)));
#endif
}
// The first of four in all lanes; the last.
inline __m512 first_half(const uint8_t* at) { return _mm512_broadcastss_ps(four_halves(at)); }
inline __m512 last_half(const uint8_t* at) { return _mm512_permutexvar_ps(_mm512_set1_epi32(3), _mm512_castps128_ps512(four_halves(at))); }

// Which quarter of a table of 256 an index of a byte is in.
struct Quarters {
    __mmask64 second, third, fourth;  // the first two also where the fourth is
    explicit Quarters(__m512i index)
        : second(_mm512_movepi8_mask(_mm512_add_epi8(index, index))), third(_mm512_movepi8_mask(index)), fourth(second & third) {}
};
// Bytes of a table of 256 at 64 indices.
inline __m512i look_up(const uint8_t* table, __m512i index, const Quarters& in) {
    const auto part = [table](int i) { return _mm512_load_si512(table + 64 * i); };
    __m512i found = _mm512_permutexvar_epi8(index, part(0));
    found = _mm512_mask_permutexvar_epi8(found, in.second, index, part(1));
    found = _mm512_mask_permutexvar_epi8(found, in.third, index, part(2));
    return _mm512_mask_permutexvar_epi8(found, in.fourth, index, part(3));
}

// One activation row times blocks of 256 weights whose activations are laid out beforehand: F::X holds those of a block,
// F::prepare() fills it, F::add() adds the product of a block to the lanes of a sum, F::add_two() those of two blocks, of which the
// second may be the first once more, with activations of 0.
constexpr int64_t kBlocksAtOnce = 1024;

template <class F>
inline void multiply_laid_out(const MatmulArgs& args, int64_t t, int64_t first, int64_t count) {
    const auto* const x = static_cast<const typename F::X*>(args.scratch);
    const int64_t row_bytes = args.w.cols / 256 * F::kBytes;
    for (int64_t row = args.row_begin; row < args.row_end; ++row) {
        const uint8_t* b = args.w.data + row * row_bytes + first * F::kBytes;
        __m512 sum = _mm512_setzero_ps();
        if constexpr (requires { &F::add_two; }) {
            static const typename F::X kNone{};
            for (int64_t u = 0; u < count; u += 2, b += 2 * F::kBytes) {
                prefetch_ahead(b, 2 * F::kBytes);
                const bool both = u + 1 < count;
                sum = F::add_two(b, both ? b + F::kBytes : b, x[u], both ? x[u + 1] : kNone, sum);
            }
        } else {
            for (int64_t u = 0; u < count; ++u, b += F::kBytes) {
                prefetch_ahead(b, F::kBytes);
                sum = F::add(b, x[u], sum);
            }
        }
        float& y = args.y[t * args.y_stride + row];
        y = (first == 0 ? 0.0f : y) + _mm512_reduce_add_ps(sum);
    }
}

template <class F>
void gemv_laid_out(const MatmulArgs& args) {
    static_assert(kBlocksAtOnce * sizeof(typename F::X) <= kMatmulScratch);
    const int64_t blocks = args.w.cols / 256;
    const bool prepared = args.same_activations && args.n == 1 && blocks <= kBlocksAtOnce;
    auto* const x = static_cast<typename F::X*>(args.scratch);
    for (int64_t t = 0; t < args.n; ++t)
        for (int64_t first = 0; first < blocks; first += kBlocksAtOnce) {
            const int64_t count = blocks - first < kBlocksAtOnce ? blocks - first : kBlocksAtOnce;
            const int8_t* codes = args.xq->row_codes(t) + 256 * first;
            const float* scales = args.xq->row_scales(t) + 8 * first;
            for (int64_t u = 0; u < count && !prepared; ++u) F::prepare(codes + 256 * u, scales + 8 * u, x[u]);
            multiply_laid_out<F>(args, t, first, count);
        }
}

template <class F>
void set_gemv_laid_out(Kernels& table, FormatSlot slot, const char* name) {
    MatmulKernels& kernels = table.matmul[static_cast<size_t>(slot)];
    kernels.gemv = gemv_laid_out<F>;
    kernels.gemv_name = name;
}

}  // namespace

void fill_avx512_vbmi_grid(Kernels& table);
void fill_avx512_vbmi_ternary(Kernels& table);
void fill_avx512_vbmi_stock(Kernels& table);
void fill_avx512_vbmi_super(Kernels& table);

}  // namespace quant
