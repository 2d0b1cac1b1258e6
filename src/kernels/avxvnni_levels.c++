// Own formats with levels in a table times one and many activation rows (AVX-VNNI).
#if defined(__x86_64__)
#define QUANT_KERNELS_AVXVNNI 1
#include "kernels/avx2_palette_gemv.h"
#include "kernels/avxvnni.h"
#include "kernels/avxvnni_gemm.h"

namespace quant {

void fill_avxvnni_levels(Kernels& table) {
    set_levels<AvxVnni>(table);
}

}  // namespace quant
#endif
