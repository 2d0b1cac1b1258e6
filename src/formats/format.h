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
    iq1_s, iq1_m, iq2_xxs, iq2_xs, iq2_s, iq3_xxs, iq3_s,
    tq1_0, tq2_0, mxfp4, nvfp4, q1_0, q2_0,
    nf4, nf4_dq,
    pal1, pal2, pal3, pal4, pal6, pal8, pal1_v4, pal2_v2, pal2_v4, pal3_v2, pal4_v2, pal4_i8, pal2_v4_i8, pal4_v2_i8,
    fp8_e4m3, fp8_e4m3_row, fp8_e5m2, fp8_e5m2_row, l4, q8_row_o,
    affine, affine_last = affine + 63,  // in the order of affine_layout() (affine.h)
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

// A tensor's data as stored: a head with tables of the whole tensor, where the format has one, then the rows.
struct EncodedView {
    const uint8_t* data = nullptr;
    int64_t cols = 0, rows = 0;
    uint64_t head = 0;      // bytes before the first row
    int64_t group = 0;      // rows that share a table, where the format has such; checked when the file was opened
    int64_t first_row = 0;  // only with a head: which stored row is row 0 here (one matrix of a stack)
};

// Where in its tensor a piece of a row lies: what a codec needs to find its side data.
struct RowPlace {
    const uint8_t* head = nullptr;      // of the tensor
    const uint8_t* row_head = nullptr;  // of the row; encoders write it and get null
    int64_t cols = 0, group = 0;
    int64_t row = 0, col = 0;           // of the first weight
};
using DecodeFn = void(const RowPlace* place, const uint8_t* blocks, float* out, int64_t n);
using EncodeFn = void(const RowPlace* place, const float* x, const float* importance, uint8_t* row, int64_t n);

// What encoding did to weights w, with w' what the encoded ones decode to: sum (w - w')^2, sum w^2.
struct EncodingError {
    double error = 0, norm = 0;
    bool exact = true;  // w' == w everywhere
};
using MeasuredEncodeFn = void(const float* x, uint8_t* row, int64_t n, EncodingError& sums);

// The head of tensors in formats that have one. A head is a multiple of 32 bytes. A `grouped` one starts with
// kGroupedHead bytes: the u32 number of rows that share a table (1 to all rows), then zeros; it is checked when a
// file is opened, and code gets it from the view, not from the bytes. All other bytes may hold anything.
struct HeadInput;  // side_data.h
struct HeadCodec {
    bool grouped;
    // `group` is 0 where the format is not grouped. Below 2^62 for kMaxHeadRows rows and fewer than 2^63 weights.
    uint64_t (*bytes)(int64_t cols, int64_t rows, int64_t group);
    // Reads the whole tensor, as often as it likes, and writes every byte of the head.
    void (*build)(const HeadInput& input, uint8_t* head);
};
inline constexpr uint64_t kGroupedHead = 32;
inline constexpr int64_t kMaxHeadRows = int64_t{1} << 40;

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

    // Blocks of a piece of one row -> floats, bit-exact with the ecosystem's reference. n is a multiple of `block`.
    // `place` is null where plain().
    DecodeFn* decode;
    // One row of finite floats -> the stored row. `importance` has n non-negative weights or is null (all 1).
    // Same bytes on every machine: fixed order of arithmetic, no contraction. `place` is null without `head`.
    EncodeFn* encode;

    uint32_t row_head = 0;             // bytes that each stored row starts with, before its blocks
    const HeadCodec* head = nullptr;   // null: tensors are rows and nothing else
    // What the int8 kernels multiply with where they round levels once more; null: what `decode` gives.
    DecodeFn* decode_fast = nullptr;
    // Some columns in f16 beside the codes; what they read is not rounded to int8 (kept_columns.h).
    bool keeps_columns = false;
    // `encode` without importance that adds what it did to `sums`, to about 1e-4; null: decode and compare.
    MeasuredEncodeFn* encode_measured = nullptr;

    bool plain() const { return !head && row_head == 0; }  // blocks mean the same wherever they lie
    double bits_per_weight() const { return 8.0 * bytes / block; }  // without heads
    uint64_t row_bytes(int64_t cols) const { return row_head + static_cast<uint64_t>(cols) / block * bytes; }
    uint64_t head_bytes(int64_t cols, int64_t rows, int64_t group) const { return head ? head->bytes(cols, rows, group) : 0; }
    // Bytes of a whole tensor; checked against overflow by the GGUF reader before any use.
    uint64_t tensor_bytes(int64_t cols, int64_t rows, int64_t group = 0) const {
        return head_bytes(cols, rows, group) + row_bytes(cols) * static_cast<uint64_t>(rows);
    }
};

std::span<const Format> formats();  // all, in order of FormatSlot
const Format& format_of(FormatSlot slot);
const Format* find_format(uint32_t id);            // null: no such id
const Format* find_format(std::string_view name);  // any case; null: no such name

// Decodes rows [row, row + count) into out[count * cols].
void decode_rows(const Format& format, const EncodedView& tensor, int64_t row, int64_t count, float* out);
// Decodes n weights of one row from column `col` on; both are multiples of the block. `fast`: as the int8 kernels see them.
void decode_part(const Format& format, const EncodedView& tensor, int64_t row, int64_t col, int64_t n, float* out, bool fast = false);
// Where a row is stored.
const uint8_t* row_at(const Format& format, const EncodedView& tensor, int64_t row);
// Rows [row, row + count) as a view of their own.
EncodedView rows_of(const Format& format, const EncodedView& tensor, int64_t row, int64_t count);

}  // namespace quant
