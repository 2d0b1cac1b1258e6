// How far a model's predictions go from a reference when it is rounded: the last word on a set of transforms. Layers
// are rounded with error feedback on what the unrounded model reads, in one pass. Knows nothing of transforms.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "base/threads.h"
#include "convert/calibrate/predictions.h"
#include "convert/plan/plan.h"
#include "model/model.h"

namespace quant {

using PlannedTensors = std::unordered_map<std::string, const PlannedTensor*>;

// Windows of a text: most are learned from, every `kHeldOut`th is kept apart to judge on.
struct SplitWindows {
    static constexpr int64_t kHeldOut = 5;
    std::vector<int32_t> tokens;  // whole windows
    int64_t window = 512;
    int64_t count() const { return static_cast<int64_t>(tokens.size()) / window; }
    int64_t held_out() const { return count() / kHeldOut; }
    static bool held(int64_t index) { return index % kHeldOut == kHeldOut - 1; }
};
inline constexpr int64_t kTransformWindows = 40;  // of a text, for transforms
// At most `windows` of those given, spread evenly; at least kHeldOut must be given.
Result<SplitWindows> split_windows(const std::vector<int32_t>& tokens, int64_t window, int64_t windows);

struct CheckOptions {
    uint64_t memory = uint64_t{2} << 30;  // of hidden states
    std::function<bool(const std::string& what)> step;  // after each window through a layer; false stops
};

// What a model predicts on the windows kept apart.
Result<Predictions> reference_predictions(const Model& model, const SplitWindows& text, const CheckOptions& options, ThreadPool& pool);
// Mean KL divergence in nats per token from them, of the model rounded as planned. Same for any number of threads.
Result<double> rounded_divergence(const Model& model, const PlannedTensors& planned, const SplitWindows& text,
                                  Predictions& reference, const CheckOptions& options, ThreadPool& pool);

}  // namespace quant
