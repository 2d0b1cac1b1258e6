// The choice between the widths of the encoders' registers.
#include "formats/lanes.h"

#include <atomic>
#include <cstdlib>
#include <string_view>

#include "base/cpu.h"

namespace quant {

namespace {

int at_most(int width) {
    const CpuFeatures& cpu = cpu_features();
    return width >= 16 && cpu.avx512_vnni ? 16 : width >= 8 && cpu.avx2 ? 8 : 4;
}

// The encoders go with the kernels, so that QUANT_ISA shows what a lesser processor does.
int wanted() {
    const char* set = std::getenv("QUANT_ISA");
    const std::string_view isa = set ? set : "";
    return at_most(isa.empty() || isa.starts_with("avx512") ? 16 : isa == "scalar" ? 4 : 8);
}

std::atomic<int>& width() {
    static std::atomic<int> value{wanted()};
    return value;
}

}  // namespace

int lane_width() { return width().load(std::memory_order_relaxed); }
void set_lane_width(int value) { width() = at_most(value); }

}  // namespace quant
