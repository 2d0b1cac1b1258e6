// Code-book formats times int8 activations with plain NEON.
#if defined(__aarch64__)
#include "kernels/block_formats.h"
#include "kernels/neon.h"
#include "kernels/neon_grid_unpack.h"
#include "kernels/neon_plain.h"

namespace quant {

void fill_neon_grid(Kernels& table) {
#define SET(F, slot)                                                       \
    set_gemv<F>(table, FormatSlot::slot, "gemv_" #slot "_q8_neon");        \
    set_gemm<Plain, F>(table, FormatSlot::slot, "gemm_" #slot "_q8_neon");
    QUANT_GRID_BLOCKS(SET)
#undef SET
}

}  // namespace quant
#endif
