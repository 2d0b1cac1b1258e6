// The stored layout of every block format: a picture of the bits, the struct, the assertion on its size.
// Shared by the reference codecs and the kernels; knows no arithmetic beyond half <-> float.
//
// All members are bytes, so that a block may lie at any address. Multi-byte numbers are little-endian.
// x̂ is the value read back; e is the element's index in its block.
#pragma once

#include <bit>
#include <cstdint>

#include "base/bytes.h"
#include "formats/format.h"

namespace quant {

// An IEEE half inside a block.
struct StoredHalf {
    uint8_t bytes[2];
    [[gnu::always_inline]] float value() const { return f16_to_f32(load<uint16_t>(bytes)); }
    [[gnu::always_inline]] void set_bits(uint16_t bits) { store(bytes, bits); }
};

// ---- 32 weights, one scale -------------------------------------------------------------------------------------

// | d | 32 x int8 |                                  x̂ = d * q
struct BlockQ8_0 {
    StoredHalf d;
    int8_t qs[32];
};
static_assert(sizeof(BlockQ8_0) == 34);

// | d | s | 32 x int8 |                              x̂ = d * q;  s = d * (sum of q), for products with minima
struct BlockQ8_1 {
    StoredHalf d, s;
    int8_t qs[32];
};
static_assert(sizeof(BlockQ8_1) == 36);

// | d as f32 | 256 x int8 | 16 x int16: sums of 16 codes |   x̂ = d * q
struct BlockQ8_K {
    uint8_t d[4];
    int8_t qs[256];
    uint8_t sums[32];
};
static_assert(sizeof(BlockQ8_K) == 292);

// | d | 16 bytes |  byte j = e j (low nibble), e j+16 (high)         x̂ = d * (q - 8)
struct BlockQ4_0 {
    StoredHalf d;
    uint8_t qs[16];
};
static_assert(sizeof(BlockQ4_0) == 18);

// | d | m | 16 bytes as Q4_0 |                                       x̂ = d * q + m
struct BlockQ4_1 {
    StoredHalf d, m;
    uint8_t qs[16];
};
static_assert(sizeof(BlockQ4_1) == 20);

// | d | qh: bit e = bit 4 of element e | 16 bytes as Q4_0 |          x̂ = d * (q - 16)
struct BlockQ5_0 {
    StoredHalf d;
    uint8_t qh[4], qs[16];
};
static_assert(sizeof(BlockQ5_0) == 22);

// | d | m | qh | 16 bytes |                                          x̂ = d * q + m
struct BlockQ5_1 {
    StoredHalf d, m;
    uint8_t qh[4], qs[16];
};
static_assert(sizeof(BlockQ5_1) == 24);

// | d | 16 bytes as Q4_0 |                                           x̂ = d * kIq4Levels[q]
struct BlockIQ4_NL {
    StoredHalf d;
    uint8_t qs[16];
};
static_assert(sizeof(BlockIQ4_NL) == 18);

// The 16 levels of IQ4_NL and IQ4_XS: constants of the format.
inline constexpr int8_t kIq4Levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                          1,    13,   25,  38,  53,  69,  89,  113};

// ---- 256 weights, super-blocks ---------------------------------------------------------------------------------
//
// "2-bit planes": element 128h + 32j + l  is bits 2j, 2j+1 of byte 32h + l      (h 0-1, j 0-3, l 0-31)
// "nibble planes": element 64p + l is the low nibble of byte 32p + l, 64p + 32 + l the high one   (p 0-3)

// | 16 x (scale low nibble, min high nibble) | 64 bytes of 2-bit planes | d | dmin |
// 16 sub-blocks of 16:  x̂ = d*sc * q - dmin*m
struct BlockQ2_K {
    uint8_t scales[16], qs[64];
    StoredHalf d, dmin;
};
static_assert(sizeof(BlockQ2_K) == 84);

// | hmask: bit e/32 of byte e%32 = bit 2 of e | 64 bytes of 2-bit planes | scales, 16 x 6 bits in 12 bytes | d |
// 16 sub-blocks of 16:  x̂ = d*(sc - 32) * (q - 4)
struct BlockQ3_K {
    uint8_t hmask[32], qs[64], scales[12];
    StoredHalf d;
};
static_assert(sizeof(BlockQ3_K) == 110);

// | d | dmin | scales and mins, 2 x 8 x 6 bits in 12 bytes | 128 bytes of nibble planes |
// 8 sub-blocks of 32:  x̂ = d*sc * q - dmin*m
//   scales[j], j 0-3:   bits 0-5 scale j, bits 6-7 high bits of scale j+4
//   scales[j+4]:        bits 0-5 min j,   bits 6-7 high bits of min j+4
//   scales[j+8]:        low nibble of scale j+4, low nibble of min j+4
struct BlockQ4_K {
    StoredHalf d, dmin;
    uint8_t scales[12], qs[128];
};
static_assert(sizeof(BlockQ4_K) == 144);

// Q4_K with | qh: bit e/32 of byte e%32 = bit 4 of e | before the nibbles.
struct BlockQ5_K {
    StoredHalf d, dmin;
    uint8_t scales[12], qh[32], qs[128];
};
static_assert(sizeof(BlockQ5_K) == 176);

// | ql: low nibbles | qh: bits 4-5 | 16 x int8 scale | d |     16 sub-blocks of 16:  x̂ = d*sc * (q - 32)
// element 128h + 32g + l:  nibble of ql[64h + 32(g%2) + l] (low for g < 2), bits 2g, 2g+1 of qh[32h + l]
struct BlockQ6_K {
    uint8_t ql[128], qh[64];
    int8_t scales[16];
    StoredHalf d;
};
static_assert(sizeof(BlockQ6_K) == 210);

// | d | scales_h: bits 2b, 2b+1 = bits 4-5 of scale b | scales_l: nibble b = bits 0-3 of scale b | 8 x 16 bytes as Q4_0 |
// 8 sub-blocks of 32:  x̂ = d*(sc - 32) * kIq4Levels[q]
struct BlockIQ4_XS {
    StoredHalf d;
    uint8_t scales_h[2], scales_l[4], qs[128];
};
static_assert(sizeof(BlockIQ4_XS) == 136);

// ---- code books ------------------------------------------------------------------------------------------------
//
// 256 weights in 8 groups of 32. A byte of `qs` (with more bits from elsewhere) chooses a point of a grid (grids.h): the
// magnitudes of 8 or 4 weights in a row. Signs: bit i set = weight i of 8 negative; "7 signs" leave the eighth to parity.
// s is the integer scale of the group, or of half of it.

// | d | 8 x (4 x index, 32 bits: 4 x 7 signs, s in the top 4) |            x̂ = d * (s + 0.5) / 4 * kIq2XxsGrid
struct BlockIQ2_XXS {
    StoredHalf d;
    uint8_t qs[64];
};
static_assert(sizeof(BlockIQ2_XXS) == 66);

// | d | 32 x 16 bits: index in 9, 7 signs | scales: nibble h of byte g = s of half h of group g |
//                                                                          x̂ = d * (s + 0.5) / 4 * kIq2XsGrid
struct BlockIQ2_XS {
    StoredHalf d;
    uint8_t qs[64], scales[8];
};
static_assert(sizeof(BlockIQ2_XS) == 74);

// | d | 32 x low 8 bits of the index | 32 x 8 signs | qh: bits 2i, 2i+1 of byte g = top of index i of group g |
// | scales as IQ2_XS |                                                       x̂ = d * (s + 0.5) / 4 * kIq2SGrid
struct BlockIQ2_S {
    StoredHalf d;
    uint8_t qs[32], signs[32], qh[8], scales[8];
};
static_assert(sizeof(BlockIQ2_S) == 82);

// | d | 64 x index of 4 weights | 8 x 32 bits as IQ2_XXS |                 x̂ = d * (s + 0.5) / 2 * kIq3XxsGrid
struct BlockIQ3_XXS {
    StoredHalf d;
    uint8_t qs[64], signs[32];
};
static_assert(sizeof(BlockIQ3_XXS) == 98);

// | d | 64 x low 8 bits of the index of 4 weights | qh: bit i of byte g = top of index i of group g | 32 x 8 signs |
// | scales: nibble g%2 of byte g/2 = s of group g |                        x̂ = d * (2s + 1) * kIq3SGrid
struct BlockIQ3_S {
    StoredHalf d;
    uint8_t qs[64], qh[8], signs[32], scales[4];
};
static_assert(sizeof(BlockIQ3_S) == 110);

// | d | 32 x low 8 bits of the index | 8 x 16 bits: 4 x top 3 bits of the index, s in bits 12-14, bit 15: delta < 0 |
//                                           x̂ = d * (2s + 1) * (kIq1Grid - 1 + delta), delta = ±1/8
struct BlockIQ1_S {
    StoredHalf d;
    uint8_t qs[32], qh[16];
};
static_assert(sizeof(BlockIQ1_S) == 50);

// | 32 x low 8 bits of the index | 32 nibbles: top 3 bits of the index, bit 3: delta < 0 | 4 x 16 bits of scales |
// s of half h of group g: 3 bits from bit 6(g%2) + 3h of word g/2; the top nibbles of the words make d.  x̂ as IQ1_S
struct BlockIQ1_M {
    uint8_t qs[32], qh[16], scales[8];
    [[gnu::always_inline]] float d() const {
        const uint64_t words = load<uint64_t>(scales);
        return f16_to_f32(static_cast<uint16_t>((words >> 12 & 0xf) | (words >> 24 & 0xf0) | (words >> 36 & 0xf00) |
                                                (words >> 48 & 0xf000)));
    }
};
static_assert(sizeof(BlockIQ1_M) == 56);

// ---- ternary ---------------------------------------------------------------------------------------------------

// | qs: 5 trits a byte | qh: 4 trits a byte | d |              x̂ = d * (trit - 1)
// A byte holds ceil(v * 256 / 243) with v the base-3 number of its trits, first trit most significant, so that
// trit n = (((byte * 3^n) mod 256) * 3) >> 8.  Elements: qs[0-31] trit 0, trit 1 ... 4; qs[32-47] likewise; qh[0-3].
struct BlockTQ1_0 {
    uint8_t qs[48], qh[4];
    StoredHalf d;
};
static_assert(sizeof(BlockTQ1_0) == 54);

// | 64 bytes of 2-bit planes | d |                             x̂ = d * (q - 1); 3 reads as 2d but is never written
struct BlockTQ2_0 {
    uint8_t qs[64];
    StoredHalf d;
};
static_assert(sizeof(BlockTQ2_0) == 66);

// ---- small floats ----------------------------------------------------------------------------------------------

// | e | 16 bytes as Q4_0 |                        x̂ = 2^(e - 127) * E2M1(q);  E2M1: 0 .5 1 1.5 2 3 4 6, bit 3 = sign
struct BlockMXFP4 {
    uint8_t e, qs[16];
};
static_assert(sizeof(BlockMXFP4) == 17);

// | 4 scales E4M3 (sign ignored, 0x7F = 0, 0xFF = 480) | 4 x 8 bytes |     x̂ = scale * E2M1(q), a scale per 16
// byte j of a group: low nibble = element j, high = element j+8
struct BlockNVFP4 {
    uint8_t scales[4], qs[32];
};
static_assert(sizeof(BlockNVFP4) == 36);

// Twice the values of E2M1, so that they are integers.
inline constexpr int8_t kE2m1Doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// ---- one and two bits ------------------------------------------------------------------------------------------

// | d | 128 bits, least significant first |       x̂ = bit ? d : -d
struct BlockQ1_0 {
    StoredHalf d;
    uint8_t qs[16];
};
static_assert(sizeof(BlockQ1_0) == 18);

// | d | element e = bits 2(e%4) of byte e/4 |     x̂ = d * (q - 1)
struct BlockQ2_0 {
    StoredHalf d;
    uint8_t qs[16];
};
static_assert(sizeof(BlockQ2_0) == 18);

// ---- own: eight-bit floats and powers of two -------------------------------------------------------------------

// | d as f32 | 128 x E4M3 or E5M2 |                  x̂ = d * number.  Per row: | d as f32 |, then numbers
struct BlockFp8 {
    uint8_t d[4], qs[128];
};
static_assert(sizeof(BlockFp8) == 132);

// E4M3: sign, 4 bits of exponent (bias 7), 3 of mantissa; 0x7f and 0xff are not numbers, there is no infinity (the "fn"
// form of checkpoints). E5M2: the upper byte of a half.
template <bool e4m3>
[[gnu::always_inline]] inline float fp8_value(uint8_t code) {
    if constexpr (!e4m3) return f16_to_f32(static_cast<uint16_t>(code << 8));
    // Under the exponent bias of a float the number is 2^120 too small, subnormal ones too.
    const uint32_t sign = static_cast<uint32_t>(code & 0x80) << 24, size = code & 0x7f;
    const float value = std::bit_cast<float>(size << 20) * 0x1p120f;
    return std::bit_cast<float>(sign | (size == 0x7f ? 0x7fc00000u : std::bit_cast<uint32_t>(value)));
}

// | d | 16 bytes as Q4_0 |                                           x̂ = d * kL4Levels[q]
struct BlockL4 {
    StoredHalf d;
    uint8_t qs[16];
};
static_assert(sizeof(BlockL4) == 18);

// Bit 3 is the sign; 0 is zero, k is 2^(k-1).
inline constexpr int8_t kL4Levels[16] = {0, 1, 2, 4, 8, 16, 32, 64, 0, -1, -2, -4, -8, -16, -32, -64};

}  // namespace quant
