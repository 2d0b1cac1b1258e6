// Codes in rows with scales in a grid over them: compressed-tensors (packed integers, bytes, FP8) and FP8 in
// square blocks. W[row][col] = scale[row / height][group of col] * (code - zero).
#include <algorithm>
#include <optional>
#include <utility>

#include "base/bytes.h"
#include "base/log.h"
#include "convert/import/packed_schemes.h"

namespace quant {

namespace {

// Scales (or zero points of a byte each) [rows / height, groups].
struct Grid {
    const SafeTensor* values;
    int64_t height;  // rows that share one row of the grid; 1: each its own

    int64_t groups() const { return values->cols(); }
    void row(int64_t row, float* out) const {
        const auto first = static_cast<uint64_t>(row / height * groups());
        values->type->decode(values->data + first * values->type->bytes, out, groups());
    }
};

// One number for all, or some per row.
Result<Grid> open_grid(const SafeTensor& values, int64_t rows, int64_t cols) {
    if (values.elements() == 1) return Grid{&values, rows};
    if (values.shape.size() == 2 && values.shape[0] == rows && values.shape[1] >= 1 &&
        values.shape[1] <= cols)
        return Grid{&values, 1};
    return PackedParts::wrong(
        values, format_text("expected one number, or [%lld, groups]", static_cast<long long>(rows)));
}

// Columns of a group where the checkpoint says no more than how many groups there are.
Result<ColumnGroups> even_groups(PackedParts& parts, int64_t cols, int64_t groups) {
    const SafeTensor* table = parts.find(".weight_g_idx");
    if (!table && cols % groups != 0)
        return PackedParts::wrong(
            parts.lead(), format_text("%lld columns are no %lld equal groups", static_cast<long long>(cols),
                                      static_cast<long long>(groups)));
    return ColumnGroups::make(parts.lead(), table, cols, groups, std::max<int64_t>(1, cols / groups));
}

// Whole words of 2, 4 or 8-bit codes, the lowest bits first.
struct PackedIntegers {
    const uint8_t* words = nullptr;
    int bits = 4;
    int at(int64_t index) const {
        const int64_t per_word = 32 / bits;
        return static_cast<int>(load<uint32_t>(words + 4 * (index / per_word)) >> (index % per_word * bits) &
                                ((1u << bits) - 1));
    }
};

// Weights that are rotated before use are not what their codes stand for.
Status expect_no_transform(const PackedParts& parts) {
    if (parts.settings()["transform_config"]["config_groups"].size() == 0) return {};
    return input_error("quantization_config: \"transform_config\": transformed weights cannot be imported");
}

// Scales of activations: nothing that a weight needs.
void find_activation_parts(PackedParts& parts) {
    for (const char* suffix : {".input_scale", ".input_zero_point", ".output_scale", ".activation_scale"})
        parts.find(suffix);
}

RowStream scaled_bytes(const SafeTensor& weights, Grid scales, std::optional<Grid> zeros, ColumnGroups group_of) {
    RowStream rows;
    rows.rows = weights.shape[0];
    rows.cols = weights.shape[1];
    rows.uses = {&weights, scales.values};
    rows.read = [&weights, scales, zeros, group_of = std::move(group_of), cols = rows.cols](
                    int64_t row, int64_t count, float* out) {
        std::vector<float> factors(static_cast<size_t>(scales.groups())), offsets(factors.size());
        for (int64_t r = row; r < row + count; ++r, out += cols) {
            scales.row(r, factors.data());
            if (zeros) zeros->row(r, offsets.data());
            weights.type->decode(weights.data + r * cols, out, cols);
            for (int64_t c = 0; c < cols; ++c) {
                const auto group = static_cast<size_t>(group_of(c));
                out[c] = (out[c] - offsets[group]) * factors[group];
            }
        }
    };
    return rows;
}

// Zero points of packed integers as they lie in the checkpoint; null: the middle of the codes.
void find_exact_integers(RowStream& rows, const SafeTensor& weights, const Grid& scales, const SafeTensor* zero, int64_t run, int width) {
    const int64_t groups = scales.groups();
    const auto zero_of = [zero, groups, width](int64_t r, int64_t group) {
        if (!zero) return 1 << (width - 1);
        const int64_t in_word = 32 / width;
        return PackedIntegers{zero->data + 4 * (r / in_word * groups + group), width}.at(r % in_word);
    };
    int least = 1 << width, most = 0;
    for (int64_t r = 0; r < rows.rows; ++r)
        for (int64_t group = 0; group < groups; ++group) {
            least = std::min(least, zero_of(r, group));
            most = std::max(most, zero_of(r, group));
        }
    ExactCodes exact{run, width, -most, (1 << width) - 1 - least};
    exact.scales = [scales](int64_t row, float* out) { scales.row(row, out); };
    exact.codes = [&weights, zero_of, run, cols = rows.cols, words = weights.shape[1], width](int64_t row, int16_t* out) {
        const PackedIntegers codes{weights.data + 4 * row * words, width};
        for (int64_t c = 0; c < cols; ++c) out[c] = static_cast<int16_t>(codes.at(c) - zero_of(row, c / run));
    };
    if (zero)
        exact.zeros = [zero_of, groups](int64_t row, int* out) {
            for (int64_t group = 0; group < groups; ++group) out[group] = zero_of(row, group);
        };
    find_exact_formats(rows, std::move(exact));
}

}  // namespace

Result<RowStream> open_packed_integers(PackedParts& parts) {
    TRY(expect_no_transform(parts));
    const SafeTensor& weights = parts.lead();
    TRY(expect_type(weights, "I32"));
    TRY(expect_matrix(weights));
    LET(shape, parts.need(".weight_shape"));
    TRY(expect_type(*shape, "I64"));
    TRY(expect_shape(*shape, {2}));
    const auto height = load<int64_t>(shape->data), cols = load<int64_t>(shape->data + 8);
    const int64_t words = weights.shape[1];
    const bool fits = height == weights.shape[0] && cols >= 1 && cols <= 16 * words && 32 * words % cols == 0;
    const int64_t bits = fits ? 32 * words / cols : 0;
    if (bits != 2 && bits != 4 && bits != 8)
        return PackedParts::wrong(
            weights, format_text("weight_shape says [%lld, %lld], which are no codes of 2, 4 or 8 bits",
                                 static_cast<long long>(height), static_cast<long long>(cols)));
    LET(scale, parts.need(".weight_scale"));
    TRY(expect_real(*scale));
    LET(scales, open_grid(*scale, height, cols));
    LET(group_of, even_groups(parts, cols, scales.groups()));
    // Zero points are packed down the rows.
    const SafeTensor* zero = parts.find(".weight_zero_point");
    const int64_t per_word = 32 / bits, zero_rows = (height - 1) / per_word + 1;
    if (zero) {
        TRY(expect_type(*zero, "I32"));
        TRY(expect_shape(*zero, {zero_rows, scales.groups()}));
    }
    find_activation_parts(parts);
    RowStream rows;
    rows.rows = height;
    rows.cols = cols;
    rows.uses = {&weights, scale};
    const auto width = static_cast<int>(bits);
    rows.read = [&weights, scales, zero, group_of, cols, words, width](int64_t row, int64_t count,
                                                                       float* out) {
        const auto groups = static_cast<size_t>(scales.groups());
        std::vector<float> factors(groups);
        std::vector<int> zeros(groups, 1 << (width - 1));
        const int64_t in_word = 32 / width;
        for (int64_t r = row; r < row + count; ++r, out += cols) {
            scales.row(r, factors.data());
            for (size_t group = 0; zero && group < groups; ++group) {
                const size_t word = static_cast<size_t>(r / in_word) * groups + group;
                zeros[group] = PackedIntegers{zero->data + 4 * word, width}.at(r % in_word);
            }
            const PackedIntegers codes{weights.data + 4 * r * words, width};
            for (int64_t c = 0; c < cols; ++c) {
                const auto group = static_cast<size_t>(group_of(c));
                out[c] = static_cast<float>(codes.at(c) - zeros[group]) * factors[group];
            }
        }
    };
    find_exact_integers(rows, weights, scales, zero, group_of.run(), width);
    return rows;
}

Result<RowStream> open_scaled_weights(PackedParts& parts) {
    const SafeTensor& weights = parts.lead();
    const bool codes = weights.type->bytes == 1;
    const SafeTensor* scale = parts.find(".weight_scale");
    if (!codes && !scale) return RowStream();
    TRY(expect_no_transform(parts));
    if (!codes) return PackedParts::wrong(weights, "it has a weight_scale, but is neither I8 nor FP8");
    if (!scale)
        return PackedParts::wrong(weights, "its " + escaped(parts.stem()) + ".weight_scale is missing");
    if (!weights.type->real) TRY(expect_type(weights, "I8"));
    TRY(expect_matrix(weights));
    TRY(expect_real(*scale));
    LET(scales, open_grid(*scale, weights.shape[0], weights.shape[1]));
    LET(group_of, even_groups(parts, weights.shape[1], scales.groups()));
    std::optional<Grid> zeros;
    if (const SafeTensor* zero = parts.find(".weight_zero_point")) {
        TRY(expect_type(*zero, weights.type->name));
        if (zero->shape != scale->shape)
            return PackedParts::wrong(*zero, "its scales have the shape " + shape_text(*scale));
        zeros = Grid{zero, scales.height};
    }
    find_activation_parts(parts);
    RowStream rows = scaled_bytes(weights, scales, zeros, group_of);
    if (weights.type->real || zeros) {
        rows.inexact = zeros ? "it has zero points" : "it is FP8";
        return rows;
    }
    ExactCodes exact{group_of.run(), 8, -128, 127};
    exact.scales = [scales](int64_t row, float* out) { scales.row(row, out); };
    exact.codes = [&weights, cols = rows.cols](int64_t row, int16_t* out) {
        std::copy_n(reinterpret_cast<const int8_t*>(weights.data) + row * cols, cols, out);
    };
    find_exact_formats(rows, std::move(exact));
    return rows;
}

Result<RowStream> open_scaled_blocks(PackedParts& parts) {
    const SafeTensor& weights = parts.lead();
    const SafeTensor* scale = parts.find(".weight_scale_inv");
    const bool codes = weights.type->real && weights.type->bytes == 1;
    if (!codes && !scale && weights.type->real) return RowStream();
    if (!codes) return PackedParts::wrong(weights, "expected FP8");
    if (!scale)
        return PackedParts::wrong(weights, "its " + escaped(parts.stem()) + ".weight_scale_inv is missing");
    TRY(expect_matrix(weights));
    TRY(expect_real(*scale));
    int64_t sides[2] = {128, 128};  // rows, columns
    if (const JsonValue given = parts.settings()["weight_block_size"];
        given && !given.is(JsonValue::Kind::null)) {
        if (!given.is(JsonValue::Kind::array) || given.size() != 2)
            return input_error("quantization_config: \"weight_block_size\": expected two numbers");
        size_t count = 0;
        for (const JsonValue item : given.items()) {
            const auto side = item.integer();
            if (!side || *side < 1 || *side > (1 << 20))
                return input_error(
                    "quantization_config: \"weight_block_size\": expected two integers from 1 to 1048576");
            sides[count++] = *side;
        }
    }
    const auto blocks = [](int64_t length, int64_t side) { return (length - 1) / side + 1; };
    TRY(expect_shape(*scale, {blocks(weights.shape[0], sides[0]), blocks(weights.shape[1], sides[1])}));
    LET(group_of, ColumnGroups::make(weights, nullptr, weights.shape[1], scale->shape[1], sides[1]));
    find_activation_parts(parts);
    RowStream rows = scaled_bytes(weights, Grid{scale, sides[0]}, std::nullopt, std::move(group_of));
    rows.inexact = "it is FP8";
    return rows;
}

}  // namespace quant
