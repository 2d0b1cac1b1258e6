// Q8_ROW_O: which columns are kept, and the rows around them. Knows no activations but through importance weights.
#include "formats/kept_columns.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/bytes.h"
#include "formats/affine.h"
#include "formats/codecs.h"
#include "formats/side_data.h"

namespace quant {

namespace {

constexpr size_t kRowCodes = 62;  // Q8_ROW's place among the affine formats: what is left of a row
static_assert(affine_layout(kRowCodes).bits == 8 && affine_layout(kRowCodes).group == 0 && !affine_layout(kRowCodes).zero);

// The largest absolute values of a row with their columns, falling: enough to know the row's largest whatever is kept.
struct Largest {
    static constexpr int kCount = kKeptColumns + 1;
    float value[kCount] = {};
    uint32_t column[kCount] = {};

    void add(float size, uint32_t at) {
        if (!(size > value[kCount - 1])) return;
        int i = kCount - 1;
        for (; i > 0 && size > value[i - 1]; --i) value[i] = value[i - 1], column[i] = column[i - 1];
        value[i] = size;
        column[i] = at;
    }
    void remove(uint32_t at) {
        int i = 0;
        while (i < kCount && !(value[i] > 0 && column[i] == at)) ++i;
        if (i == kCount) return;
        for (; i + 1 < kCount; ++i) value[i] = value[i + 1], column[i] = column[i + 1];
        value[kCount - 1] = 0;
    }
};

double square(float x) { return static_cast<double>(x) * static_cast<double>(x); }

// What the rows' codes cost: rounding is off by a part of the row's largest weight in every column that is not kept, so
// that the sum of the squares of the largest, times the sum of the columns' importance, is to be small.
class Choice {
public:
    explicit Choice(const HeadInput& in) : weight_(static_cast<size_t>(in.cols)), rows_(static_cast<size_t>(in.rows)) {
        add_importance(in);
        in.pool->for_each_piece(in.rows, std::max<int64_t>(1, 16384 / in.cols), [&](int64_t begin, int64_t end, int) {
            std::vector<float> row(static_cast<size_t>(in.cols));
            for (int64_t r = begin; r < end; ++r) {
                in.read(r, 1, row.data());
                for (size_t c = 0; c < row.size(); ++c) rows_[static_cast<size_t>(r)].add(std::fabs(row[c]), static_cast<uint32_t>(c));
            }
        });
    }

    // The column without which the cost is least, the first of equals; it is kept from now on.
    uint32_t take() {
        double noise = 0, rest = 0;
        for (const Largest& row : rows_) noise += square(row.value[0]);
        for (const double w : weight_) rest += std::max(0.0, w);
        std::vector<double> gain(weight_.size());
        for (size_t c = 0; c < gain.size() && rest > 0; ++c) gain[c] = weight_[c] / rest;
        for (const Largest& row : rows_)
            if (noise > 0) gain[row.column[0]] += (square(row.value[0]) - square(row.value[1])) / noise;
        for (size_t c = 0; c < gain.size(); ++c)
            if (weight_[c] < 0) gain[c] = -1;
        const auto best = static_cast<uint32_t>(std::max_element(gain.begin(), gain.end()) - gain.begin());
        weight_[best] = -1;
        for (Largest& row : rows_) row.remove(best);
        return best;
    }

private:
    void add_importance(const HeadInput& in) {
        int64_t count = 0;
        const float* last = nullptr;
        const auto flush = [&] {
            for (size_t c = 0; c < weight_.size(); ++c) weight_[c] += static_cast<double>(count) * (last ? static_cast<double>(last[c]) : 1.0);
        };
        for (int64_t r = 0; r < in.rows; ++r) {
            const float* own = in.importance_of(r);
            if (own != last && count > 0) flush(), count = 0;
            last = own;
            ++count;
        }
        flush();
    }

    std::vector<double> weight_;  // of columns; negative: kept
    std::vector<Largest> rows_;
};

void build_head(const HeadInput& in, uint8_t* head) {
    Choice choice(in);
    std::array<uint32_t, kKeptColumns> columns;
    for (uint32_t& each : columns) each = choice.take();
    std::sort(columns.begin(), columns.end());
    for (size_t i = 0; i < columns.size(); ++i) store(head + 4 * i, columns[i]);
}

uint64_t head_bytes(int64_t, int64_t, int64_t) { return 4 * kKeptColumns; }

}  // namespace

const HeadCodec kKeptHead = {false, head_bytes, build_head};

std::array<uint32_t, kKeptColumns> kept_columns(const uint8_t* head) {
    std::array<uint32_t, kKeptColumns> columns;
    for (size_t i = 0; i < columns.size(); ++i) columns[i] = load<uint32_t>(head + 4 * i);
    return columns;
}

std::vector<uint32_t> columns_kept_by(const Format& format, const EncodedView& tensor) {
    if (!format.keeps_columns || !tensor.data) return {};
    std::vector<uint32_t> out;
    for (const uint32_t column : kept_columns(tensor.data))
        if (column < tensor.cols) out.push_back(column);
    return out;
}

void store_kept(const uint8_t* head, const float* row, uint8_t* stored) {
    const auto columns = kept_columns(head);
    float values[kKeptColumns];
    for (size_t i = 0; i < columns.size(); ++i) values[i] = row[columns[i]];
    encode_f16(nullptr, values, nullptr, stored, kKeptColumns);
}

void decode_q8_row_o_fast(const RowPlace* place, const uint8_t* blocks, float* out, int64_t n) {
    RowPlace codes = *place;
    codes.row_head += kKeptBytes;
    decode_affine<kRowCodes>(&codes, blocks, out, n);
}

void decode_q8_row_o(const RowPlace* place, const uint8_t* blocks, float* out, int64_t n) {
    decode_q8_row_o_fast(place, blocks, out, n);
    const auto columns = kept_columns(place->head);
    for (size_t i = 0; i < columns.size(); ++i) {
        const int64_t at = static_cast<int64_t>(columns[i]) - place->col;
        if (at >= 0 && at < n) out[at] += f16_to_f32(load<uint16_t>(place->row_head + 2 * i));
    }
}

void encode_q8_row_o(const RowPlace* place, const float* x, const float* importance, uint8_t* row, int64_t n) {
    store_kept(place->head, x, row);
    std::vector<float> rest(x, x + n);
    for (const uint32_t column : kept_columns(place->head)) rest[column] = 0;
    encode_affine<kRowCodes>(nullptr, rest.data(), importance, row + kKeptBytes, n);
}

}  // namespace quant
