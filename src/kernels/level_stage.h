// Pieces of rows with side data brought into a plain layout: what is the same on every machine. A stage is made for one
// call of a kernel; stage() writes columns [col, col + n) of a row as blocks of its Block. Included by files of instruction
// sets behind their unpacking, everything in an unnamed namespace.
#pragma once

#include "formats/own_blocks.h"
#include "formats/palette_layout.h"
#include "kernels/tables.h"

namespace quant {
namespace {

constexpr int64_t kStage = 1024;  // columns staged at a time: a whole number of every format's blocks
constexpr int kStagedBytes = 36;  // of 32 staged weights, or 64 of NF4

inline float float_at(const uint8_t* at) {
    float value;
    __builtin_memcpy(&value, at, sizeof value);
    return value;
}

// NF4_DQ -> NF4: the scale in full, the codes as they are. `stored` is the start of the row.
inline void stage_nf4_dq(const EncodedView& w, const uint8_t* stored, int64_t row, int64_t col, int64_t n, uint8_t* out) {
    const uint8_t* b = stored + col / 64 * 33;
    const uint8_t* head = w.data;
    const float offset = float_at(head);
    int64_t number = ((w.first_row + row) * w.cols + col) / 64;
    for (int64_t i = 0; i < n; i += 64, b += 33, out += 36, ++number) {
        const float nested = float_at(head + 32 + 4 * 256 + 4 * (number / 256));
        const float absmax = float_at(head + 32 + 4 * int64_t{b[0]}) * nested + offset;
        __builtin_memcpy(out, &absmax, sizeof absmax);
        __builtin_memcpy(out + 4, b + 1, 32);
    }
}

// A palette's table as int8 under one scale: as `decode_fast` has it (formats/palette.c++).
template <int bits, int dim, bool int8>
struct Levels8 {
    static constexpr int kEntries = 1 << bits, kLevels = kEntries * dim;
    alignas(64) int8_t level[kLevels < 32 ? 32 : kLevels] = {};  // [entry][component]
    float scale = 0;

    void read(const uint8_t* table) {
        if constexpr (int8) {
            scale = float_at(table);
            __builtin_memcpy(level, table + 4, kLevels);
            return;
        }
        float value[kLevels], largest = 0;
        for (int i = 0; i < kLevels; ++i) {
            value[i] = half_at(table + 2 * i);
            const float size = value[i] < 0 ? -value[i] : value[i];
            largest = largest < size ? size : largest;
        }
        scale = largest * (1.0f / 127.0f);
        const float inverse = largest > 0 ? 127.0f / largest : 0.0f;
        for (int i = 0; i < kLevels; ++i) {
            float code = value[i] * inverse;
            code = code > 127.0f ? 127.0f : code < -127.0f ? -127.0f : code == code ? code : 0.0f;
            level[i] = static_cast<int8_t>(__builtin_nearbyintf(code));
        }
    }
};

// Palette -> | f32 scale | 32 int8 |. Lookup<bits, dim>::levels(level, planes, out) gives the 32 * dim codes of a block, with
// kStagedBytes from one 32 to the next.
template <int bits, int dim, bool int8, template <int, int> class Lookup>
class PaletteStage {
public:
    explicit PaletteStage(const MatmulArgs& args) : w_(args.w) {}

    void stage(const uint8_t* stored, int64_t row, int64_t col, int64_t n, uint8_t* out) {
        constexpr Palette kKind{bits, dim, int8};
        const int64_t group = (w_.first_row + row) / w_.group;
        if (group != group_) levels_.read(w_.data + kGroupedHead + group * kKind.table_bytes());
        group_ = group;
        const float row_scale = float_at(stored);
        const uint8_t* b = stored + kPaletteRowHead + col / kKind.weights() * kKind.block_bytes();
        for (int64_t i = 0; i < n; i += kKind.weights(), b += kKind.block_bytes(), out += dim * kStagedBytes) {
            const float scale = row_scale * (static_cast<float>(b[0] * b[0]) * kPaletteUnit) * levels_.scale;
            for (int d = 0; d < dim; ++d) __builtin_memcpy(out + d * kStagedBytes, &scale, sizeof scale);
            Lookup<bits, dim>::levels(levels_.level, b + 1, out + 4);
        }
    }

private:
    EncodedView w_;
    int64_t group_ = -1;
    Levels8<bits, dim, int8> levels_;
};

// 32 entries of several levels each, by indices in memory.
template <int dim>
inline void copy_entries(const int8_t* level, const uint8_t* indices, uint8_t* out) {
    for (int d = 0; d < dim; ++d, out += kStagedBytes) {
        for (int i = 0; i < 32 / dim; ++i) __builtin_memcpy(out + i * dim, level + indices[32 / dim * d + i] * dim, dim);
    }
}

}  // namespace
}  // namespace quant
