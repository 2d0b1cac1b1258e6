#if defined(__aarch64__)
#include "kernels/tables.h"

namespace quant {
void fill_neon_i8mm(Kernels&) {}
}  // namespace quant
#endif
