// The affine family A1 ... A8: codes of 1 to 8 bits under a scale, and with or without a zero point, for groups of 32, 64
// or 128 weights or for a whole row. Names: A4_G32, with a zero point A4_G32Z; per row A4_ROW, A4_ROWZ. Q8_ROW is A8_ROW.
// Knows the layout and what a code stands for; shared by the codec and the kernels, hence always inlined.
//
// A group:  | d | z, only with a zero point | codes of 32 weights | codes of 32 weights | ...        d and z halves
// A row:    | d | z, only with a zero point |, then codes of 32 weights again and again              d and z floats
//
//   without zero point   x̂ = d * (q - 2^(bits-1));  1 bit: q ? d : -d
//   with zero point      x̂ = d * (q - z)            in this order, so that integer zero points of other tools are exact
//   8 bits are stored as int8, q - 128; z is then meant for that:  x̂ = d * q,  x̂ = d * (q - z)
//
// Codes of 32 weights, 4 * bits bytes, in planes of 8, 4, 2 or 1 bits, the lowest bits first:
//   1: |1|  2: |2|  3: |2|1|  4: |4|  5: |4|1|  6: |4|2|  7: |4|2|1|  8: |8|
// A plane of p bits is 4p bytes; weight e is bits p * (e / 4p) and up of byte e % 4p:
//
//   4 bits   byte 0: e16 e0   byte 1: e17 e1   ...   byte 15: e31 e15       (high bits left)
//   2 bits   byte 0: e24 e16 e8 e0             ...   byte 7: e31 e23 e15 e7
//   1 bit    byte 0: e28 e24 e20 ... e4 e0     ...   byte 3: e31 e27 ... e3
#pragma once

#include <cstddef>
#include <cstdint>

namespace quant {

struct AffineLayout {
    int bits = 8;
    int group = 0;  // weights under one scale; 0: the whole row
    bool zero = false;

    constexpr int header() const { return (group ? 2 : 4) * (zero ? 2 : 1); }
    constexpr int codes32() const { return 4 * bits; }  // bytes of the codes of 32 weights
    constexpr int block() const { return group ? group : 32; }
    constexpr int block_bytes() const { return (group ? header() : 0) + block() / 32 * codes32(); }
    constexpr int row_head() const { return group ? 0 : header(); }
    constexpr int center() const { return bits == 8 ? 0 : 1 << (bits - 1); }  // the code of 0 without zero point, bits > 1
    constexpr int lowest() const { return bits == 8 ? -128 : 0; }             // codes as stored
    constexpr int highest() const { return bits == 8 ? 127 : (1 << bits) - 1; }
};

// All of them, in the order of the list of formats: by bits, then group, then zero point.
inline constexpr size_t kAffineCount = 64;
constexpr AffineLayout affine_layout(size_t index) {
    constexpr int kGroups[4] = {32, 64, 128, 0};
    return {static_cast<int>(index / 8) + 1, kGroups[index / 2 % 4], index % 2 == 1};
}

// What the codes under one header stand for: step * (q - center) + base.
struct AffineLine {
    float step, base;
};
[[gnu::always_inline]] inline AffineLine affine_line(const AffineLayout& layout, float d, float z) {
    if (layout.zero) return {d, d * (static_cast<float>(layout.center()) - z)};
    if (layout.bits == 1) return {2 * d, d};  // center is 1: q = 0 gives -d, q = 1 gives d
    return {d, 0};
}

// Replaces the codes of one block, counted from 0, and keeps its header; `block` as a format's blocks are.
void put_affine_codes(const AffineLayout& layout, const uint8_t* codes, uint8_t* block);

}  // namespace quant
