// How each operation of a graph is carried out by many threads at once. A new operation: a name in Op, a row
// in the table of operations.c++, a function that calls kernels. Knows nothing of how memory was planned.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "base/threads.h"
#include "kernels/kernels.h"
#include "tensor/graph.h"

namespace quant {

// Keys and values of one layer. Head h, position p: k + (h * capacity + p) * k_bytes.
struct KvSlot {
    KvType k_type = KvType::f16, v_type = KvType::f16;
    uint8_t* k = nullptr;
    uint8_t* v = nullptr;
    int64_t k_dim = 0, v_dim = 0;       // values per head
    uint64_t k_bytes = 0, v_bytes = 0;  // of one head at one position
    int64_t capacity = 0;               // positions
};

// `n` values of one head as they are stored, and back.
void encode_kv(KvType type, const float* from, uint8_t* to, int64_t n);
void decode_kv(KvType type, const uint8_t* from, float* to, int64_t n);

// The rows of a value as they lie in memory during a run.
struct Rows {
    float* data = nullptr;
    int64_t cols = 0, count = 0, stride = 0;  // stride in values
    float* row(int64_t i) const { return data + i * stride; }
    int32_t* i32(int64_t i) const { return reinterpret_cast<int32_t*>(row(i)); }
};

struct alignas(64) StepCounter {
    std::atomic<int64_t> next{0};
};

// Everything a run reads: where values lie, how many tokens there are.
struct Frame {
    std::vector<GraphValue> values;
    std::vector<uint8_t*> data;         // by value; constants, bound externals, places in the arena
    std::vector<int64_t> stride;        // by value, in values
    std::vector<StepCounter> counters;  // one per step, 0 when the run starts
    std::vector<uint8_t*> scratch;      // kScratchBytes per thread
    std::span<const KvSlot> kv;
    int64_t tokens = 0, outputs = 0, position = 0;
    bool exact = false;

    int64_t row_count(ValueId id) const;
    Rows rows(ValueId id) const;
    Q8Matrix packed(ValueId id) const;  // a value with packed_q8
};

// For the kernels' own use, then for attention's blocks.
inline constexpr size_t kAttentionScratch = size_t{1} << 20;
inline constexpr size_t kScratchBytes = kMatmulScratch + kAttentionScratch;

// One step of a run as one thread sees it.
struct StepContext {
    const Frame& frame;
    const Node& node;
    StepCounter& counter;
    bool& prepared;  // the scratch holds what products make of the activations of this one, of that format
    int thread = 0, threads = 1;

    Rows in(int index) const { return frame.rows(node.inputs[static_cast<size_t>(index)]); }
    bool has(int index) const { return node.inputs[static_cast<size_t>(index)] != kNoValue; }
    Rows out() const { return frame.rows(node.output); }
    // This thread's part of `units` tokens: the same for every operation that works row by row.
    std::pair<int64_t, int64_t> share(int64_t units) const {
        return {(units * thread + threads - 1) / threads, (units * (thread + 1) + threads - 1) / threads};
    }
    // The next piece of work of this step that nobody took.
    int64_t take(int64_t amount) const { return counter.next.fetch_add(amount, std::memory_order_relaxed); }
    uint8_t* scratch() const { return frame.scratch[static_cast<size_t>(thread)]; }
};

enum class Split : uint8_t {
    rows,    // thread t makes the rows of its share from the same rows of its inputs: such steps follow each
             // other without a barrier
    shared,  // any thread may make any part: inputs must be complete, the output is complete after a barrier
    single,  // thread 0 alone
};

struct Operation {
    Op op;
    Split split;
    bool in_place;  // the output may lie over the first input
    void (*run)(const StepContext& context);
};
const Operation& operation_of(Op op);

// The experts' plan, as it lies in its value: `start` [experts + 1], then for `used * n` rows sorted by
// expert `source` (token * used + choice), then `place`, its inverse.
struct RoutePlan {
    int32_t* start;
    int32_t* source;
    int32_t* place;
};
RoutePlan route_plan_at(const Rows& value, const RouteParams& params, int64_t tokens);

// Kernel of a product with `n` activation rows; matmul_exact when `exact` or when the format has no fast one.
MatmulFn choose_matmul(const Format& format, int64_t n, bool exact);
// Whether a weight of this format takes int8 activations in the fast path.
bool takes_q8(const Format& format);

namespace operations {
void matmul(const StepContext& context);
// Two products of the same int8 activations, the gate that takes both and what that is in int8, piece by piece, so that nothing but
// the last leaves the cache; for up to kMostGatedTokens. `context` is that of the first product.
struct GatedProducts {
    const Node &second, &gate, &rounded;
};
void gated_matmul(const StepContext& context, const GatedProducts& nodes);
inline constexpr int64_t kMostGatedTokens = kAttentionScratch / (2 * 32 * sizeof(float));
void gate_values(const GateParams& params, const float* gate, const float* up, float* out, int64_t n);
void expert_matmul(const StepContext& context);
void attention(const StepContext& context);
void kv_store(const StepContext& context);
void route(const StepContext& context);
void route_plan(const StepContext& context);
void expert_gather(const StepContext& context);
void expert_combine(const StepContext& context);
}  // namespace operations

}  // namespace quant
