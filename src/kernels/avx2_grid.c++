// Code-book formats times activations (AVX2).
#if defined(__x86_64__)
#include "kernels/avx2.h"
#include "kernels/avx2_gemm.h"
#include "kernels/avx2_grid_gemv.h"
#include "kernels/block_formats.h"

namespace quant {

void fill_avx2_grid(Kernels& table) {
#define SET(F, slot)                                                         \
    set_gemv_grid<F>(table, FormatSlot::slot, "gemv_" #slot "_q8_avx2");     \
    set_gemm<Avx2, F>(table, FormatSlot::slot, "gemm_" #slot "_q8_avx2");
    QUANT_GRID_BLOCKS(SET)
#undef SET
}

}  // namespace quant
#endif
