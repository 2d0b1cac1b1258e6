// Code-book formats times activations (AVX-512 with VNNI; one activation row 256 bits wide).
#if defined(__x86_64__)
#define QUANT_KERNELS_AVX512 1
#include "kernels/avx512_gemm.h"
#include "kernels/avx2_grid_gemv.h"

namespace quant {

void fill_avx512_grid(Kernels& table) {
    set_grid<Avx512>(table);
}

}  // namespace quant
#endif
