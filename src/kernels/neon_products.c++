// Stock block formats times int8 activations with plain NEON.
#if defined(__aarch64__)
#include "kernels/neon.h"
#include "kernels/neon_plain.h"
#include "kernels/block_formats.h"

namespace quant {

void fill_neon_products(Kernels& table) {
#define SET(F, slot) set_gemv<F>(table, FormatSlot::slot, "gemv_" #slot "_q8_neon");
    QUANT_STOCK_BLOCKS(SET)
#undef SET
#define SET(F, slot) set_gemm<Plain, F>(table, FormatSlot::slot, "gemm_" #slot "_q8_neon");
    QUANT_STOCK_BLOCKS(SET)
#undef SET
}

}  // namespace quant
#endif
