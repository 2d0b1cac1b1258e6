// The AVX-VNNI table (AVX2 with dot products of bytes): products with int8 activations, in files that compile side by side; all
// else stays that of AVX2.
#if defined(__x86_64__)
#include "kernels/avxvnni.h"

namespace quant {

void fill_avxvnni(Kernels& table) {
    fill_avxvnni_stock(table);
    fill_avxvnni_grid(table);
    fill_avxvnni_levels(table);
    fill_avxvnni_affine(table);
}

}  // namespace quant
#endif
