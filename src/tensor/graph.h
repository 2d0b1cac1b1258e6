// A computation as data: values (matrices whose row count may follow the number of tokens) and nodes between
// them. Built once for the largest number of tokens, run with any smaller one (executor.h). Knows no model
// and no kernel.
//
// A value is a matrix of f32 rows unless said otherwise. `rows` counts rows per unit of its extent: a value
// [cols, rows] with Extent::tokens has rows * n rows when n tokens are run. Constants are tensors of any
// format (weights). Building with wrong shapes is not fatal: the first mistake is kept in status(), and later
// calls return kNoValue.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "kernels/kernels.h"
#include "tensor/tensor.h"

namespace quant {

using ValueId = int32_t;
inline constexpr ValueId kNoValue = -1;

enum class Extent : uint8_t {
    fixed,    // always `rows` rows
    tokens,   // one unit per token of this run
    outputs,  // one unit per token whose result is asked for (pick_rows)
};

enum class ValueKind : uint8_t {
    constant,  // a weight; the data belongs to the caller
    external,  // bound to the caller's memory before a run (token ids, results)
    computed,  // in the executor's arena
    effect,    // no data: orders a write to a cache before its readers
};

struct GraphValue {
    std::string name;
    ValueKind kind = ValueKind::computed;
    Extent extent = Extent::fixed;
    int64_t cols = 0, rows = 0;
    Tensor tensor;            // constants: format, shape, data; others: format only (f32 or i32)
    ValueId base = kNoValue;  // a view of columns of another value
    int64_t column = 0;       // first column of a view
    bool keep = false;        // readable after the run: its place in the arena is not reused
    float input_range = 0;    // of a weight: its inputs in int8 get this fixed range, where the format takes it; 0: by block
    bool packed_q8 = false;   // int8 activations (Q8Matrix), made by Op::quantize
};

enum class Op : uint8_t {
    embed,       // table (constant, any format), ids (external i32) -> decoded rows
    matmul,      // weight [k, out], x [k, n], bias [out] or none -> [out, n]
    rms_norm,    // x, weight or none -> each vector of `width` values normed; NormParams
    layer_norm,  // x, weight, bias or none; NormParams
    add,         // a + b; b may have one fixed row for all rows of a
    multiply,    // a * b, likewise
    scale,       // x * factor; ScaleParams
    soft_cap,    // factor * tanh(x / factor); ScaleParams
    activate,    // activation(x); GateParams
    gated,       // activation(gate) * up; GateParams
    softmax,     // over each row
    rope_table,  // -> cos and sin of each token's position, [dims]; RopeTableParams
    rope,        // x, table -> rotated; RopeParams
    kv_store,    // k, v -> effect: appended to cache slot; CacheParams
    attention,   // q, effect, sinks or none -> weighted values; AttentionParams
    pick_rows,   // x (tokens), ids (external i32, outputs) -> rows of x (outputs)
    route,  // router logits -> per token: ids of the best experts (i32), then the softmax of their logits
            // (= softmax over all, the chosen renormalised); RouteParams
    route_plan,      // routing -> rows sorted by expert; RoutePlan in operations.h
    expert_gather,   // x, plan -> rows of x in the plan's order
    expert_matmul,   // weight [k, out, experts], x in plan order, bias [out, experts] or none, plan -> [out]
                     // in plan order
    expert_combine,  // x in plan order, routing, plan -> weighted sum per token
    hadamard,        // x -> each block of a row times a Hadamard matrix (hadamard.h); HadamardParams
    round,           // x -> the nearest values that codes of few bits stand for, for judging; RoundParams
    quantize,        // x -> int8 codes and scales; put in by the executor
    count
};

enum class GateForm : uint8_t {
    standard,  // activation(gate) * up
    clamped,   // gate <= 7, |up| <= 7: gate * sigmoid(1.702 gate) * (up + 1)
};

struct NormParams {
    float eps = 1e-5f;
    int64_t width = 0;  // divides the columns
};
struct ScaleParams {
    float factor = 1;
};
struct GateParams {
    Gate kind = Gate::silu;
    GateForm form = GateForm::standard;
};
struct RopeTableParams {
    std::vector<float> frequencies;  // [dims / 2], radians per position
    float magnitude = 1;             // factor of cos and sin
};
struct RopeParams {
    int64_t heads = 1, head_dim = 0, dims = 0;
    bool neox = false;
};
struct CacheParams {
    int32_t slot = 0;  // which of the run's KV slots
    int64_t kv_heads = 1;
};
struct AttentionParams {
    int32_t slot = 0;
    int64_t heads = 1, kv_heads = 1, k_dim = 0, v_dim = 0;
    float scale = 1;
    float cap = 0;       // scores = cap * tanh(scores / cap); 0: none
    int64_t window = 0;  // positions seen, own included; 0: all
};
struct RouteParams {
    int64_t experts = 0, used = 0;
};
struct HadamardParams {
    int64_t block = 1;  // values; a power of two that divides the columns
};
// Symmetric: codes from -(2^(bits - 1) - 1) up, the largest absolute value of a group at the last code.
struct RoundParams {
    int bits = 8;       // 2 to 8
    int64_t group = 0;  // values with a scale of their own; divides the columns
    float range = 0;    // the last code's value for all, larger ones are cut; 0: by group
    std::vector<uint32_t> kept{};  // columns that are left as they are and count for no scale
};
using Params = std::variant<std::monostate, NormParams, ScaleParams, GateParams, RopeTableParams, RopeParams,
                            CacheParams, AttentionParams, RouteParams, HadamardParams, RoundParams>;

inline constexpr int kMaxInputs = 5;

struct Node {
    Op op = Op::add;
    std::array<ValueId, kMaxInputs> inputs{kNoValue, kNoValue, kNoValue, kNoValue, kNoValue};
    ValueId output = kNoValue;
    Params params;
    std::string name;  // "blk.3.ffn_down", for observers and messages
};
const char* op_name(Op op);

class Graph {
public:
    // Leaves
    ValueId constant(std::string name, const Tensor& tensor);
    ValueId external(std::string name, FormatSlot format, int64_t cols, int64_t rows, Extent extent);

    // Operations; `name` is the node's. Shapes as in the list of Op.
    ValueId embed(std::string name, ValueId table, ValueId ids);
    ValueId matmul(std::string name, ValueId weight, ValueId x, ValueId bias = kNoValue);
    ValueId rms_norm(std::string name, ValueId x, ValueId weight, float eps,
                     int64_t width = 0);  // width 0: whole row
    ValueId layer_norm(std::string name, ValueId x, ValueId weight, ValueId bias, float eps);
    ValueId add(std::string name, ValueId a, ValueId b);
    ValueId multiply(std::string name, ValueId a, ValueId b);
    ValueId scale(std::string name, ValueId x, float factor);
    ValueId soft_cap(std::string name, ValueId x, float cap);
    ValueId activate(std::string name, ValueId x, Gate kind);
    ValueId gated(std::string name, ValueId gate, ValueId up, GateParams params);
    ValueId softmax(std::string name, ValueId x);
    ValueId rope_table(std::string name, RopeTableParams params);
    ValueId rope(std::string name, ValueId x, ValueId table, RopeParams params);
    ValueId kv_store(std::string name, ValueId k, ValueId v, CacheParams params);
    ValueId attention(std::string name, ValueId q, ValueId stored, ValueId sinks, AttentionParams params);
    ValueId pick_rows(std::string name, ValueId x, ValueId ids);
    ValueId route(std::string name, ValueId logits, RouteParams params);
    ValueId route_plan(std::string name, ValueId routing, RouteParams params, int64_t max_tokens);
    ValueId expert_gather(std::string name, ValueId x, ValueId plan, RouteParams params);
    ValueId expert_matmul(std::string name, ValueId weight, ValueId x, ValueId bias, ValueId plan,
                          RouteParams params);
    ValueId expert_combine(std::string name, ValueId x, ValueId routing, ValueId plan, RouteParams params);
    ValueId hadamard(std::string name, ValueId x, int64_t block);
    ValueId round(std::string name, ValueId x, RoundParams params);  // group 0: whole row
    // Columns `kept` become zeros.
    ValueId quantize(std::string name, ValueId x, float range = 0, std::vector<uint32_t> kept = {});
    void set_input_range(ValueId weight, float range);

    ValueId columns(ValueId x, int64_t first, int64_t count);  // a view, no copy
    void store_in(ValueId value, ValueId external);  // the node of `value` writes straight into `external`
    void keep(ValueId value);
    void end_at(ValueId value);  // keeps it and drops every node behind the one that makes it

    const Status& status() const { return status_; }
    const std::vector<GraphValue>& values() const { return values_; }
    const std::vector<Node>& nodes() const { return nodes_; }
    const GraphValue& value(ValueId id) const { return values_[static_cast<size_t>(id)]; }

private:
    ValueId computed(std::string name, int64_t cols, int64_t rows, Extent extent);
    ValueId put(Op op, std::string name, std::array<ValueId, kMaxInputs> inputs, ValueId output,
                Params params);
    bool usable(const std::string& name, std::initializer_list<ValueId> ids);
    bool row_vector(const std::string& name, ValueId id, int64_t cols);
    ValueId fail(const std::string& name, const std::string& what);
    ValueId binary(Op op, std::string name, ValueId a, ValueId b);
    ValueId unary(Op op, std::string name, ValueId x, Params params);
    std::string shape(ValueId id) const;

    std::vector<GraphValue> values_;
    std::vector<Node> nodes_;
    Status status_;
};

}  // namespace quant
