// The choice between the two widths of the encoders' vectors.
#include "formats/lanes.h"

#include <atomic>
#include <cstdlib>
#include <cstring>

#include "base/cpu.h"

namespace quant {

namespace {

// The scalar kernels go with the narrow width, so that QUANT_ISA=scalar shows what a processor without AVX2 does.
bool wanted() {
    const char* isa = std::getenv("QUANT_ISA");
    return cpu_features().avx2 && !(isa && std::strcmp(isa, "scalar") == 0);
}

std::atomic<bool>& wide() {
    static std::atomic<bool> value{wanted()};
    return value;
}

}  // namespace

bool wide_lanes() { return wide().load(std::memory_order_relaxed); }
void set_wide_lanes(bool value) { wide() = value && cpu_features().avx2; }

}  // namespace quant
