// The affine formats and L4 times int8 activations (AVX-512 with VNNI); eight-bit floats take the exact product for many
// rows.
#if defined(__x86_64__)
#define QUANT_KERNELS_AVX512 1
#include "kernels/avx512.h"

#include "kernels/avx2_affine.h"
#include "kernels/avx512_gemm.h"

namespace quant {

void fill_avx512_affine(Kernels& table) {
    set_affine<Avx512>(table);
    for (const FormatSlot slot : {FormatSlot::fp8_e4m3, FormatSlot::fp8_e4m3_row, FormatSlot::fp8_e5m2, FormatSlot::fp8_e5m2_row}) {
        table.matmul[static_cast<size_t>(slot)].gemm = table.matmul_exact;
        table.matmul[static_cast<size_t>(slot)].gemm_name = "gemm_any_f32_avx512";
    }
}

}  // namespace quant
#endif
