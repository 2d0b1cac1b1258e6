// Runs a graph: plans where every value lies (one arena, places reused) and where threads must wait for each
// other, once; then each run is one fork of the thread pool in which every thread walks the steps.
#pragma once

#include <functional>
#include <memory>
#include <span>

#include "base/result.h"
#include "tensor/operations.h"

namespace quant {

struct ExecutorOptions {
    int64_t tokens = 1;   // the most tokens of one run
    int64_t outputs = 1;  // the most picked rows of one run
    int threads = 1;      // of the pool that run() will be given
    bool exact = false;   // decoded weights and f32 activations instead of int8
};

class Executor {
public:
    // Errors: the graph's own status, or an arena that cannot be had (code memory, with its size).
    static Result<std::unique_ptr<Executor>> create(Graph graph, const ExecutorOptions& options);

    // Memory of an external value: rows * cols values, for the largest number of rows that will be run.
    void bind(ValueId external, void* data);

    // 1 <= tokens <= options.tokens, 0 <= outputs <= options.outputs; all externals are bound; `position` of
    // the first token.
    void run(ThreadPool& pool, int64_t tokens, int64_t outputs, int64_t position, std::span<const KvSlot> kv);

    // Where a value lies after a run, with the rows of that run: externals, kept values, and, inside an
    // observer, the output and the inputs of the node observed (the first input only where the node did not
    // write over it).
    Tensor value(ValueId id) const;

    // Called on thread 0 after each node of the graph; all threads wait meanwhile. Null: none.
    using Observer = std::function<void(const Node& node, const Tensor& result)>;
    void observe(Observer observer) { observer_ = std::move(observer); }

    const Graph& graph() const { return graph_; }
    uint64_t arena_bytes() const { return arena_bytes_; }
    size_t barriers() const;  // of one run

private:
    struct Step {
        Node node;
        const Operation* operation;
        bool barrier = false;  // wait for all threads before it
        bool goes_on = false;  // a product of the same int8 activations as the step before, with a weight of the same format
        bool gated = false;    // it and the next three can be made piece by piece: the other product, their gate, that in int8
        int phase = 0;         // barriers before it
    };
    struct Lives;
    Executor() = default;
    void lower(const ExecutorOptions& options);
    bool same_activations(const Node& first, const Node& second) const;
    void place_barriers();
    void share_places();
    void join_gates();
    Status plan_arena(const ExecutorOptions& options);
    void place_values();
    ValueId root_of(ValueId id) const;

    Graph graph_;
    std::vector<Step> steps_;
    std::vector<ValueId> over_;                // by value: the value whose place it takes; kNoValue: its own
    std::vector<std::vector<ValueId>> bound_;  // by value: for an external, all that lie in its memory
    Frame frame_;
    std::unique_ptr<uint8_t, void (*)(uint8_t*)> arena_{nullptr, nullptr};
    std::unique_ptr<uint8_t, void (*)(uint8_t*)> scratch_{nullptr, nullptr};
    uint64_t arena_bytes_ = 0;
    Observer observer_;
};

}  // namespace quant
