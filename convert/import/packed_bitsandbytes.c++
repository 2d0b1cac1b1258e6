// bitsandbytes: NF4 and FP4, two codes in a byte, in flat blocks over the whole matrix, their maxima as
// floats or as codes themselves; and LLM.int8, int8 rows with a maximum each.
#include <cmath>
#include <cstring>
#include <iterator>
#include <string_view>
#include <utility>

#include "base/bytes.h"
#include "base/log.h"
#include "convert/import/packed_schemes.h"
#include "formats/own_blocks.h"

namespace quant {

namespace {

constexpr int64_t kMaxBlock = 1 << 16;

// What the JSON in ".quant_state.bitsandbytes__nf4" says.
struct FourBitState {
    int64_t rows = 0, cols = 0, block = 0, nested_block = 0;  // nested_block 0: maxima are floats
    float offset = 0;
};

Result<FourBitState> read_state(const SafeTensor& state) {
    TRY(expect_type(state, "U8"));
    LET(json,
        Json::parse(std::string_view(reinterpret_cast<const char*>(state.data), state.bytes), state.name));
    const JsonValue root = json.root();
    FourBitState out;
    const JsonValue shape = root["shape"];
    if (!shape.is(JsonValue::Kind::array) || shape.size() != 2)
        return PackedParts::wrong(state, "\"shape\" is no pair");
    for (const JsonValue item : shape.items()) {
        const auto dim = item.integer();
        if (!dim || *dim < 1 || *dim > (int64_t{1} << 31))
            return PackedParts::wrong(state, "\"shape\" holds something that is no size");
        (out.rows ? out.cols : out.rows) = *dim;
    }
    const auto block_size = [&](const char* name, int64_t& to) -> Status {
        const auto number = root[name].integer();
        if (!number || *number < 1 || *number > kMaxBlock)
            return PackedParts::wrong(
                state, format_text("\"%s\" is no integer from 1 to %d", name, static_cast<int>(kMaxBlock)));
        to = *number;
        return {};
    };
    TRY(block_size("blocksize", out.block));
    if (!root["nested_blocksize"]) return out;
    TRY(block_size("nested_blocksize", out.nested_block));
    const auto offset = root["nested_offset"].real();
    if (!offset || !std::isfinite(*offset))
        return PackedParts::wrong(state, "\"nested_offset\" is no number");
    out.offset = static_cast<float>(*offset);
    return out;
}

// Maxima of blocks, as floats or as codes for floats.
struct Maxima {
    const SafeTensor* values;
    const SafeTensor* map = nullptr;  // null: values are the maxima
    const SafeTensor* factors = nullptr;
    int64_t nested_block = 1;
    float offset = 0;

    float operator()(int64_t block) const {
        const auto at = static_cast<size_t>(block);
        if (!map) return load<float>(values->data + 4 * at);
        const float factor = load<float>(factors->data + 4 * static_cast<size_t>(block / nested_block));
        return load<float>(map->data + 4 * size_t{values->data[at]}) * factor + offset;
    }
};

Result<Maxima> open_maxima(PackedParts& parts, const FourBitState& state, int64_t blocks) {
    Maxima out{};
    LET(values, parts.need(".weight.absmax"));
    out.values = values;
    TRY(expect_shape(*values, {blocks}));
    TRY(expect_type(*values, state.nested_block ? "U8" : "F32"));
    if (!state.nested_block) return out;
    LET(map, parts.need(".weight.nested_quant_map"));
    TRY(expect_type(*map, "F32"));
    TRY(expect_shape(*map, {256}));
    LET(factors, parts.need(".weight.nested_absmax"));
    TRY(expect_type(*factors, "F32"));
    TRY(expect_shape(*factors, {(blocks - 1) / state.nested_block + 1}));
    out.map = map;
    out.factors = factors;
    out.nested_block = state.nested_block;
    out.offset = state.offset;
    return out;
}

// Blocks within rows under the published levels are NF4's own, whether their maxima were stored as floats or codes.
void find_exact_nf4(RowStream& rows, const SafeTensor& weights, const SafeTensor& map, const Maxima& maxima, int64_t block) {
    constexpr int64_t kBlock = 64;
    rows.inexact = "its levels are not NF4's";
    for (size_t i = 0; i < std::size(kNf4Levels); ++i)
        if (load<float>(map.data + 4 * i) != kNf4Levels[i]) return;
    rows.inexact = format_text("its blocks of %lld run over the ends of rows, or are no 64", static_cast<long long>(block));
    if (block != kBlock || rows.cols % kBlock != 0) return;
    rows.inexact.clear();
    rows.exact.push_back({FormatSlot::nf4, [&weights, maxima, cols = rows.cols](int64_t row, int64_t count, uint8_t* out) {
                              for (int64_t first = row * cols; first < (row + count) * cols; first += kBlock, out += sizeof(BlockNF4)) {
                                  const auto code = [&](int64_t i) {
                                      const uint8_t pair = weights.data[(first + i) / 2];
                                      return i % 2 ? pair & 15u : uint32_t{pair} >> 4;
                                  };
                                  BlockNF4 made;
                                  store<float>(made.absmax, maxima(first / kBlock));
                                  for (int64_t half = 0; half < 2; ++half)
                                      for (int64_t j = 0; j < 16; ++j)
                                          made.qs[half][j] = static_cast<uint8_t>(code(32 * half + j) | code(32 * half + 16 + j) << 4);
                                  std::memcpy(out, &made, sizeof made);
                              }
                          }});
}

Result<RowStream> open_four_bits(PackedParts& parts, const SafeTensor& state_tensor) {
    const SafeTensor& weights = parts.lead();
    LET(state, read_state(state_tensor));
    TRY(expect_type(weights, "U8"));
    // Below 2^62: no product here overflows.
    const int64_t elements = state.rows * state.cols, bytes = (elements + 1) / 2;
    if (weights.elements() != bytes)
        return PackedParts::wrong(
            weights, format_text("its quant_state says [%lld, %lld], which needs %lld bytes",
                                 static_cast<long long>(state.rows), static_cast<long long>(state.cols),
                                 static_cast<long long>(bytes)));
    LET(map, parts.need(".weight.quant_map"));
    TRY(expect_type(*map, "F32"));
    TRY(expect_shape(*map, {16}));
    LET(maxima, open_maxima(parts, state, (elements - 1) / state.block + 1));
    RowStream rows;
    rows.rows = state.rows;
    rows.cols = state.cols;
    rows.uses = {&weights, maxima.values};
    rows.read = [&weights, map = map, maxima, block = state.block, cols = state.cols](
                    int64_t row, int64_t count, float* out) {
        int64_t current = -1;
        float maximum = 0;
        for (int64_t i = row * cols; i < (row + count) * cols; ++i) {
            if (i / block != current) {
                current = i / block;
                maximum = maxima(current);
            }
            const uint8_t pair = weights.data[i / 2];
            const size_t code = i % 2 ? pair & 15u : pair >> 4;
            *out++ = load<float>(map->data + 4 * code) * maximum;
        }
    };
    find_exact_nf4(rows, weights, *map, maxima, state.block);
    return rows;
}

// The program itself multiplies by 1/127 last, as this float.
constexpr float kPer127 = 7.874015718698502e-3f;

Result<RowStream> open_int8(PackedParts& parts, const SafeTensor& maxima) {
    const SafeTensor& weights = parts.lead();
    TRY(expect_type(weights, "I8"));
    TRY(expect_matrix(weights));
    TRY(expect_type(maxima, "F32"));
    TRY(expect_shape(maxima, {weights.shape[0]}));
    if (const SafeTensor* layout = parts.find(".weight_format")) {
        if (layout->bytes != layout->type->bytes || layout->data[0] != 0)
            return PackedParts::wrong(*layout, "only int8 weights in plain rows can be imported");
    }
    RowStream rows;
    rows.rows = weights.shape[0];
    rows.cols = weights.shape[1];
    rows.uses = {&weights};
    rows.inexact = "its scales are maxima, rounded when divided by 127";  // two roundings, which no single scale repeats
    rows.read = [&weights, &maxima, cols = rows.cols](int64_t row, int64_t count, float* out) {
        weights.type->decode(weights.data + row * cols, out, count * cols);
        for (int64_t r = row; r < row + count; ++r) {
            const float maximum = load<float>(maxima.data + 4 * r);
            for (int64_t c = 0; c < cols; ++c, ++out) *out = *out * maximum * kPer127;
        }
    };
    return rows;
}

}  // namespace

Result<RowStream> open_bitsandbytes(PackedParts& parts) {
    for (const char* type : {"nf4", "fp4"})
        if (const SafeTensor* state = parts.find(std::string(".weight.quant_state.bitsandbytes__") + type))
            return open_four_bits(parts, *state);
    if (const SafeTensor* maxima = parts.find(".SCB")) return open_int8(parts, *maxima);
    if (!parts.lead().type->real)
        return PackedParts::wrong(parts.lead(), "neither its quant_state nor its SCB is there");
    return RowStream();
}

}  // namespace quant
