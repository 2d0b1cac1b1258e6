// Codes of other programs taken as they are: where a block format's grid is the same, its blocks decode to the numbers
// of the checkpoint to the bit; where it is not, the reason is said.
#include <cstring>
#include <filesystem>
#include <map>

#include "base/bytes.h"
#include "base/rng.h"
#include "convert/import/packed.h"
#include "convert/import/source.h"
#include "convert/quantize.h"
#include "tests/check.h"
#include "tests/temporary_folder.h"

using namespace quant;

namespace {

// Blocks written in pieces of several sizes; empty when the pieces differ.
std::vector<uint8_t> blocks_of(const RowStream& rows, const ExactRows& exact) {
    const uint64_t row_bytes = format_of(exact.format).row_bytes(rows.cols);
    std::vector<uint8_t> whole(row_bytes * static_cast<uint64_t>(rows.rows)), pieces(whole.size());
    exact.write(0, rows.rows, whole.data());
    for (int64_t row = 0, count = 1; row < rows.rows; row += count, count = row % 3 + 1) {
        count = std::min(count, rows.rows - row);
        exact.write(row, count, pieces.data() + row_bytes * static_cast<uint64_t>(row));
    }
    return whole == pieces ? whole : std::vector<uint8_t>();
}

std::vector<float> decoded(const Format& format, const std::vector<uint8_t>& blocks, int64_t cols, int64_t rows) {
    std::vector<float> out(static_cast<size_t>(cols * rows));
    decode_rows(format, {blocks.data(), cols, rows}, 0, rows, out.data());
    return out;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// "Q4_0 Q8_0" where all of them hold the rows exactly, else what is wrong, else why there is none.
std::string verdict(const RowStream& rows) {
    std::vector<float> expected(static_cast<size_t>(rows.rows * rows.cols));
    rows.read(0, rows.rows, expected.data());
    std::string names;
    for (const ExactRows& exact : rows.exact) {
        const Format& format = format_of(exact.format);
        const std::vector<uint8_t> blocks = blocks_of(rows, exact);
        if (blocks.empty()) return "other blocks in other pieces";
        if (!same_bits(decoded(format, blocks, rows.cols, rows.rows), expected)) return std::string(format.name) + " differs";
        names += (names.empty() ? "" : " ") + std::string(format.name);
    }
    return names.empty() ? rows.inexact : names;
}

// A matrix of compressed-tensors: random codes, a scale for each of `groups` in a row.
struct Packed {
    int64_t rows = 12, cols = 128, groups = 4;
    int bits = 4;
    std::string scale_type = "BF16";
    int most = 99;          // codes are within this of the middle
    bool negative = false;  // scales
    bool zeros = false, plain_bytes = false;

    std::string operator()() const {
        Rng rng(7);
        std::vector<uint8_t> codes, scales, zero_points;
        const int middle = 1 << (bits - 1);
        const auto code = [&] {
            const int any = static_cast<int>(rng.below(uint64_t{1} << bits));
            return std::clamp(any, middle - most, middle + most);
        };
        const int64_t per_word = 32 / bits;
        for (int64_t i = 0; i < rows * cols; i += plain_bytes ? 1 : per_word) {
            if (plain_bytes) {
                codes.push_back(static_cast<uint8_t>(rng.next()));
                continue;
            }
            uint32_t word = 0;
            for (int64_t j = 0; j < per_word; ++j) word |= static_cast<uint32_t>(code()) << (bits * j);
            append(codes, word);
        }
        for (int64_t i = 0; i < rows * groups; ++i) {
            const float scale = (negative ? -1.0f : 1.0f) * static_cast<float>(rng.below(100) + 28) / 4096.0f;
            if (scale_type == "F32") append(scales, scale * 1.1f);
            else append(scales, scale_type == "F16" ? f32_to_f16(scale) : f32_to_bf16(scale));
        }
        for (int64_t i = 0; i < (rows + per_word - 1) / per_word * groups; ++i) append(zero_points, static_cast<uint32_t>(rng.next()));
        const auto pair = [](int64_t a, int64_t b) { return std::to_string(a) + "," + std::to_string(b); };
        std::vector<Entry> entries = {{"x.weight_scale", scale_type, pair(rows, groups), scales}};
        if (plain_bytes) {
            entries.push_back({"x.weight", "I8", pair(rows, cols), codes});
        } else {
            std::vector<uint8_t> shape;
            append(shape, rows);
            append(shape, cols);
            entries.push_back({"x.weight_packed", "I32", pair(rows, cols / per_word), codes});
            entries.push_back({"x.weight_shape", "I64", "2", shape});
            if (zeros) entries.push_back({"x.weight_zero_point", "I32", pair((rows + per_word - 1) / per_word, groups), zero_points});
        }
        return verdict_of(entries);
    }

    struct Entry {
        std::string name, type, shape;
        std::vector<uint8_t> bytes;
    };

    static std::string verdict_of(const std::vector<Entry>& entries) {
        const auto offset = [](size_t bytes) { return std::to_string(bytes); };
        std::string header = "{";
        std::vector<uint8_t> data;
        for (const Entry& each : entries) {
            header += (header.size() > 1 ? ",\"" : "\"") + each.name + R"(":{"dtype":")" + each.type + R"(","shape":[)" + each.shape +
                      R"(],"data_offsets":[)" + offset(data.size()) + "," + offset(data.size() + each.bytes.size()) + "]}";
            data.insert(data.end(), each.bytes.begin(), each.bytes.end());
        }
        header += "}";
        std::vector<uint8_t> file;
        append(file, static_cast<uint64_t>(header.size()));
        file.insert(file.end(), header.begin(), header.end());
        file.insert(file.end(), data.begin(), data.end());
        auto config = HfConfig::parse(R"({"quantization_config":{"quant_method":"compressed-tensors"}})", "config.json");
        auto tensors = SafeTensors::parse(file, "f.safetensors");
        if (!config || !tensors) return "the test's own file: " + tensors.error().text;
        auto packed = PackedTensors::open(*config, *tensors);
        if (!packed) return packed.error().text;
        for (const SafeTensor& tensor : tensors->tensors())
            if (const PackedTensor* found = packed->led_by(tensor)) return verdict(found->rows);
        return "no packed matrix";
    }

    template <class T>
    static void append(std::vector<uint8_t>& to, T value) {
        to.resize(to.size() + sizeof value);
        std::memcpy(to.data() + to.size() - sizeof value, &value, sizeof value);
    }
};

void expect(const Packed& packed, const std::string& wanted) {
    const std::string found = packed();
    CHECK_MSG(found == wanted, "'" + found + "', expected '" + wanted + "'");
}

}  // namespace

TEST(grids_that_fit_and_that_do_not) {
    expect({}, "Q4_0 Q8_0 A4_G32");
    expect({.scale_type = "F16"}, "Q4_0 Q8_0 A4_G32");
    expect({.groups = 1}, "Q4_0 Q8_0 A4_ROW A4_G128 A4_G64 A4_G32");
    expect({.groups = 2}, "Q4_0 Q8_0 A4_G64 A4_G32");
    expect({.negative = true}, "Q4_0 Q8_0 A4_G32");
    // A search for the grid finds another one when the largest codes are missing.
    for (const int most : {1, 4, 5, 7}) expect({.most = most}, "Q4_0 Q8_0 A4_G32");
    expect({.groups = 8}, "its groups of 16 are no multiple of 32");
    expect({.cols = 96, .groups = 2}, "its groups of 48 are no multiple of 32");
    expect({.scale_type = "F32"}, "F16 cannot hold its scales");
    expect({.groups = 1, .scale_type = "F32"}, "A4_ROW");
    expect({.zeros = true}, "Q8_0 A4_G32Z");
    expect({.groups = 1, .bits = 8}, "Q8_0 Q8_ROW A8_G128 A8_G64 A8_G32");
    expect({.groups = 1, .bits = 8, .zeros = true}, "A8_ROWZ A8_G128Z A8_G64Z A8_G32Z");
    expect({.groups = 1, .bits = 8, .scale_type = "F32", .zeros = true}, "A8_ROWZ");
    expect({.bits = 2}, "Q4_0 Q8_0 A2_G32");
    expect({.bits = 2, .zeros = true}, "Q4_0 Q8_0 A2_G32Z");
    expect({.groups = 1, .plain_bytes = true}, "Q8_0 Q8_ROW A8_G128 A8_G64 A8_G32");
    expect({.groups = 1, .scale_type = "F32", .plain_bytes = true}, "Q8_ROW");
}

TEST(stacks_and_permutations_stay_exact) {
    std::vector<RowStream> parts;
    for (int64_t part = 0; part < 3; ++part) {
        RowStream rows;
        rows.cols = 32;
        rows.rows = 8;
        rows.read = [part](int64_t row, int64_t count, float* out) {
            for (int64_t i = 0; i < 32 * count; ++i) out[i] = static_cast<float>((row * 32 + i + part) % 15 - 8);
        };
        rows.exact.push_back({FormatSlot::q4_0, [read = rows.read](int64_t row, int64_t count, uint8_t* out) {
                                  for (int64_t r = row; r < row + count; ++r, out += 18) {
                                      float values[32];
                                      read(r, 1, values);
                                      store<uint16_t>(out, 0x3c00);  // 1
                                      for (int i = 0; i < 16; ++i)
                                          out[2 + i] = static_cast<uint8_t>(static_cast<int>(values[i] + 8) | static_cast<int>(values[i + 16] + 8) << 4);
                                  }
                              }});
        parts.push_back(std::move(rows));
    }
    CHECK(verdict(parts[1]) == "Q4_0");
    CHECK(verdict(stacked(parts)) == "Q4_0" && verdict(heads_permuted(parts[2], 2)) == "Q4_0");
    CHECK(verdict(every_nth(stacked(parts), 1, 2, 3)) == "Q4_0");
    parts[1].exact.clear();
    CHECK(verdict(stacked(parts)) == "its experts differ");
}

// The whole way: the file written has the checkpoint's numbers, and the plan says of each tensor how it came about.
TEST(reference_folders_kept) {
    SHARED_OR_SKIP(shared);
    const std::map<std::string, std::string> expected = {
        {"gptq-sym", "Q4_0"}, {"gptq-asym", "Q8_0"}, {"awq", "Q8_0"}, {"gptq-actorder", ""}, {"ct-int4", ""}, {"ct-int4-asym", ""},
        {"ct-int8", "Q8_ROW"}, {"ct-fp8", ""}, {"bnb-nf4", "NF4"}, {"bnb-nf4-dq", "NF4"}};
    for (const auto& [name, format] : expected) {
        const TemporaryFolder folder;
        QuantizeOptions options;
        options.input = shared + "/models/quantized/" + name + "/hf";
        options.output = folder.at("kept.gguf");
        options.type = "keep";
        options.threads = 1;
        auto report = quantize_file(options, {});
        CHECK_MSG(report.ok(), name + ": " + (report ? "" : report.error().text));
        if (!report) continue;
        auto source = open_source(options.input);
        auto made = Gguf::open(options.output);
        CHECK_MSG(source.ok() && made.ok(), name);
        if (!source || !made) continue;
        size_t repacked = 0;
        for (size_t i = 0; i < (*source)->tensors().size(); ++i) {
            const TensorInfo& from = (*source)->tensors()[i];
            const PlannedTensor& planned = report->plan.tensors[i];
            const TensorInfo* to = made->find(from.name);
            if (!planned.repacked) continue;
            ++repacked;
            CHECK_MSG(planned.note == "repacked, exact" && to && to->format->name == format && report->errors[i].exact, name + " " + from.name);
            if (!to) continue;
            std::vector<float> a(static_cast<size_t>(from.elements())), b(a.size());
            (*source)->read_rows(i, 0, from.rows(), a.data());
            decode_rows(*to->format, to->view(), 0, to->rows(), b.data());
            CHECK_MSG(same_bits(a, b), name + " " + from.name);
        }
        // Rows of 160 are no multiple of 64: there NF4's blocks run over their ends.
        const size_t all = format.empty() ? 0 : format == "NF4" ? 18 : 21;
        CHECK_MSG(repacked == all, name + ": " + std::to_string(repacked) + " tensors repacked");
        const auto type = made->metadata().get_u32("general.file_type");
        if (const bool stock = !format.empty() && find_format(format)->stock; stock) CHECK_MSG(static_cast<int32_t>(type.value().value_or(0)) == find_format(format)->file_type, name);
    }
}

TEST(a_type_named_takes_the_codes_where_it_holds_them) {
    SHARED_OR_SKIP(shared);
    QuantizeOptions options;
    options.input = shared + "/models/quantized/gptq-sym/hf";
    options.dry_run = true;
    for (const auto& [type, note] : std::map<std::string, std::string>{{"q4_0", "repacked, exact"},
                                                                       {"q8_0", "repacked, exact"},
                                                                       {"q5_0", "decoded and rounded again: Q4_0 would hold it exactly"},
                                                                       {"f16", "decoded"}}) {
        options.type = type;
        auto report = quantize_file(options, {});
        CHECK_MSG(report.ok(), type);
        if (!report) continue;
        for (const PlannedTensor& tensor : report->plan.tensors)
            if (tensor.out.n_dims == 2 && tensor.out.name.starts_with("blk.")) CHECK_MSG(tensor.note == note, type + ": " + tensor.note);
    }
}

TEST_MAIN
