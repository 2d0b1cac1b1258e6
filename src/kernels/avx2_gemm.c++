// Stock block formats times many activation rows (AVX2).
#if defined(__x86_64__)
#include "kernels/avx2.h"
#include "kernels/avx2_gemm.h"
#include "kernels/block_formats.h"

namespace quant {

void fill_avx2_gemm(Kernels& table) {
#define SET(F, slot) set_gemm<Avx2, F>(table, FormatSlot::slot, "gemm_" #slot "_q8_avx2");
    QUANT_STOCK_BLOCKS(SET)
#undef SET
}

}  // namespace quant
#endif
