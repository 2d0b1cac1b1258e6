// A tensor: format, shape, strides, data. A value type; the data belongs to somebody else (a mapping, an
// arena, the caller).
#pragma once

#include <array>
#include <cstdint>

#include "formats/format.h"

namespace quant {

struct Tensor {
    const Format* format = nullptr;
    std::array<int64_t, 4> ne{1, 1, 1, 1};      // ne[0] innermost, as in GGUF
    std::array<int64_t, 4> stride{0, 0, 0, 0};  // bytes; stride[0] = bytes of one block
    int64_t group = 0;  // rows that share a table, in formats that have such
    void* data = nullptr;  // not const: activations; weights are never written through it

    int64_t cols() const { return ne[0]; }
    int64_t rows() const { return ne[1] * ne[2] * ne[3]; }
    int64_t elements() const { return cols() * rows(); }
    float* f32() const { return static_cast<float*>(data); }
    EncodedView encoded() const {
        return {static_cast<const uint8_t*>(data), cols(), rows(), format->head_bytes(cols(), rows(), group), group, 0};
    }
};

Tensor make_tensor(const Format& format, std::array<int64_t, 4> ne, void* data, int64_t group = 0);  // contiguous

}  // namespace quant
