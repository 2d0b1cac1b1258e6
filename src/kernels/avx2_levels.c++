// Own formats with levels in a table times one and many activation rows (AVX2).
#if defined(__x86_64__)
#include "kernels/avx2.h"
#include "kernels/avx2_gemm.h"
#include "kernels/avx2_level_unpack.h"
#include "kernels/avx2_palette_gemv.h"
#include "kernels/avx2_staged.h"
#include "kernels/block_formats.h"

namespace quant {

void fill_avx2_levels(Kernels& table) {
#define SET(F, slot)                                                        \
    set_gemv<F>(table, FormatSlot::slot, "gemv_" #slot "_q8_avx2");         \
    set_gemm<Avx2, F>(table, FormatSlot::slot, "gemm_" #slot "_q8_avx2");
    QUANT_LEVEL_BLOCKS(SET)
#undef SET
#define SET(Stage, slot)                                                           \
    set_gemv_staged<Stage>(table, FormatSlot::slot, "gemv_" #slot "_q8_avx2");     \
    set_gemm_staged<Avx2, Stage>(table, FormatSlot::slot, "gemm_" #slot "_q8_avx2");
    QUANT_LEVEL_STAGES(SET)
#undef SET
    set_palette_gemv(table);
    // 256 levels are finer than int8: the exact product serves.
    table.matmul[static_cast<size_t>(FormatSlot::pal8)] = {table.matmul_exact, table.matmul_exact, 2, "gemv_pal8_f32_avx2", "gemm_pal8_f32_avx2"};
}

}  // namespace quant
#endif
