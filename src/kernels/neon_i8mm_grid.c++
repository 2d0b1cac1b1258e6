// Code-book formats times many activation rows with the 8-bit matrix product.
#if defined(__aarch64__)
#include "kernels/block_formats.h"
#include "kernels/neon.h"
#include "kernels/neon_grid_unpack.h"
#include "kernels/neon_i8mm.h"

namespace quant {

void fill_neon_i8mm_grid(Kernels& table) {
#define SET(F, slot)                                                           \
    set_gemm<I8mm, F>(table, FormatSlot::slot, "gemm_" #slot "_q8_neon_i8mm");
    QUANT_GRID_BLOCKS(SET)
#undef SET
}

}  // namespace quant
#endif
