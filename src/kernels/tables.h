// What the files of the instruction sets share: the entry of each, and the contract asserts. Included by ISA files, so
// it must hold nothing that could be emitted as linkable inline code (style: ISA files are islands).
#pragma once

#include "kernels/kernels.h"

namespace quant {

// Each fills the slots it does better into a table that starts as a copy of the next lower one.
void fill_scalar(Kernels& table);
#if defined(__x86_64__)
void fill_avx2(Kernels& table);
void fill_avxvnni(Kernels& table);
void fill_avx512(Kernels& table);
void fill_avx512_vbmi(Kernels& table);
#elif defined(__aarch64__)
void fill_neon(Kernels& table);
void fill_neon_dotprod(Kernels& table);
void fill_neon_i8mm(Kernels& table);
#endif

// quantize_q8: a block whose largest magnitude is below this is stored as zeros (127 / max would overflow), one whose
// largest magnitude is not finite as scale NaN. The magnitudes are compared as the integers of their bits.
inline constexpr uint32_t kQ8TinyBits = 0x0da24260u;  // 1e-30f
inline constexpr uint32_t kQ8InfinityBits = 0x7f800000u;
inline constexpr uint32_t kQ8NanBits = 0x7fc00000u;

}  // namespace quant
