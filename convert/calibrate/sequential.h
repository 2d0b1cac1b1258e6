// Rounds a model layer by layer, each on the inputs that the layers rounded before it produce, and towards
// the outputs of the original (GPTQ's sequential form with the compensation of what earlier layers did).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "base/threads.h"
#include "convert/calibrate/journal.h"
#include "convert/plan/plan.h"
#include "convert/rounding/error_feedback.h"
#include "convert/stream/stream.h"
#include "model/model.h"

namespace quant {

struct SequentialOptions {
    FeedbackOptions feedback;
    int64_t window = 512;
    uint64_t memory = uint64_t{2} << 30;  // bytes that the hidden states of one model may take; more goes to disk
    double compensation = 1.0;  // share of the earlier layers' error that a matrix makes up for; 0: none
    Journal* journal = nullptr;  // takes rounded tensors, and gives those of an earlier run; null: none
};

// `tokens`: whole windows. Formats come from the plan; tensors it does not quantize stay out of the result,
// as do those without statistics (experts). `progress` gets done and total windows (each counted once per
// pass through a layer or a part of one) and what is being done; false stops.
Result<RoundedTensors> round_sequentially(
    const Model& model, const Plan& plan, const std::vector<int32_t>& tokens,
    const SequentialOptions& options, ThreadPool& pool,
    const std::function<bool(int64_t done, int64_t total, const std::string& what)>& progress);

}  // namespace quant
