// The choice between the two widths of the encoders' vectors.
#include "formats/lanes.h"

#include <atomic>

#include "base/cpu.h"

namespace quant {

namespace {

std::atomic<bool>& wide() {
    static std::atomic<bool> value{cpu_features().avx2};
    return value;
}

}  // namespace

bool wide_lanes() { return wide().load(std::memory_order_relaxed); }
void set_wide_lanes(bool value) { wide() = value && cpu_features().avx2; }

}  // namespace quant
