// Kept columns have no errors to speak of: the others are rounded as if the kept ones were not there.
#include "convert/rounding/kept_columns.h"

#include <algorithm>
#include <cstring>

#include "convert/rounding/factor.h"
#include "formats/kept_columns.h"
#include "formats/side_data.h"

namespace quant {

bool round_beside_kept(const Format& format, const float* w, int64_t rows, int64_t cols, const std::vector<float>& gram,
                       const FeedbackOptions& options, ThreadPool& pool, uint8_t* blocks) {
    const Format& codes = *find_format("Q8_ROW");
    std::vector<float> diagonal(static_cast<size_t>(cols));
    for (int64_t c = 0; c < cols; ++c) diagonal[static_cast<size_t>(c)] = gram[static_cast<size_t>(c * cols + c)];
    HeadInput input{cols, rows, 0, {}, [&](int64_t) { return diagonal.data(); }, &pool};
    input.read = [&](int64_t row, int64_t count, float* out) { std::copy_n(w + row * cols, count * cols, out); };
    format.head->build(input, blocks);

    // Without weights, and their inputs independent of all others: nothing is moved into them or out of them.
    std::vector<float> rest(w, w + rows * cols), inputs = gram;
    double mean = 0;
    for (const uint32_t kept : kept_columns(blocks)) {
        for (int64_t r = 0; r < rows; ++r) rest[static_cast<size_t>(r * cols + kept)] = 0;
        for (int64_t c = 0; c < cols; ++c) inputs[static_cast<size_t>(c * cols + kept)] = inputs[static_cast<size_t>(kept * cols + c)] = 0;
        diagonal[kept] = 0;
    }
    for (const float each : diagonal) mean += static_cast<double>(each);
    mean /= static_cast<double>(cols - kKeptColumns);
    for (const uint32_t kept : kept_columns(blocks)) inputs[static_cast<size_t>(kept * cols + kept)] = static_cast<float>(mean);

    const auto factor = inverse_factor(inputs, cols, options.damping, pool);
    if (!factor.ok()) return false;
    std::vector<uint8_t> rounded(codes.tensor_bytes(cols, rows));
    round_with_factor(codes, rest.data(), rows, cols, 0, inputs, *factor, options, pool, rounded.data());
    const uint64_t from = codes.row_bytes(cols), to = format.row_bytes(cols);
    uint8_t* row = blocks + format.head_bytes(cols, rows, 0);
    for (int64_t r = 0; r < rows; ++r, row += to) {
        store_kept(blocks, w + r * cols, row);
        std::memcpy(row + kKeptBytes, rounded.data() + static_cast<uint64_t>(r) * from, from);
    }
    return true;
}

}  // namespace quant
