// Checkpoints that other programs have quantized: small ones packed here by each scheme's rule become the
// numbers that the rule says, the reference folders become their dequantized files, and malformed ones are
// refused in one line.
#include <cmath>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>

#include "base/bytes.h"
#include "convert/import/packed.h"
#include "convert/import/source.h"
#include "formats/format.h"
#include "tests/check.h"
#include "tests/temporary_folder.h"

using namespace quant;

namespace {

using Shape = std::vector<int64_t>;

struct Entry {
    std::string name, type;
    Shape shape;
    std::vector<uint8_t> bytes;
};

// A checkpoint with one packed matrix "x.weight", and what it stands for.
struct Checkpoint {
    std::string settings;  // of "quantization_config"
    std::vector<Entry> entries;
    int64_t rows = 0, cols = 0;
    std::vector<float> expected;

    Entry& entry(const std::string& suffix) {
        for (Entry& each : entries)
            if (each.name == "x" + suffix) return each;
        std::abort();
    }
    void remove(const std::string& suffix) {
        std::erase_if(entries, [&](const Entry& each) { return each.name == "x" + suffix; });
    }
    void replace(const std::string& from, const std::string& to) {
        settings.replace(settings.find(from), from.size(), to);
    }
};

template <class T>
Entry entry_of(const std::string& suffix, const std::string& type, Shape shape,
               const std::vector<T>& values) {
    Entry entry{"x" + suffix, type, std::move(shape), std::vector<uint8_t>(values.size() * sizeof(T))};
    std::memcpy(entry.bytes.data(), values.data(), entry.bytes.size());
    return entry;
}

std::vector<uint8_t> file_of(const std::vector<Entry>& entries) {
    std::string header = "{";
    size_t at = 0;
    for (const Entry& entry : entries) {
        std::string shape;
        for (const int64_t dim : entry.shape) shape += (shape.empty() ? "" : ",") + std::to_string(dim);
        header += (header.size() > 1 ? ",\"" : "\"") + entry.name + R"(":{"dtype":")" + entry.type +
                  R"(","shape":[)" + shape + R"(],"data_offsets":[)" + std::to_string(at) + "," +
                  std::to_string(at + entry.bytes.size()) + "]}";
        at += entry.bytes.size();
    }
    header += "}";
    std::vector<uint8_t> bytes(8 + header.size());
    store<uint64_t>(bytes.data(), header.size());
    std::memcpy(bytes.data() + 8, header.data(), header.size());
    for (const Entry& entry : entries) bytes.insert(bytes.end(), entry.bytes.begin(), entry.bytes.end());
    return bytes;
}

// The matrix in one piece, and again row by row and from the middle; empty when the ways differ.
std::vector<float> read_all(const RowStream& rows) {
    const auto cols = static_cast<size_t>(rows.cols);
    std::vector<float> all(cols * static_cast<size_t>(rows.rows)), again(all.size());
    rows.read(0, rows.rows, all.data());
    for (int64_t row = rows.rows - 1; row >= 0; --row)
        rows.read(row, 1, again.data() + cols * static_cast<size_t>(row));
    if (std::memcmp(all.data(), again.data(), all.size() * sizeof(float)) != 0) return {};
    if (rows.rows > 2) rows.read(1, rows.rows - 2, again.data() + cols);
    return std::memcmp(all.data(), again.data(), all.size() * sizeof(float)) == 0 ? all
                                                                                  : std::vector<float>();
}

// "" when the checkpoint becomes what is expected.
std::string verdict(const Checkpoint& checkpoint) {
    auto config = HfConfig::parse(R"({"quantization_config":{)" + checkpoint.settings + "}}", "config.json");
    const std::vector<uint8_t> bytes = file_of(checkpoint.entries);
    auto tensors = SafeTensors::parse(bytes, "f.safetensors");
    if (!config || !tensors)
        return "the test's own files: " + (config ? tensors.error().text : config.error().text);
    auto packed = PackedTensors::open(*config, *tensors);
    if (!packed) return packed.error().text;
    size_t leads = 0;
    for (const SafeTensor& tensor : tensors->tensors()) {
        const PackedTensor* found = packed->led_by(tensor);
        if (!found && !packed->is_part(tensor)) return tensor.name + " is left over";
        if (!found) continue;
        ++leads;
        if (found->stands_for.name != "x.weight" ||
            found->stands_for.shape != Shape({checkpoint.rows, checkpoint.cols}))
            return "wrong shape";
        const std::vector<float> values = read_all(found->rows);
        if (values.size() != checkpoint.expected.size()) return "other numbers when read in other pieces";
        for (size_t i = 0; i < values.size(); ++i)
            if (std::memcmp(&values[i], &checkpoint.expected[i], sizeof(float)) != 0)
                return "element " + std::to_string(i) + ": " + std::to_string(values[i]) + ", expected " +
                       std::to_string(checkpoint.expected[i]);
    }
    return leads == 1 ? "" : std::to_string(leads) + " matrices";
}

int code_at(int64_t row, int64_t col, int bits) {
    return static_cast<int>((row * 7 + col * 5 + row * col / 3) % (1 << bits));
}
int zero_at(int64_t row, int64_t group, int bits) {
    return static_cast<int>((row * 3 + group * 11 + 2) % (1 << bits));
}
float scale_at(int64_t row, int64_t group) { return static_cast<float>(3 * row + group * 17 + 1) / 64.0f; }

uint16_t f16_of(float value) {
    uint16_t bits = 0;
    format_of(FormatSlot::f16).encode(nullptr, &value, nullptr, reinterpret_cast<uint8_t*>(&bits), 1);
    return bits;
}

// Sets `bits` bits of a stream one by one.
void put_bits(uint32_t* words, int64_t at, int bits, int code, int64_t step) {
    for (int bit = 0; bit < bits; ++bit)
        words[(at + bit) / 32 * step] |= static_cast<uint32_t>(code >> bit & 1) << ((at + bit) % 32);
}

std::vector<uint16_t> column_scales(int64_t groups, int64_t rows) {
    std::vector<uint16_t> scales;
    for (int64_t group = 0; group < groups; ++group)
        for (int64_t row = 0; row < rows; ++row) scales.push_back(f16_of(scale_at(row, group)));
    return scales;
}

Checkpoint gptq(int bits, int64_t group_size, const std::function<int64_t(int64_t)>& group_of,
                bool second = false) {
    Checkpoint out;
    out.rows = 32;
    out.cols = 64;
    const int64_t groups = out.cols / group_size;
    out.settings = R"("quant_method":"gptq","bits":)" + std::to_string(bits) + R"(,"group_size":)" +
                   std::to_string(group_size) + (second ? R"(,"checkpoint_format":"gptq_v2")" : "");
    std::vector<uint32_t> weights(static_cast<size_t>(out.cols * out.rows * bits / 32)),
        zeros(static_cast<size_t>(groups * out.rows * bits / 32));
    std::vector<int32_t> table;
    for (int64_t col = 0; col < out.cols; ++col) table.push_back(static_cast<int32_t>(group_of(col)));
    for (int64_t row = 0; row < out.rows; ++row) {
        for (int64_t col = 0; col < out.cols; ++col) {
            const int64_t group = group_of(col);
            put_bits(weights.data() + row, col * bits, bits, code_at(row, col, bits), out.rows);
            out.expected.push_back(scale_at(row, group) *
                                   static_cast<float>(code_at(row, col, bits) - zero_at(row, group, bits)));
        }
        for (int64_t group = 0; group < groups; ++group)
            put_bits(zeros.data() + group * out.rows * bits / 32, row * bits, bits,
                     zero_at(row, group, bits) - (second ? 0 : 1), 1);
    }
    out.entries = {entry_of(".qweight", "I32", {out.cols * bits / 32, out.rows}, weights),
                   entry_of(".qzeros", "I32", {groups, out.rows * bits / 32}, zeros),
                   entry_of(".scales", "F16", {groups, out.rows}, column_scales(groups, out.rows)),
                   entry_of(".g_idx", "I32", {out.cols}, table)};
    return out;
}
Checkpoint plain_gptq() {
    return gptq(4, 32, [](int64_t col) { return col / 32; });
}

Checkpoint awq() {
    Checkpoint out;
    out.settings = R"("quant_method":"awq","bits":4,"group_size":32,"version":"gemm","zero_point":true)";
    out.rows = 16;
    out.cols = 96;
    static constexpr int64_t order[8] = {0, 2, 4, 6, 1, 3, 5, 7};  // nibble i holds this column
    const auto packed = [&](int64_t height, auto code) {
        std::vector<uint32_t> words;
        for (int64_t i = 0; i < height; ++i)
            for (int64_t first = 0; first < out.rows; first += 8) {
                words.push_back(0);
                for (int nibble = 0; nibble < 8; ++nibble)
                    words.back() |= static_cast<uint32_t>(code(i, first + order[nibble])) << (4 * nibble);
            }
        return words;
    };
    for (int64_t row = 0; row < out.rows; ++row)
        for (int64_t col = 0; col < out.cols; ++col)
            out.expected.push_back(scale_at(row, col / 32) *
                                   static_cast<float>(code_at(row, col, 4) - zero_at(row, col / 32, 4)));
    out.entries = {entry_of(".qweight", "I32", {96, 2},
                            packed(96, [](int64_t col, int64_t row) { return code_at(row, col, 4); })),
                   entry_of(".qzeros", "I32", {3, 2},
                            packed(3, [](int64_t group, int64_t row) { return zero_at(row, group, 4); })),
                   entry_of(".scales", "F16", {3, 16}, column_scales(3, 16))};
    return out;
}

// Rows that are no multiple of a block: blocks run over their ends.
Checkpoint bitsandbytes(bool nested) {
    Checkpoint out;
    out.settings = R"("quant_method":"bitsandbytes","load_in_4bit":true)";
    out.rows = 6;
    out.cols = 48;
    const int64_t elements = out.rows * out.cols, blocks = (elements + 63) / 64;
    std::vector<float> map(16), maxima, nested_map(256), factors;
    std::vector<uint8_t> codes(static_cast<size_t>(elements / 2)), maximum_codes;
    for (size_t i = 0; i < 16; ++i) map[i] = std::sin(static_cast<float>(i) - 8);
    for (size_t i = 0; i < 256; ++i) nested_map[i] = static_cast<float>(i) / 255 - 0.5f;
    for (int64_t block = 0; block < blocks; ++block) {
        maxima.push_back(0.1f * static_cast<float>(block + 1));
        maximum_codes.push_back(static_cast<uint8_t>(block * 57 + 3));
        if (block % 2 == 0) factors.push_back(0.7f + 0.1f * static_cast<float>(block));  // nested blocks of 2
    }
    for (int64_t i = 0; i < elements; ++i) {
        const auto code = static_cast<size_t>(code_at(i / 48, i % 48, 4)),
                   block = static_cast<size_t>(i / 64);
        codes[static_cast<size_t>(i / 2)] |= static_cast<uint8_t>(i % 2 ? code : code << 4);
        const float scaled = nested_map[maximum_codes[block]] * factors[block / 2];
        out.expected.push_back(map[code] * (nested ? scaled + 0.25f : maxima[block]));
    }
    std::string state = R"({"quant_type":"nf4","blocksize":64,"dtype":"float32","shape":[6,48])";
    if (nested) state += R"(,"nested_blocksize":2,"nested_dtype":"float32","nested_offset":0.25)";
    state += "}";
    out.entries = {
        entry_of(".weight", "U8", {elements / 2, 1}, codes), entry_of(".weight.quant_map", "F32", {16}, map),
        entry_of(".weight.quant_state.bitsandbytes__nf4", "U8", {static_cast<int64_t>(state.size())},
                 std::vector<uint8_t>(state.begin(), state.end()))};
    if (nested) {
        out.entries.push_back(entry_of(".weight.absmax", "U8", {blocks}, maximum_codes));
        out.entries.push_back(
            entry_of(".weight.nested_absmax", "F32", {static_cast<int64_t>(factors.size())}, factors));
        out.entries.push_back(entry_of(".weight.nested_quant_map", "F32", {256}, nested_map));
    } else {
        out.entries.push_back(entry_of(".weight.absmax", "F32", {blocks}, maxima));
    }
    return out;
}

std::vector<float> row_scales(int64_t rows, int64_t groups) {
    std::vector<float> scales;
    for (int64_t row = 0; row < rows; ++row)
        for (int64_t group = 0; group < groups; ++group) scales.push_back(scale_at(row, group) * 1.1f);
    return scales;
}

Checkpoint llm_int8() {
    Checkpoint out;
    out.settings = R"("quant_method":"bitsandbytes","load_in_8bit":true)";
    out.rows = 3;
    out.cols = 5;
    std::vector<int8_t> codes;
    for (int64_t row = 0; row < 3; ++row)
        for (int64_t col = 0; col < 5; ++col) {
            codes.push_back(static_cast<int8_t>(code_at(row, col, 8) - 128));
            out.expected.push_back(static_cast<float>(codes.back()) * (scale_at(row, 0) * 1.1f) *
                                   static_cast<float>(1.0 / 127));
        }
    out.entries = {entry_of(".weight", "I8", {3, 5}, codes), entry_of(".SCB", "F32", {3}, row_scales(3, 1)),
                   entry_of(".weight_format", "U8", {}, std::vector<uint8_t>{0})};
    return out;
}

Checkpoint packed_integers(int bits, int64_t group_size, bool symmetric, bool actorder = false) {
    Checkpoint out;
    out.settings = R"("quant_method":"compressed-tensors","format":"pack-quantized","transform_config":{})";
    out.rows = 10;
    out.cols = 64;
    const int64_t groups = out.cols / group_size, words = out.cols * bits / 32,
                  zero_rows = (out.rows * bits + 31) / 32;
    std::vector<uint32_t> weights(static_cast<size_t>(out.rows * words)),
        zeros(static_cast<size_t>(zero_rows * groups));
    std::vector<int32_t> table;
    for (int64_t col = 0; col < out.cols; ++col)
        table.push_back(static_cast<int32_t>(actorder ? col % groups : col / group_size));
    for (int64_t row = 0; row < out.rows; ++row) {
        for (int64_t col = 0; col < out.cols; ++col) {
            const int64_t group = table[static_cast<size_t>(col)];
            const int zero = symmetric ? 1 << (bits - 1) : zero_at(row, group, bits);
            put_bits(weights.data() + row * words, col * bits, bits, code_at(row, col, bits), 1);
            out.expected.push_back(static_cast<float>(code_at(row, col, bits) - zero) *
                                   (scale_at(row, group) * 1.1f));
        }
        for (int64_t group = 0; group < groups; ++group)
            put_bits(zeros.data() + group, row * bits, bits, zero_at(row, group, bits), groups);
    }
    out.entries = {entry_of(".weight_packed", "I32", {out.rows, words}, weights),
                   entry_of(".weight_scale", "F32", {out.rows, groups}, row_scales(out.rows, groups)),
                   entry_of(".weight_shape", "I64", {2}, std::vector<int64_t>{out.rows, out.cols})};
    if (!symmetric) out.entries.push_back(entry_of(".weight_zero_point", "I32", {zero_rows, groups}, zeros));
    if (actorder) out.entries.push_back(entry_of(".weight_g_idx", "I32", {out.cols}, table));
    return out;
}

// Codes of E4M3 that are easy to tell: sign, powers of two and their halves.
uint8_t f8_code(int64_t i) {
    return static_cast<uint8_t>((i % 2 ? 0x80 : 0) | (3 + i % 9) << 3 | (i % 3 ? 4 : 0));
}
float f8_value(int64_t i) {
    return (i % 2 ? -1.0f : 1.0f) * std::ldexp(i % 3 ? 1.5f : 1.0f, static_cast<int>(3 + i % 9) - 7);
}

// rows_per_scale 1: [rows, 1] as compressed-tensors writes them; else blocks of 3 x 4 with ragged ends, as
// "fp8" does.
Checkpoint eight_bit_floats(bool blocks) {
    Checkpoint out;
    out.settings = blocks ? R"("quant_method":"fp8","weight_block_size":[3,4])"
                          : R"("quant_method":"compressed-tensors","format":"float-quantized")";
    out.rows = 8;
    out.cols = 10;
    const std::vector<float> scales = blocks ? row_scales(3, 3) : row_scales(8, 1);
    std::vector<uint8_t> codes;
    for (int64_t row = 0; row < 8; ++row)
        for (int64_t col = 0; col < 10; ++col) {
            codes.push_back(f8_code(row * 10 + col));
            out.expected.push_back(f8_value(row * 10 + col) *
                                   scales[static_cast<size_t>(blocks ? row / 3 * 3 + col / 4 : row)]);
        }
    out.entries = {entry_of(".weight", "F8_E4M3", {8, 10}, codes),
                   entry_of(blocks ? ".weight_scale_inv" : ".weight_scale", "F32",
                            blocks ? Shape{3, 3} : Shape{8, 1}, scales)};
    return out;
}

// One code in a byte, with zero points, two groups.
Checkpoint bytes_with_zeros() {
    Checkpoint out;
    out.settings = R"("quant_method":"compressed-tensors","format":"int-quantized")";
    out.rows = 4;
    out.cols = 6;
    std::vector<int8_t> codes, zeros;
    for (int64_t row = 0; row < 4; ++row) {
        for (int64_t col = 0; col < 6; ++col) {
            codes.push_back(static_cast<int8_t>(code_at(row, col, 8) - 128));
            const auto zero = static_cast<float>(zero_at(row, col / 3, 7));
            out.expected.push_back((static_cast<float>(codes.back()) - zero) *
                                   (scale_at(row, col / 3) * 1.1f));
        }
        for (int64_t group = 0; group < 2; ++group)
            zeros.push_back(static_cast<int8_t>(zero_at(row, group, 7)));
    }
    out.entries = {entry_of(".weight", "I8", {4, 6}, codes),
                   entry_of(".weight_scale", "F32", {4, 2}, row_scales(4, 2)),
                   entry_of(".weight_zero_point", "I8", {4, 2}, zeros)};
    return out;
}

// The checkpoint is read as it should be, and refused with `word` in one line once `change` has been at it.
using Change = std::function<void(Checkpoint&)>;
void refused(Checkpoint checkpoint, const std::string& word, const Change& change) {
    CHECK(verdict(checkpoint) == "");
    change(checkpoint);
    const std::string found = verdict(checkpoint);
    CHECK_MSG(found.find(word) != std::string::npos && found.find('\n') == std::string::npos,
              "expected '" + word + "', found '" + found + "'");
}

// Another dtype or shape of the same size.
Change typed(const char* suffix, const char* type) {
    return [=](Checkpoint& c) { c.entry(suffix).type = type; };
}
Change shaped(const char* suffix, Shape shape) {
    return [=](Checkpoint& c) { c.entry(suffix).shape = shape; };
}
Change without(const char* suffix) {
    return [=](Checkpoint& c) { c.remove(suffix); };
}
Change set(const char* from, const char* to) {
    return [=](Checkpoint& c) { c.replace(from, to); };
}
// The sixth number of a table.
Change number(const char* suffix, int32_t value) {
    return [=](Checkpoint& c) { store(c.entry(suffix).bytes.data() + 20, value); };
}
Change state(const char* from, const char* to) {
    return [=](Checkpoint& c) {
        Entry& entry = c.entry(".weight.quant_state.bitsandbytes__nf4");
        std::string text(entry.bytes.begin(), entry.bytes.end());
        text.replace(text.find(from), std::strlen(from), to);
        entry.bytes.assign(text.begin(), text.end());
        entry.shape = {static_cast<int64_t>(text.size())};
    };
}

}  // namespace

TEST(gptq) {
    for (const int bits : {2, 3, 4, 8})
        CHECK_MSG(verdict(gptq(bits, 32, [](int64_t col) { return col / 32; })) == "", std::to_string(bits));
    CHECK(verdict(gptq(
              4, 64, [](int64_t col) { return col / 64; }, true)) == "");
    // Act-order: columns belong to groups in any order.
    Checkpoint shuffled = gptq(4, 16, [](int64_t col) { return col * 7 % 4; });
    CHECK_MSG(verdict(shuffled) == "", verdict(shuffled));
    // Without the table groups are runs of group_size.
    Checkpoint bare = plain_gptq();
    bare.remove(".g_idx");
    CHECK_MSG(verdict(bare) == "", verdict(bare));
    Checkpoint one_group = gptq(4, 64, [](int64_t) { return 0; });
    one_group.remove(".g_idx");
    one_group.replace("\"group_size\":64", "\"group_size\":-1");
    CHECK_MSG(verdict(one_group) == "", verdict(one_group));
    // A bias of zeros is left out, another stays.
    Checkpoint biased = plain_gptq();
    biased.entries.push_back(entry_of(".bias", "F16", {32}, std::vector<uint16_t>(32)));
    CHECK_MSG(verdict(biased) == "", verdict(biased));
    biased.entry(".bias").bytes[7] = 1;
    CHECK(verdict(biased) == "x.bias is left over");
}

TEST(awq) { CHECK_MSG(verdict(awq()) == "", verdict(awq())); }

TEST(bitsandbytes) {
    CHECK_MSG(verdict(bitsandbytes(false)) == "", verdict(bitsandbytes(false)));
    CHECK_MSG(verdict(bitsandbytes(true)) == "", verdict(bitsandbytes(true)));
    CHECK_MSG(verdict(llm_int8()) == "", verdict(llm_int8()));
}

TEST(compressed_tensors) {
    for (const int bits : {2, 4, 8})
        for (const bool symmetric : {true, false}) {
            const std::string found = verdict(packed_integers(bits, 16, symmetric));
            CHECK_MSG(found == "", std::to_string(bits) + ": " + found);
        }
    CHECK(verdict(packed_integers(8, 64, true)) == "" && verdict(packed_integers(4, 16, false, true)) == "");
    CHECK_MSG(verdict(eight_bit_floats(false)) == "", verdict(eight_bit_floats(false)));
    CHECK_MSG(verdict(bytes_with_zeros()) == "", verdict(bytes_with_zeros()));
}

TEST(blocks_of_eight_bit_floats) {
    CHECK_MSG(verdict(eight_bit_floats(true)) == "", verdict(eight_bit_floats(true)));
}

TEST(malformed_gptq) {
    refused(plain_gptq(), "column 5 is in group 2 of 2", number(".g_idx", 2));
    refused(plain_gptq(), "column 5 is in group -1 of 2", number(".g_idx", -1));
    refused(plain_gptq(), "tensor x.g_idx I64", [](Checkpoint& c) {
        c.entry(".g_idx") = entry_of(".g_idx", "I64", {64}, std::vector<int64_t>(64));
    });
    refused(plain_gptq(), "expected the shape [64]", shaped(".g_idx", {8, 8}));
    refused(plain_gptq(), "its x.scales is missing", without(".scales"));
    refused(plain_gptq(), "its x.qzeros is missing", without(".qzeros"));
    refused(plain_gptq(), "tensor x.scales I16 [2, 32]: expected floating point", typed(".scales", "I16"));
    refused(plain_gptq(), "tensor x.scales F16 [4, 16]: expected the shape [4, 32]",
            shaped(".scales", {4, 16}));
    refused(plain_gptq(), "tensor x.qzeros I32 [8]: expected the shape [2, 4]", shaped(".qzeros", {8}));
    refused(plain_gptq(), "tensor x.qweight F32 [8, 32]: expected I32", typed(".qweight", "F32"));
    refused(plain_gptq(), "expected a matrix", shaped(".qweight", {256}));
    refused(plain_gptq(), "\"bits\": expected 2, 3, 4 or 8, found 5", set("\"bits\":4", "\"bits\":5"));
    refused(plain_gptq(), "\"bits\": expected an integer from 2 to 8, found a string",
            set("\"bits\":4", "\"bits\":\"4\""));
    refused(plain_gptq(), "no whole number of 3-bit codes", set("\"bits\":4", "\"bits\":3"));
    refused(plain_gptq(), "\"group_size\" is 0", set("\"group_size\":32", "\"group_size\":0"));
    refused(plain_gptq(), "64 columns in groups of 16, but 2 groups of scales", [](Checkpoint& c) {
        c.remove(".g_idx");
        c.replace("\"group_size\":32", "\"group_size\":16");
    });
}

TEST(malformed_awq) {
    refused(awq(), "\"version\": expected gemm, found 'gemv'", set("gemm", "gemv"));
    refused(awq(), "\"bits\": expected an integer from 4 to 4", set("\"bits\":4", "\"bits\":8"));
    refused(awq(), "expected the shape [6, 16]", shaped(".scales", {6, 8}));
    refused(awq(), "tensor x.qzeros I32 [2, 3]: expected the shape [3, 2]", shaped(".qzeros", {2, 3}));
    refused(awq(), "but 3 groups of scales", set("\"group_size\":32", "\"group_size\":64"));
}

TEST(malformed_bitsandbytes) {
    refused(bitsandbytes(false), "neither its quant_state nor its SCB",
            without(".weight.quant_state.bitsandbytes__nf4"));
    refused(bitsandbytes(false), "its x.weight.absmax is missing", without(".weight.absmax"));
    refused(bitsandbytes(false), "its x.weight.quant_map is missing", without(".weight.quant_map"));
    refused(bitsandbytes(false), "expected the shape [16]", shaped(".weight.quant_map", {4, 4}));
    refused(bitsandbytes(false), "which needs 168 bytes", state("[6,48]", "[7,48]"));
    refused(bitsandbytes(false), "holds something that is no size", state("[6,48]", "[-6,-48]"));
    refused(bitsandbytes(false), "needs 2305843009213693952 bytes",
            state("[6,48]", "[2147483648,2147483648]"));
    refused(bitsandbytes(false), "\"shape\" is no pair", state("[6,48]", "288"));
    refused(bitsandbytes(false), "\"blocksize\" is no integer from 1",
            state("\"blocksize\":64", "\"blocksize\":0"));
    refused(bitsandbytes(false), "expected the shape [9]", state("\"blocksize\":64", "\"blocksize\":32"));
    refused(bitsandbytes(false), "quant_state.bitsandbytes__nf4", state("{", "["));
    refused(bitsandbytes(true), "its x.weight.nested_quant_map is missing",
            without(".weight.nested_quant_map"));
    refused(bitsandbytes(true), "tensor x.weight.nested_absmax F32 [3]: expected the shape [5]",
            state("\"nested_blocksize\":2", "\"nested_blocksize\":1"));
    refused(bitsandbytes(true), "\"nested_offset\" is no number", state("0.25", "null"));
    refused(llm_int8(), "neither its quant_state nor its SCB", without(".SCB"));
    refused(llm_int8(), "expected the shape [3]", shaped(".SCB", {3, 1}));
    refused(llm_int8(), "only int8 weights in plain rows",
            [](Checkpoint& c) { c.entry(".weight_format").bytes[0] = 1; });
}

TEST(malformed_scales_in_grids) {
    refused(packed_integers(4, 16, false), "its x.weight_shape is missing", without(".weight_shape"));
    refused(packed_integers(4, 16, false), "its x.weight_scale is missing", without(".weight_scale"));
    refused(packed_integers(4, 16, false), "weight_shape says [10, 0]",
            [](Checkpoint& c) { store<int64_t>(c.entry(".weight_shape").bytes.data() + 8, 0); });
    refused(packed_integers(4, 16, false), "weight_shape says [1073741824, 64]",
            [](Checkpoint& c) { store<int64_t>(c.entry(".weight_shape").bytes.data(), 1 << 30); });
    refused(packed_integers(4, 16, false), "expected one number, or [10, groups]",
            shaped(".weight_scale", {4, 10}));
    refused(packed_integers(4, 16, false), "tensor x.weight_zero_point I32 [4, 2]: expected the shape [2, 4]",
            shaped(".weight_zero_point", {4, 2}));
    refused(packed_integers(4, 16, false, true), "is in group 9 of 4", number(".weight_g_idx", 9));
    refused(packed_integers(4, 16, true), "transformed weights cannot be imported",
            set("{}", R"({"config_groups":{"R1":{}}})"));
    refused(eight_bit_floats(false), "its x.weight_scale is missing", without(".weight_scale"));
    refused(eight_bit_floats(false), "expected one number, or [8, groups]", shaped(".weight_scale", {4, 2}));
    refused(eight_bit_floats(false), "tensor x.weight U8 [8, 10]: expected I8", typed(".weight", "U8"));
    refused(bytes_with_zeros(), "its scales have the shape [4, 2]", shaped(".weight_zero_point", {2, 4}));
    refused(eight_bit_floats(true), "its x.weight_scale_inv is missing", without(".weight_scale_inv"));
    refused(eight_bit_floats(true), "expected the shape [4, 3]", set("[3,4]", "[2,4]"));
    refused(eight_bit_floats(true), "expected two integers from 1", set("[3,4]", "[0,4]"));
    refused(eight_bit_floats(true), "tensor x.weight I8 [8, 10]: expected FP8", typed(".weight", "I8"));
}

TEST(unknown_quantizations_are_named) {
    refused(plain_gptq(),
            "quantized by 'exl2' cannot be imported, known: gptq awq bitsandbytes compressed-tensors fp8",
            set("gptq", "exl2"));
}

// The whole way of a folder, permuted rows of q and k included: the quantized one gives the numbers of the
// same folder with the dequantized tensors in it: the same floats, but for the sign of zeros, which no code
// holds.
TEST(reference_folders_are_their_dequantized_files) {
    SHARED_OR_SKIP(given);
    const std::string shared = std::filesystem::absolute(given).string();
    size_t compared = 0;
    for (const auto& each : std::filesystem::directory_iterator(shared + "/models/quantized")) {
        const std::string place = each.path().string();
        const TemporaryFolder plain;
        std::filesystem::create_symlink(place + "/dequantized.safetensors", plain.at("model.safetensors"));
        std::filesystem::create_symlink(shared + "/models/arch/llama/hf/config.json",
                                        plain.at("config.json"));
        for (const char* name : {"tokenizer.json", "tokenizer_config.json"})
            std::filesystem::create_symlink(place + "/hf/" + name, plain.at(name));
        auto expected = open_source(plain.path), found = open_source(place + "/hf");
        CHECK_MSG(expected.ok() && found.ok(),
                  place + ": " + (expected ? found ? "" : found.error().text : expected.error().text));
        if (!expected || !found) continue;
        std::map<std::string, size_t> index;
        for (size_t i = 0; i < (*found)->tensors().size(); ++i) index[(*found)->tensors()[i].name] = i;
        CHECK_MSG(index.size() == (*expected)->tensors().size(), place);
        for (size_t i = 0; i < (*expected)->tensors().size(); ++i) {
            const TensorInfo& tensor = (*expected)->tensors()[i];
            const auto other = index.find(tensor.name);
            CHECK_MSG(other != index.end() && (*found)->tensors()[other->second].ne == tensor.ne,
                      place + " " + tensor.name);
            if (other == index.end()) continue;
            std::vector<float> a(static_cast<size_t>(tensor.elements())), b(a.size());
            (*expected)->read_rows(i, 0, tensor.rows(), a.data());
            (*found)->read_rows(other->second, 0, tensor.rows(), b.data());
            CHECK_MSG(a == b, place + " " + tensor.name);
            ++compared;
        }
    }
    CHECK_MSG(compared >= 10 * 30, std::to_string(compared));
}

// Symmetric groups of 32 whose scales are halves lie on Q4_0's grid: rounding them there loses nothing more.
TEST(symmetric_groups_of_32_become_q4_0_without_loss) {
    SHARED_OR_SKIP(shared);
    auto source = open_source(shared + "/models/quantized/gptq-sym/hf");
    CHECK_MSG(source.ok(), source ? "" : source.error().text);
    if (!source) return;
    const Format& q4_0 = format_of(FormatSlot::q4_0);
    size_t compared = 0;
    for (size_t i = 0; i < (*source)->tensors().size(); ++i) {
        const TensorInfo& tensor = (*source)->tensors()[i];
        if (tensor.n_dims != 2 || !tensor.name.starts_with("blk.")) continue;
        std::vector<float> values(static_cast<size_t>(tensor.elements())), decoded(values.size());
        (*source)->read_rows(i, 0, tensor.rows(), values.data());
        std::vector<uint8_t> blocks(q4_0.row_bytes(tensor.elements()));
        q4_0.encode(nullptr, values.data(), nullptr, blocks.data(), tensor.elements());
        q4_0.decode(nullptr, blocks.data(), decoded.data(), tensor.elements());
        CHECK_MSG(values == decoded, tensor.name);
        ++compared;
    }
    CHECK_MSG(compared == 21, std::to_string(compared));
}

TEST_MAIN
