// The parts of the NEON table: each file fills its own slots. Shared by the NEON files only.
#pragma once

#include "kernels/tables.h"

namespace quant {

void fill_neon_operations(Kernels& table);
void fill_neon_float(Kernels& table);
void fill_neon_products(Kernels& table);
void fill_neon_grid(Kernels& table);
void fill_neon_levels(Kernels& table);
// The other families of the tables above plain NEON, whose first files fill them.
void fill_neon_dotprod_grid(Kernels& table);
void fill_neon_i8mm_grid(Kernels& table);
void fill_neon_dotprod_levels(Kernels& table);
void fill_neon_i8mm_levels(Kernels& table);
// Affine formats, L4, eight-bit floats.
void fill_neon_affine(Kernels& table);
void fill_neon_dotprod_affine(Kernels& table);
void fill_neon_i8mm_affine(Kernels& table);

}  // namespace quant
