// Own formats with levels in a table times int8 activations with the 8-bit matrix product.
#if defined(__aarch64__)
#include "kernels/neon.h"
#include "kernels/neon_i8mm.h"
#include "kernels/neon_level_unpack.h"
#include "kernels/neon_staged.h"
#include "kernels/block_formats.h"

namespace quant {

void fill_neon_i8mm_levels(Kernels& table) {
#define SET(F, slot)                                                        \
    set_gemm<I8mm, F>(table, FormatSlot::slot, "gemm_" #slot "_q8_neon_i8mm");
    QUANT_LEVEL_BLOCKS(SET)
#undef SET
#define SET(Stage, slot)                                                           \
    set_gemm_staged<I8mm, Stage>(table, FormatSlot::slot, "gemm_" #slot "_q8_neon_i8mm");
    QUANT_LEVEL_STAGES(SET)
#undef SET
}

}  // namespace quant
#endif
