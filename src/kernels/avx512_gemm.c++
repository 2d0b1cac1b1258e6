// Stock block formats times many activation rows (AVX-512 with VNNI).
#if defined(__x86_64__)
#define QUANT_KERNELS_AVX512 1
#include "kernels/avx512_gemm.h"

namespace quant {

void fill_avx512_gemm(Kernels& table) {
    set_stock_gemm<Avx512>(table);
}

}  // namespace quant
#endif
