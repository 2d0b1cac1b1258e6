// MXFP4 and NVFP4: E2M1 floats of four bits under a power of two or an E4M3 scale.
#include <bit>

#include "formats/blocks.h"
#include "formats/codecs.h"
#include "formats/superblock.h"

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

// The code of the E4M3 number next below v, at most 126; codes are in the order of their values.
int e4m3_below(float v) {
    int low = 0, high = 126;
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (2 * half_e4m3(middle) <= v) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return low;
}

// The code of a doubled E2M1 level.
int code_of(int level) {
    int code = level < 0 ? 9 : 0;
    while (kE2m1Doubled[code] != level) ++code;
    return code;
}

}  // namespace

void decode_mxfp4(const RowPlace*, const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockMXFP4*>(blocks);
    for (int64_t i = 0; i < n; i += 32, ++block) {
        const float d = half_power(block->e);
        for (int j = 0; j < 16; ++j) {
            out[i + j] = d * static_cast<float>(kE2m1Doubled[block->qs[j] & 15]);
            out[i + j + 16] = d * static_cast<float>(kE2m1Doubled[block->qs[j] >> 4]);
        }
    }
}

void decode_nvfp4(const RowPlace*, const uint8_t* blocks, float* out, int64_t n) {
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

namespace {

template <int W>
QUANT_INLINE void mxfp4_body(const float* x, const float* importance, uint8_t* blocks, int64_t n) {
    auto* block = reinterpret_cast<BlockMXFP4*>(blocks);
    search::Block<32> in;
    for (int64_t i = 0; i < n; i += 32, ++block) {
        search::load_block<W>(in, x + i, importance ? importance + i : nullptr);
        // The exponent of the largest magnitude maps to 4, the exponent of E2M1's largest value.
        const int center = static_cast<int>(std::bit_cast<uint32_t>(in.most) >> 23) - 2;
        int chosen = center > 252 ? 252 : 0;
        float least = -1;
        for (int e = center - 2; e <= center + 1; ++e) {
            if (e < 0 || e > 252) continue;  // at 253 the largest level is infinite
            const float error = search::scale_error<W, search::E2m1, 32>(in.x, in.w, half_power(e) * in.down);
            if (least < 0 || error < least) least = error, chosen = e;
        }
        int level[32];
        search::choose_levels<W, search::E2m1, 32>(in.x, half_power(chosen) * in.down, level);
        block->e = static_cast<uint8_t>(chosen);
        for (int j = 0; j < 16; ++j) block->qs[j] = static_cast<uint8_t>(code_of(level[j]) | code_of(level[j + 16]) << 4);
    }
}

template <int W>
QUANT_INLINE void nvfp4_body(const float* x, const float* importance, uint8_t* blocks, int64_t n) {
    auto* block = reinterpret_cast<BlockNVFP4*>(blocks);
    search::Block<16> in;
    for (int64_t i = 0; i < n; i += 64, ++block) {
        for (int g = 0; g < 4; ++g) {
            search::load_block<W>(in, x + i + 16 * g, importance ? importance + i + 16 * g : nullptr);
            // Scales from below a fifth to four times the one that brings the largest element to 6.
            const int center = e4m3_below(in.most / 6);
            const int first = center < 18 ? 0 : center - 18, last = center > 110 ? 126 : center + 16;
            int chosen = 0;
            float least = -1;
            for (int code = first; code <= last; ++code) {
                const float error = search::scale_error<W, search::E2m1, 16>(in.x, in.w, half_e4m3(code) * in.down);
                if (least < 0 || error < least) least = error, chosen = code;
            }
            int level[16];
            search::choose_levels<W, search::E2m1, 16>(in.x, half_e4m3(chosen) * in.down, level);
            block->scales[g] = static_cast<uint8_t>(chosen);
            for (int j = 0; j < 8; ++j) {
                block->qs[8 * g + j] = static_cast<uint8_t>(code_of(level[j]) | code_of(level[j + 8]) << 4);
            }
        }
    }
}

}  // namespace

QUANT_ENCODER(encode_mxfp4, mxfp4_body)
QUANT_ENCODER(encode_nvfp4, nvfp4_body)

}  // namespace quant
