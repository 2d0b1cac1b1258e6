// What ranges the inputs of a model's matrices have on a text: fixed scales for int8 activations.
#pragma once

#include <functional>

#include "base/result.h"
#include "base/threads.h"
#include "convert/calibrate/observer.h"
#include "model/model.h"

namespace quant {

// By the name of the weight, every matrix of the layers but those of experts and routers. `tokens`: whole windows.
Result<ActivationRanges> observe_ranges(const Model& model, const std::vector<int32_t>& tokens, ObserverKind kind, int64_t window,
                                        uint64_t memory, ThreadPool& pool,
                                        const std::function<bool(int64_t done, int64_t total, const std::string& what)>& progress);

// As keys of a model's file, read back by Model.
void store_ranges(const ActivationRanges& ranges, ObserverKind kind, Metadata& metadata);

}  // namespace quant
