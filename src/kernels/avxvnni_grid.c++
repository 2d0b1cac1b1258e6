// Code-book formats times activations (AVX-VNNI).
#if defined(__x86_64__)
#define QUANT_KERNELS_AVXVNNI 1
#include "kernels/avx2_grid_gemv.h"
#include "kernels/avxvnni.h"
#include "kernels/avxvnni_gemm.h"

namespace quant {

void fill_avxvnni_grid(Kernels& table) {
    set_grid<AvxVnni>(table);
}

}  // namespace quant
#endif
