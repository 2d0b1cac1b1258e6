// Contiguous tensors.
#include "tensor/tensor.h"

namespace quant {

Tensor make_tensor(const Format& format, std::array<int64_t, 4> ne, void* data, int64_t group) {
    Tensor tensor{&format, ne, {}, group, data};
    tensor.stride[0] = format.bytes;
    tensor.stride[1] = static_cast<int64_t>(format.row_bytes(ne[0]));
    tensor.stride[2] = tensor.stride[1] * ne[1];
    tensor.stride[3] = tensor.stride[2] * ne[2];
    return tensor;
}

}  // namespace quant
