// Finds the packed matrices of a checkpoint, and the checks that all schemes share.
#include "convert/import/packed.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/bytes.h"
#include "base/log.h"
#include "convert/import/packed_schemes.h"

namespace quant {

namespace {

constexpr PackedScheme kSchemes[] = {
    {"gptq", ".qweight", open_gptq},
    {"awq", ".qweight", open_awq},
    {"bitsandbytes", ".weight", open_bitsandbytes},
    {"compressed-tensors", ".weight_packed", open_packed_integers},
    {"compressed-tensors", ".weight", open_scaled_weights},
    {"fp8", ".weight", open_scaled_blocks},
};

const SafeType& f32_type() {
    const std::span<const SafeType> types = safe_types();
    return *std::find_if(types.begin(), types.end(),
                         [](const SafeType& type) { return std::string_view(type.name) == "F32"; });
}

}  // namespace

Result<PackedTensors> PackedTensors::open(const HfConfig& config, const SafeTensors& tensors) {
    PackedTensors result;
    const JsonValue settings = config.find({"quantization_config", "compression_config"});
    const auto method = settings["quant_method"].text();
    if (!settings || method == "mxfp4" || method == "bitnet")
        return result;  // blocks that the importer itself knows
    std::string known;
    for (const PackedScheme& scheme : kSchemes)
        if (known.find(scheme.method) == std::string::npos)
            known += std::string(known.empty() ? "" : " ") + scheme.method;
    bool found = false;
    for (const PackedScheme& scheme : kSchemes) {
        if (method != scheme.method) continue;
        found = true;
        for (const SafeTensor& tensor : tensors.tensors()) {
            const std::string_view name = tensor.name, lead = scheme.lead;
            if (name.size() <= lead.size() || !name.ends_with(lead)) continue;
            PackedParts parts(tensors, tensor, tensor.name.substr(0, name.size() - lead.size()), settings);
            LET(rows, scheme.open(parts));
            if (rows.cols == 0) continue;
            auto packed = std::make_unique<PackedTensor>();
            packed->stands_for.name = parts.stem() + ".weight";
            packed->stands_for.type = &f32_type();
            packed->stands_for.shape = {rows.rows, rows.cols};
            packed->stands_for.bytes =
                static_cast<uint64_t>(rows.rows) * static_cast<uint64_t>(rows.cols) * sizeof(float);
            packed->rows = std::move(rows);
            result.parts_.insert(parts.used().begin(), parts.used().end());
            result.by_lead_.emplace(&tensor, std::move(packed));
        }
    }
    if (!found)
        return input_error(escaped(config.origin()) + ": a checkpoint quantized by '" +
                           escaped(method.value_or("unknown")) + "' cannot be imported, known: " + known +
                           "; use the original");
    return result;
}

const PackedTensor* PackedTensors::led_by(const SafeTensor& tensor) const {
    const auto found = by_lead_.find(&tensor);
    return found == by_lead_.end() ? nullptr : found->second.get();
}

const SafeTensor* PackedParts::find(std::string_view suffix) {
    const SafeTensor* found = tensors_.find(stem_ + std::string(suffix));
    if (found) used_.push_back(found);
    return found;
}

Result<const SafeTensor*> PackedParts::need(std::string_view suffix) {
    if (const SafeTensor* found = find(suffix)) return found;
    return wrong(lead_, "its " + escaped(stem_ + std::string(suffix)) + " is missing");
}

void PackedParts::drop_empty(std::string_view suffix) {
    const SafeTensor* found = tensors_.find(stem_ + std::string(suffix));
    if (found && std::all_of(found->data, found->data + found->bytes, [](uint8_t byte) { return byte == 0; }))
        used_.push_back(found);
}

Error PackedParts::wrong(const SafeTensor& tensor, const std::string& what) {
    return input_error("tensor " + escaped(tensor.name) + " " + tensor.type->name + " " + shape_text(tensor) +
                       ": " + what);
}

Result<int64_t> PackedParts::setting(const char* name, int64_t low, int64_t high) const {
    const auto number = settings_[name].integer();
    if (number && *number >= low && *number <= high) return *number;
    return input_error(
        format_text("quantization_config: \"%s\": expected an integer from %lld to %lld, found %s", name,
                    static_cast<long long>(low), static_cast<long long>(high),
                    number ? std::to_string(*number).c_str() : settings_[name].kind_name()));
}

bool is_type(const SafeTensor& tensor, std::string_view name) { return tensor.type->name == name; }

Status expect_type(const SafeTensor& tensor, std::string_view name) {
    return is_type(tensor, name) ? Status() : PackedParts::wrong(tensor, "expected " + std::string(name));
}

Status expect_real(const SafeTensor& tensor) {
    return tensor.type->real ? Status() : PackedParts::wrong(tensor, "expected floating point numbers");
}

Status expect_shape(const SafeTensor& tensor, std::initializer_list<int64_t> shape) {
    if (std::equal(shape.begin(), shape.end(), tensor.shape.begin(), tensor.shape.end())) return {};
    SafeTensor expected;
    expected.shape = shape;
    return PackedParts::wrong(tensor, "expected the shape " + shape_text(expected));
}

Status expect_matrix(const SafeTensor& tensor) {
    const bool matrix = tensor.shape.size() == 2 && tensor.shape[0] > 0 && tensor.shape[1] > 0;
    return matrix ? Status() : PackedParts::wrong(tensor, "expected a matrix");
}

Result<ColumnGroups> ColumnGroups::make(const SafeTensor& lead, const SafeTensor* table, int64_t cols,
                                        int64_t groups, int64_t size) {
    ColumnGroups result;
    result.size_ = size;
    if (!table) {
        if (size >= 1 && (cols - 1) / size + 1 == groups) return result;
        return PackedParts::wrong(lead,
                                  format_text("%lld columns in groups of %lld, but %lld groups of scales",
                                              static_cast<long long>(cols), static_cast<long long>(size),
                                              static_cast<long long>(groups)));
    }
    TRY(expect_type(*table, "I32"));
    TRY(expect_shape(*table, {cols}));
    auto numbers = std::make_shared<std::vector<int32_t>>(static_cast<size_t>(cols));
    std::memcpy(numbers->data(), table->data, table->bytes);
    bool in_order = size >= 1;
    for (int64_t col = 0; col < cols; ++col) {
        const int32_t group = (*numbers)[static_cast<size_t>(col)];
        if (group < 0 || group >= groups)
            return PackedParts::wrong(
                *table, format_text("column %lld is in group %d of %lld", static_cast<long long>(col), group,
                                    static_cast<long long>(groups)));
        in_order = in_order && group == col / size;
    }
    if (!in_order) result.table_ = std::move(numbers);
    return result;
}

}  // namespace quant
