// Products with rows of which some columns are kept in f16 (formats/kept_columns.h): those of the codes by the kernels for
// rows of int8, the kept ones here, with activations as they are. Included by files of instruction sets behind what reads a
// half; everything in an unnamed namespace.
#pragma once

#include "formats/kept_columns.h"
#include "kernels/tables.h"

namespace quant {
namespace {

// The rows from their scales on, as those of a tensor without a head; steps from row to row stay args.format's.
inline MatmulArgs behind_kept(const MatmulArgs& args) {
    MatmulArgs out = args;
    out.w = {row_at(*args.format, args.w, 0) + kKeptBytes, args.w.cols, args.w.rows};
    return out;
}

// y += kept weights times x. half(const uint8_t*): the value of a stored half.
template <class Half>
inline void add_kept(const MatmulArgs& args, const Half& half) {
    const int64_t row_bytes = static_cast<int64_t>(args.format->row_bytes(args.w.cols));
    const uint8_t* first = row_at(*args.format, args.w, 0);
    for (int64_t t = 0; t < args.n; ++t) {
        float x[kKeptColumns];
        for (int i = 0; i < kKeptColumns; ++i) {
            uint32_t column;
            __builtin_memcpy(&column, args.w.data + 4 * i, sizeof column);
            x[i] = column < args.w.cols ? args.x[t * args.x_stride + column] : 0.0f;
        }
        for (int64_t row = args.row_begin; row < args.row_end; ++row) {
            float sum = 0;
            for (int i = 0; i < kKeptColumns; ++i) sum += half(first + row * row_bytes + 2 * i) * x[i];
            args.y[t * args.y_stride + row] += sum;
        }
    }
}

}  // namespace
}  // namespace quant
