// The AVX-512 table (F, BW, DQ, VL, VNNI): put together from its parts; most operations stay those of AVX2.
#if defined(__x86_64__)
#include "kernels/avx512.h"

namespace quant {

void fill_avx512(Kernels& table) {
    fill_avx512_float(table);
    fill_avx512_operations(table);
    fill_avx512_gemv(table);
    fill_avx512_gemm(table);
    fill_avx512_grid(table);
    fill_avx512_levels(table);
    fill_avx512_affine(table);
}

}  // namespace quant
#endif
