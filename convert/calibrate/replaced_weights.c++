// Places are found in the original, because the copy's pointers change.
#include "convert/calibrate/replaced_weights.h"

namespace quant {

void ReplacedWeights::put(const TensorInfo& tensor, const Format& format, int64_t group, const uint8_t* data, uint64_t bytes) {
    auto info = std::make_unique<TensorInfo>(tensor);
    info->format = &format;
    info->group = group;
    info->data = data;
    info->bytes = bytes;
    point(tensor, info.get());
    replaced_[tensor.name] = std::move(info);
}

void ReplacedWeights::restore(const TensorInfo& tensor) {
    point(tensor, nullptr);
    replaced_.erase(tensor.name);
}

void ReplacedWeights::point(const TensorInfo& tensor, const TensorInfo* to) {
    const auto put = [&](const TensorInfo* from, const TensorInfo*& place) {
        if (from && from->name == tensor.name) place = to ? to : from;
    };
    put(original_.embedding, weights_.embedding);
    put(original_.output, weights_.output);
    for (size_t i = 0; i < weights_.layers.size(); ++i)
        for (size_t role = 0; role < kRoleCount; ++role)
            put(original_.layers[i].tensors[role], weights_.layers[i].tensors[role]);
}

}  // namespace quant
