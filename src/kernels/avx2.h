// The parts of the AVX2 table: each file fills its own slots. Shared by the AVX2 files only.
#pragma once

#include "kernels/tables.h"

namespace quant {

void fill_avx2_operations(Kernels& table);
void fill_avx2_float(Kernels& table);
void fill_avx2_gemv(Kernels& table);
void fill_avx2_gemm(Kernels& table);
void fill_avx2_grid(Kernels& table);
void fill_avx2_levels(Kernels& table);
void fill_avx2_affine(Kernels& table);

}  // namespace quant
