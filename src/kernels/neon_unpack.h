// Blocks of every format to signed int8 codes in the order of the weights, 32 at a time, and to their scales (AArch64).
// Included by NEON files only, everything in an unnamed namespace: nothing here may become linkable inline code.
//
// A unit is a block of the file. Its weight is scale * code + minimum, scale and minimum belonging to groups of kGroup
// weights; offsets are already taken from the codes, which fit int8 in every format.
#pragma once

#include <arm_neon.h>

#include "formats/blocks.h"
#include "kernels/tables.h"

namespace quant {
namespace {

inline uint16_t load16(const void* at) {
    uint16_t value;
    __builtin_memcpy(&value, at, sizeof value);
    return value;
}
inline uint32_t load32(const void* at) {
    uint32_t value;
    __builtin_memcpy(&value, at, sizeof value);
    return value;
}
inline uint64_t load64(const void* at) {
    uint64_t value;
    __builtin_memcpy(&value, at, sizeof value);
    return value;
}
inline float half_at(const void* at) {
    __fp16 half;
    __builtin_memcpy(&half, at, sizeof half);
    return static_cast<float>(half);
}

struct Codes32 {
    int8x16_t low, high;  // elements 0-15, 16-31
};

inline int8x16_t minus(uint8x16_t codes, int offset) {
    return vsubq_s8(vreinterpretq_s8_u8(codes), vdupq_n_s8(static_cast<int8_t>(offset)));
}
inline Codes32 minus(uint8x16_t low, uint8x16_t high, int offset) { return {minus(low, offset), minus(high, offset)}; }

inline Codes32 lowered(Codes32 codes, int8_t by) { return {vsubq_s8(codes.low, vdupq_n_s8(by)), vsubq_s8(codes.high, vdupq_n_s8(by))}; }

// 16 bytes -> 32 nibbles: low ones first, then high ones.
struct Nibbles {
    uint8x16_t low, high;
};
inline Nibbles nibbles_split(const uint8_t* at) {
    const uint8x16_t bytes = vld1q_u8(at);
    return {vandq_u8(bytes, vdupq_n_u8(15)), vshrq_n_u8(bytes, 4)};
}

// 16 bits -> 16 bytes, `value` where the bit is set.
inline uint8x16_t bits_to_bytes(const uint8_t* at, uint8_t value) {
    const uint8x16_t bytes = vcombine_u8(vdup_n_u8(at[0]), vdup_n_u8(at[1]));
    const uint8x8_t mask = vcreate_u8(0x8040201008040201ull);
    return vandq_u8(vtstq_u8(bytes, vcombine_u8(mask, mask)), vdupq_n_u8(value));
}

inline Codes32 look_up(const int8_t* table16, const uint8_t* at) {
    const int8x16_t table = vld1q_s8(table16);
    const Nibbles n = nibbles_split(at);
    return {vqtbl1q_s8(table, n.low), vqtbl1q_s8(table, n.high)};
}

// ---- units with one scale --------------------------------------------------------------------------------------

// kHalf: the scale is a half at the start, the minimum, if any, the half behind it.
struct OneScale {
    static constexpr bool kMinimum = false;
    static constexpr int kUnit = 32, kGroup = 32;
};

template <int groups>
inline void repeat(float value, float* out) {
    for (int g = 0; g < groups; ++g) out[g] = value;
}

struct Q8_0 : OneScale {
    static constexpr bool kHalf = true;
    static constexpr int kBytes = 34;
    static Codes32 codes(const uint8_t* b, int) {
        const auto* q = reinterpret_cast<const int8_t*>(b + 2);
        return {vld1q_s8(q), vld1q_s8(q + 16)};
    }
    static void scales(const uint8_t* b, float* out) { out[0] = half_at(b); }
};

struct Q4_0 : OneScale {
    static constexpr bool kHalf = true;
    static constexpr int kBytes = 18, kOffset = 8;
    static Codes32 raw(const uint8_t* b, int) {
        const Nibbles n = nibbles_split(b + 2);
        return {vreinterpretq_s8_u8(n.low), vreinterpretq_s8_u8(n.high)};
    }
    static Codes32 codes(const uint8_t* b, int group) { return lowered(raw(b, group), kOffset); }
    static void scales(const uint8_t* b, float* out) { out[0] = half_at(b); }
};

struct Q4_1 : OneScale {
    static constexpr bool kMinimum = true, kHalf = true;
    static constexpr int kBytes = 20;
    static Codes32 codes(const uint8_t* b, int) {
        const Nibbles n = nibbles_split(b + 4);
        return {vreinterpretq_s8_u8(n.low), vreinterpretq_s8_u8(n.high)};
    }
    static void scales(const uint8_t* b, float* out) { out[0] = half_at(b); }
    static void minima(const uint8_t* b, float* out) { out[0] = half_at(b + 2); }
};

struct Q5_0 : OneScale {
    static constexpr bool kHalf = true;
    static constexpr int kBytes = 22, kOffset = 16;
    static Codes32 raw(const uint8_t* b, int) {
        const Nibbles n = nibbles_split(b + 6);
        return {vreinterpretq_s8_u8(vorrq_u8(n.low, bits_to_bytes(b + 2, 16))),
                vreinterpretq_s8_u8(vorrq_u8(n.high, bits_to_bytes(b + 4, 16)))};
    }
    static Codes32 codes(const uint8_t* b, int group) { return lowered(raw(b, group), kOffset); }
    static void scales(const uint8_t* b, float* out) { out[0] = half_at(b); }
};

struct Q5_1 : OneScale {
    static constexpr bool kMinimum = true, kHalf = true;
    static constexpr int kBytes = 24;
    static Codes32 codes(const uint8_t* b, int) {
        const Nibbles n = nibbles_split(b + 8);
        return minus(vorrq_u8(n.low, bits_to_bytes(b + 4, 16)), vorrq_u8(n.high, bits_to_bytes(b + 6, 16)), 0);
    }
    static void scales(const uint8_t* b, float* out) { out[0] = half_at(b); }
    static void minima(const uint8_t* b, float* out) { out[0] = half_at(b + 2); }
};

struct IQ4_NL : OneScale {
    static constexpr bool kHalf = true;
    static constexpr int kBytes = 18;
    static Codes32 codes(const uint8_t* b, int) { return look_up(kIq4Levels, b + 2); }
    static void scales(const uint8_t* b, float* out) { out[0] = half_at(b); }
};

struct MXFP4 : OneScale {
    static constexpr int kBytes = 17;
    static Codes32 codes(const uint8_t* b, int) { return look_up(kE2m1Doubled, b + 1); }
    // 2^(e - 128): half the stored power, because the codes are doubled; the two lowest are subnormal.
    static void scales(const uint8_t* b, float* out) {
        const uint32_t bits = b[0] < 2 ? uint32_t{0x00200000} << b[0] : static_cast<uint32_t>(b[0] - 1) << 23;
        __builtin_memcpy(out, &bits, sizeof bits);
    }
};

struct NVFP4 : OneScale {
    static constexpr int kUnit = 64, kGroup = 16, kBytes = 36;
    static Codes32 codes(const uint8_t* b, int group) {
        // Low nibbles are elements 0-7 of each 16, high ones 8-15.
        const Nibbles n = nibbles_split(b + 4 + 16 * group);
        const int8x16_t table = vld1q_s8(kE2m1Doubled);
        const uint8x16_t first = vreinterpretq_u8_u64(vzip1q_u64(vreinterpretq_u64_u8(n.low), vreinterpretq_u64_u8(n.high)));
        const uint8x16_t second = vreinterpretq_u8_u64(vzip2q_u64(vreinterpretq_u64_u8(n.low), vreinterpretq_u64_u8(n.high)));
        return {vqtbl1q_s8(table, first), vqtbl1q_s8(table, second)};
    }
    // Half of E4M3: as an IEEE half the code's exponent is biased by 8 more; 127 is the code of 0.
    static void scales(const uint8_t* b, float* out) {
        for (int i = 0; i < 4; ++i) {
            const auto bits = static_cast<uint16_t>((b[i] == 127 ? 0 : b[i] & 127) << 7);
            out[i] = half_at(&bits) * 128.0f;
        }
    }
};

struct Q1_0 : OneScale {
    static constexpr int kUnit = 128, kBytes = 18;
    static Codes32 codes(const uint8_t* b, int group) {
        const uint8_t* at = b + 2 + 4 * group;
        return minus(bits_to_bytes(at, 2), bits_to_bytes(at + 2, 2), 1);
    }
    static void scales(const uint8_t* b, float* out) { repeat<4>(half_at(b), out); }
};

struct Q2_0 : OneScale {
    static constexpr int kUnit = 64, kBytes = 18;
    static int8x16_t sixteen(const uint8_t* at) {
        const uint8x16_t spread = {0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3};
        const int8x16_t down = {0, -2, -4, -6, 0, -2, -4, -6, 0, -2, -4, -6, 0, -2, -4, -6};
        const uint8x16_t bytes = vqtbl1q_u8(vreinterpretq_u8_u32(vdupq_n_u32(load32(at))), spread);
        return minus(vandq_u8(vshlq_u8(bytes, down), vdupq_n_u8(3)), 1);
    }
    static Codes32 codes(const uint8_t* b, int group) {
        const uint8_t* at = b + 2 + 8 * group;
        return {sixteen(at), sixteen(at + 4)};
    }
    static void scales(const uint8_t* b, float* out) { repeat<2>(half_at(b), out); }
};

// Vector `group` of 2-bit planes: byte 32h + l, shift 2j holds element 128h + 32j + l.
inline Nibbles plane2(const uint8_t* planes, int group) {
    const uint8_t* at = planes + 32 * (group / 4);
    const int8x16_t down = vdupq_n_s8(static_cast<int8_t>(-2 * (group % 4)));
    const uint8x16_t three = vdupq_n_u8(3);
    return {vandq_u8(vshlq_u8(vld1q_u8(at), down), three), vandq_u8(vshlq_u8(vld1q_u8(at + 16), down), three)};
}

struct TQ2_0 : OneScale {
    static constexpr int kUnit = 256, kBytes = 66;
    static Codes32 codes(const uint8_t* b, int group) {
        const Nibbles n = plane2(b, group);
        return minus(n.low, n.high, 1);
    }
    static void scales(const uint8_t* b, float* out) { repeat<8>(half_at(b + 64), out); }
};

struct TQ1_0 : OneScale {
    static constexpr int kUnit = 256, kBytes = 54;
    // The first trit of each byte, minus 1: (v * 3) >> 8 is the number of 86 and 171 that are not above v.
    static int8x16_t first_trit(uint8x16_t v) {
        const uint8x16_t reached = vaddq_u8(vcgeq_u8(v, vdupq_n_u8(86)), vcgeq_u8(v, vdupq_n_u8(171)));
        return vsubq_s8(vdupq_n_s8(-1), vreinterpretq_s8_u8(reached));
    }
    static int8x16_t trits(const uint8_t* at, uint8_t factor) { return first_trit(vmulq_u8(vld1q_u8(at), vdupq_n_u8(factor))); }
    static Codes32 codes(const uint8_t* b, int group) {
        constexpr uint8_t kPowers[5] = {1, 3, 9, 27, 81};
        if (group < 5) return {trits(b, kPowers[group]), trits(b + 16, kPowers[group])};
        if (group < 7) return {trits(b + 32, kPowers[2 * group - 10]), trits(b + 32, kPowers[2 * group - 9])};
        const uint8x16_t factors = {1, 1, 1, 1, 3, 3, 3, 3, 9, 9, 9, 9, 27, 27, 27, 27};
        const uint8x16_t last = vreinterpretq_u8_u32(vdupq_n_u32(load32(b + 48)));
        return {trits(b + 32, 81), first_trit(vmulq_u8(last, factors))};
    }
    static void scales(const uint8_t* b, float* out) { repeat<8>(half_at(b + 52), out); }
};

// ---- super-blocks ----------------------------------------------------------------------------------------------

struct SuperBlock {
    static constexpr bool kMinimum = false;
    static constexpr int kUnit = 256, kGroup = 32;
};

// factor * each of 8 bytes
inline void times8(uint8x8_t bytes, float factor, float* out) {
    const uint16x8_t wide = vmovl_u8(bytes);
    vst1q_f32(out, vmulq_n_f32(vcvtq_f32_u32(vmovl_u16(vget_low_u16(wide))), factor));
    vst1q_f32(out + 4, vmulq_n_f32(vcvtq_f32_u32(vmovl_u16(vget_high_u16(wide))), factor));
}
inline void times8(int8x8_t bytes, float factor, float* out) {
    const int16x8_t wide = vmovl_s8(bytes);
    vst1q_f32(out, vmulq_n_f32(vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide))), factor));
    vst1q_f32(out + 4, vmulq_n_f32(vcvtq_f32_s32(vmovl_s16(vget_high_s16(wide))), factor));
}

// Q4_K and Q5_K: d, dmin and twice eight 6-bit integers in the first 16 bytes. Of bytes 4 to 15 the first four hold scales 0-3
// and the next four minima 0-3, with the tops of 4-7 above them; the last four hold the low nibbles of scales and minima 4-7.
alignas(64) constexpr uint8_t kSixBitTables[64] = {
    4,   5,   6,   7,   12, 13, 14, 15, 8,   9,   10,  11,  12,  13,  14,  15,    // where the low bits are
    255, 255, 255, 255, 4,  5,  6,  7,  255, 255, 255, 255, 8,   9,   10,  11,    // where the tops are, 255: none
    0,   0,   0,   0,   0,  0,  0,  0,  0,   0,   0,   0,   252, 252, 252, 252,   // shifts of the low bits, as int8
    63,  63,  63,  63,  15, 15, 15, 15, 63,  63,  63,  63,  15,  15,  15,  15};   // what is kept of them
struct SixBits {
    float32x4_t d;  // d, dmin, and two lanes that mean nothing
    uint32x4_t scale[2], minimum[2];

    explicit SixBits(const uint8_t* b) {
        const uint8x16_t all = vld1q_u8(b);
        const uint8_t* tables = kSixBitTables;
        asm("" : "+r"(tables));  // loaded in pairs: as constants each would take two instructions
        const int8x16_t down = vreinterpretq_s8_u8(vld1q_u8(tables + 32));
        const uint8x16_t low = vandq_u8(vshlq_u8(vqtbl1q_u8(all, vld1q_u8(tables)), down), vld1q_u8(tables + 48));
        const uint8x16_t top = vandq_u8(vshrq_n_u8(vqtbl1q_u8(all, vld1q_u8(tables + 16)), 2), vdupq_n_u8(0x30));
        const uint8x16_t both = vorrq_u8(low, top);
        const uint16x8_t s = vmovl_u8(vget_low_u8(both)), m = vmovl_high_u8(both);
        d = vcvt_f32_f16(vget_low_f16(vreinterpretq_f16_u8(all)));
        scale[0] = vmovl_u16(vget_low_u16(s));
        scale[1] = vmovl_high_u16(s);
        minimum[0] = vmovl_u16(vget_low_u16(m));
        minimum[1] = vmovl_high_u16(m);
    }
    void scales(float* out) const {
        for (int i = 0; i < 2; ++i) vst1q_f32(out + 4 * i, vmulq_laneq_f32(vcvtq_f32_u32(scale[i]), d, 0));
    }
    void minima(float* out) const {
        for (int i = 0; i < 2; ++i) vst1q_f32(out + 4 * i, vnegq_f32(vmulq_laneq_f32(vcvtq_f32_u32(minimum[i]), d, 1)));
    }
};

struct Q4_K : SuperBlock {
    static constexpr bool kMinimum = true, kSixBits = true;
    static constexpr int kBytes = 144;
    static Codes32 codes(const uint8_t* b, int group) {
        const uint8_t* at = b + 16 + 32 * (group / 2);
        const uint8x16_t low = vld1q_u8(at), high = vld1q_u8(at + 16), mask = vdupq_n_u8(15);
        if (group % 2) return minus(vshrq_n_u8(low, 4), vshrq_n_u8(high, 4), 0);
        return minus(vandq_u8(low, mask), vandq_u8(high, mask), 0);
    }
    static void scales(const uint8_t* b, float* out) { SixBits(b).scales(out); }
    static void minima(const uint8_t* b, float* out) { SixBits(b).minima(out); }
};

struct Q5_K : SuperBlock {
    static constexpr bool kMinimum = true, kSixBits = true;
    static constexpr int kBytes = 176;
    static Codes32 codes(const uint8_t* b, int group) {
        const uint8_t* at = b + 48 + 32 * (group / 2);
        const uint8x16_t mask = vdupq_n_u8(15), fifth = vdupq_n_u8(16);
        const int8x16_t down = vdupq_n_s8(group % 2 ? -4 : 0), move = vdupq_n_s8(static_cast<int8_t>(4 - group));
        const uint8x16_t low = vandq_u8(vshlq_u8(vld1q_u8(at), down), mask), high = vandq_u8(vshlq_u8(vld1q_u8(at + 16), down), mask);
        return minus(vorrq_u8(low, vandq_u8(vshlq_u8(vld1q_u8(b + 16), move), fifth)),
                     vorrq_u8(high, vandq_u8(vshlq_u8(vld1q_u8(b + 32), move), fifth)), 0);
    }
    static void scales(const uint8_t* b, float* out) { Q4_K::scales(b, out); }
    static void minima(const uint8_t* b, float* out) { Q4_K::minima(b, out); }
};

struct Q6_K : SuperBlock {
    static constexpr int kBytes = 210, kGroup = 16;
    static Codes32 codes(const uint8_t* b, int group) {
        const int half = group / 4, quarter = group % 4;
        const uint8_t* at = b + 64 * half + 32 * (quarter % 2);
        const uint8_t* top = b + 128 + 32 * half;
        const uint8x16_t mask = vdupq_n_u8(15), upper = vdupq_n_u8(0x30);
        const int8x16_t down = vdupq_n_s8(quarter < 2 ? 0 : -4), move = vdupq_n_s8(static_cast<int8_t>(4 - 2 * quarter));
        const uint8x16_t low = vandq_u8(vshlq_u8(vld1q_u8(at), down), mask), high = vandq_u8(vshlq_u8(vld1q_u8(at + 16), down), mask);
        return minus(vorrq_u8(low, vandq_u8(vshlq_u8(vld1q_u8(top), move), upper)),
                     vorrq_u8(high, vandq_u8(vshlq_u8(vld1q_u8(top + 16), move), upper)), 32);
    }
    static void scales(const uint8_t* b, float* out) {
        const int8x16_t s = vld1q_s8(reinterpret_cast<const int8_t*>(b + 192));
        const float d = half_at(b + 208);
        times8(vget_low_s8(s), d, out);
        times8(vget_high_s8(s), d, out + 8);
    }
};

struct Q3_K : SuperBlock {
    static constexpr int kBytes = 110, kGroup = 16;
    static Codes32 codes(const uint8_t* b, int group) {
        const Nibbles n = plane2(b + 32, group);
        const int8x16_t move = vdupq_n_s8(static_cast<int8_t>(2 - group));
        const uint8x16_t four = vdupq_n_u8(4);
        return minus(vorrq_u8(n.low, vandq_u8(vshlq_u8(vld1q_u8(b), move), four)),
                     vorrq_u8(n.high, vandq_u8(vshlq_u8(vld1q_u8(b + 16), move), four)), 4);
    }
    static void scales(const uint8_t* b, float* out) {
        const uint64_t low = load64(b + 96);  // low nibbles of 0-7, high ones of 8-15; then four 2-bit tops in each of 4 bytes
        const uint32_t top = load32(b + 104);
        const uint64_t first = (low & 0x0f0f0f0f0f0f0f0full) | (top << 4 & 0x30303030u) | uint64_t{top << 2 & 0x30303030u} << 32;
        const uint64_t second = (low >> 4 & 0x0f0f0f0f0f0f0f0full) | (top & 0x30303030u) | uint64_t{top >> 2 & 0x30303030u} << 32;
        const float d = half_at(b + 108);
        times8(vsub_s8(vcreate_s8(first), vdup_n_s8(32)), d, out);
        times8(vsub_s8(vcreate_s8(second), vdup_n_s8(32)), d, out + 8);
    }
};

struct Q2_K : SuperBlock {
    static constexpr bool kMinimum = true;
    static constexpr int kBytes = 84, kGroup = 16;
    static Codes32 codes(const uint8_t* b, int group) {
        const Nibbles n = plane2(b + 16, group);
        return minus(n.low, n.high, 0);
    }
    static void scales(const uint8_t* b, float* out) {
        const uint8x16_t s = vandq_u8(vld1q_u8(b), vdupq_n_u8(15));
        const float d = half_at(b + 80);
        times8(vget_low_u8(s), d, out);
        times8(vget_high_u8(s), d, out + 8);
    }
    static void minima(const uint8_t* b, float* out) {
        const uint8x16_t m = vshrq_n_u8(vld1q_u8(b), 4);
        const float d = -half_at(b + 82);
        times8(vget_low_u8(m), d, out);
        times8(vget_high_u8(m), d, out + 8);
    }
};

struct IQ4_XS : SuperBlock {
    static constexpr int kBytes = 136;
    static Codes32 codes(const uint8_t* b, int group) { return look_up(kIq4Levels, b + 8 + 16 * group); }
    static void scales(const uint8_t* b, float* out) {
        const float d = half_at(b);
        const uint32_t low = load32(b + 4), high = load16(b + 2);
        for (unsigned g = 0; g < 8; ++g) {
            const auto scale = static_cast<int>((low >> (4 * g) & 15) | (high >> (2 * g) & 3) << 4) - 32;
            out[g] = d * static_cast<float>(scale);
        }
    }
};

}  // namespace
}  // namespace quant
