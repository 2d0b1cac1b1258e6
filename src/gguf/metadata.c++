// Metadata values and the ordered list of keys. Knows nothing of files or offsets.
#include <cmath>
#include <limits>

#include "base/bytes.h"
#include "base/log.h"
#include "gguf/gguf.h"
#include "gguf/rules.h"

namespace quant {
namespace {

Value integer_value(ValueType type, uint64_t bits) {
    Value value;
    value.type = type;
    value.bits = bits;
    return value;
}

template <class T>
Value number_array(ValueType element, std::span<const T> values) {
    Value value;
    value.type = ValueType::array;
    value.element = element;
    value.raw.resize(values.size_bytes());
    if (!values.empty()) std::memcpy(value.raw.data(), values.data(), values.size_bytes());
    return value;
}

bool is_signed(ValueType type) {
    return type == ValueType::i8 || type == ValueType::i16 || type == ValueType::i32 || type == ValueType::i64;
}

bool is_integer(ValueType type) {
    return is_signed(type) || type == ValueType::u8 || type == ValueType::u16 || type == ValueType::u32 ||
           type == ValueType::u64;
}

std::string integer_text(ValueType type, uint64_t bits) {
    return is_signed(type) ? std::to_string(static_cast<int64_t>(bits)) : std::to_string(bits);
}

template <class T>
bool fits(ValueType type, uint64_t bits) {
    return is_signed(type) ? std::in_range<T>(static_cast<int64_t>(bits)) : std::in_range<T>(bits);
}

std::string type_text(const Value& value) {
    if (value.type != ValueType::array) return value_type_name(value.type);
    return std::string("array of ") + value_type_name(value.element);
}

Error wrong_type(const std::string& origin, std::string_view key, const Value& found, const char* expected) {
    return input_error(escaped(origin) + ": key '" + escaped(key) + "' has type " + type_text(found) + ", " + expected +
                       " expected");
}

template <class T>
Error out_of_range(const std::string& origin, std::string_view key, const std::string& found) {
    return input_error(escaped(origin) + ": key '" + escaped(key) + "' holds " + found + ", a number from " +
                       std::to_string(std::numeric_limits<T>::min()) + " to " +
                       std::to_string(std::numeric_limits<T>::max()) + " expected");
}

template <class T>
Result<std::optional<T>> get_integer(const Metadata& metadata, std::string_view key, const char* expected) {
    const Value* value = metadata.find(key);
    if (!value) return std::optional<T>();
    if (!is_integer(value->type)) return wrong_type(metadata.origin, key, *value, expected);
    if (!fits<T>(value->type, value->bits))
        return out_of_range<T>(metadata.origin, key, integer_text(value->type, value->bits));
    return std::optional<T>(static_cast<T>(value->bits));
}

}  // namespace

const char* value_type_name(ValueType type) {
    static constexpr const char* kNames[] = {"u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool",
                                             "string", "array", "u64", "i64", "f64"};
    const auto at = static_cast<size_t>(type);
    return at < std::size(kNames) ? kNames[at] : "unknown";
}

size_t value_type_bytes(ValueType type) {
    static constexpr size_t kBytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    const auto at = static_cast<size_t>(type);
    return at < std::size(kBytes) ? kBytes[at] : 0;
}

uint64_t load_integer(ValueType type, const uint8_t* at) {
    switch (type) {
        case ValueType::u8:
        case ValueType::boolean: return *at;
        case ValueType::i8: return static_cast<uint64_t>(int64_t{load<int8_t>(at)});
        case ValueType::u16: return load<uint16_t>(at);
        case ValueType::i16: return static_cast<uint64_t>(int64_t{load<int16_t>(at)});
        case ValueType::u32: return load<uint32_t>(at);
        case ValueType::i32: return static_cast<uint64_t>(int64_t{load<int32_t>(at)});
        case ValueType::u64:
        case ValueType::i64: return load<uint64_t>(at);
        default: return 0;
    }
}

Texts::Texts(std::span<const std::string_view> texts) {
    Data data;
    size_t bytes = 0;
    for (const std::string_view text : texts) bytes += text.size() + 1;
    data.chars.reserve(bytes);
    data.ends.reserve(texts.size());
    for (const std::string_view text : texts) {
        data.chars.append(text).push_back('\0');
        data.ends.push_back(data.chars.size());
    }
    data_ = std::make_shared<const Data>(std::move(data));
}

std::string_view Texts::operator[](size_t index) const {
    const size_t start = index > 0 ? data_->ends[index - 1] : 0;
    return {data_->chars.data() + start, data_->ends[index] - 1 - start};
}

bool Texts::operator==(const Texts& other) const {
    if (!data_ || !other.data_) return size() == other.size();
    return data_->ends == other.data_->ends && data_->chars == other.data_->chars;
}

uint64_t Value::count() const {
    if (type != ValueType::array) return 1;
    if (element == ValueType::string) return texts.size();
    return raw.size() / value_type_bytes(element);
}

Value Value::of_u32(uint32_t value) { return integer_value(ValueType::u32, value); }
Value Value::of_i32(int32_t value) { return integer_value(ValueType::i32, static_cast<uint64_t>(int64_t{value})); }
Value Value::of_u64(uint64_t value) { return integer_value(ValueType::u64, value); }
Value Value::of_u16(uint16_t value) { return integer_value(ValueType::u16, value); }
Value Value::of_bool(bool value) { return integer_value(ValueType::boolean, value); }
Value Value::of_f32(float value) {
    Value result;
    result.type = ValueType::f32;
    result.real = static_cast<double>(value);
    return result;
}
Value Value::of_string(std::string_view value) {
    Value result;
    result.type = ValueType::string;
    result.text = value;
    return result;
}
Value Value::of_strings(const std::vector<std::string>& values) {
    Value result;
    result.type = ValueType::array;
    result.element = ValueType::string;
    result.texts = Texts(std::vector<std::string_view>(values.begin(), values.end()));
    return result;
}
Value Value::of_i32s(std::span<const int32_t> values) { return number_array(ValueType::i32, values); }
Value Value::of_f32s(std::span<const float> values) { return number_array(ValueType::f32, values); }
Value Value::of_bools(std::span<const uint8_t> values) { return number_array(ValueType::boolean, values); }

const Value* Metadata::find(std::string_view key) const {
    const auto at = index_.find(key, [&](size_t i) { return std::string_view(entries_[i].first); });
    return at ? &entries_[*at].second : nullptr;
}

void Metadata::set(std::string_view key, Value value) {
    const auto name_of = [&](size_t i) { return std::string_view(entries_[i].first); };
    if (const auto at = index_.find(key, name_of)) {
        entries_[*at].second = std::move(value);
        return;
    }
    entries_.emplace_back(key, std::move(value));
    index_.append(entries_.size() - 1, name_of);
}

bool Metadata::erase(std::string_view key) {
    const auto at = index_.find(key, [&](size_t i) { return std::string_view(entries_[i].first); });
    if (!at) return false;
    entries_.erase(entries_.begin() + static_cast<ptrdiff_t>(*at));
    index_.erase(*at);
    return true;
}

Result<std::optional<uint32_t>> Metadata::get_u32(std::string_view key) const {
    return get_integer<uint32_t>(*this, key, "u32");
}

Result<std::optional<int64_t>> Metadata::get_i64(std::string_view key) const {
    return get_integer<int64_t>(*this, key, "i64");
}

Result<std::optional<float>> Metadata::get_f32(std::string_view key) const {
    const Value* value = find(key);
    if (!value) return std::optional<float>();
    if (value->type != ValueType::f32 && value->type != ValueType::f64) return wrong_type(origin, key, *value, "f32");
    if (std::isfinite(value->real) && std::fabs(value->real) > static_cast<double>(std::numeric_limits<float>::max()))
        return out_of_range<float>(origin, key, format_text("%g", value->real));
    return std::optional<float>(static_cast<float>(value->real));
}

Result<std::optional<bool>> Metadata::get_bool(std::string_view key) const {
    const Value* value = find(key);
    if (!value) return std::optional<bool>();
    if (value->type != ValueType::boolean) return wrong_type(origin, key, *value, "bool");
    return std::optional<bool>(value->bits != 0);
}

Result<std::optional<std::string>> Metadata::get_string(std::string_view key) const {
    const Value* value = find(key);
    if (!value) return std::optional<std::string>();
    if (value->type != ValueType::string) return wrong_type(origin, key, *value, "string");
    return std::optional<std::string>(value->text);
}

Result<std::optional<std::vector<std::string>>> Metadata::get_strings(std::string_view key) const {
    const Value* value = find(key);
    if (!value) return std::optional<std::vector<std::string>>();
    if (value->type != ValueType::array || value->element != ValueType::string)
        return wrong_type(origin, key, *value, "array of string");
    std::vector<std::string> texts(value->texts.size());
    for (size_t i = 0; i < texts.size(); ++i) texts[i] = value->texts[i];
    return std::optional<std::vector<std::string>>(std::move(texts));
}

Result<std::optional<std::vector<float>>> Metadata::get_f32s(std::string_view key) const {
    const Value* value = find(key);
    if (!value) return std::optional<std::vector<float>>();
    if (value->type != ValueType::array || value->element != ValueType::f32)
        return wrong_type(origin, key, *value, "array of f32");
    std::vector<float> numbers(value->count());
    if (!numbers.empty()) std::memcpy(numbers.data(), value->raw.data(), value->raw.size());
    return std::optional<std::vector<float>>(std::move(numbers));
}

Result<std::optional<std::vector<int32_t>>> Metadata::get_i32s(std::string_view key) const {
    const Value* value = find(key);
    if (!value) return std::optional<std::vector<int32_t>>();
    if (value->type != ValueType::array || (!is_integer(value->element) && value->element != ValueType::boolean))
        return wrong_type(origin, key, *value, "array of i32");
    const size_t step = value_type_bytes(value->element);
    std::vector<int32_t> numbers(value->count());
    for (size_t i = 0; i < numbers.size(); ++i) {
        const uint64_t bits = load_integer(value->element, value->raw.data() + i * step);
        if (!fits<int32_t>(value->element, bits))
            return out_of_range<int32_t>(origin, key, integer_text(value->element, bits));
        numbers[i] = static_cast<int32_t>(bits);
    }
    return std::optional<std::vector<int32_t>>(std::move(numbers));
}

}  // namespace quant
