// Stock block formats times one activation row (AVX2).
#if defined(__x86_64__)
#include "kernels/avx2.h"
#include "kernels/avx2_super_gemv.h"
#include "kernels/block_formats.h"

namespace quant {

void fill_avx2_gemv(Kernels& table) {
#define SET(F, slot) set_gemv<F>(table, FormatSlot::slot, "gemv_" #slot "_q8_avx2");
    QUANT_STOCK_BLOCKS(SET)
#undef SET
}

}  // namespace quant
#endif
