// Tensors encoded whole: the head first, from all rows, then the rows. For formats with and without a head.
// Knows no file; rows come through functions, so that a tensor need not be in memory.
#pragma once

#include <cstdint>
#include <functional>

#include "base/threads.h"
#include "formats/format.h"

namespace quant {

struct HeadInput {
    int64_t cols = 0, rows = 0, group = 0;  // group: rows that share a table; 0 where the format is not grouped
    // Rows [row, row + count) as finite floats [count, cols]; called by any number of threads at once, in any order.
    std::function<void(int64_t row, int64_t count, float* out)> read;
    // The `cols` importance weights of a row, or null: all 1. May be empty: null for every row.
    std::function<const float*(int64_t row)> importance;
    ThreadPool* pool = nullptr;

    const float* importance_of(int64_t row) const { return importance ? importance(row) : nullptr; }
};

// out: format.tensor_bytes(cols, rows, group) bytes. The same bytes for any number of threads.
void encode_tensor(const Format& format, const HeadInput& input, uint8_t* out);

}  // namespace quant
