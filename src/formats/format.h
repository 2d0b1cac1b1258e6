// The one list of number formats: everything that differs between them, a row each.
// File parser, command line, kernels' tables, tests, docs and reports iterate over it; there is no other switch over types.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "formats/half.h"

namespace quant {

// Place of a format in the list and in every table indexed by format. Order = order of `quant formats`.
// A new format: one name here, one row in format.c++, one file with its codec.
enum class FormatSlot : uint8_t {
    f32, f16, bf16, f64, i8, i16, i32, i64,
    q8_0, q8_1, q8_k, q4_0, q4_1, q5_0, q5_1, q2_k, q3_k, q4_k, q5_k, q6_k, iq4_nl, iq4_xs,
    tq1_0, tq2_0, mxfp4, nvfp4, q1_0, q2_0,
    count
};
inline constexpr size_t kFormatCount = static_cast<size_t>(FormatSlot::count);

enum class FormatKind : uint8_t {
    real,     // floating point numbers one by one
    integer,  // plain integers: carried through, never a weight
    block,    // quantized
};

// What a weight in this format is multiplied with in the fast path.
enum class Activation : uint8_t {
    none,  // not a weight
    f32,   // f32 activations as they are
    q8,    // int8 codes with an f32 scale per 32 (kernels/kernels.h, Q8Matrix)
};

// A tensor's data as stored. Own formats may keep side data (palettes, scales per row) in a head before the rows.
struct EncodedView {
    const uint8_t* data = nullptr;  // head_bytes, then rows * row_bytes
    int64_t cols = 0, rows = 0;
};

struct Format {
    FormatSlot slot;
    uint32_t id;             // in GGUF files
    const char* name;        // as the ecosystem writes it: "Q4_K", "F16"; matched in any case
    FormatKind kind;
    Activation activation;
    bool stock;              // known to stock GGUF readers
    bool needs_importance;   // refuses to encode without importance weights
    bool encodes;            // quantize may write it
    uint32_t block;          // weights in a block; rows are a whole number of blocks
    uint32_t bytes;          // bytes of a block
    int32_t file_type;       // general.file_type of a file whose base type this is; -1: none
    const char* purpose;     // one line for people: what it is good for

    // Blocks of one row -> floats, bit-exact with the ecosystem's reference. n is a multiple of `block`.
    // `head` is the tensor's side data, null for formats without.
    void (*decode)(const void* head, const uint8_t* blocks, float* out, int64_t n);
    // One row of finite floats -> blocks. `importance` has n non-negative weights or is null (all 1).
    // Same bytes on every machine: fixed order of arithmetic, no contraction.
    void (*encode)(const void* head, const float* x, const float* importance, uint8_t* blocks, int64_t n);

    // Side data; null for formats without. head_bytes is a multiple of 32.
    uint64_t (*head_bytes)(int64_t cols, int64_t rows) = nullptr;

    double bits_per_weight() const { return 8.0 * bytes / block; }
    uint64_t row_bytes(int64_t cols) const { return static_cast<uint64_t>(cols) / block * bytes; }
    // Bytes of a whole tensor; checked against overflow by the GGUF reader before any use.
    uint64_t tensor_bytes(int64_t cols, int64_t rows) const {
        return (head_bytes ? head_bytes(cols, rows) : 0) + row_bytes(cols) * static_cast<uint64_t>(rows);
    }
};

std::span<const Format> formats();  // all, in order of FormatSlot
const Format& format_of(FormatSlot slot);
const Format* find_format(uint32_t id);            // null: no such id
const Format* find_format(std::string_view name);  // any case; null: no such name

// Decodes rows [row, row + count) into out[count * cols].
void decode_rows(const Format& format, const EncodedView& tensor, int64_t row, int64_t count, float* out);

}  // namespace quant
