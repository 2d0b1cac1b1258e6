// The NEON table (any AArch64 processor): put together from its parts.
#if defined(__aarch64__)
#include "kernels/neon.h"

namespace quant {

void fill_neon(Kernels& table) {
    fill_neon_operations(table);
    fill_neon_float(table);
    fill_neon_products(table);
    fill_neon_grid(table);
    fill_neon_levels(table);
    fill_neon_affine(table);
}

}  // namespace quant
#endif
