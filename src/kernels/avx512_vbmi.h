// The parts of the AVX-512 VBMI table, and what its files share: patterns of bytes. Included by these files only.
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

}  // namespace

void fill_avx512_vbmi_grid(Kernels& table);
void fill_avx512_vbmi_ternary(Kernels& table);

}  // namespace quant
