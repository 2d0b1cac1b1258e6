// Code-book formats times activations (AVX-512 with VNNI; one activation row 256 bits wide).
#if defined(__x86_64__)
#define QUANT_KERNELS_VNNI 1
#include "kernels/avx512_gemm.h"

#include "kernels/avx2_grid_gemv.h"
#include "kernels/block_formats.h"

namespace quant {

void fill_avx512_grid(Kernels& table) {
#define SET(F, slot)                                                           \
    set_gemv_grid<F>(table, FormatSlot::slot, "gemv_" #slot "_q8_avx512");     \
    set_gemm<Avx512, F>(table, FormatSlot::slot, "gemm_" #slot "_q8_avx512");
    QUANT_GRID_BLOCKS(SET)
#undef SET
}

}  // namespace quant
#endif
