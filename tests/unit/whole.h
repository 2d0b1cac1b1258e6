// Whole tensors in any format, heads included, for tests that walk the list of formats.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "formats/side_data.h"

namespace whole {

// Rows that share a table in a test's tensor: fewer than all, where there are several.
inline int64_t group_for(const quant::Format& format, int64_t rows) {
    return format.head && format.head->grouped ? std::max<int64_t>(1, rows / 2) : 0;
}

inline quant::EncodedView view(const quant::Format& format, const uint8_t* data, int64_t cols, int64_t rows) {
    const int64_t group = group_for(format, rows);
    return {data, cols, rows, format.head_bytes(cols, rows, group), group, 0};
}

// x [rows, cols]; importance [cols] or null. Every byte is written over 0xa5.
inline std::vector<uint8_t> encode(const quant::Format& format, const float* x, const float* importance, int64_t cols, int64_t rows) {
    static quant::ThreadPool pool(1);
    quant::HeadInput input{cols, rows, group_for(format, rows), {}, {}, &pool};
    input.read = [=](int64_t row, int64_t count, float* out) { std::copy_n(x + row * cols, count * cols, out); };
    if (importance) input.importance = [=](int64_t) { return importance; };
    std::vector<uint8_t> out(format.tensor_bytes(cols, rows, input.group), 0xa5);
    quant::encode_tensor(format, input, out.data());
    return out;
}

inline std::vector<float> decode(const quant::Format& format, const uint8_t* data, int64_t cols, int64_t rows) {
    std::vector<float> out(static_cast<size_t>(cols * rows));
    quant::decode_rows(format, view(format, data, cols, rows), 0, rows, out.data());
    return out;
}

}  // namespace whole
