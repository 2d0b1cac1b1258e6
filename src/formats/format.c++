// The list of formats and look-up in it.
// Knows no file and no tensor name.
#include "formats/format.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include "formats/affine.h"
#include "formats/codecs.h"
#include "formats/kept_columns.h"
#include "formats/palette_layout.h"

namespace quant {

namespace {

constexpr auto kReal = FormatKind::real;
constexpr auto kInteger = FormatKind::integer;
constexpr auto kBlock = FormatKind::block;
constexpr auto kNone = Activation::none;
constexpr auto kF32 = Activation::f32;
constexpr auto kQ8 = Activation::q8;

using S = FormatSlot;

// clang-format off
constexpr Format kSingle[] = {
    // slot, id, name, kind, activation, stock, needs_importance, encodes, block, bytes, file_type, purpose, decode, encode
    {S::f32,    0,  "F32",    kReal,    kF32,  true, false, true,  1,   4,   0,  "exact; norms and biases",                       decode_f32,    encode_f32},
    {S::f16,    1,  "F16",    kReal,    kF32,  true, false, true,  1,   2,   1,  "half: nearly exact, range 65504",               decode_f16,    encode_f16},
    {S::bf16,   30, "BF16",   kReal,    kF32,  true, false, true,  1,   2,   32, "bfloat16: what most models are trained in",     decode_bf16,   encode_bf16},
    {S::f64,    28, "F64",    kReal,    kNone, true, false, false, 1,   8,   -1, "carried through",                               decode_f64,    nullptr},
    {S::i8,     24, "I8",     kInteger, kNone, true, false, false, 1,   1,   -1, "carried through",                               decode_i8,     nullptr},
    {S::i16,    25, "I16",    kInteger, kNone, true, false, false, 1,   2,   -1, "carried through",                               decode_i16,    nullptr},
    {S::i32,    26, "I32",    kInteger, kNone, true, false, false, 1,   4,   -1, "carried through",                               decode_i32,    nullptr},
    {S::i64,    27, "I64",    kInteger, kNone, true, false, false, 1,   8,   -1, "carried through",                               decode_i64,    nullptr},
    {S::q8_0,   8,  "Q8_0",   kBlock,   kQ8,   true, false, true,  32,  34,  7,  "8 bits: hard to tell from the original",        decode_q8_0,   encode_q8_0},
    {S::q8_1,   9,  "Q8_1",   kBlock,   kNone, true, false, false, 32,  36,  -1, "8 bits with sums: read only",                   decode_q8_1,   nullptr},
    {S::q8_k,   15, "Q8_K",   kBlock,   kNone, true, false, false, 256, 292, -1, "8 bits with sums: read only",                   decode_q8_k,   nullptr},
    {S::q4_0,   2,  "Q4_0",   kBlock,   kQ8,   true, false, true,  32,  18,  2,  "4 bits, fast and simple",                       decode_q4_0,   encode_q4_0, 0, nullptr, nullptr, false, encode_q4_0_measured},
    {S::q4_1,   3,  "Q4_1",   kBlock,   kQ8,   true, false, true,  32,  20,  3,  "4 bits with a minimum",                         decode_q4_1,   encode_q4_1},
    {S::q5_0,   6,  "Q5_0",   kBlock,   kQ8,   true, false, true,  32,  22,  8,  "5 bits",                                        decode_q5_0,   encode_q5_0},
    {S::q5_1,   7,  "Q5_1",   kBlock,   kQ8,   true, false, true,  32,  24,  9,  "5 bits with a minimum",                         decode_q5_1,   encode_q5_1},
    {S::q2_k,   10, "Q2_K",   kBlock,   kQ8,   true, false, true,  256, 84,  10, "2 bits with scales and minima per 16",          decode_q2_k,   encode_q2_k},
    {S::q3_k,   11, "Q3_K",   kBlock,   kQ8,   true, false, true,  256, 110, 12, "3 bits with scales per 16",                     decode_q3_k,   encode_q3_k},
    {S::q4_k,   12, "Q4_K",   kBlock,   kQ8,   true, false, true,  256, 144, 15, "4 bits with scales and minima per 32",          decode_q4_k,   encode_q4_k},
    {S::q5_k,   13, "Q5_K",   kBlock,   kQ8,   true, false, true,  256, 176, 17, "5 bits with scales and minima per 32",          decode_q5_k,   encode_q5_k},
    {S::q6_k,   14, "Q6_K",   kBlock,   kQ8,   true, false, true,  256, 210, 18, "6 bits with scales per 16: very close",         decode_q6_k,   encode_q6_k},
    {S::iq4_nl, 20, "IQ4_NL", kBlock,   kQ8,   true, false, true,  32,  18,  25, "4 bits, levels denser near zero",               decode_iq4_nl, encode_iq4_nl},
    {S::iq4_xs, 23, "IQ4_XS", kBlock,   kQ8,   true, false, true,  256, 136, 30, "IQ4_NL with smaller scales",                    decode_iq4_xs, encode_iq4_xs},
    {S::iq1_s,  19, "IQ1_S",  kBlock,   kQ8,   true, true,  true,  256, 50,  24, "1.6 bits: 8 weights from a book, for huge models", decode_iq1_s,  encode_iq1_s},
    {S::iq1_m,  29, "IQ1_M",  kBlock,   kQ8,   true, true,  true,  256, 56,  31, "1.75 bits: IQ1_S with more scales",             decode_iq1_m,  encode_iq1_m},
    {S::iq2_xxs, 16, "IQ2_XXS", kBlock, kQ8,   true, true,  true,  256, 66,  19, "2.1 bits: 8 weights from a book",               decode_iq2_xxs, encode_iq2_xxs},
    {S::iq2_xs, 17, "IQ2_XS", kBlock,   kQ8,   true, true,  true,  256, 74,  20, "2.3 bits: larger book, scales per 16",          decode_iq2_xs, encode_iq2_xs},
    {S::iq2_s,  22, "IQ2_S",  kBlock,   kQ8,   true, true,  true,  256, 82,  28, "2.6 bits: largest book, all signs free",        decode_iq2_s,  encode_iq2_s},
    {S::iq3_xxs, 18, "IQ3_XXS", kBlock, kQ8,   true, true,  true,  256, 98,  23, "3.1 bits: 4 weights from a book",               decode_iq3_xxs, encode_iq3_xxs},
    {S::iq3_s,  21, "IQ3_S",  kBlock,   kQ8,   true, false, true,  256, 110, 26, "3.4 bits: larger book, all signs free",         decode_iq3_s,  encode_iq3_s},
    {S::tq1_0,  34, "TQ1_0",  kBlock,   kQ8,   true, false, true,  256, 54,  36, "ternary models, 1.7 bits",                      decode_tq1_0,  encode_tq1_0},
    {S::tq2_0,  35, "TQ2_0",  kBlock,   kQ8,   true, false, true,  256, 66,  37, "ternary models, 2.1 bits and faster",           decode_tq2_0,  encode_tq2_0},
    {S::mxfp4,  39, "MXFP4",  kBlock,   kQ8,   true, false, true,  32,  17,  38, "4-bit floats under a power of two (gpt-oss)",   decode_mxfp4,  encode_mxfp4},
    {S::nvfp4,  40, "NVFP4",  kBlock,   kQ8,   true, false, true,  64,  36,  39, "4-bit floats under an 8-bit float per 16",      decode_nvfp4,  encode_nvfp4},
    {S::q1_0,   41, "Q1_0",   kBlock,   kQ8,   true, false, true,  128, 18,  40, "binary models",                                 decode_q1_0,   encode_q1_0},
    {S::q2_0,   42, "Q2_0",   kBlock,   kQ8,   true, false, true,  64,  18,  41, "2 bits, one scale per 64",                      decode_q2_0,   encode_q2_0},
    // Own: only this program reads them. Two more: bytes of each row's head, codec of the tensor's head; what int8 kernels see.
    {S::nf4,    0x10000, "NF4",    kBlock, kQ8, false, false, true, 64, 36, -1, "4 bits, levels of a normal distribution (QLoRA)",   decode_nf4,    encode_nf4,    0, nullptr,     decode_nf4_fast},
    {S::nf4_dq, 0x10001, "NF4_DQ", kBlock, kQ8, false, false, true, 64, 33, -1, "NF4 with quantized scales",                        decode_nf4_dq, encode_nf4_dq, 0, &kNf4DqHead, decode_nf4_dq_fast},
    {S::pal1, 0x10010, "PAL1", kBlock, kQ8, false, false, true, 32, 5, -1, "palette of 2 levels", decode_pal1, encode_pal1, kPaletteRowHead, &kHead_pal1, decode_pal1_fast},
    {S::pal2, 0x10011, "PAL2", kBlock, kQ8, false, false, true, 32, 9, -1, "palette of 4 levels", decode_pal2, encode_pal2, kPaletteRowHead, &kHead_pal2, decode_pal2_fast},
    {S::pal3, 0x10012, "PAL3", kBlock, kQ8, false, false, true, 32, 13, -1, "palette of 8 levels", decode_pal3, encode_pal3, kPaletteRowHead, &kHead_pal3, decode_pal3_fast},
    {S::pal4, 0x10013, "PAL4", kBlock, kQ8, false, false, true, 32, 17, -1, "palette of 16 levels: better than NF4 with fewer bits", decode_pal4, encode_pal4, kPaletteRowHead, &kHead_pal4, decode_pal4_fast},
    {S::pal6, 0x10014, "PAL6", kBlock, kQ8, false, false, true, 32, 25, -1, "palette of 64 levels", decode_pal6, encode_pal6, kPaletteRowHead, &kHead_pal6, decode_pal6_fast},
    {S::pal8, 0x10015, "PAL8", kBlock, kF32, false, false, true, 32, 33, -1, "palette of 256 levels", decode_pal8, encode_pal8, kPaletteRowHead, &kHead_pal8},
    {S::pal1_v4, 0x10016, "PAL1_V4", kBlock, kQ8, false, false, true, 128, 17, -1, "palette of 16 fours of weights", decode_pal1_v4, encode_pal1_v4, kPaletteRowHead, &kHead_pal1_v4, decode_pal1_v4_fast},
    {S::pal2_v2, 0x10017, "PAL2_V2", kBlock, kQ8, false, false, true, 64, 17, -1, "palette of 16 pairs of weights", decode_pal2_v2, encode_pal2_v2, kPaletteRowHead, &kHead_pal2_v2, decode_pal2_v2_fast},
    {S::pal2_v4, 0x10018, "PAL2_V4", kBlock, kQ8, false, false, true, 128, 33, -1, "palette of 256 fours of weights", decode_pal2_v4, encode_pal2_v4, kPaletteRowHead, &kHead_pal2_v4, decode_pal2_v4_fast},
    {S::pal3_v2, 0x10019, "PAL3_V2", kBlock, kQ8, false, false, true, 64, 25, -1, "palette of 64 pairs of weights", decode_pal3_v2, encode_pal3_v2, kPaletteRowHead, &kHead_pal3_v2, decode_pal3_v2_fast},
    {S::pal4_v2, 0x1001a, "PAL4_V2", kBlock, kQ8, false, false, true, 64, 33, -1, "palette of 256 pairs of weights", decode_pal4_v2, encode_pal4_v2, kPaletteRowHead, &kHead_pal4_v2, decode_pal4_v2_fast},
    {S::pal4_i8, 0x1001b, "PAL4_I8", kBlock, kQ8, false, false, true, 32, 17, -1, "PAL4 with an int8 table", decode_pal4_i8, encode_pal4_i8, kPaletteRowHead, &kHead_pal4_i8},
    {S::pal2_v4_i8, 0x1001c, "PAL2_V4_I8", kBlock, kQ8, false, false, true, 128, 33, -1, "PAL2_V4 with an int8 table: half the side data", decode_pal2_v4_i8, encode_pal2_v4_i8, kPaletteRowHead, &kHead_pal2_v4_i8},
    {S::pal4_v2_i8, 0x1001d, "PAL4_V2_I8", kBlock, kQ8, false, false, true, 64, 33, -1, "PAL4_V2 with an int8 table: half the side data", decode_pal4_v2_i8, encode_pal4_v2_i8, kPaletteRowHead, &kHead_pal4_v2_i8},
    {S::fp8_e4m3,     0x10180, "FP8_E4M3",     kBlock, kF32, false, false, true, 128, 132, -1, "8-bit floats, a scale per 128",               decode_fp8_e4m3,     encode_fp8_e4m3},
    {S::fp8_e4m3_row, 0x10181, "FP8_E4M3_ROW", kBlock, kF32, false, false, true, 32,  32,  -1, "8-bit floats, a scale per row",               decode_fp8_e4m3_row, encode_fp8_e4m3_row, 4},
    {S::fp8_e5m2,     0x10182, "FP8_E5M2",     kBlock, kF32, false, false, true, 128, 132, -1, "8-bit floats of wide range, a scale per 128", decode_fp8_e5m2,     encode_fp8_e5m2},
    {S::fp8_e5m2_row, 0x10183, "FP8_E5M2_ROW", kBlock, kF32, false, false, true, 32,  32,  -1, "8-bit floats of wide range, a scale per row", decode_fp8_e5m2_row, encode_fp8_e5m2_row, 4},
    {S::l4,           0x10190, "L4",           kBlock, kQ8,  false, false, true, 32,  18,  -1, "powers of two with a sign: shifts for products", decode_l4,        encode_l4},
    {S::q8_row_o,     0x101a0, "Q8_ROW_O",     kBlock, kQ8,  false, false, true, 32,  32,  -1, "Q8_ROW with its eight outlier columns in f16 (LLM.int8)", decode_q8_row_o, encode_q8_row_o, kKeptRowHead, &kKeptHead, decode_q8_row_o_fast, true},
};
// clang-format on

// ---- the affine family -----------------------------------------------------------------------------------------

constexpr uint32_t kAffineId = 0x10100;

// Text put together when compiling.
struct Text {
    char chars[64] = {};
    size_t size = 0;
    constexpr void add(const char* text) {
        while (*text) chars[size++] = *text++;
    }
    constexpr void add(int number) {
        if (number >= 10) add(number / 10);
        chars[size++] = static_cast<char>('0' + number % 10);
    }
};

struct AffineTexts {
    Text name, purpose;
};
constexpr auto kAffineTexts = [] {
    std::array<AffineTexts, kAffineCount> all{};
    for (size_t i = 0; i < kAffineCount; ++i) {
        const AffineLayout layout = affine_layout(i);
        Text& name = all[i].name;
        Text& purpose = all[i].purpose;
        name.add(layout.bits == 8 && layout.group == 0 && !layout.zero ? "Q" : "A");
        name.add(layout.bits);
        if (layout.group) name.add("_G"), name.add(layout.group);
        else name.add("_ROW");
        if (layout.zero) name.add("Z");
        purpose.add(layout.bits);
        purpose.add(layout.bits == 1 ? " bit, a scale" : " bits, a scale");
        if (layout.zero) purpose.add(" and a zero point");
        purpose.add(" per ");
        if (layout.group) purpose.add(layout.group);
        else purpose.add("row");
    }
    return all;
}();

template <size_t index>
constexpr Format affine_format() {
    constexpr AffineLayout layout = affine_layout(index);
    constexpr auto slot = static_cast<S>(static_cast<size_t>(S::affine) + index);
    return {slot, kAffineId + static_cast<uint32_t>(index), kAffineTexts[index].name.chars, kBlock, kQ8, false, false, true,
            static_cast<uint32_t>(layout.block()), static_cast<uint32_t>(layout.block_bytes()), -1,
            kAffineTexts[index].purpose.chars, decode_affine<index>, encode_affine<index>,
            static_cast<uint32_t>(layout.row_head())};
}

constexpr auto kFormats = []<size_t... index>(std::index_sequence<index...>) {
    std::array<Format, std::size(kSingle) + kAffineCount> all{};
    std::copy(std::begin(kSingle), std::end(kSingle), all.begin());
    ((all[std::size(kSingle) + index] = affine_format<index>()), ...);
    return all;
}(std::make_index_sequence<kAffineCount>());

constexpr bool list_follows_slots() {
    for (size_t i = 0; i < kFormatCount; ++i) {
        if (static_cast<size_t>(kFormats[i].slot) != i) return false;
    }
    return true;
}
static_assert(std::size(kFormats) == kFormatCount && list_follows_slots());

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

bool same_name(std::string_view a, std::string_view b) {
    if (a.size() != b.size()) return false;
    for (size_t i = 0; i < a.size(); ++i) {
        if (lower(a[i]) != lower(b[i])) return false;
    }
    return true;
}

}  // namespace

std::span<const Format> formats() { return kFormats; }

const Format& format_of(FormatSlot slot) { return kFormats[static_cast<size_t>(slot)]; }

const Format* find_format(uint32_t id) {
    for (const Format& format : kFormats) {
        if (format.id == id) return &format;
    }
    return nullptr;
}

const Format* find_format(std::string_view name) {
    for (const Format& format : kFormats) {
        if (same_name(format.name, name)) return &format;
    }
    return nullptr;
}

const uint8_t* row_at(const Format& format, const EncodedView& tensor, int64_t row) {
    return tensor.data + tensor.head + static_cast<uint64_t>(tensor.first_row + row) * format.row_bytes(tensor.cols);
}

EncodedView rows_of(const Format& format, const EncodedView& tensor, int64_t row, int64_t count) {
    EncodedView out = tensor;
    out.rows = count;
    if (format.head) out.first_row += row;
    else out.data = row_at(format, tensor, row);
    return out;
}

void decode_part(const Format& format, const EncodedView& tensor, int64_t row, int64_t col, int64_t n, float* out, bool fast) {
    const uint8_t* stored = row_at(format, tensor, row);
    const RowPlace place{tensor.data, stored, tensor.cols, tensor.group, tensor.first_row + row, col};
    DecodeFn* decode = fast && format.decode_fast ? format.decode_fast : format.decode;
    decode(format.plain() ? nullptr : &place, stored + format.row_bytes(col), out, n);
}

void decode_rows(const Format& format, const EncodedView& tensor, int64_t row, int64_t count, float* out) {
    for (int64_t i = 0; i < count; ++i, out += tensor.cols) decode_part(format, tensor, row + i, 0, tensor.cols, out);
}

}  // namespace quant
