// Code-book formats times int8 activations with the dot product instructions.
#if defined(__aarch64__)
#include "kernels/neon_dotprod.h"

#include "kernels/block_formats.h"
#include "kernels/neon.h"
#include "kernels/neon_grid_unpack.h"

namespace quant {

void fill_neon_dotprod_grid(Kernels& table) {
#define SET(F, slot)                                                                 \
    set_gemv<F>(table, FormatSlot::slot, "gemv_" #slot "_q8_neon_dotprod");          \
    set_gemm<Dotprod, F>(table, FormatSlot::slot, "gemm_" #slot "_q8_neon_dotprod");
    QUANT_GRID_BLOCKS(SET)
#undef SET
}

}  // namespace quant
#endif
