// Tensors of a checkpoint as rows of floats on demand, and the ways in which a GGUF tensor is made of them:
// rows permuted or picked, transposed, stacked, shifted. Each is a small function over another's rows.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "convert/import/safetensors.h"
#include "formats/format.h"

namespace quant {

// Writes rows [row, row + count) to out[count * cols]. Any number of threads at once.
using RowReader = std::function<void(int64_t row, int64_t count, float* out)>;

// The same rows in a block format that means exactly the same numbers; `write` as a RowReader, to bytes.
struct ExactRows {
    FormatSlot format;  // one without tables of the tensor: a row means the same in any place
    std::function<void(int64_t row, int64_t count, uint8_t* out)> write;
};

struct RowStream {
    int64_t cols = 0, rows = 0;
    RowReader read;
    std::vector<const SafeTensor*> uses;  // what it reads: alive as long as the reader is, released after use
    std::vector<ExactRows> exact = {};    // best first; for rows of codes only
    std::string inexact = {};             // why there are none, for rows of codes: "its groups are not in order"
};

// All but the innermost dimension as rows.
RowStream rows_of(const SafeTensor& tensor);
// The same numbers in rows of one each, and rows of one put together again.
RowStream singles_of(const SafeTensor& tensor);
RowStream joined(RowStream singles, int64_t cols);
// Rows of a tensor whose last two dimensions [rows, cols] are swapped.
RowStream transposed(const SafeTensor& tensor);
// Row i = row first + step * i of `from`, within each of `stacks` equal groups of rows.
RowStream every_nth(RowStream from, int64_t first, int64_t step, int64_t stacks);
// Rope pairs side by side: within each of `heads` groups of rows, row 2j + k = row k * half + j.
RowStream heads_permuted(RowStream from, int64_t heads);
// One below the other, all of the same width and height.
RowStream stacked(std::vector<RowStream> parts);
RowStream shifted(RowStream from, float by);
// Numbers at hand, one row.
RowStream constant(std::vector<float> values);

}  // namespace quant
