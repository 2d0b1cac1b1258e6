// Own formats with levels in a table times one and many activation rows (AVX-512 with VNNI).
#if defined(__x86_64__)
#define QUANT_KERNELS_AVX512 1
#include "kernels/avx512_gemm.h"
#include "kernels/avx2_palette_gemv.h"

namespace quant {

void fill_avx512_levels(Kernels& table) {
    set_levels<Avx512>(table);
}

}  // namespace quant
#endif
