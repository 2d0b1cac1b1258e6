#if defined(__aarch64__)
#include "kernels/tables.h"

namespace quant {
void fill_neon(Kernels&) {}
}  // namespace quant
#endif
