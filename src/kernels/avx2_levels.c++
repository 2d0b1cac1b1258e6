// Own formats with levels in a table times one and many activation rows (AVX2).
#if defined(__x86_64__)
#include "kernels/avx2.h"
#include "kernels/avx2_gemm.h"
#include "kernels/avx2_palette_gemv.h"

namespace quant {

void fill_avx2_levels(Kernels& table) {
    set_levels<Avx2>(table);
}

}  // namespace quant
#endif
