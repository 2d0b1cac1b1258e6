#if defined(__x86_64__)
#include "kernels/tables.h"

namespace quant {
void fill_avx512(Kernels&) {}
}  // namespace quant
#endif
