#if defined(__aarch64__)
#include "kernels/tables.h"

namespace quant {
void fill_neon_dotprod(Kernels&) {}
}  // namespace quant
#endif
