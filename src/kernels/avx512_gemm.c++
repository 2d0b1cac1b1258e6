// Stock block formats times many activation rows (AVX-512 with VNNI).
#if defined(__x86_64__)
#include "kernels/avx512_gemm.h"
#include "kernels/block_formats.h"

namespace quant {

void fill_avx512_gemm(Kernels& table) {
#define SET(F, slot) set_gemm<Avx512, F>(table, FormatSlot::slot, "gemm_" #slot "_q8_avx512");
    QUANT_STOCK_BLOCKS(SET)
#undef SET
}

}  // namespace quant
#endif
