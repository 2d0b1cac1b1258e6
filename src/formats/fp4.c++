// MXFP4 and NVFP4: E2M1 floats of four bits under a power of two or an E4M3 scale.
#include <bit>

#include "formats/blocks.h"
#include "formats/codecs.h"

namespace quant {

namespace {

// 2^(e - 128), exact for all 256 codes: half of the stored scale, for the doubled levels.
float half_power(int e) {
    const uint32_t bits = e < 2 ? uint32_t{0x00200000} << e : static_cast<uint32_t>(e - 1) << 23;
    return std::bit_cast<float>(bits);
}

// Half the value of an E4M3 code whose sign is ignored; 0x7F is 0, but 0xFF reads as 480.
float half_e4m3(int code) {
    const int exponent = code >> 3 & 15, mantissa = code & 7;
    if (code == 127) return 0.0f;
    if (exponent == 0) return static_cast<float>(mantissa) * 0x1p-10f;
    return static_cast<float>(8 + mantissa) * std::bit_cast<float>(static_cast<uint32_t>(exponent + 127 - 11) << 23);
}

}  // namespace

void decode_mxfp4(const void*, const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockMXFP4*>(blocks);
    for (int64_t i = 0; i < n; i += 32, ++block) {
        const float d = half_power(block->e);
        for (int j = 0; j < 16; ++j) {
            out[i + j] = d * static_cast<float>(kE2m1Doubled[block->qs[j] & 15]);
            out[i + j + 16] = d * static_cast<float>(kE2m1Doubled[block->qs[j] >> 4]);
        }
    }
}

void decode_nvfp4(const void*, const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockNVFP4*>(blocks);
    for (int64_t i = 0; i < n; i += 64, ++block) {
        for (int g = 0; g < 4; ++g) {
            const float d = half_e4m3(block->scales[g]);
            for (int j = 0; j < 8; ++j) {
                const int byte = block->qs[8 * g + j];
                out[i + 16 * g + j] = d * static_cast<float>(kE2m1Doubled[byte & 15]);
                out[i + 16 * g + j + 8] = d * static_cast<float>(kE2m1Doubled[byte >> 4]);
            }
        }
    }
}

}  // namespace quant
