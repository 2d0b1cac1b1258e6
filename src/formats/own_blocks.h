// The stored layout of this program's own 4-bit floats: pictures of the bytes, structs, assertions on their size.
// Shared by the codecs, the kernels and the import of checkpoints; knows no arithmetic beyond the levels.
// f32 and u32 are little-endian. Nibbles of 32 weights lie in 16 bytes as in Q4_0: byte j = e j (low), e j+16 (high).
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "formats/format.h"

namespace quant {

// The 16 levels of NF4: quantiles of the normal distribution, scaled to [-1, 1] (QLoRA, Dettmers et al. 2023).
inline constexpr float kNf4Levels[16] = {
    -1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f, -0.18477343022823334f,
    -0.09105003625154495f, 0.0f, 0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f, 0.33791524171829224f,
    0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1.0f};

// What int8 kernels use: level * 112 as integers. 112 rather than 127 because there the 16 roundings happen to be least
// (root mean square 0.0017); no level moves by more than kNf4LevelBound of the block's absmax.
inline constexpr int8_t kNf4Levels8[16] = {-112, -78, -59, -44, -32, -21, -10, 0, 9, 18, 28, 38, 49, 63, 81, 112};
inline constexpr float kNf4Unit8 = 1.0f / 112.0f;
inline constexpr float kNf4LevelBound = 0.00389f;

// NF4. 64 weights:  | absmax f32 | 16 bytes: e 0-31 | 16 bytes: e 32-63 |       x̂ = kNf4Levels[q] * absmax
struct BlockNF4 {
    uint8_t absmax[4];
    uint8_t qs[2][16];
};
static_assert(sizeof(BlockNF4) == 36);

// NF4_DQ. 64 weights:  | code | 16 bytes | 16 bytes |     absmax = map[code] * nested[b / 256] + offset, in f32, where b is
// the block's number in the whole tensor (row by row).
//
// Head:  | offset f32 | 28 zeros | map: 256 x f32 | nested: an f32 for each 256 blocks | zeros up to a multiple of 32 |
//
// These are the numbers of a bitsandbytes checkpoint with double quantization ("nested_offset", "nested_quant_map",
// "nested_absmax", "absmax" with block sizes 64 and 256), so that one whose rows are multiples of 64 is kept exactly.
struct BlockNF4_DQ {
    uint8_t code;
    uint8_t qs[2][16];
};
static_assert(sizeof(BlockNF4_DQ) == 33);

struct HeadNF4_DQ {
    static constexpr int64_t kBlock = 64, kNestedBlock = 256;
    static constexpr uint64_t kMap = 32, kNested = kMap + 256 * 4;  // offsets in the head
    static constexpr int64_t blocks(int64_t cols, int64_t rows) { return cols / kBlock * rows; }
    static constexpr int64_t nested(int64_t cols, int64_t rows) { return (blocks(cols, rows) + kNestedBlock - 1) / kNestedBlock; }
    static constexpr uint64_t bytes(int64_t cols, int64_t rows) {
        return kNested + (static_cast<uint64_t>(nested(cols, rows)) * 4 + 31) / 32 * 32;
    }
    static float absmax(const uint8_t* head, int64_t block, uint8_t code) {
        const float scaled = load<float>(head + kMap + 4 * size_t{code}) * load<float>(head + kNested + 4 * static_cast<uint64_t>(block / kNestedBlock));
        return scaled + load<float>(head);
    }
};

}  // namespace quant
