// Stock block formats times one and many activation rows (AVX-VNNI).
#if defined(__x86_64__)
#define QUANT_KERNELS_AVXVNNI 1
#include "kernels/avx2_super_gemv.h"
#include "kernels/avxvnni.h"
#include "kernels/avxvnni_gemm.h"

namespace quant {

void fill_avxvnni_stock(Kernels& table) {
    set_stock_gemv(table);
    set_stock_gemm<AvxVnni>(table);
}

}  // namespace quant
#endif
