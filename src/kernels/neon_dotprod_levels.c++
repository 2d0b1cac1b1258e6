// Own formats with levels in a table times int8 activations with the dot product instructions.
#if defined(__aarch64__)
#include "kernels/neon.h"
#include "kernels/neon_dotprod.h"
#include "kernels/neon_level_unpack.h"
#include "kernels/neon_staged.h"
#include "kernels/block_formats.h"

namespace quant {

void fill_neon_dotprod_levels(Kernels& table) {
#define SET(F, slot)                                                        \
    set_gemv<F>(table, FormatSlot::slot, "gemv_" #slot "_q8_neon_dotprod");         \
    set_gemm<Dotprod, F>(table, FormatSlot::slot, "gemm_" #slot "_q8_neon_dotprod");
    QUANT_LEVEL_BLOCKS(SET)
#undef SET
#define SET(Stage, slot)                                                           \
    set_gemv_staged<Stage>(table, FormatSlot::slot, "gemv_" #slot "_q8_neon_dotprod");     \
    set_gemm_staged<Dotprod, Stage>(table, FormatSlot::slot, "gemm_" #slot "_q8_neon_dotprod");
    QUANT_LEVEL_STAGES(SET)
#undef SET
}

}  // namespace quant
#endif
