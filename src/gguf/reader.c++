// Reads GGUF: every rule is checked here, once, before anyone sees a view of the bytes.
// Each rule has its own error text. Nothing in a file is believed: counts are held against the bytes that are left
// before memory is reserved, and arithmetic on fields goes through base/checked.h.
#include <bit>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/limits.h"
#include "base/log.h"
#include "gguf/gguf.h"
#include "gguf/rules.h"

namespace quant {
namespace {

using Wide = unsigned long long;

// The shortest possible records: what a count can at most be, given the bytes that are left.
constexpr uint64_t kLeastKeyBytes = 8 + 1 + 4 + 1;         // length, one letter, type, value
constexpr uint64_t kLeastTensorBytes = 8 + 1 + 4 + 4 + 8;  // length, one letter, dimensions (none), type, offset

// Ids that other programs wrote or write and this one cannot read, for a message that helps.
struct ForeignType {
    uint32_t id;
    const char* name;
    bool removed;  // from the format itself
};
constexpr ForeignType kForeignTypes[] = {
    {4, "Q4_2", true},      {5, "Q4_3", true},      {31, "Q4_0_4_4", true},     {32, "Q4_0_4_8", true},
    {33, "Q4_0_8_8", true}, {36, "IQ4_NL_4_4", true}, {37, "IQ4_NL_4_8", true}, {38, "IQ4_NL_8_8", true},
    {16, "IQ2_XXS", false}, {17, "IQ2_XS", false},  {18, "IQ3_XXS", false},     {19, "IQ1_S", false},
    {21, "IQ3_S", false},   {22, "IQ2_S", false},   {29, "IQ1_M", false},
};

std::string unknown_type_text(uint32_t id) {
    for (const ForeignType& type : kForeignTypes) {
        if (type.id != id) continue;
        return format_text("has type %u (%s), which %s", id, type.name,
                           type.removed ? "was removed from GGUF: convert the file again from its source"
                                        : "this program does not read");
    }
    return format_text("has unknown type %u", id);
}

}  // namespace

// One file's bytes -> the parts of a Gguf.
struct GgufParser {
    Cursor cursor;
    Bytes bytes;
    std::string where;  // "FILE: "
    Gguf& out;
    uint64_t key_count = 0, tensor_count = 0;
    std::vector<uint64_t> offsets = {};  // as stored, by tensor

    Error fail(const std::string& text) const { return input_error(where + text); }

    Status header() {
        if (bytes.empty()) return fail("the file is empty");
        const auto magic = cursor.take_text(kMagic.size());
        if (!magic || *magic != kMagic) return fail("not a GGUF file (the first four bytes are not 'GGUF')");
        const auto version = cursor.take<uint32_t>();
        if (!version) return fail("the file ends inside the header");
        if (*version == 1) return fail("GGUF version 1 is not supported (2 and 3 are): convert the file again from its source");
        if (*version >= uint32_t{1} << 16 && (*version & 0xffff) == 0)
            return fail("the file is big-endian, only little-endian GGUF is supported");
        if (*version != 2 && *version != 3)
            return fail(format_text("GGUF version %u is not supported (2 and 3 are)", *version));
        out.version_ = *version;
        const auto tensors = cursor.take<uint64_t>(), keys = cursor.take<uint64_t>();
        if (!tensors || !keys) return fail("the file ends inside the header");
        tensor_count = *tensors;
        key_count = *keys;
        TRY(check_count(key_count, limits::kKeys, kLeastKeyBytes, "keys"));
        return check_count(tensor_count, limits::kTensors, kLeastTensorBytes, "tensors");
    }

    Status check_count(uint64_t count, uint64_t limit, uint64_t least_bytes, const char* what) const {
        if (count > limit)
            return fail(format_text("the header claims %llu %s, at most %llu are allowed", Wide{count}, what, Wide{limit}));
        if (const uint64_t room = cursor.remaining() / least_bytes; count > room)
            return fail(format_text("the header claims %llu %s, the file has room for %llu", Wide{count}, what, Wide{room}));
        return {};
    }

    // A length and its bytes. `what` starts the sentence: "key 'general.name'".
    Result<std::string_view> text(const std::string& what, uint64_t limit) {
        const auto length = cursor.take<uint64_t>();
        if (!length) return fail(what + ": the file ends inside it");
        if (*length > limit)
            return fail(what + format_text(" claims %llu bytes of text, at most %llu are allowed", Wide{*length}, Wide{limit}));
        const auto found = cursor.take_text(*length);
        if (!found)
            return fail(what + format_text(" claims %llu bytes of text, %llu are left", Wide{*length}, Wide{cursor.remaining()}));
        return *found;
    }

    Status keys() {
        auto& entries = out.metadata_.entries_;
        entries.reserve(key_count);
        for (uint64_t i = 0; i < key_count; ++i) {
            const std::string number = format_text("key number %llu", Wide{i});
            LET(name, text(number, limits::kKeyBytes));
            if (name.empty()) return fail(number + " has an empty name");
            if (name.find('\0') != std::string_view::npos) return fail(number + " has a zero byte in its name");
            entries.emplace_back(name, Value{});
            TRY(value(entries.back().second, "key '" + escaped(name) + "'"));
        }
        const auto name_of = [&](size_t i) { return std::string_view(entries[i].first); };
        if (const auto twice = out.metadata_.index_.build(entries.size(), name_of))
            return fail("key '" + escaped(entries[*twice].first) + "' occurs twice");
        LET(alignment, alignment_of(out.metadata_));
        out.alignment_ = alignment;
        return {};
    }

    Result<ValueType> value_type(const std::string& what) {
        const auto type = cursor.take<uint32_t>();
        if (!type) return fail(what + ": the file ends inside it");
        if (*type > static_cast<uint32_t>(ValueType::f64)) return fail(what + format_text(" has unknown value type %u", *type));
        return static_cast<ValueType>(*type);
    }

    Status value(Value& value, const std::string& what) {
        LET(type, value_type(what));
        value.type = type;
        if (type == ValueType::array) return array(value, what);
        if (type == ValueType::string) {
            LET(found, text(what, limits::kStringBytes));
            value.text = found;
            return {};
        }
        const auto raw = cursor.take_bytes(value_type_bytes(type));
        if (!raw) return fail(what + ": the file ends inside it");
        if (type == ValueType::f32) value.real = static_cast<double>(load<float>(raw->data()));
        else if (type == ValueType::f64) value.real = load<double>(raw->data());
        else value.bits = load_integer(type, raw->data());
        if (type == ValueType::boolean) return check_booleans(*raw, what);
        return {};
    }

    Status check_booleans(Bytes raw, const std::string& what) const {
        for (const uint8_t byte : raw)
            if (byte > 1) return fail(what + format_text(" holds %u as a boolean, 0 or 1 expected", byte));
        return {};
    }

    Status array(Value& value, const std::string& what) {
        LET(element, value_type(what));
        if (element == ValueType::array) return fail(what + " is an array of arrays, which is not supported");
        value.element = element;
        const auto count = cursor.take<uint64_t>();
        if (!count) return fail(what + ": the file ends inside it");
        if (*count > limits::kArrayElements)
            return fail(what + format_text(" claims %llu elements, at most %llu are allowed", Wide{*count}, Wide{limits::kArrayElements}));
        const bool strings = element == ValueType::string;
        const uint64_t each = strings ? sizeof(uint64_t) : value_type_bytes(element);
        if (*count > cursor.remaining() / each)
            return fail(what + format_text(" claims %llu elements, the file has room for %llu", Wide{*count}, Wide{cursor.remaining() / each}));
        if (!strings) {
            const auto raw = cursor.take_bytes(*count * each);
            value.raw.assign(raw->begin(), raw->end());
            if (element == ValueType::boolean) return check_booleans(*raw, what);
            return {};
        }
        std::vector<std::string_view> texts(*count);
        for (std::string_view& place : texts) {
            LET(found, text(what, limits::kStringBytes));
            place = found;
        }
        value.texts = Texts(texts);
        return {};
    }

    Status tensors() {
        out.tensors_.reserve(tensor_count);
        offsets.reserve(tensor_count);
        for (uint64_t i = 0; i < tensor_count; ++i) TRY(tensor(i));
        const auto name_of = [&](size_t i) { return std::string_view(out.tensors_[i].name); };
        if (const auto twice = out.index_.build(out.tensors_.size(), name_of))
            return fail("tensor '" + escaped(out.tensors_[*twice].name) + "' occurs twice");
        return {};
    }

    Status tensor(uint64_t number) {
        TensorInfo info;
        const std::string what = format_text("tensor number %llu", Wide{number});
        LET(name, text(what, limits::kTensorNameBytes));
        info.name = name;
        const std::string named = "tensor '" + escaped(name) + "'";
        const auto dims = cursor.take<uint32_t>();
        if (!dims) return fail(named + ": the file ends inside its description");
        info.n_dims = *dims;
        if (info.n_dims > limits::kDims) return fail(named + " " + too_many_dims(info.n_dims));
        for (uint32_t i = 0; i < info.n_dims; ++i) {
            const auto size = cursor.take<uint64_t>();
            if (!size) return fail(named + ": the file ends inside its description");
            info.ne[i] = static_cast<int64_t>(*size);  // above 2^63: negative, refused by check_tensor
        }
        const auto type = cursor.take<uint32_t>();
        const auto offset = cursor.take<uint64_t>();
        if (!type || !offset) return fail(named + ": the file ends inside its description");
        info.format = find_format(*type);
        if (!info.format) return fail(named + " " + unknown_type_text(*type));
        TRY(check_tensor(where + (name.empty() ? what : named) + " ", info));
        out.tensors_.push_back(std::move(info));
        offsets.push_back(*offset);
        return {};
    }

    // How many rows share a table stands at the start of the data and decides how long the data is.
    Status group_of(TensorInfo& info, uint64_t begin, const std::string& named) const {
        if (bytes.size() < kGroupedHead || begin > bytes.size() - kGroupedHead)
            return fail(named + " is cut short in its head");
        const uint8_t* head = bytes.data() + begin;
        const uint32_t group = load<uint32_t>(head);
        if (group == 0 || int64_t{group} > info.rows())
            return fail(named + format_text(" shares a table among %u rows, 1 to %lld expected", group, static_cast<long long>(info.rows())));
        for (uint64_t i = sizeof group; i < kGroupedHead; ++i)
            if (head[i] != 0) return fail(named + format_text(" has %u at byte %llu of its head, 0 expected", head[i], Wide{i}));
        info.group = group;
        return check_tensor(where + named + " ", info);
    }

    // Data must lie one after the other in declared order, each start aligned, all inside the file.
    // The padding after the last tensor may be absent; bytes after it are ignored.
    Status data() {
        if (out.tensors_.empty()) return {};
        const auto start = checked_align(cursor.offset(), out.alignment_);
        uint64_t expected = 0;
        for (size_t i = 0; i < out.tensors_.size(); ++i) {
            TensorInfo& info = out.tensors_[i];
            const std::string named = "tensor '" + escaped(info.name) + "'";
            if (offsets[i] != expected)
                return fail(named + format_text(" has offset %llu, %llu expected", Wide{offsets[i]}, Wide{expected}));
            const auto begin = start ? checked_add(*start, expected) : std::nullopt;
            if (info.format->head && info.format->head->grouped && begin) TRY(group_of(info, *begin, named));
            const auto end = begin ? checked_add(*begin, info.bytes) : std::nullopt;
            const auto next = checked_add(expected, info.bytes);
            const auto aligned = next ? checked_align(*next, out.alignment_) : std::nullopt;
            if (!end || !aligned) return fail(named + " makes the data too large to count");
            if (*end > bytes.size())
                return fail(named + format_text(" needs bytes %llu to %llu, the file has %zu: it is cut short", Wide{*begin}, Wide{*end}, bytes.size()));
            info.data = bytes.data() + *begin;
            expected = *aligned;
        }
        return {};
    }
};

Result<Gguf> Gguf::parse(Bytes bytes, const std::string& origin) {
    Gguf file;
    file.path_ = origin;
    file.metadata_.origin = origin;
    file.parsed_bytes_ = bytes.size();
    GgufParser parser{Cursor(bytes), bytes, escaped(origin) + ": ", file};
    TRY(parser.header());
    TRY(parser.keys());
    TRY(parser.tensors());
    TRY(parser.data());
    return file;
}

Gguf Gguf::of(Metadata metadata, std::vector<TensorInfo> tensors) {
    Gguf file;
    file.path_ = metadata.origin;
    file.metadata_ = std::move(metadata);
    file.tensors_ = std::move(tensors);
    file.index_.build(file.tensors_.size(), [&](size_t i) { return std::string_view(file.tensors_[i].name); });
    return file;
}

const TensorInfo* Gguf::find(std::string_view name) const {
    const auto at = index_.find(name, [&](size_t i) { return std::string_view(tensors_[i].name); });
    return at ? &tensors_[*at] : nullptr;
}

uint64_t Gguf::file_bytes() const {
    if (files_.empty()) return parsed_bytes_;
    uint64_t total = 0;
    for (const MappedFile& file : files_) total += file.bytes().size();
    return total;
}

std::vector<FileId> Gguf::file_ids() const {
    std::vector<FileId> ids;
    for (const MappedFile& file : files_) ids.push_back(file.id());
    return ids;
}

void Gguf::release(const TensorInfo& tensor) const {
    if (tensor.shard >= files_.size()) return;
    const MappedFile& file = files_[tensor.shard];
    file.release(static_cast<size_t>(tensor.data - file.bytes().data()), tensor.bytes);
}

}  // namespace quant
