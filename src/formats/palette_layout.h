// The stored layout of palettes: indices into a table of levels (or of pairs or fours of them) found by k-means.
// Shared by the codecs and the kernels; knows no arithmetic beyond reading a table.
//
// Tensor:  | head | rows |
// Head:    | u32: rows that share a table | 28 zeros | table 0 | table 1 | ... | zeros up to a multiple of 32 |
// Table:   | entries x dim x f16 |      or with int8 tables      | f32 scale | entries x dim x int8 |
// Row:     | R: f32 | blocks |
// Block:   32 indices, 32 * dim weights:
//          | c: u8 | planes of index bits, lowest first: 4 * bits bytes |         x̂ = R * c^2 / 65025 * table[index][e % dim]
// Planes:  4 bits in 16 bytes: byte j = index j (low nibble), j + 16 (high)      (bits 4; first of 6)
//          2 bits in  8 bytes: byte j, bits 2i, 2i+1 = index 8i + j               (bits 2; first of 3; second of 6)
//          1 bit  in  4 bytes: bit i of the u32 = index i                        (bits 1; second of 3)
//          8 bits in 32 bytes: byte i = index i                                  (bits 8)
#pragma once

#include <cstdint>

#include "formats/format.h"

namespace quant {

struct Palette {
    int bits, dim;  // of an index; weights for an entry
    bool int8;      // table of int8 under a scale instead of f16

    constexpr int entries() const { return 1 << bits; }
    constexpr int levels() const { return entries() * dim; }
    constexpr int weights() const { return 32 * dim; }  // of a block
    constexpr int block_bytes() const { return 1 + 4 * bits; }
    constexpr int table_bytes() const { return int8 ? 4 + levels() : 2 * levels(); }
};
inline constexpr uint32_t kPaletteRowHead = 4;
inline constexpr int kMaxLevels = 1024;
inline constexpr float kPaletteUnit = 1.0f / 65025.0f;

// The palettes, as X(slot, name suffix of the functions, bits, dim, int8).
#define QUANT_PALETTES(X)                                                                                        \
    X(pal1, 1, 1, false) X(pal2, 2, 1, false) X(pal3, 3, 1, false) X(pal4, 4, 1, false) X(pal6, 6, 1, false)     \
    X(pal8, 8, 1, false) X(pal1_v4, 4, 4, false) X(pal2_v2, 4, 2, false) X(pal2_v4, 8, 4, false)                 \
    X(pal3_v2, 6, 2, false) X(pal4_v2, 8, 2, false) X(pal4_i8, 4, 1, true) X(pal2_v4_i8, 8, 4, true)             \
    X(pal4_v2_i8, 8, 2, true)

}  // namespace quant
