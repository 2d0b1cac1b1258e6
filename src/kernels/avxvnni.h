// The parts of the AVX-VNNI table: each file fills its own slots. Shared by the AVX-VNNI files only.
#pragma once

#include "kernels/tables.h"

namespace quant {

void fill_avxvnni_stock(Kernels& table);
void fill_avxvnni_grid(Kernels& table);
void fill_avxvnni_levels(Kernels& table);
void fill_avxvnni_affine(Kernels& table);

}  // namespace quant
