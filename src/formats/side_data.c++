// A whole tensor encoded in memory.
#include "formats/side_data.h"

#include <vector>

namespace quant {

void encode_tensor(const Format& format, const HeadInput& input, uint8_t* out) {
    if (format.head) format.head->build(input, out);
    const EncodedView tensor{out, input.cols, input.rows, format.head_bytes(input.cols, input.rows, input.group), input.group, 0};
    input.pool->for_each_piece(input.rows, 16, [&](int64_t begin, int64_t end, int) {
        std::vector<float> values(static_cast<size_t>(input.cols));
        for (int64_t row = begin; row < end; ++row) {
            input.read(row, 1, values.data());
            const RowPlace place{out, nullptr, input.cols, input.group, row, 0};
            uint8_t* stored = out + (row_at(format, tensor, row) - out);
            format.encode(format.head ? &place : nullptr, values.data(), input.importance_of(row), stored, input.cols);
        }
    });
}

}  // namespace quant
