// Stock block formats times one activation row (AVX2).
#if defined(__x86_64__)
#include "kernels/avx2.h"
#include "kernels/avx2_super_gemv.h"

namespace quant {

void fill_avx2_gemv(Kernels& table) {
    set_stock_gemv(table);
}

}  // namespace quant
#endif
