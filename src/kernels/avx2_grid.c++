// Code-book formats times activations (AVX2).
#if defined(__x86_64__)
#include "kernels/avx2.h"
#include "kernels/avx2_gemm.h"
#include "kernels/avx2_grid_gemv.h"

namespace quant {

void fill_avx2_grid(Kernels& table) {
    set_grid<Avx2>(table);
}

}  // namespace quant
#endif
