// The rules shared by reader and writer.
#include "gguf/rules.h"

#include <bit>

#include "base/checked.h"
#include "base/limits.h"
#include "base/log.h"

namespace quant {

Result<uint32_t> alignment_of(const Metadata& metadata) {
    const Value* value = metadata.find(kAlignmentKey);
    if (!value) return kDefaultAlignment;
    const std::string where = escaped(metadata.origin) + ": key 'general.alignment' ";
    if (value->type != ValueType::u32)
        return input_error(where + "has type " + value_type_name(value->type) + ", u32 expected");
    if (value->bits < 8 || value->bits > limits::kMaxAlignment || !std::has_single_bit(value->bits))
        return input_error(where + "holds " + std::to_string(value->bits) + ", a power of two from 8 to " +
                           std::to_string(limits::kMaxAlignment) + " expected");
    return static_cast<uint32_t>(value->bits);
}

std::string too_many_dims(uint32_t dims) {
    return format_text("has %u dimensions, at most %u are allowed", dims, limits::kDims);
}

Status check_tensor(const std::string& where, TensorInfo& tensor) {
    if (tensor.name.empty()) return input_error(where + "has an empty name");
    if (tensor.name.size() > limits::kTensorNameBytes)
        return input_error(where + format_text("has a name of %zu bytes, at most %u are allowed", tensor.name.size(),
                                               limits::kTensorNameBytes));
    if (tensor.name.find('\0') != std::string::npos) return input_error(where + "has a zero byte in its name");
    if (tensor.n_dims > limits::kDims) return input_error(where + too_many_dims(tensor.n_dims));
    uint64_t elements = 1;
    for (uint32_t i = 0; i < limits::kDims; ++i) {
        if (tensor.ne[i] <= 0)
            return input_error(where + format_text("has dimension %u of %llu, a positive number expected", i,
                                                   static_cast<unsigned long long>(tensor.ne[i])));
        const auto product = checked_mul(elements, static_cast<uint64_t>(tensor.ne[i]));
        if (!product || *product > uint64_t{INT64_MAX}) return input_error(where + "has too many elements to count");
        elements = *product;
    }
    const Format& format = *tensor.format;
    if (tensor.cols() % format.block != 0)
        return input_error(where + format_text("has rows of %lld, no multiple of the %u of a %s block",
                                               static_cast<long long>(tensor.cols()), format.block, format.name));
    if (format.head && tensor.rows() > kMaxHeadRows) return input_error(where + "has too many rows to count");
    const auto blocks = checked_mul(static_cast<uint64_t>(tensor.cols()) / format.block, format.bytes);
    const auto row = blocks ? checked_add(*blocks, format.row_head) : std::nullopt;
    auto bytes = row ? checked_mul(*row, static_cast<uint64_t>(tensor.rows())) : std::nullopt;
    if (bytes && format.head) {
        const bool fits = tensor.group >= 0 && tensor.group <= tensor.rows() && (tensor.group > 0) <= format.head->grouped;
        if (!fits)
            return input_error(where + format_text("shares a table among %lld rows, 1 to %lld expected",
                                                   static_cast<long long>(tensor.group), static_cast<long long>(tensor.rows())));
        // Not known before the head was read: at least the one table of all rows.
        const int64_t group = format.head->grouped && tensor.group == 0 ? tensor.rows() : tensor.group;
        bytes = checked_add(*bytes, format.head->bytes(tensor.cols(), tensor.rows(), group));
    }
    if (!bytes) return input_error(where + "has too many bytes to count");
    tensor.bytes = *bytes;
    return {};
}

std::string shape_text(const TensorInfo& tensor) {
    std::string text = "[";
    for (uint32_t i = 0; i < tensor.n_dims; ++i) text += (i ? ", " : "") + std::to_string(tensor.ne[i]);
    return text + "]";
}

std::optional<SplitName> parse_split_name(const std::string& path) {
    // -NNNNN-of-NNNNN.gguf
    constexpr size_t kSuffix = 20;
    if (path.size() <= kSuffix) return std::nullopt;
    const std::string_view suffix = std::string_view(path).substr(path.size() - kSuffix);
    if (suffix[0] != '-' || suffix.substr(6, 4) != "-of-" || suffix.substr(15) != ".gguf") return std::nullopt;
    const auto number_at = [&](size_t at) -> std::optional<uint32_t> {
        uint32_t number = 0;
        for (const char digit : suffix.substr(at, 5)) {
            if (digit < '0' || digit > '9') return std::nullopt;
            number = number * 10 + static_cast<uint32_t>(digit - '0');
        }
        return number;
    };
    const auto number = number_at(1), count = number_at(10);
    if (!number || !count || *number < 1 || *number > *count) return std::nullopt;
    return SplitName{path.substr(0, path.size() - kSuffix), *number, *count};
}

std::string split_path(const std::string& prefix, uint32_t number, uint32_t count) {
    return prefix + format_text("-%05u-of-%05u.gguf", number, count);
}

}  // namespace quant
