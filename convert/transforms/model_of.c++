// One piece of memory for all changed tensors, which lives as long as the model.
#include "convert/transforms/model_of.h"

#include <utility>

#include "base/spill.h"

namespace quant {

namespace {

struct Holder {
    Spill values;
    std::shared_ptr<const Model> model;
};

}  // namespace

Result<std::shared_ptr<const Model>> model_of(const Source& source, uint64_t memory, ThreadPool& pool) {
    constexpr uint64_t kAlign = 64;
    const Format& format = format_of(FormatSlot::f32);
    std::vector<TensorInfo> tensors = source.tensors();
    uint64_t bytes = 0;
    for (const TensorInfo& tensor : tensors)
        if (!tensor.data) bytes += (format.row_bytes(tensor.cols()) * static_cast<uint64_t>(tensor.rows()) + kAlign - 1) / kAlign * kAlign;
    auto holder = std::make_shared<Holder>();
    LET(values, Spill::create(bytes, memory));
    holder->values = std::move(values);
    auto* at = static_cast<uint8_t*>(holder->values.data());
    for (size_t i = 0; i < tensors.size(); ++i) {
        TensorInfo& tensor = tensors[i];
        if (tensor.data) continue;
        auto* to = reinterpret_cast<float*>(at);
        pool.for_each_piece(tensor.rows(), 16, [&](int64_t begin, int64_t end, int) {
            source.read_rows(i, begin, end - begin, to + begin * tensor.cols());
        });
        source.release(i);
        tensor.format = &format;
        tensor.group = 0;
        tensor.data = at;
        tensor.bytes = format.row_bytes(tensor.cols()) * static_cast<uint64_t>(tensor.rows());
        at += (tensor.bytes + kAlign - 1) / kAlign * kAlign;
    }
    LET(model, Model::from_gguf(Gguf::of(source.metadata(), std::move(tensors))));
    holder->model = std::move(model);
    return std::shared_ptr<const Model>(holder, holder->model.get());
}

}  // namespace quant
