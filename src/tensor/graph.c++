// Building a graph: every function checks the shapes it needs, so that a finished graph can run unchecked.
#include "tensor/graph.h"

#include "base/log.h"

namespace quant {

const char* op_name(Op op) {
    static constexpr const char* kNames[] = {
        "embed",         "matmul",        "rms_norm",       "layer_norm", "add",     "multiply",
        "scale",         "soft_cap",      "activate",       "gated",      "softmax", "rope_table",
        "rope",          "kv_store",      "attention",      "pick_rows",  "route",   "route_plan",
        "expert_gather", "expert_matmul", "expert_combine", "hadamard",   "round",   "quantize",
    };
    static_assert(std::size(kNames) == static_cast<size_t>(Op::count));
    return kNames[static_cast<size_t>(op)];
}

std::string Graph::shape(ValueId id) const {
    const GraphValue& v = value(id);
    return format_text("'%s' [%lld, %lld%s]", v.name.c_str(), static_cast<long long>(v.cols),
                       static_cast<long long>(v.rows), v.extent == Extent::fixed ? "" : " x n");
}

ValueId Graph::fail(const std::string& name, const std::string& what) {
    if (status_.ok()) status_ = usage_error("graph node '" + name + "': " + what);
    return kNoValue;
}

bool Graph::usable(const std::string& name, std::initializer_list<ValueId> ids) {
    for (const ValueId id : ids) {
        if (id >= 0 && id < static_cast<ValueId>(values_.size())) continue;
        fail(name, "an operand is missing");
        return false;
    }
    return true;
}

// Norm weights, biases: one fixed f32 row of `cols` values.
bool Graph::row_vector(const std::string& name, ValueId id, int64_t cols) {
    if (id == kNoValue) return true;
    if (!usable(name, {id})) return false;
    const GraphValue& v = value(id);
    if (v.cols == cols && v.rows == 1 && v.extent == Extent::fixed &&
        v.tensor.format->slot == FormatSlot::f32)
        return true;
    fail(name, format_text("expected one f32 row of %lld, found ", static_cast<long long>(cols)) + shape(id));
    return false;
}

ValueId Graph::constant(std::string name, const Tensor& tensor) {
    GraphValue v;
    v.name = std::move(name);
    v.kind = ValueKind::constant;
    v.cols = tensor.cols();
    v.rows = tensor.rows();
    v.tensor = tensor;
    values_.push_back(std::move(v));
    return static_cast<ValueId>(values_.size() - 1);
}

ValueId Graph::external(std::string name, FormatSlot format, int64_t cols, int64_t rows, Extent extent) {
    if (cols < 1 || rows < 1) return fail(name, "an external value needs at least one row and column");
    if (format != FormatSlot::f32 && format != FormatSlot::i32)
        return fail(name, "external values are F32 or I32");
    GraphValue v;
    v.name = std::move(name);
    v.kind = ValueKind::external;
    v.extent = extent;
    v.cols = cols;
    v.rows = rows;
    v.tensor.format = &format_of(format);
    values_.push_back(std::move(v));
    return static_cast<ValueId>(values_.size() - 1);
}

ValueId Graph::computed(std::string name, int64_t cols, int64_t rows, Extent extent) {
    GraphValue v;
    v.name = std::move(name);
    v.extent = extent;
    v.cols = cols;
    v.rows = rows;
    v.tensor.format = &format_of(FormatSlot::f32);
    values_.push_back(std::move(v));
    return static_cast<ValueId>(values_.size() - 1);
}

ValueId Graph::put(Op op, std::string name, std::array<ValueId, kMaxInputs> inputs, ValueId output,
                   Params params) {
    nodes_.push_back({op, inputs, output, std::move(params), std::move(name)});
    return output;
}

ValueId Graph::embed(std::string name, ValueId table, ValueId ids) {
    if (!usable(name, {table, ids})) return kNoValue;
    if (value(ids).tensor.format->slot != FormatSlot::i32 || value(ids).cols != 1)
        return fail(name, "ids must be one I32 per row");
    if (value(table).kind != ValueKind::constant) return fail(name, "the table must be a constant");
    const ValueId out = computed(name, value(table).cols, value(ids).rows, value(ids).extent);
    return put(Op::embed, std::move(name), {table, ids, kNoValue, kNoValue, kNoValue}, out, {});
}

ValueId Graph::matmul(std::string name, ValueId weight, ValueId x, ValueId bias) {
    if (!usable(name, {weight, x})) return kNoValue;
    const GraphValue& w = value(weight);
    if (w.extent != Extent::fixed) return fail(name, "the weight's rows must be fixed");
    if (w.base != kNoValue && value(w.base).cols != w.cols)
        return fail(name, "the weight's rows must be contiguous");
    if (w.cols != value(x).cols) return fail(name, "weight " + shape(weight) + " does not fit x " + shape(x));
    if (!row_vector(name, bias, w.rows)) return kNoValue;
    const ValueId out = computed(name, w.rows, value(x).rows, value(x).extent);
    return put(Op::matmul, std::move(name), {weight, x, bias, kNoValue, kNoValue}, out, {});
}

ValueId Graph::rms_norm(std::string name, ValueId x, ValueId weight, float eps, int64_t width) {
    if (!usable(name, {x})) return kNoValue;
    if (width == 0) width = value(x).cols;
    if (width < 1 || value(x).cols % width != 0)
        return fail(name, "the norm's width does not divide " + shape(x));
    if (!row_vector(name, weight, width)) return kNoValue;
    const ValueId out = computed(name, value(x).cols, value(x).rows, value(x).extent);
    return put(Op::rms_norm, std::move(name), {x, weight, kNoValue, kNoValue, kNoValue}, out,
               NormParams{eps, width});
}

ValueId Graph::layer_norm(std::string name, ValueId x, ValueId weight, ValueId bias, float eps) {
    if (!usable(name, {x}) || !row_vector(name, weight, value(x).cols) ||
        !row_vector(name, bias, value(x).cols))
        return kNoValue;
    const ValueId out = computed(name, value(x).cols, value(x).rows, value(x).extent);
    return put(Op::layer_norm, std::move(name), {x, weight, bias, kNoValue, kNoValue}, out,
               NormParams{eps, value(x).cols});
}

ValueId Graph::binary(Op op, std::string name, ValueId a, ValueId b) {
    if (!usable(name, {a, b})) return kNoValue;
    const GraphValue &left = value(a), &right = value(b);
    const bool same = left.rows == right.rows && left.extent == right.extent;
    const bool broadcast = right.rows == 1 && right.extent == Extent::fixed;
    if (left.cols != right.cols || !(same || broadcast))
        return fail(name, shape(a) + " does not fit " + shape(b));
    if (right.tensor.format->slot != FormatSlot::f32 || left.tensor.format->slot != FormatSlot::f32)
        return fail(name, "needs F32 operands");
    const ValueId out = computed(name, left.cols, left.rows, left.extent);
    return put(op, std::move(name), {a, b, kNoValue, kNoValue, kNoValue}, out, {});
}

ValueId Graph::add(std::string name, ValueId a, ValueId b) { return binary(Op::add, std::move(name), a, b); }
ValueId Graph::multiply(std::string name, ValueId a, ValueId b) {
    return binary(Op::multiply, std::move(name), a, b);
}

ValueId Graph::unary(Op op, std::string name, ValueId x, Params params) {
    if (!usable(name, {x})) return kNoValue;
    if (value(x).tensor.format->slot != FormatSlot::f32) return fail(name, "needs an F32 operand");
    const ValueId out = computed(name, value(x).cols, value(x).rows, value(x).extent);
    return put(op, std::move(name), {x, kNoValue, kNoValue, kNoValue, kNoValue}, out, std::move(params));
}

ValueId Graph::scale(std::string name, ValueId x, float factor) {
    return unary(Op::scale, std::move(name), x, ScaleParams{factor});
}
ValueId Graph::soft_cap(std::string name, ValueId x, float cap) {
    return unary(Op::soft_cap, std::move(name), x, ScaleParams{cap});
}
ValueId Graph::activate(std::string name, ValueId x, Gate kind) {
    return unary(Op::activate, std::move(name), x, GateParams{kind, GateForm::standard});
}
ValueId Graph::softmax(std::string name, ValueId x) { return unary(Op::softmax, std::move(name), x, {}); }

ValueId Graph::gated(std::string name, ValueId gate, ValueId up, GateParams params) {
    const ValueId out = binary(Op::gated, std::move(name), gate, up);
    if (out != kNoValue) nodes_.back().params = params;
    return out;
}

ValueId Graph::rope_table(std::string name, RopeTableParams params) {
    if (params.frequencies.empty()) return fail(name, "no frequencies");
    const ValueId out =
        computed(name, 2 * static_cast<int64_t>(params.frequencies.size()), 1, Extent::tokens);
    return put(Op::rope_table, std::move(name), {kNoValue, kNoValue, kNoValue, kNoValue, kNoValue}, out,
               std::move(params));
}

ValueId Graph::rope(std::string name, ValueId x, ValueId table, RopeParams params) {
    if (!usable(name, {x, table})) return kNoValue;
    if (params.heads * params.head_dim != value(x).cols || params.dims != value(table).cols ||
        params.dims > params.head_dim)
        return fail(name, "heads do not fit " + shape(x) + " and " + shape(table));
    if (value(x).extent != Extent::tokens || value(x).rows != 1) return fail(name, "needs one row per token");
    const ValueId out = computed(name, value(x).cols, 1, Extent::tokens);
    return put(Op::rope, std::move(name), {x, table, kNoValue, kNoValue, kNoValue}, out, params);
}

ValueId Graph::kv_store(std::string name, ValueId k, ValueId v, CacheParams params) {
    if (!usable(name, {k, v})) return kNoValue;
    for (const ValueId id : {k, v})
        if (value(id).extent != Extent::tokens || value(id).rows != 1 ||
            value(id).cols % params.kv_heads != 0)
            return fail(name, "key and value heads do not fit " + shape(id));
    const ValueId out = computed(name, 1, 1, Extent::tokens);
    values_.back().kind = ValueKind::effect;
    return put(Op::kv_store, std::move(name), {k, v, kNoValue, kNoValue, kNoValue}, out, params);
}

ValueId Graph::attention(std::string name, ValueId q, ValueId stored, ValueId sinks, AttentionParams params) {
    if (!usable(name, {q, stored}) || !row_vector(name, sinks, params.heads)) return kNoValue;
    if (value(stored).kind != ValueKind::effect) return fail(name, "reads what kv_store wrote");
    constexpr int64_t kMaxHeadDim = 8192;  // a head fits in a thread's scratch
    if (params.kv_heads < 1 || params.heads % params.kv_heads != 0 || params.k_dim > kMaxHeadDim ||
        params.v_dim > kMaxHeadDim || value(q).cols != params.heads * params.k_dim ||
        value(q).extent != Extent::tokens || value(q).rows != 1)
        return fail(name, "heads do not fit " + shape(q));
    const ValueId out = computed(name, params.heads * params.v_dim, 1, Extent::tokens);
    return put(Op::attention, std::move(name), {q, stored, sinks, kNoValue, kNoValue}, out, params);
}

ValueId Graph::pick_rows(std::string name, ValueId x, ValueId ids) {
    if (!usable(name, {x, ids})) return kNoValue;
    if (value(ids).tensor.format->slot != FormatSlot::i32 || value(ids).cols != 1)
        return fail(name, "ids must be one I32 per row");
    const ValueId out = computed(name, value(x).cols, value(ids).rows, value(ids).extent);
    return put(Op::pick_rows, std::move(name), {x, ids, kNoValue, kNoValue, kNoValue}, out, {});
}

ValueId Graph::route(std::string name, ValueId logits, RouteParams params) {
    if (!usable(name, {logits})) return kNoValue;
    if (value(logits).cols != params.experts || value(logits).rows != 1 ||
        value(logits).extent != Extent::tokens || params.used < 1 || params.used > params.experts)
        return fail(name, "expert counts do not fit " + shape(logits));
    const ValueId out = computed(name, 2 * params.used, 1, Extent::tokens);
    return put(Op::route, std::move(name), {logits, kNoValue, kNoValue, kNoValue, kNoValue}, out, params);
}

ValueId Graph::route_plan(std::string name, ValueId routing, RouteParams params, int64_t max_tokens) {
    if (!usable(name, {routing})) return kNoValue;
    const ValueId out = computed(name, params.experts + 1 + 2 * params.used * max_tokens, 1, Extent::fixed);
    values_.back().tensor.format = &format_of(FormatSlot::i32);
    return put(Op::route_plan, std::move(name), {routing, kNoValue, kNoValue, kNoValue, kNoValue}, out,
               params);
}

ValueId Graph::expert_gather(std::string name, ValueId x, ValueId plan, RouteParams params) {
    if (!usable(name, {x, plan})) return kNoValue;
    const ValueId out = computed(name, value(x).cols, params.used, Extent::tokens);
    return put(Op::expert_gather, std::move(name), {x, plan, kNoValue, kNoValue, kNoValue}, out, params);
}

ValueId Graph::expert_matmul(std::string name, ValueId weight, ValueId x, ValueId bias, ValueId plan,
                             RouteParams params) {
    if (!usable(name, {weight, x, plan})) return kNoValue;
    const GraphValue& w = value(weight);
    if (w.kind != ValueKind::constant || w.cols != value(x).cols || w.rows % params.experts != 0)
        return fail(name, "weight " + shape(weight) + " does not fit x " + shape(x));
    const int64_t out_cols = w.rows / params.experts;
    if (bias != kNoValue && (value(bias).cols != out_cols || value(bias).rows != params.experts))
        return fail(name, "bias " + shape(bias) + " does not fit");
    const ValueId out = computed(name, out_cols, value(x).rows, Extent::tokens);
    return put(Op::expert_matmul, std::move(name), {weight, x, bias, kNoValue, plan}, out, params);
}

ValueId Graph::expert_combine(std::string name, ValueId x, ValueId routing, ValueId plan,
                              RouteParams params) {
    if (!usable(name, {x, routing, plan})) return kNoValue;
    const ValueId out = computed(name, value(x).cols, 1, Extent::tokens);
    return put(Op::expert_combine, std::move(name), {x, routing, plan, kNoValue, kNoValue}, out, params);
}

ValueId Graph::hadamard(std::string name, ValueId x, int64_t block) {
    if (!usable(name, {x})) return kNoValue;
    if (block < 1 || (block & (block - 1)) != 0 || value(x).cols % block != 0)
        return fail(name, "blocks of " + std::to_string(block) + " do not fit " + shape(x));
    return unary(Op::hadamard, std::move(name), x, HadamardParams{block});
}

ValueId Graph::round(std::string name, ValueId x, RoundParams params) {
    if (!usable(name, {x})) return kNoValue;
    if (params.group == 0) params.group = value(x).cols;
    if (params.group < 1 || value(x).cols % params.group != 0)
        return fail(name, "groups of " + std::to_string(params.group) + " do not fit " + shape(x));
    if (params.bits < 2 || params.bits > 8) return fail(name, "expected 2 to 8 bits");
    return unary(Op::round, std::move(name), x, params);
}

void Graph::set_input_range(ValueId weight, float range) {
    if (usable("input range", {weight})) values_[static_cast<size_t>(weight)].input_range = range;
}

ValueId Graph::quantize(std::string name, ValueId x, float range, std::vector<uint32_t> kept) {
    if (!usable(name, {x})) return kNoValue;
    if (value(x).cols % kQ8Block != 0) return fail(name, "columns of " + shape(x) + " are no multiple of 32");
    const ValueId out = computed(name, value(x).cols, value(x).rows, value(x).extent);
    values_.back().packed_q8 = true;
    return put(Op::quantize, std::move(name), {x, kNoValue, kNoValue, kNoValue, kNoValue}, out, RoundParams{8, 0, range, std::move(kept)});
}

ValueId Graph::columns(ValueId x, int64_t first, int64_t count) {
    if (!usable("columns", {x})) return kNoValue;
    const GraphValue source = value(x);
    if (source.kind == ValueKind::constant) return fail(source.name, "views of constants are not supported");
    if (first < 0 || count < 1 || first > source.cols - count)
        return fail(source.name, "the view leaves " + shape(x));
    GraphValue v = source;
    v.cols = count;
    v.base = source.base == kNoValue ? x : source.base;
    v.column = source.column + first;
    v.keep = false;
    values_.push_back(std::move(v));
    return static_cast<ValueId>(values_.size() - 1);
}

void Graph::store_in(ValueId id, ValueId target) {
    if (!usable("store_in", {id, target})) return;
    GraphValue& v = values_[static_cast<size_t>(id)];
    const GraphValue& to = value(target);
    if (to.kind != ValueKind::external || v.kind != ValueKind::computed || to.cols != v.cols ||
        to.rows != v.rows || to.extent != v.extent) {
        fail(v.name, "cannot be stored in " + shape(target));
        return;
    }
    v.base = target;
    v.column = 0;
}

void Graph::end_at(ValueId id) {
    keep(id);
    for (size_t i = 0; i < nodes_.size(); ++i) {
        if (nodes_[i].output != id) continue;
        nodes_.resize(i + 1);
        return;
    }
}

void Graph::keep(ValueId id) {
    if (usable("keep", {id})) values_[static_cast<size_t>(id)].keep = true;
}

}  // namespace quant
