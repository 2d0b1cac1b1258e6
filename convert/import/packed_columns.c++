// GPTQ and AWQ: codes [inputs, outputs] packed into 32-bit words, a scale and a zero point for every group of
// inputs and every output. W[out][in] = scale * (code - zero). Layouts as written by AutoGPTQ, AutoAWQ and
// AutoRound.
#include <algorithm>
#include <utility>

#include "base/bytes.h"
#include "base/log.h"
#include "convert/import/packed_schemes.h"

namespace quant {

namespace {

// `bits` bits from bit `at` of a little-endian stream of 32-bit words, `step` words from one to the next.
uint32_t stream_bits(const uint8_t* words, int64_t at, int bits, int64_t step) {
    const auto word = [&](int64_t index) { return load<uint32_t>(words + 4 * index * step); };
    const auto shift = static_cast<int>(at % 32);
    uint32_t value = word(at / 32) >> shift;
    if (shift + bits > 32) value |= word(at / 32 + 1) << (32 - shift);
    return value & ((1u << bits) - 1);
}

// Codes run down the inputs, zero points along the outputs.
struct GptqCodes {
    const uint8_t *weights, *zeros;
    int64_t outputs;
    int bits;
    uint32_t zero_plus;  // zero points are stored less 1, wrapping, except in version 2

    int code(int64_t input, int64_t output) const {
        return static_cast<int>(stream_bits(weights + 4 * output, input * bits, bits, outputs));
    }
    int zero(int64_t group, int64_t output) const {
        const uint8_t* row = zeros + group * (outputs * bits / 8);
        return static_cast<int>((stream_bits(row, output * bits, bits, 1) + zero_plus) & ((1u << bits) - 1));
    }
};

// Eight outputs to a word, the even ones in its lower half.
struct AwqCodes {
    const uint8_t *weights, *zeros;
    int64_t outputs;

    int nibble(const uint8_t* words, int64_t row, int64_t output) const {
        const uint32_t word = load<uint32_t>(words + 4 * (row * (outputs / 8) + output / 8));
        const int64_t place = output % 8 / 2 + output % 2 * 4;
        return static_cast<int>(word >> (4 * place) & 15);
    }
    int code(int64_t input, int64_t output) const { return nibble(weights, input, output); }
    int zero(int64_t group, int64_t output) const { return nibble(zeros, group, output); }
};

template <class Codes>
RowStream column_rows(const Codes& codes, const SafeTensor& scales, ColumnGroups group_of, int64_t inputs) {
    RowStream rows;
    rows.cols = inputs;
    rows.rows = codes.outputs;
    rows.read = [codes, &scales, group_of = std::move(group_of), inputs](int64_t row, int64_t count,
                                                                         float* out) {
        const int64_t groups = scales.shape[0];
        const auto at = [count](int64_t group, int64_t i) { return static_cast<size_t>(group * count + i); };
        std::vector<float> factors(at(groups, 0));
        std::vector<int> zeros(at(groups, 0));
        for (int64_t group = 0; group < groups; ++group) {
            const int64_t first = group * codes.outputs + row;
            scales.type->decode(scales.data + static_cast<uint64_t>(first) * scales.type->bytes,
                                &factors[at(group, 0)], count);
            for (int64_t i = 0; i < count; ++i) zeros[at(group, i)] = codes.zero(group, row + i);
        }
        for (int64_t input = 0; input < inputs; ++input) {
            const int64_t group = group_of(input);
            for (int64_t i = 0; i < count; ++i)
                out[i * inputs + input] =
                    factors[at(group, i)] *
                    static_cast<float>(codes.code(input, row + i) - zeros[at(group, i)]);
        }
    };
    return rows;
}

// Bounds of code - zero point over all groups.
template <class Codes>
std::pair<int, int> code_bounds(const Codes& codes, int64_t groups, int bits) {
    int least = 1 << bits, most = 0;
    for (int64_t group = 0; group < groups; ++group)
        for (int64_t output = 0; output < codes.outputs; ++output) {
            least = std::min(least, codes.zero(group, output));
            most = std::max(most, codes.zero(group, output));
        }
    return {-most, (1 << bits) - 1 - least};
}

template <class Codes>
void find_exact_columns(RowStream& rows, const Codes& codes, const SafeTensor& scales, const ColumnGroups& group_of, int bits) {
    const int64_t run = group_of.run();
    const auto [low, high] = code_bounds(codes, scales.shape[0], bits);
    ExactCodes exact{run, bits, low, high};
    exact.scales = [codes, &scales](int64_t row, float* out) {
        for (int64_t group = 0; group < scales.shape[0]; ++group) {
            const auto at = static_cast<uint64_t>(group * codes.outputs + row);
            scales.type->decode(scales.data + at * scales.type->bytes, out + group, 1);
        }
    };
    exact.codes = [codes, run, cols = rows.cols](int64_t row, int16_t* out) {
        int zero = 0;
        for (int64_t input = 0; input < cols; ++input) {
            if (input % run == 0) zero = codes.zero(input / run, row);
            out[input] = static_cast<int16_t>(codes.code(input, row) - zero);
        }
    };
    if (low != -(1 << (bits - 1)) || high != (1 << (bits - 1)) - 1)
        exact.zeros = [codes, groups = scales.shape[0]](int64_t row, int* out) {
            for (int64_t group = 0; group < groups; ++group) out[group] = codes.zero(group, row);
        };
    find_exact_formats(rows, std::move(exact));
}

// "group_size" -1: one group for all inputs.
Result<int64_t> group_size(const PackedParts& parts, int64_t inputs) {
    LET(size, parts.setting("group_size", -1, int64_t{1} << 31));
    if (size == 0) return input_error("quantization_config: \"group_size\" is 0");
    return size < 0 ? inputs : size;
}

}  // namespace

Result<RowStream> open_gptq(PackedParts& parts) {
    const SafeTensor& weights = parts.lead();
    LET(bits, parts.setting("bits", 2, 8));
    if (bits != 2 && bits != 3 && bits != 4 && bits != 8)
        return input_error(format_text("quantization_config: \"bits\": expected 2, 3, 4 or 8, found %d",
                                       static_cast<int>(bits)));
    TRY(expect_type(weights, "I32"));
    TRY(expect_matrix(weights));
    if (weights.shape[0] * 32 % bits != 0)
        return PackedParts::wrong(
            weights, format_text("its rows hold no whole number of %d-bit codes", static_cast<int>(bits)));
    const int64_t inputs = weights.shape[0] * 32 / bits, outputs = weights.shape[1];
    if (outputs * bits % 32 != 0)
        return PackedParts::wrong(
            weights,
            format_text("%d-bit zero points of its columns fill no whole words", static_cast<int>(bits)));
    LET(scales, parts.need(".scales"));
    TRY(expect_real(*scales));
    TRY(expect_matrix(*scales));
    const int64_t groups = scales->shape[0];
    TRY(expect_shape(*scales, {groups, outputs}));
    LET(zeros, parts.need(".qzeros"));
    TRY(expect_type(*zeros, "I32"));
    TRY(expect_shape(*zeros, {groups, outputs * bits / 32}));
    LET(size, group_size(parts, inputs));
    LET(group_of, ColumnGroups::make(weights, parts.find(".g_idx"), inputs, groups, size));
    parts.drop_empty(".bias");
    const bool second = parts.settings()["checkpoint_format"].text() == "gptq_v2";
    const GptqCodes codes{weights.data, zeros->data, outputs, static_cast<int>(bits), second ? 0u : 1u};
    RowStream rows = column_rows(codes, *scales, group_of, inputs);
    find_exact_columns(rows, codes, *scales, group_of, static_cast<int>(bits));
    rows.uses = {&weights, scales, zeros};
    return rows;
}

Result<RowStream> open_awq(PackedParts& parts) {
    const SafeTensor& weights = parts.lead();
    TRY(parts.setting("bits", 4, 4));
    const auto version = parts.settings()["version"].text();
    if (version && *version != "gemm" && *version != "GEMM")
        return input_error("quantization_config: \"version\": expected gemm, found '" + escaped(*version) +
                           "'");
    TRY(expect_type(weights, "I32"));
    TRY(expect_matrix(weights));
    const int64_t inputs = weights.shape[0], outputs = weights.shape[1] * 8;
    LET(scales, parts.need(".scales"));
    TRY(expect_real(*scales));
    TRY(expect_matrix(*scales));
    const int64_t groups = scales->shape[0];
    TRY(expect_shape(*scales, {groups, outputs}));
    LET(zeros, parts.need(".qzeros"));
    TRY(expect_type(*zeros, "I32"));
    TRY(expect_shape(*zeros, {groups, weights.shape[1]}));
    LET(size, group_size(parts, inputs));
    LET(group_of, ColumnGroups::make(weights, nullptr, inputs, groups, size));
    const AwqCodes codes{weights.data, zeros->data, outputs};
    RowStream rows = column_rows(codes, *scales, group_of, inputs);
    find_exact_columns(rows, codes, *scales, group_of, 4);
    rows.uses = {&weights, scales, zeros};
    return rows;
}

}  // namespace quant
