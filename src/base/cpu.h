// What this processor can do. Compiled without instruction set flags, so that it runs anywhere.
#pragma once

#include <string>

namespace quant {

struct CpuFeatures {
    bool avx2 = false;         // AVX2, FMA and F16C together
    bool avx_vnni = false;
    bool avx512 = false;       // F, BW, DQ, VL
    bool avx512_vnni = false;
    bool avx512_bf16 = false;
    bool avx512_vbmi = false;  // VBMI and GFNI
    bool neon = false;
    bool dotprod = false;
    bool i8mm = false;
    bool bf16 = false;  // AArch64 bf16 dot products
    bool fp16 = false;  // AArch64 half arithmetic
};
const CpuFeatures& cpu_features();
std::string cpu_name();

}  // namespace quant
