// Blocks whose weights are points of a code book (IQ1, IQ2, IQ3) to signed codes and scales (AArch64), in the scheme of
// neon_unpack.h. Included by NEON files only, everything in an unnamed namespace.
#pragma once

#include "formats/grids.h"
#include "kernels/neon_unpack.h"

namespace quant {
namespace {

inline uint8x16_t two_points(uint64_t first, uint64_t second) {
    return vcombine_u8(vcreate_u8(first), vcreate_u8(second));
}

// 16 unsigned codes with the signs of two bytes.
inline int8x16_t with_signs(uint8x16_t codes, uint32_t two_bytes) {
    const uint8x16_t mask = two_points(0x8040201008040201ull, 0x8040201008040201ull);
    const uint8x16_t bytes =
        vcombine_u8(vdup_n_u8(static_cast<uint8_t>(two_bytes)), vdup_n_u8(static_cast<uint8_t>(two_bytes >> 8)));
    const uint8x16_t negative = vtstq_u8(bytes, mask);  // 255 is -1: xor and subtract negate
    return vreinterpretq_s8_u8(vsubq_u8(veorq_u8(codes, negative), negative));
}

// Four sevens in the low 28 bits -> four bytes, each with an eighth bit that makes the number of bits even.
inline uint32_t signs_of_sevens(uint32_t word) {
    const uint32_t sevens = (word & 0x7f) | (word << 1 & 0x7f00) | (word << 2 & 0x7f0000) | (word << 3 & 0x7f000000);
    uint32_t fold = sevens ^ sevens >> 4;
    fold ^= fold >> 2;
    fold ^= fold >> 1;
    return sevens | (fold & 0x01010101u) << 7;
}

// (2s + 1) * factor for the eight or sixteen nibbles of the bytes, low ones first.
inline void odd_nibbles(const uint8_t* at, int bytes, float factor, float* out) {
    for (int i = 0; i < bytes; ++i) {
        out[2 * i] = factor * static_cast<float>(2 * (at[i] & 15) + 1);
        out[2 * i + 1] = factor * static_cast<float>(2 * (at[i] >> 4) + 1);
    }
}

struct IQ2_XXS : SuperBlock {
    static constexpr int kBytes = 66;
    static Codes32 codes(const uint8_t* b, int group) {
        const uint8_t* i = b + 2 + 8 * group;
        const uint32_t signs = signs_of_sevens(load32(i + 4));
        const uint64_t* grid = kIq2XxsGrid.points;
        return {with_signs(two_points(grid[i[0]], grid[i[1]]), signs),
                with_signs(two_points(grid[i[2]], grid[i[3]]), signs >> 16)};
    }
    static void scales(const uint8_t* b, float* out) {
        const float d = half_at(b) * 0.125f;
        for (int g = 0; g < 8; ++g) out[g] = d * static_cast<float>(2 * (b[9 + 8 * g] >> 4) + 1);
    }
};

struct IQ2_XS : SuperBlock {
    static constexpr int kBytes = 74, kGroup = 16;
    static Codes32 codes(const uint8_t* b, int group) {
        const uint64_t words = load64(b + 2 + 8 * group);
        const auto seven = [words](int part) {
            return static_cast<uint32_t>(words >> (16 * part + 9) & 127) << (7 * part);
        };
        const uint32_t signs = signs_of_sevens(seven(0) | seven(1) | seven(2) | seven(3));
        const uint64_t* grid = kIq2XsGrid.points;
        return {with_signs(two_points(grid[words & 511], grid[words >> 16 & 511]), signs),
                with_signs(two_points(grid[words >> 32 & 511], grid[words >> 48 & 511]), signs >> 16)};
    }
    static void scales(const uint8_t* b, float* out) { odd_nibbles(b + 66, 8, half_at(b) * 0.125f, out); }
};

struct IQ2_S : SuperBlock {
    static constexpr int kBytes = 82, kGroup = 16;
    static Codes32 codes(const uint8_t* b, int group) {
        const uint8_t* i = b + 2 + 4 * group;
        const uint32_t signs = load32(b + 34 + 4 * group), top = b[66 + group];
        const uint64_t* grid = kIq2SGrid.points;
        return {with_signs(two_points(grid[i[0] | (top << 8 & 0x300)], grid[i[1] | (top << 6 & 0x300)]), signs),
                with_signs(two_points(grid[i[2] | (top << 4 & 0x300)], grid[i[3] | (top << 2 & 0x300)]), signs >> 16)};
    }
    static void scales(const uint8_t* b, float* out) { odd_nibbles(b + 74, 8, half_at(b) * 0.125f, out); }
};

// Four points of four weights.
template <class Index>
inline uint8x16_t four_points(const uint32_t* grid, Index index) {
    return two_points(grid[index(0)] | static_cast<uint64_t>(grid[index(1)]) << 32,
                      grid[index(2)] | static_cast<uint64_t>(grid[index(3)]) << 32);
}

struct IQ3_XXS : SuperBlock {
    static constexpr int kBytes = 98;
    static Codes32 codes(const uint8_t* b, int group) {
        const uint8_t* i = b + 2 + 8 * group;
        const uint32_t signs = signs_of_sevens(load32(b + 66 + 4 * group));
        return {with_signs(four_points(kIq3XxsGrid.points, [i](int n) { return i[n]; }), signs),
                with_signs(four_points(kIq3XxsGrid.points, [i](int n) { return i[4 + n]; }), signs >> 16)};
    }
    static void scales(const uint8_t* b, float* out) {
        const float d = half_at(b) * 0.25f;
        for (int g = 0; g < 8; ++g) out[g] = d * static_cast<float>(2 * (b[69 + 4 * g] >> 4) + 1);
    }
};

struct IQ3_S : SuperBlock {
    static constexpr int kBytes = 110;
    static Codes32 codes(const uint8_t* b, int group) {
        const uint8_t* i = b + 2 + 8 * group;
        const uint32_t signs = load32(b + 74 + 4 * group), top = b[66 + group];
        return {with_signs(four_points(kIq3SGrid.points, [=](int n) { return i[n] | (top << (8 - n) & 256); }), signs),
                with_signs(four_points(kIq3SGrid.points, [=](int n) { return i[4 + n] | (top << (4 - n) & 256); }),
                           signs >> 16)};
    }
    static void scales(const uint8_t* b, float* out) { odd_nibbles(b + 106, 4, half_at(b), out); }
};

// Codes of IQ1 are eighths: 8 * (level - 1) + 1, or - 1 where `down` says so, a part of 8 weights to a bit.
inline int8x16_t eighths(uint64_t first, uint64_t second, bool first_down, bool second_down) {
    const auto eight = [](uint64_t point, bool down) {
        return vsub_s8(vshl_n_s8(vcreate_s8(point), 3), vdup_n_s8(down ? 9 : 7));
    };
    return vcombine_s8(eight(first, first_down), eight(second, second_down));
}

struct IQ1_S : SuperBlock {
    static constexpr int kBytes = 50;
    static Codes32 codes(const uint8_t* b, int group) {
        const uint8_t* i = b + 2 + 4 * group;
        const uint32_t more = load16(b + 34 + 2 * group);
        const bool down = (more & 0x8000) != 0;
        const uint64_t* grid = kIq1Grid.points;
        return {eighths(grid[i[0] | (more << 8 & 0x700)], grid[i[1] | (more << 5 & 0x700)], down, down),
                eighths(grid[i[2] | (more << 2 & 0x700)], grid[i[3] | (more >> 1 & 0x700)], down, down)};
    }
    static void scales(const uint8_t* b, float* out) {
        const float d = half_at(b) * 0.125f;
        for (int g = 0; g < 8; ++g) out[g] = d * static_cast<float>(2 * (load16(b + 34 + 2 * g) >> 12 & 7) + 1);
    }
};

struct IQ1_M : SuperBlock {
    static constexpr int kBytes = 56, kGroup = 16;
    static Codes32 codes(const uint8_t* b, int group) {
        const uint8_t* i = b + 4 * group;
        const uint32_t more = load16(b + 32 + 2 * group);
        const uint64_t* grid = kIq1Grid.points;
        return {eighths(grid[i[0] | (more << 8 & 0x700)], grid[i[1] | (more << 4 & 0x700)], more & 8, more & 0x80),
                eighths(grid[i[2] | (more & 0x700)], grid[i[3] | (more >> 4 & 0x700)], more & 0x800, more & 0x8000)};
    }
    static void scales(const uint8_t* b, float* out) {
        const uint64_t words = load64(b + 48);
        const auto bits = static_cast<uint16_t>((words >> 12 & 0xf) | (words >> 24 & 0xf0) | (words >> 36 & 0xf00) |
                                                (words >> 48 & 0xf000));
        const float d = half_at(&bits) * 0.125f;
        for (int i = 0; i < 16; ++i)
            out[i] = d * static_cast<float>(2 * (words >> (16 * (i / 4) + 3 * (i % 4)) & 7) + 1);
    }
};

}  // namespace
}  // namespace quant
