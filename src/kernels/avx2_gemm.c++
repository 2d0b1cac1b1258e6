// Stock block formats times many activation rows (AVX2).
#if defined(__x86_64__)
#include "kernels/avx2.h"
#include "kernels/avx2_gemm.h"

namespace quant {

void fill_avx2_gemm(Kernels& table) {
    set_stock_gemm<Avx2>(table);
}

}  // namespace quant
#endif
