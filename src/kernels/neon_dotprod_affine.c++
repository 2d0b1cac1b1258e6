// The affine formats and L4 times int8 activations with the dot product instructions.
#if defined(__aarch64__)
#include "kernels/neon.h"
#include "kernels/neon_dotprod.h"

#include "kernels/neon_affine.h"

namespace quant {

void fill_neon_dotprod_affine(Kernels& table) {
#define SET(C, slot, name)                                                     \
    set_affine_gemv<C>(table, slot, "gemv_" name "_q8_neon_dotprod");          \
    set_affine_gemm<Dotprod, C>(table, slot, "gemm_" name "_q8_neon_dotprod");
    QUANT_EACH_AFFINE(SET);
#undef SET
    set_kept_gemv(table, "gemv_q8_row_o_q8_neon_dotprod");
    set_kept_gemm<Dotprod>(table, "gemm_q8_row_o_q8_neon_dotprod");
}

}  // namespace quant
#endif
