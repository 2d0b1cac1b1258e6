// What rounding each tensor would cost: the divergence of the model's predictions with this tensor alone rounded, measured
// on calibration windows in one format and carried over to others by the errors of the tensor's products.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/threads.h"
#include "convert/calibrate/journal.h"
#include "model/model.h"

namespace quant {

struct SensitivityOptions {
    int64_t window = 512;
    int64_t windows = 8;      // of the tokens given, spread evenly
    uint64_t memory = uint64_t{2} << 30;  // bytes that hidden states may take; more goes to disk
    std::vector<const Format*> candidates;
    int64_t sampled_rows = 48;  // of a tensor, for the errors of the candidates
    bool feedback = true;     // losses as error feedback leaves them, otherwise of the search
    Journal* journal = nullptr;  // takes what is measured, and gives what an earlier run found; null: none
};

// Passes of a window through a layer that measuring takes.
int64_t sensitivity_passes(const Model& model, const std::vector<std::string>& names);

struct TensorSensitivity {
    std::string name;
    double measured = 0;         // KL divergence in nats per token, the tensor alone in the probe's format
    std::vector<double> losses;  // by candidate: the same, estimated; NaN where its rows do not fit
};

// `names`: matrices of the model; the result has their order. `tokens`: whole windows. Same result for any number of
// threads. `progress` gets done and total forward passes of a window and the tensor at hand; false stops.
Result<std::vector<TensorSensitivity>> measure_sensitivities(
    const Model& model, const std::vector<std::string>& names, const std::vector<int32_t>& tokens,
    const SensitivityOptions& options, ThreadPool& pool,
    const std::function<bool(int64_t done, int64_t total, const std::string& what)>& progress);

}  // namespace quant
