// Stock block formats times one activation row (AVX-512 with VNNI, 256 bits wide: memory is the limit, not arithmetic).
#if defined(__x86_64__)
#define QUANT_KERNELS_VNNI 1
#include "kernels/avx512.h"

#include "kernels/avx2_super_gemv.h"
#include "kernels/block_formats.h"

namespace quant {

void fill_avx512_gemv(Kernels& table) {
#define SET(F, slot) set_gemv<F>(table, FormatSlot::slot, "gemv_" #slot "_q8_avx512");
    QUANT_STOCK_BLOCKS(SET)
#undef SET
}

}  // namespace quant
#endif
