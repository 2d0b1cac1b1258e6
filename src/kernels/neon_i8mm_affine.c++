// The affine formats and L4 times many activation rows with the 8-bit matrix product.
#if defined(__aarch64__)
#include "kernels/neon.h"
#include "kernels/neon_affine.h"
#include "kernels/neon_i8mm.h"

namespace quant {

void fill_neon_i8mm_affine(Kernels& table) {
#define SET(C, slot, name) set_affine_gemm<I8mm, C>(table, slot, "gemm_" name "_q8_neon_i8mm");
    QUANT_EACH_AFFINE(SET);
#undef SET
    set_kept_gemm<I8mm>(table, "gemm_q8_row_o_q8_neon_i8mm");
}

}  // namespace quant
#endif
