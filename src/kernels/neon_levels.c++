// Own formats with levels in a table times int8 activations with plain NEON.
#if defined(__aarch64__)
#include "kernels/neon.h"
#include "kernels/neon_plain.h"
#include "kernels/neon_level_unpack.h"
#include "kernels/neon_staged.h"
#include "kernels/block_formats.h"

namespace quant {

void fill_neon_levels(Kernels& table) {
#define SET(F, slot)                                                        \
    set_gemv<F>(table, FormatSlot::slot, "gemv_" #slot "_q8_neon");         \
    set_gemm<Plain, F>(table, FormatSlot::slot, "gemm_" #slot "_q8_neon");
    QUANT_LEVEL_BLOCKS(SET)
#undef SET
#define SET(Stage, slot)                                                           \
    set_gemv_staged<Stage>(table, FormatSlot::slot, "gemv_" #slot "_q8_neon");     \
    set_gemm_staged<Plain, Stage>(table, FormatSlot::slot, "gemm_" #slot "_q8_neon");
    QUANT_LEVEL_STAGES(SET)
#undef SET
    // 256 levels are finer than int8: the exact product serves.
    table.matmul[static_cast<size_t>(FormatSlot::pal8)] = {table.matmul_exact, table.matmul_exact, 2, "gemv_pal8_f32_neon", "gemm_pal8_f32_neon"};
}

}  // namespace quant
#endif
