// Stock block formats times many activation rows with the 8-bit matrix product.
#if defined(__aarch64__)
#include "kernels/neon.h"
#include "kernels/neon_i8mm.h"
#include "kernels/block_formats.h"

namespace quant {

void fill_neon_i8mm(Kernels& table) {
#define SET(F, slot) set_gemm<I8mm, F>(table, FormatSlot::slot, "gemm_" #slot "_q8_neon_i8mm");
    QUANT_STOCK_BLOCKS(SET)
#undef SET
    fill_neon_i8mm_grid(table);
    fill_neon_i8mm_levels(table);
    fill_neon_i8mm_affine(table);
}

}  // namespace quant
#endif
