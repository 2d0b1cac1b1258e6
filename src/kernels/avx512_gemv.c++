// Stock block formats times one activation row (AVX-512 with VNNI, 256 bits wide but for TQ2_0).
#if defined(__x86_64__)
#define QUANT_KERNELS_AVX512 1
#include "kernels/avx512.h"
#include "kernels/avx2_super_gemv.h"

namespace quant {

void fill_avx512_gemv(Kernels& table) {
    set_stock_gemv(table);
}

}  // namespace quant
#endif
