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

// Bytes of a table of 256 at 64 indices.
inline __m512i look_up(const uint8_t* table, __m512i index, __mmask64 upper) {
    const auto part = [table](int i) { return _mm512_load_si512(table + 64 * i); };
    const __m512i low = _mm512_permutex2var_epi8(part(0), index, part(1)), high = _mm512_permutex2var_epi8(part(2), index, part(3));
    return _mm512_mask_blend_epi8(upper, low, high);
}

// One activation row times blocks of 256 weights whose activations are laid out beforehand: F::X holds those of a block,
// F::prepare() fills it, F::add() adds the product of a block to the lanes of a sum.
constexpr int64_t kBlocksAtOnce = 1024;

template <class F>
inline void multiply_laid_out(const MatmulArgs& args, int64_t t, int64_t first, int64_t count) {
    const auto* const x = static_cast<const typename F::X*>(args.scratch);
    const int64_t row_bytes = args.w.cols / 256 * F::kBytes;
    for (int64_t row = args.row_begin; row < args.row_end; ++row) {
        const uint8_t* b = args.w.data + row * row_bytes + first * F::kBytes;
        __m512 sum = _mm512_setzero_ps();
        for (int64_t u = 0; u < count; ++u, b += F::kBytes) {
            prefetch_ahead(b, F::kBytes);
            sum = F::add(b, x[u], sum);
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

}  // namespace quant
