// The AVX-512 table for processors that also permute bytes (VBMI, GFNI): products with one activation row, which take fewer
// instructions that way; all else stays that of AVX-512.
#if defined(__x86_64__)
#include "kernels/avx512_vbmi.h"

namespace quant {

void fill_avx512_vbmi(Kernels& table) {
    fill_avx512_vbmi_grid(table);
    fill_avx512_vbmi_ternary(table);
    fill_avx512_vbmi_stock(table);
    fill_avx512_vbmi_super(table);
}

}  // namespace quant
#endif
