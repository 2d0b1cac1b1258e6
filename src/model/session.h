// One conversation with a model: KV cache, scratch arena, position. Sessions of one model do not share state.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "kernels/kernels.h"
#include "model/adapter.h"
#include "model/model.h"

namespace quant {

class ThreadPool;
struct Node;    // tensor/graph.h
struct Tensor;  // tensor/tensor.h

// What activations would be rounded to, for judging: in front of every weight of the layers (not of the output matrix and
// of a router) by the values that so many bits stand for. Adapters read what is not rounded.
struct ActivationForm {
    int bits = 0;         // 2 to 8, symmetric; 0: as they are
    int64_t group = 0;    // values with a scale of their own; 0: each token's row
    bool stored = false;  // by one fixed scale for each weight's inputs, from the ranges in the model's file where it has one
    bool rotate = false;  // rounded times a Hadamard matrix, then turned back: the function of rotated weights
};

struct SessionOptions {
    int64_t context = 4096;      // positions the KV cache holds
    int64_t batch = 512;         // tokens taken through the graph at once
    KvType k_type = KvType::f16, v_type = KvType::f16;
    int threads = 0;             // 0: default_threads(); 1 .. 512
    bool exact = false;          // decoded weights and f32 activations instead of the int8 path
    std::vector<AppliedAdapter> adapters = {};  // checked against the model by create()
    bool mix_kv = true;          // a cache of four bits: heads are stored times a Hadamard matrix
    ActivationForm activations{};  // bits > 0: products are exact, whatever `exact` says
};

enum class LogitsOf { none, last, all };

class Session {
public:
    static Result<std::unique_ptr<Session>> create(std::shared_ptr<const Model> model, const SessionOptions& options);
    ~Session();

    // Appends tokens at the current position. Error "usage" when an id is outside the vocabulary or the context is full
    // (the text has both figures); then nothing changed. LogitsOf says which rows logits() gives afterwards.
    Status eval(std::span<const int32_t> tokens, LogitsOf which = LogitsOf::last);
    // Row `index` of the last eval: [vocabulary], valid until the next eval. LogitsOf::last: only row 0.
    std::span<const float> logits(int64_t index = 0) const;

    int64_t position() const;               // tokens in the cache
    int64_t context() const;
    void truncate(int64_t position);        // forgets everything from `position` on
    // Forgets the tokens from `begin` up to `end`: those behind move down, their keys are turned to the new positions. What
    // they know of the forgotten ones from reading stays. False, and nothing changed, where that cannot be done: outside of
    // 0 <= begin <= end <= position(), or with positions that are added to the embedding.
    bool remove(int64_t begin, int64_t end);
    const Model& model() const;
    ThreadPool& threads();
    uint64_t kv_bytes() const;
    // Called after every node of the graph with its result, on one thread (calibration, layer checks); null: none.
    void observe(std::function<void(const Node& node, const Tensor& result)> observer);
    // Only inside an observer: an operand of the node, for example the f32 activations that a product reads (inputs[1]).
    Tensor operand(const Node& node, int index) const;
    std::string kernel_summary() const;     // one line per weight format: kernels in use, for --verbose

private:
    Session();
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace quant
