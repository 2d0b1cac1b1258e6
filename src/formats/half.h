// IEEE half and bfloat16 to and from float, bit-exact with hardware: to nearest even, NaN kept and quieted.
// Always inlined: files built for one instruction set must not leave a copy behind that the linker gives to all.
#pragma once

#include <bit>
#include <cstdint>

namespace quant {

[[gnu::always_inline]] inline float f16_to_f32(uint16_t half) {
    const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
    const uint32_t exponent = half >> 10 & 31, mantissa = half & 0x3ff;
    if (exponent == 0) {  // subnormals are multiples of 2^-24
        const uint32_t magnitude = std::bit_cast<uint32_t>(static_cast<float>(mantissa) * 0x1p-24f);
        return std::bit_cast<float>(sign | magnitude);
    }
    if (exponent == 31) {  // conversion quiets a signalling NaN, as processors do
        const uint32_t quiet = mantissa ? 0x00400000u : 0;
        return std::bit_cast<float>(sign | 0x7f800000u | quiet | mantissa << 13);
    }
    return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
}

[[gnu::always_inline]] inline uint16_t f32_to_f16(float value) {
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    const uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
    uint32_t half;
    if (magnitude > 0x7f800000) {
        half = 0x7e00 | (magnitude >> 13 & 0x3ff);
    } else if (magnitude >= 0x47800000) {  // 65536 and above
        half = 0x7c00;
    } else if (magnitude >= 0x38800000) {  // 2^-14, the smallest normal half; the carry of rounding may reach infinity
        half = (magnitude + 0xfff + (magnitude >> 13 & 1) - (112u << 23)) >> 13;
    } else {  // one unit in the last place of 0.5 is 2^-24, so that the addition rounds to a multiple of it
        half = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000;
    }
    return static_cast<uint16_t>(sign | half);
}

[[gnu::always_inline]] inline float bf16_to_f32(uint16_t value) { return std::bit_cast<float>(static_cast<uint32_t>(value) << 16); }

[[gnu::always_inline]] inline uint16_t f32_to_bf16(float value) {
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    if ((bits & 0x7fffffff) > 0x7f800000) return static_cast<uint16_t>(bits >> 16 | 0x40);
    return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

}  // namespace quant
