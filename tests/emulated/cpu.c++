// Takes the place of src/base/cpu.c++ in the emulated build: claims AVX-VNNI and AVX-512, so that their tables are tested.
#include "base/cpu.h"

namespace quant {

const CpuFeatures& cpu_features() {
    static const CpuFeatures features = [] {
        CpuFeatures f;
        f.avx2 = f.avx_vnni = f.avx512 = f.avx512_vnni = f.avx512_vbmi = true;
        return f;
    }();
    return features;
}

std::string cpu_name() { return "emulated AVX-VNNI and AVX-512"; }

}  // namespace quant
