// Runs a model part by part over many windows of tokens at once, so that memory holds one layer's graph and
// the hidden states only. Full precision: decoded weights, f32 activations and f32 keys and values.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/spill.h"
#include "base/threads.h"
#include "model/builder.h"
#include "model/kv_cache.h"
#include "model/model.h"
#include "tensor/executor.h"

namespace quant {

// Matrices of one layer that read the same value.
struct Site {
    ValueId input = kNoValue;
    std::vector<std::string> weights;  // tensor names
    bool writes_residual = false;      // the product is added to the hidden states as it is
};
// In the order of the forward pass; products of experts are not listed (each expert sees other tokens).
std::vector<Site> sites_of(const Graph& graph);

// Hidden states [windows * window, width] of all windows, on disk where they are many.
class Hidden {
public:
    // Room for them, zeros; in memory up to `memory` bytes.
    Status make(int64_t window, int64_t windows, int64_t width, uint64_t memory);
    Status copy(const Hidden& from, uint64_t memory);
    float* at(int64_t index) { return static_cast<float*>(values_.data()) + index * window_ * width_; }
    const float* at(int64_t index) const { return static_cast<const float*>(values_.data()) + index * window_ * width_; }
    int64_t window() const { return window_; }
    int64_t windows() const { return windows_; }
    int64_t width() const { return width_; }
    uint64_t bytes() const { return values_.bytes(); }

private:
    int64_t window_ = 0, windows_ = 0, width_ = 0;
    Spill values_;
};

class PartRunner {
public:
    // `weights` outlive the runner; they may differ from the model's own (already quantized tensors).
    static Result<PartRunner> create(const Model& model, const Weights& weights, int64_t window,
                                     ThreadPool& pool);

    // Loads the graph of a part; with `until` it ends where that value is made.
    Status load(Part part, int32_t layer);
    Status load_until(Part part, int32_t layer, ValueId until);
    // Loads a layer whose sites' inputs can be read after each run.
    Status load_with_sites(int32_t layer, std::vector<Site>& sites);
    // Loads a layer up to `last`; `earlier` can be read after each run, too.
    Status load_keeping(int32_t layer, ValueId earlier, ValueId last);
    // From the next load on: activations rounded, products corrected. `corrections` may grow between loads.
    void extend(const ActivationForm& activations, const LowRankParts* corrections) {
        activations_ = activations;
        corrections_ = corrections;
    }
    Tensor value(ValueId kept) const { return executor_->value(kept); }
    // Called after each node of the loaded graph, until the next load.
    void observe(Executor::Observer observer) { executor_->observe(std::move(observer)); }
    // All windows of `tokens` through the first part; all hidden states through a layer, in place. `step` is called
    // after each window and may stop.
    Status embed(const std::vector<int32_t>& tokens, Hidden& out);
    Status advance(Hidden& hidden, const std::function<Status(int64_t window)>& step);
    const Graph& graph() const { return executor_->graph(); }
    // Runs one window: tokens for the first part, hidden states [window, embedding] for others. The result
    // stays valid until the next run.
    Tensor run(const void* input);

private:
    PartRunner() = default;
    Status start(PartGraph made, ValueId output);
    PartGraph build(Part part, int32_t layer) const;
    const Model* model_ = nullptr;
    const Weights* weights_ = nullptr;
    int64_t window_ = 0;
    ActivationForm activations_;
    const LowRankParts* corrections_ = nullptr;
    ThreadPool* pool_ = nullptr;
    KvCache cache_;
    std::vector<int32_t> positions_;
    ValueId input_ = kNoValue, output_ = kNoValue, position_input_ = kNoValue;
    std::unique_ptr<Executor> executor_;
};

}  // namespace quant
