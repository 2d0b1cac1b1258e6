// Own formats with levels in a table times one and many activation rows (AVX-512 with VNNI).
#if defined(__x86_64__)
#define QUANT_KERNELS_VNNI 1
#include "kernels/avx512_gemm.h"
#include "kernels/avx2_level_unpack.h"
#include "kernels/avx2_palette_gemv.h"
#include "kernels/avx2_staged.h"
#include "kernels/block_formats.h"

namespace quant {

void fill_avx512_levels(Kernels& table) {
#define SET(F, slot)                                                        \
    set_gemv<F>(table, FormatSlot::slot, "gemv_" #slot "_q8_avx512");         \
    set_gemm<Avx512, F>(table, FormatSlot::slot, "gemm_" #slot "_q8_avx512");
    QUANT_LEVEL_BLOCKS(SET)
#undef SET
#define SET(Stage, slot)                                                           \
    set_gemv_staged<Stage>(table, FormatSlot::slot, "gemv_" #slot "_q8_avx512");     \
    set_gemm_staged<Avx512, Stage>(table, FormatSlot::slot, "gemm_" #slot "_q8_avx512");
    QUANT_LEVEL_STAGES(SET)
#undef SET
    set_palette_gemv(table);
    // 256 levels are finer than int8: the exact product serves.
    table.matmul[static_cast<size_t>(FormatSlot::pal8)] = {table.matmul_exact, table.matmul_exact, 2, "gemv_pal8_f32_avx512", "gemm_pal8_f32_avx512"};
}

}  // namespace quant
#endif
