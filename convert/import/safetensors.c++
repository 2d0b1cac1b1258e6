// safetensors: a length, a JSON header, the numbers. Every rule is checked before a view exists.
#include "convert/import/safetensors.h"

#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/limits.h"
#include "base/log.h"
#include "convert/import/json.h"
#include "formats/format.h"

namespace quant {

namespace {

constexpr uint64_t kHeaderBytes = 100'000'000;  // the format's own limit
constexpr size_t kDims = 8;
constexpr uint64_t kIndexBytes = uint64_t{64} << 20;

template <class T>
void decode_numbers(const uint8_t* from, float* out, int64_t n) {
    for (int64_t i = 0; i < n; ++i) out[i] = static_cast<float>(load<T>(from + static_cast<size_t>(i) * sizeof(T)));
}

void decode_by_format(FormatSlot slot, const uint8_t* from, float* out, int64_t n) {
    format_of(slot).decode(nullptr, from, out, n);
}

// Eight-bit floats: sign, E exponent bits, M mantissa bits. E4M3 has NaN at all ones and no infinity.
template <int M, bool kInfinity>
float decode_f8(uint8_t code) {
    constexpr int kBias = (1 << (6 - M)) - 1, kTop = (1 << (7 - M)) - 1;
    const int exponent = (code & 0x7F) >> M, mantissa = code & ((1 << M) - 1);
    const float sign = code & 0x80 ? -1.0f : 1.0f;
    if (kInfinity && exponent == kTop)
        return mantissa ? std::numeric_limits<float>::quiet_NaN() : sign * std::numeric_limits<float>::infinity();
    if (!kInfinity && (code & 0x7F) == 0x7F) return std::numeric_limits<float>::quiet_NaN();
    const float fraction = static_cast<float>(mantissa) / static_cast<float>(1 << M);
    const float value = exponent == 0 ? fraction * 2.0f : 1.0f + fraction;
    float power = 1.0f;
    for (int i = exponent; i < kBias; ++i) power *= 0.5f;
    for (int i = kBias; i < exponent; ++i) power *= 2.0f;
    return sign * value * power;
}

template <int M, bool kInfinity>
void decode_f8_row(const uint8_t* from, float* out, int64_t n) {
    static const std::vector<float> table = [] {
        std::vector<float> values(256);
        for (size_t code = 0; code < 256; ++code) values[code] = decode_f8<M, kInfinity>(static_cast<uint8_t>(code));
        return values;
    }();
    for (int64_t i = 0; i < n; ++i) out[i] = table[from[i]];
}

constexpr SafeType kTypes[] = {
    {"F64", 8, true, decode_numbers<double>},
    {"F32", 4, true, decode_numbers<float>},
    {"F16", 2, true, [](const uint8_t* from, float* out, int64_t n) { decode_by_format(FormatSlot::f16, from, out, n); }},
    {"BF16", 2, true, [](const uint8_t* from, float* out, int64_t n) { decode_by_format(FormatSlot::bf16, from, out, n); }},
    {"F8_E4M3", 1, true, decode_f8_row<3, false>},
    {"F8_E5M2", 1, true, decode_f8_row<2, true>},
    {"I64", 8, false, decode_numbers<int64_t>},
    {"I32", 4, false, decode_numbers<int32_t>},
    {"I16", 2, false, decode_numbers<int16_t>},
    {"I8", 1, false, decode_numbers<int8_t>},
    {"U64", 8, false, decode_numbers<uint64_t>},
    {"U32", 4, false, decode_numbers<uint32_t>},
    {"U16", 2, false, decode_numbers<uint16_t>},
    {"U8", 1, false, decode_numbers<uint8_t>},
    {"BOOL", 1, false, decode_numbers<uint8_t>},
};

// What is wrong with one tensor of a file.
struct TensorRules {
    std::string origin;
    std::string name;
    Error wrong(const std::string& what) const { return input_error(escaped(origin) + ": tensor " + escaped(name) + ": " + what); }

    Result<const SafeType*> type(JsonValue entry) const {
        const auto text = entry["dtype"].text();
        if (!text) return wrong("\"dtype\" is no text");
        for (const SafeType& known : kTypes)
            if (*text == known.name) return &known;
        return wrong("unknown dtype '" + escaped(*text) + "'");
    }

    Result<std::vector<int64_t>> shape(JsonValue entry) const {
        const JsonValue list = entry["shape"];
        if (!list.is(JsonValue::Kind::array)) return wrong("\"shape\" is no array");
        if (list.size() > kDims) return wrong(format_text("%zu dimensions, at most %zu are supported", list.size(), kDims));
        std::vector<int64_t> dims;
        for (const JsonValue item : list.items()) {
            const auto dim = item.integer();
            if (!dim || *dim < 0) return wrong("\"shape\" holds something that is no size");
            dims.push_back(*dim);
        }
        return dims;
    }

    Result<std::pair<uint64_t, uint64_t>> offsets(JsonValue entry, uint64_t data_bytes) const {
        const JsonValue list = entry["data_offsets"];
        if (!list.is(JsonValue::Kind::array) || list.size() != 2) return wrong("\"data_offsets\" is no pair");
        uint64_t ends[2];
        size_t count = 0;
        for (const JsonValue item : list.items()) {
            const auto offset = item.integer();
            if (!offset || *offset < 0) return wrong("\"data_offsets\" holds something that is no offset");
            ends[count++] = static_cast<uint64_t>(*offset);
        }
        if (ends[0] > ends[1]) return wrong("its data ends before it begins");
        if (ends[1] > data_bytes)
            return wrong(format_text("its data ends at %llu, the file's data at %llu", static_cast<unsigned long long>(ends[1]),
                                     static_cast<unsigned long long>(data_bytes)));
        return std::pair(ends[0], ends[1]);
    }
};

Result<SafeTensor> read_tensor(JsonValue entry, const std::string& origin, Bytes data) {
    const TensorRules rules{origin, std::string(entry.key())};
    if (rules.name.empty()) return rules.wrong("the name is empty");
    if (!entry.is(JsonValue::Kind::object)) return rules.wrong("its entry is no object");
    for (const JsonValue member : entry.items())
        if (member.key() != "dtype" && member.key() != "shape" && member.key() != "data_offsets")
            return rules.wrong("unknown member '" + escaped(member.key()) + "'");
    SafeTensor tensor;
    tensor.name = rules.name;
    LET(type, rules.type(entry));
    LET(shape, rules.shape(entry));
    LET(offsets, rules.offsets(entry, data.size()));
    uint64_t bytes = type->bytes;
    for (const int64_t dim : shape) {
        const auto product = checked_mul(bytes, static_cast<uint64_t>(dim));
        if (!product || *product > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
            return rules.wrong("its size overflows");
        bytes = *product;
    }
    if (offsets.second - offsets.first != bytes)
        return rules.wrong(format_text("%llu bytes of data, its shape and dtype need %llu",
                                       static_cast<unsigned long long>(offsets.second - offsets.first),
                                       static_cast<unsigned long long>(bytes)));
    tensor.type = type;
    tensor.shape = std::move(shape);
    tensor.data = data.data() + offsets.first;
    tensor.bytes = bytes;
    return tensor;
}

std::vector<std::string> safetensors_in(const std::string& folder) {
    std::vector<std::string> names;
    DIR* listing = ::opendir(folder.c_str());
    if (!listing) return names;
    while (const dirent* entry = ::readdir(listing))
        if (std::string_view(entry->d_name).ends_with(".safetensors")) names.emplace_back(entry->d_name);
    ::closedir(listing);
    std::sort(names.begin(), names.end());
    return names;
}

}  // namespace

std::span<const SafeType> safe_types() { return kTypes; }

int64_t SafeTensor::elements() const { return type ? static_cast<int64_t>(bytes / type->bytes) : 0; }

std::string shape_text(const SafeTensor& tensor) {
    std::string text = "[";
    for (const int64_t dim : tensor.shape) text += (text.size() > 1 ? ", " : "") + std::to_string(dim);
    return text + "]";
}

Status SafeTensors::add(Bytes bytes, const std::string& origin, size_t file) {
    const std::string place = escaped(origin);
    Cursor cursor(bytes);
    const auto length = cursor.take<uint64_t>();
    if (!length) return input_error(place + ": too short for a safetensors file");
    if (*length > kHeaderBytes)
        return input_error(place + format_text(": a header of %llu bytes, at most %llu are allowed",
                                               static_cast<unsigned long long>(*length), static_cast<unsigned long long>(kHeaderBytes)));
    const auto header = cursor.take_text(*length);
    if (!header)
        return input_error(place + format_text(": a header of %llu bytes, %llu are left", static_cast<unsigned long long>(*length),
                                               static_cast<unsigned long long>(cursor.remaining())));
    if (header->empty() || header->front() != '{') return input_error(place + ": the header does not begin with {");
    LET(json, Json::parse(*header, origin));
    if (json.root().size() > limits::kTensors) return input_error(place + ": too many tensors");
    const Bytes data = bytes.subspan(cursor.offset());
    std::vector<SafeTensor> found;
    for (const JsonValue entry : json.root().items()) {
        if (entry.key() == "__metadata__") continue;
        LET(tensor, read_tensor(entry, origin, data));
        tensor.file = file;
        found.push_back(std::move(tensor));
    }
    // Without holes and overlaps, from the first byte to the last. Empty tensors stand before what begins where they do.
    std::stable_sort(found.begin(), found.end(), [](const SafeTensor& a, const SafeTensor& b) {
        return a.data != b.data ? a.data < b.data : a.bytes < b.bytes;
    });
    const uint8_t* expected = data.data();
    for (const SafeTensor& tensor : found) {
        if (tensor.data != expected)
            return input_error(place + ": tensor " + escaped(tensor.name) +
                               (tensor.data < expected ? ": its data overlaps another's" : ": there is a hole before its data"));
        expected += tensor.bytes;
    }
    if (expected != data.data() + data.size()) return input_error(place + ": bytes behind the last tensor's data");
    for (SafeTensor& tensor : found) {
        if (!index_.emplace(tensor.name, tensors_.size()).second)
            return input_error(place + ": tensor " + escaped(tensor.name) + " is in another file too");
        tensors_.push_back(std::move(tensor));
    }
    return {};
}

Result<SafeTensors> SafeTensors::parse(Bytes bytes, const std::string& origin) {
    SafeTensors result;
    TRY(result.add(bytes, origin, 0));
    return result;
}

Result<SafeTensors> SafeTensors::open_file(const std::string& path) {
    SafeTensors result;
    LET(file, MappedFile::open(path));
    result.files_.push_back(std::move(file));
    TRY(result.add(result.files_.front().bytes(), path, 0));
    return result;
}

Result<std::vector<std::string>> index_files(const std::string& index_text, const std::string& origin,
                                             std::unordered_map<std::string, std::string>& file_of) {
    LET(json, Json::parse(index_text, origin));
    const JsonValue map = json.root()["weight_map"];
    const std::string place = escaped(origin);
    if (!map.is(JsonValue::Kind::object)) return input_error(place + ": \"weight_map\" is no object");
    std::set<std::string> names;
    for (const JsonValue entry : map.items()) {
        const auto text = entry.text();
        if (!text) return input_error(place + ": the file of tensor " + escaped(entry.key()) + " is no text");
        const bool safe = !text->empty() && text->front() != '.' && text->ends_with(".safetensors") &&
                          text->find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos;
        if (!safe)
            return input_error(place + ": tensor " + escaped(entry.key()) + " is said to be in '" + escaped(*text) +
                               "', which is no name of a .safetensors file beside it");
        names.emplace(*text);
        file_of.emplace(entry.key(), *text);
        if (names.size() > limits::kShards)
            return input_error(place + format_text(": more than %u files", limits::kShards));
    }
    if (names.empty()) return input_error(place + ": names no tensors");
    return std::vector<std::string>(names.begin(), names.end());
}

Result<SafeTensors> SafeTensors::open_folder(const std::string& folder) {
    const std::string index_path = folder + "/model.safetensors.index.json";
    if (::access(index_path.c_str(), F_OK) != 0) {
        const std::string single = folder + "/model.safetensors";
        if (::access(single.c_str(), F_OK) == 0) return open_file(single);
        const std::vector<std::string> others = safetensors_in(folder);
        if (others.size() == 1) return open_file(folder + "/" + others.front());
        return input_error(escaped(folder) + ": neither model.safetensors nor model.safetensors.index.json is there" +
                           (others.empty() ? "" : format_text(", but %zu other .safetensors files", others.size())));
    }
    LET(text, read_text_file(index_path, kIndexBytes));
    std::unordered_map<std::string, std::string> file_of;
    LET(names, index_files(text, index_path, file_of));
    SafeTensors result;
    result.files_.reserve(names.size());
    for (const std::string& name : names) {
        LET(file, MappedFile::open(folder + "/" + name));
        result.files_.push_back(std::move(file));
        TRY(result.add(result.files_.back().bytes(), folder + "/" + name, result.files_.size() - 1));
    }
    for (const auto& [tensor, name] : file_of) {
        const SafeTensor* found = result.find(tensor);
        if (!found || names[found->file] != name)
            return input_error(escaped(index_path) + ": tensor " + escaped(tensor) + " is not in " + escaped(name));
    }
    return result;
}

const SafeTensor* SafeTensors::find(std::string_view name) const {
    const auto found = index_.find(std::string(name));
    return found == index_.end() ? nullptr : &tensors_[found->second];
}

std::vector<FileId> SafeTensors::file_ids() const {
    std::vector<FileId> ids;
    for (const MappedFile& file : files_) ids.push_back(file.id());
    return ids;
}

uint64_t SafeTensors::file_bytes() const {
    uint64_t bytes = 0;
    for (const MappedFile& file : files_) bytes += file.bytes().size();
    return bytes;
}

void SafeTensors::release(const SafeTensor& tensor) const {
    if (files_.empty()) return;
    const MappedFile& file = files_[tensor.file];
    file.release(static_cast<size_t>(tensor.data - file.bytes().data()), tensor.bytes);
}

}  // namespace quant
