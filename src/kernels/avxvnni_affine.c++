// The affine formats and L4 times int8 activations (AVX-VNNI); eight-bit floats stay with AVX2.
#if defined(__x86_64__)
#define QUANT_KERNELS_AVXVNNI 1
#include "kernels/avx2_affine.h"
#include "kernels/avxvnni.h"
#include "kernels/avxvnni_gemm.h"

namespace quant {

void fill_avxvnni_affine(Kernels& table) {
    set_affine<AvxVnni>(table);
}

}  // namespace quant
#endif
