// Importing Hugging Face folders: the reference folders become what the ecosystem's converter made of them, key by key and
// bit by bit; safetensors files that break a rule are refused by that rule; rows are permuted, picked and joined right.
#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/bytes.h"
#include "convert/import/hf_architecture.h"
#include "convert/import/hf_rows.h"
#include "convert/import/safetensors.h"
#include "convert/import/source.h"
#include "tests/check.h"
#include "tests/temporary_folder.h"

using namespace quant;

namespace {

std::vector<uint8_t> safetensors(const std::string& header, size_t data_bytes) {
    std::vector<uint8_t> bytes(8 + header.size() + data_bytes);
    store<uint64_t>(bytes.data(), header.size());
    std::memcpy(bytes.data() + 8, header.data(), header.size());
    for (size_t i = 0; i < data_bytes; ++i) bytes[8 + header.size() + i] = static_cast<uint8_t>(i);
    return bytes;
}

std::string refusal(const std::vector<uint8_t>& bytes) {
    auto parsed = SafeTensors::parse(bytes, "f.safetensors");
    return parsed ? "" : parsed.error().text;
}

bool same_value(const Value& a, const Value& b) {
    return a.type == b.type && a.bits == b.bits && std::memcmp(&a.real, &b.real, sizeof a.real) == 0 && a.text == b.text &&
           a.element == b.element && a.raw == b.raw && a.texts == b.texts;
}

// A tensor's bytes as a conversion writes them.
std::vector<uint8_t> bytes_of(const Source& source, size_t index) {
    const TensorInfo& tensor = source.tensors()[index];
    std::vector<uint8_t> bytes(tensor.bytes);
    if (tensor.format->kind == FormatKind::block) {
        source.stored_rows(index, 0, tensor.rows(), bytes.data());
        return bytes;
    }
    std::vector<float> row(static_cast<size_t>(tensor.cols()));
    const uint64_t row_bytes = tensor.format->row_bytes(tensor.cols());
    for (int64_t r = 0; r < tensor.rows(); ++r) {
        source.read_rows(index, r, 1, row.data());
        tensor.format->encode(nullptr, row.data(), nullptr, bytes.data() + row_bytes * static_cast<uint64_t>(r), tensor.cols());
    }
    // Any other way to cut the rows gives the same numbers.
    std::vector<float> all(static_cast<size_t>(tensor.elements()));
    source.read_rows(index, 0, tensor.rows(), all.data());
    source.read_rows(index, tensor.rows() - 1, 1, row.data());
    CHECK_MSG(std::memcmp(row.data(), all.data() + all.size() - row.size(), row.size() * sizeof(float)) == 0, tensor.name);
    return bytes;
}

void compare_with_reference(const std::string& folder, const std::string& file) {
    auto source = open_source(folder);
    CHECK_MSG(source.ok(), source ? "" : source.error().text);
    auto reference = Gguf::open(file);
    CHECK_MSG(reference.ok(), file);
    if (!source || !reference) return;
    const Metadata &ours = (*source)->metadata(), &theirs = reference->metadata();
    CHECK_MSG(ours.entries().size() == theirs.entries().size(), file);
    for (const auto& [key, value] : theirs.entries()) {
        if (key == "general.name") continue;  // from the folder's name
        const Value* found = ours.find(key);
        CHECK_MSG(found && same_value(*found, value), file + " " + key);
    }
    CHECK_MSG((*source)->tensors().size() == reference->tensors().size(), file);
    for (size_t i = 0; i < (*source)->tensors().size(); ++i) {
        const TensorInfo& tensor = (*source)->tensors()[i];
        const TensorInfo* found = reference->find(tensor.name);
        const bool alike = found && found->ne == tensor.ne && found->n_dims == tensor.n_dims && found->format == tensor.format;
        CHECK_MSG(alike, file + " " + tensor.name);
        if (alike) CHECK_MSG(std::memcmp(bytes_of(**source, i).data(), found->data, found->bytes) == 0, file + " " + tensor.name);
    }
}

SafeTensor matrix_of(const std::vector<float>& values, std::vector<int64_t> shape) {
    SafeTensor tensor;
    tensor.name = "m";
    tensor.shape = std::move(shape);
    tensor.data = reinterpret_cast<const uint8_t*>(values.data());
    tensor.bytes = values.size() * sizeof(float);
    for (const SafeType& type : safe_types())
        if (std::string_view(type.name) == "F32") tensor.type = &type;
    return tensor;
}

std::vector<float> read_all(const RowStream& rows) {
    std::vector<float> out(static_cast<size_t>(rows.rows * rows.cols));
    rows.read(0, rows.rows, out.data());
    return out;
}

}  // namespace

TEST(safetensors_rules) {
    const std::string good = R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]},"a":{"dtype":"BF16","shape":[2,1],"data_offsets":[0,4]}})";
    auto parsed = SafeTensors::parse(safetensors(good, 12), "f");
    CHECK(parsed.ok() && parsed->tensors().size() == 2 && parsed->tensors()[0].name == "a" && parsed->find("b")->elements() == 2);
    const auto one = [](const std::string& entry) { return R"({"a":)" + entry + "}"; };
    const struct {
        std::string header;
        size_t bytes;
        const char* says;
    } cases[] = {
        {good, 11, "its data ends at 12, the file's data at 11"},
        {good, 13, "bytes behind the last tensor"},
        {R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[3,5]}})", 5, "a hole before its data"},
        {R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})", 3, "overlaps"},
        {R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})", 0, "a"},
        {one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,4]})"), 4, "4 bytes of data, its shape and dtype need 8"},
        {one(R"({"dtype":"F33","shape":[1],"data_offsets":[0,4]})"), 4, "unknown dtype 'F33'"},
        {one(R"({"dtype":4,"shape":[1],"data_offsets":[0,4]})"), 4, "\"dtype\" is no text"},
        {one(R"({"dtype":"F32","shape":1,"data_offsets":[0,4]})"), 4, "\"shape\" is no array"},
        {one(R"({"dtype":"F32","shape":[-1],"data_offsets":[0,4]})"), 4, "no size"},
        {one(R"({"dtype":"F32","shape":[1.5],"data_offsets":[0,4]})"), 4, "no size"},
        {one(R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]})"), 4, "overflows"},
        {one(R"({"dtype":"F32","shape":[9223372036854775807],"data_offsets":[0,4]})"), 4, "overflows"},
        {one(R"({"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]})"), 4, "9 dimensions"},
        {one(R"({"dtype":"F32","shape":[1],"data_offsets":[4,0]})"), 4, "ends before it begins"},
        {one(R"({"dtype":"F32","shape":[1],"data_offsets":[0]})"), 4, "no pair"},
        {one(R"({"dtype":"F32","shape":[1],"data_offsets":[0,18446744073709551615]})"), 4, "no offset"},
        {one(R"({"dtype":"F32","shape":[1],"data_offsets":[0,4],"more":1})"), 4, "unknown member 'more'"},
        {one("3"), 0, "no object"},
        {R"({"":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})", 0, "name is empty"},
        {"[]", 0, "does not begin with {"},
        {"{", 0, "f.safetensors"},
        {"", 0, "does not begin with {"},
    };
    for (const auto& each : cases) {
        const std::string said = refusal(safetensors(each.header, each.bytes));
        CHECK_MSG(!said.empty() && said.find(each.says) != std::string::npos, each.header + " -> " + said);
    }
    std::vector<uint8_t> bytes = safetensors(good, 12);
    for (const uint64_t length : {uint64_t{100'000'001}, UINT64_MAX, uint64_t{1000}}) {
        store<uint64_t>(bytes.data(), length);
        CHECK(!refusal(bytes).empty());
    }
    bytes = safetensors(good, 12);
    for (size_t cut = 0; cut < bytes.size(); ++cut)
        CHECK_MSG(!refusal({bytes.begin(), bytes.begin() + static_cast<int64_t>(cut)}).empty(), std::to_string(cut));
}

TEST(index_names_only_files_beside_it) {
    for (const char* name : {"../a.safetensors", "/a.safetensors", "a\\\\b.safetensors", ".a.safetensors", "a.bin", "", "a\\u0000.safetensors"}) {
        std::unordered_map<std::string, std::string> file_of;
        auto names = index_files(std::string(R"({"weight_map":{"t":")") + name + "\"}}", "index.json", file_of);
        CHECK_MSG(!names.ok() && names.error().text.find("tensor t") != std::string::npos, name);
    }
    std::unordered_map<std::string, std::string> file_of;
    auto names = index_files(R"({"weight_map":{"t":"b.safetensors","u":"a.safetensors","v":"b.safetensors"}})", "i", file_of);
    CHECK(names.ok() && *names == std::vector<std::string>({"a.safetensors", "b.safetensors"}) && file_of.size() == 3);
    CHECK(!index_files(R"({"weight_map":{}})", "i", file_of).ok() && !index_files(R"({"weight_map":3})", "i", file_of).ok());
}

TEST(eight_bit_floats) {
    const auto decode = [](const char* type, uint8_t code) {
        float value = 0;
        for (const SafeType& each : safe_types())
            if (std::string_view(each.name) == type) each.decode(&code, &value, 1);
        return value;
    };
    // Values from the OCP 8-bit floating point specification.
    CHECK(decode("F8_E4M3", 0x7E) == 448.0f && decode("F8_E4M3", 0x01) == 0x1p-9f && decode("F8_E4M3", 0x08) == 0x1p-6f);
    CHECK(decode("F8_E4M3", 0xB8) == -1.0f && decode("F8_E4M3", 0x7F) != decode("F8_E4M3", 0x7F));
    CHECK(decode("F8_E5M2", 0x7B) == 57344.0f && decode("F8_E5M2", 0x01) == 0x1p-16f && decode("F8_E5M2", 0x04) == 0x1p-14f);
    CHECK(decode("F8_E5M2", 0x7C) > 3e38f && decode("F8_E5M2", 0x7D) != decode("F8_E5M2", 0x7D) && decode("F8_E5M2", 0xBC) == -1.0f);
}

TEST(rows_are_composed) {
    const std::vector<float> values = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const SafeTensor tall = matrix_of(values, {8, 2}), cube = matrix_of(values, {2, 2, 4});
    using Numbers = std::vector<float>;
    // Two heads of four rows: row pairs (0, 2), (1, 3) side by side.
    CHECK(read_all(heads_permuted(rows_of(tall), 2)) == Numbers({0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15}));
    CHECK(read_all(every_nth(rows_of(tall), 1, 2, 2)) == Numbers({2, 3, 6, 7, 10, 11, 14, 15}));
    CHECK(read_all(transposed(cube)) == Numbers({0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15}));
    CHECK(read_all(joined(every_nth(singles_of(tall), 0, 2, 1), 4)) == Numbers({0, 2, 4, 6, 8, 10, 12, 14}));
    CHECK(read_all(stacked({rows_of(tall), shifted(rows_of(tall), 1)})).at(17) == 2);
    float middle[4];
    transposed(cube).read(3, 2, middle);
    CHECK(Numbers(middle, middle + 4) == Numbers({3, 7, 8, 12}));
}

TEST(folders_that_cannot_be_imported) {
    const TemporaryFolder folder;
    const auto error = [&](const std::string& config) {
        if (!config.empty()) std::ofstream(folder.at("config.json")) << config;
        auto source = open_source(folder.path);
        return source ? std::string() : source.error().text;
    };
    CHECK(error("").find("config.json") != std::string::npos);
    CHECK(error("{").find("config.json") != std::string::npos);
    CHECK(error("{}").find("\"architectures\" names none") != std::string::npos);
    CHECK(error(R"({"architectures":["Unheard"]})").find("known: LlamaForCausalLM") != std::string::npos);
    CHECK(error(R"({"architectures":["LlamaForCausalLM"]})").find("neither model.safetensors nor") != std::string::npos);
}

TEST(folders_become_what_the_ecosystem_makes_of_them) {
    SHARED_OR_SKIP(shared);
    size_t compared = 0;
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(shared + "/models/arch")) names.push_back(entry.path().string());
    for (const std::string& path : names) {
        const std::string file = path + "/" + std::filesystem::path(path).filename().string() + ".gguf";
        if (!std::filesystem::exists(file)) continue;  // bitnet: no converter writes it well
        compare_with_reference(path + "/hf", file);
        ++compared;
    }
    CHECK_MSG(compared >= 18, std::to_string(compared));
    compare_with_reference(shared + "/models/stories260K/hf", shared + "/models/stories260K/stories260K.gguf");
}

TEST(packed_ternary_weights) {
    SHARED_OR_SKIP(shared);
    auto plain = open_source(shared + "/models/arch/bitnet/hf"), packed = open_source(shared + "/models/arch/bitnet-packed/hf");
    CHECK_MSG(plain.ok() && packed.ok(), plain ? packed ? "" : packed.error().text : plain.error().text);
    if (!plain || !packed) return;
    CHECK((*plain)->tensors().size() == (*packed)->tensors().size());
    for (size_t i = 0; i < (*plain)->tensors().size(); ++i) {
        const TensorInfo& tensor = (*plain)->tensors()[i];
        const auto found = std::find_if((*packed)->tensors().begin(), (*packed)->tensors().end(),
                                        [&](const TensorInfo& other) { return other.name == tensor.name; });
        CHECK_MSG(found != (*packed)->tensors().end() && found->ne == tensor.ne, tensor.name);
        if (found == (*packed)->tensors().end()) continue;
        const auto other = static_cast<size_t>(found - (*packed)->tensors().begin());
        std::vector<float> a(static_cast<size_t>(tensor.elements())), b(a.size());
        (*plain)->read_rows(i, 0, tensor.rows(), a.data());
        (*packed)->read_rows(other, 0, tensor.rows(), b.data());
        CHECK_MSG(a == b, tensor.name);
    }
}

TEST_MAIN
