// Stock block formats times int8 activations with the dot product instructions.
#if defined(__aarch64__)
#include "kernels/neon.h"
#include "kernels/neon_dotprod.h"
#include "kernels/block_formats.h"

namespace quant {

void fill_neon_dotprod(Kernels& table) {
#define SET(F, slot) set_gemv<F>(table, FormatSlot::slot, "gemv_" #slot "_q8_neon_dotprod");
    QUANT_STOCK_BLOCKS(SET)
#undef SET
#define SET(F, slot) set_gemm<Dotprod, F>(table, FormatSlot::slot, "gemm_" #slot "_q8_neon_dotprod");
    QUANT_STOCK_BLOCKS(SET)
#undef SET
    fill_neon_dotprod_grid(table);
    fill_neon_dotprod_levels(table);
    fill_neon_dotprod_affine(table);
}

}  // namespace quant
#endif
