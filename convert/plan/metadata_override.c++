// KEY=TYPE:VALUE rows.
#include "convert/plan/metadata_override.h"

#include <charconv>
#include <cmath>
#include <limits>
#include <optional>
#include <string>

#include "base/file.h"
#include "base/log.h"
#include "base/real.h"

namespace quant {

namespace {

struct IntegerType {
    ValueType type;
    int64_t low;
    uint64_t high;
};
// In the order in which a new key tries them.
constexpr IntegerType kIntegerTypes[] = {
    {ValueType::u32, 0, std::numeric_limits<uint32_t>::max()},
    {ValueType::i32, std::numeric_limits<int32_t>::min(), std::numeric_limits<int32_t>::max()},
    {ValueType::i64, std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max()},
    {ValueType::u64, 0, std::numeric_limits<uint64_t>::max()},
    {ValueType::u8, 0, 255},
    {ValueType::i8, -128, 127},
    {ValueType::u16, 0, 65535},
    {ValueType::i16, -32768, 32767},
};

template <class T>
std::optional<T> parse_whole(std::string_view text) {
    T value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

Error bad_value(std::string_view row, const char* expected) {
    return usage_error("'" + escaped(row) + "': expected " + expected);
}

Result<Value> integer_value(std::string_view row, std::string_view text, const Value* present) {
    const auto negative = parse_whole<int64_t>(text);
    const auto positive = parse_whole<uint64_t>(text);
    if (!negative && !positive) return bad_value(row, "an integer that fits 64 bits");
    const auto fits = [&](const IntegerType& type) {
        return positive ? *positive <= type.high : *negative >= type.low;
    };
    Value value;
    value.bits = positive ? *positive : static_cast<uint64_t>(*negative);
    for (const IntegerType& type : kIntegerTypes) {
        if (!present || present->type != type.type || !fits(type)) continue;
        value.type = type.type;
        return value;
    }
    for (const IntegerType& type : kIntegerTypes) {
        if (!fits(type)) continue;
        value.type = type.type;
        break;
    }
    return value;
}

}  // namespace

Status override_metadata(std::string_view row, Metadata& metadata) {
    const size_t equal = row.find('=');
    const size_t colon = row.find(':', equal == std::string_view::npos ? 0 : equal);
    if (equal == std::string_view::npos || equal == 0 || colon == std::string_view::npos)
        return bad_value(row, "KEY=TYPE:VALUE with TYPE int, float, bool or str");
    const std::string_view key = row.substr(0, equal);
    const std::string_view type = row.substr(equal + 1, colon - equal - 1);
    const std::string_view text = row.substr(colon + 1);
    if (type == "int") {
        LET(value, integer_value(row, text, metadata.find(key)));
        metadata.set(key, std::move(value));
    } else if (type == "float") {
        const auto number = static_cast<float>(parse_double(text).value_or(NAN));
        if (!std::isfinite(number)) return bad_value(row, "a number");
        metadata.set(key, Value::of_f32(number));
    } else if (type == "bool") {
        if (text != "true" && text != "false") return bad_value(row, "true or false");
        metadata.set(key, Value::of_bool(text == "true"));
    } else if (type == "str") {
        metadata.set(key, Value::of_string(text));
    } else {
        return bad_value(row, "one of the types int, float, bool, str");
    }
    return {};
}

}  // namespace quant
