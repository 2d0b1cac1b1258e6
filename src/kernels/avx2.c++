// The AVX2 table (AVX2, FMA, F16C): put together from its parts.
#if defined(__x86_64__)
#include "kernels/avx2.h"

namespace quant {

void fill_avx2(Kernels& table) {
    fill_avx2_operations(table);
    fill_avx2_float(table);
    fill_avx2_gemv(table);
    fill_avx2_gemm(table);
    fill_avx2_grid(table);
    fill_avx2_levels(table);
    fill_avx2_affine(table);
}

}  // namespace quant
#endif
