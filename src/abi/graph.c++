// The C interface: graphs and their runners. Inputs and what is computed from them have as many rows as a run is given;
// constants are weights. Operands that the graph itself would take in another sense are refused here.
#include <vector>

#include "abi/guard.h"
#include "base/log.h"
#include "base/threads.h"
#include "tensor/executor.h"
#include "tensor/graph.h"

using namespace quant;
using namespace quant::abi;

struct quant_graph {
    Graph graph;
    Status mistake;  // the first one that the graph itself does not see
};

struct quant_runner {
    std::unique_ptr<Executor> executor;
    std::unique_ptr<ThreadPool> pool;
    std::vector<bool> bound;  // by value: externals whose memory is known
    int64_t max_rows = 0;
    int64_t rows = 0;         // of the last run
};

namespace {

constexpr int64_t kMaxRows = int64_t{1} << 24;

bool exists(const quant_graph* graph, quant_value id) {
    return id >= 0 && static_cast<size_t>(id) < graph->graph.values().size();
}

const char* name_or_empty(const char* name) { return name ? name : ""; }

// Adds a node. `varying` operands must not be constants, `weights` (or QUANT_NO_VALUE) must be.
quant_value add(quant_graph* graph, std::initializer_list<quant_value> varying, std::initializer_list<quant_value> weights,
                const std::function<ValueId(Graph&)>& make) {
    if (!graph) return QUANT_NO_VALUE;
    quant_value made = QUANT_NO_VALUE;
    static_cast<void>(guarded([&]() -> Status {
        if (!graph->mistake || !graph->graph.status()) return {};
        for (const quant_value id : varying)
            if (!exists(graph, id) || graph->graph.value(id).kind == ValueKind::constant)
                return graph->mistake = usage_error(format_text("graph: value %d is no input and not computed", id));
        for (const quant_value id : weights)
            if (id != QUANT_NO_VALUE && (!exists(graph, id) || graph->graph.value(id).kind != ValueKind::constant))
                return graph->mistake = usage_error(format_text("graph: value %d is no constant", id));
        made = make(graph->graph);
        return graph->graph.status();
    }));
    return made;
}

// A node's name: its operation and its place, so that messages can be told apart.
std::string label(const Graph& graph, const char* operation) { return operation + std::to_string(graph.nodes().size()); }

Gate gate_of(quant_activation kind) {
    return kind == QUANT_GELU_TANH ? Gate::gelu_tanh : kind == QUANT_RELU2 ? Gate::relu2 : Gate::silu;
}

}  // namespace

quant_status quant_graph_create(quant_graph** out) {
    return guarded([&]() -> Status {
        if (!out) return missing("out");
        *out = new quant_graph;
        return {};
    });
}

void quant_graph_free(quant_graph* graph) { delete graph; }

quant_value quant_graph_input(quant_graph* graph, const char* name, int64_t cols) {
    return add(graph, {}, {}, [&](Graph& g) { return g.external(name_or_empty(name), FormatSlot::f32, cols, 1, Extent::tokens); });
}

quant_value quant_graph_constant(quant_graph* graph, const char* name, const quant_format* handle, int64_t cols, int64_t rows,
                                 const void* data) {
    if (!graph) return QUANT_NO_VALUE;
    const Format* format = format_behind(handle);
    const bool fits = format && !format->head && data && format->decode && format->kind != FormatKind::integer && cols >= 1 && rows >= 1 &&
                      cols <= kMaxRows && rows <= kMaxRows && cols % format->block == 0;
    if (fits)
        return add(graph, {}, {}, [&](Graph& g) {
            // Constants are never written through; the tensor's pointer serves results too.
            return g.constant(name_or_empty(name), make_tensor(*format, {cols, rows, 1, 1}, const_cast<void*>(data)));
        });
    static_cast<void>(guarded([&]() -> Status {
        if (graph->mistake.ok())
            graph->mistake = usage_error(format_text("graph: constant '%s': %lld rows of %lld do not fit format %s", name_or_empty(name),
                                                     static_cast<long long>(rows), static_cast<long long>(cols),
                                                     !format ? "NULL" : !data ? "without data" : format->head ? "with tables of the whole tensor" : format->name));
        return graph->mistake;
    }));
    return QUANT_NO_VALUE;
}

quant_value quant_graph_matmul(quant_graph* graph, quant_value weight, quant_value x, quant_value bias) {
    return add(graph, {x}, {weight, bias}, [&](Graph& g) { return g.matmul(label(g, "matmul"), weight, x, bias); });
}

quant_value quant_graph_add(quant_graph* graph, quant_value a, quant_value b) {
    return add(graph, {a}, {}, [&](Graph& g) { return g.add(label(g, "add"), a, b); });
}

quant_value quant_graph_multiply(quant_graph* graph, quant_value a, quant_value b) {
    return add(graph, {a}, {}, [&](Graph& g) { return g.multiply(label(g, "multiply"), a, b); });
}

quant_value quant_graph_scale(quant_graph* graph, quant_value x, float factor) {
    return add(graph, {x}, {}, [&](Graph& g) { return g.scale(label(g, "scale"), x, factor); });
}

quant_value quant_graph_rms_norm(quant_graph* graph, quant_value x, quant_value weight, float eps) {
    return add(graph, {x}, {weight}, [&](Graph& g) { return g.rms_norm(label(g, "rms_norm"), x, weight, eps); });
}

quant_value quant_graph_layer_norm(quant_graph* graph, quant_value x, quant_value weight, quant_value bias, float eps) {
    return add(graph, {x}, {weight, bias}, [&](Graph& g) { return g.layer_norm(label(g, "layer_norm"), x, weight, bias, eps); });
}

quant_value quant_graph_softmax(quant_graph* graph, quant_value x) {
    return add(graph, {x}, {}, [&](Graph& g) { return g.softmax(label(g, "softmax"), x); });
}

quant_value quant_graph_activate(quant_graph* graph, quant_value x, quant_activation kind) {
    return add(graph, {x}, {}, [&](Graph& g) { return g.activate(label(g, "activate"), x, gate_of(kind)); });
}

quant_value quant_graph_gated(quant_graph* graph, quant_value gate, quant_value up, quant_activation kind) {
    return add(graph, {gate, up}, {}, [&](Graph& g) { return g.gated(label(g, "gated"), gate, up, {gate_of(kind), GateForm::standard}); });
}

quant_value quant_graph_columns(quant_graph* graph, quant_value x, int64_t first, int64_t count) {
    return add(graph, {x}, {}, [&](Graph& g) { return g.columns(x, first, count); });
}

void quant_graph_keep(quant_graph* graph, quant_value value) {
    static_cast<void>(add(graph, {value}, {}, [&](Graph& g) {
        g.keep(value);
        if (g.value(value).base != kNoValue) g.keep(g.value(value).base);  // a view lives in its base's memory
        return value;
    }));
}

quant_status quant_graph_shape(const quant_graph* graph, quant_value value, int64_t* cols, int64_t* rows) {
    return guarded([&]() -> Status {
        if (!graph || !cols || !rows) return missing(!graph ? "graph" : !cols ? "cols" : "rows");
        if (!exists(graph, value)) return usage_error(format_text("graph: no value %d", value));
        const GraphValue& found = graph->graph.value(value);
        *cols = found.cols;
        *rows = found.extent == Extent::fixed ? found.rows : 0;
        return {};
    });
}

quant_status quant_runner_create(const quant_graph* graph, int64_t max_rows, int32_t threads, int32_t exact, quant_runner** out) {
    return guarded([&]() -> Status {
        if (!graph || !out) return missing(!graph ? "graph" : "out");
        if (!graph->mistake) return graph->mistake;
        TRY(check_threads(threads));
        if (max_rows < 1 || max_rows > kMaxRows)
            return usage_error(format_text("max_rows: expected 1 to %lld, found %lld", static_cast<long long>(kMaxRows),
                                           static_cast<long long>(max_rows)));
        auto runner = std::make_unique<quant_runner>();
        runner->pool = std::make_unique<ThreadPool>(threads ? threads : default_threads());
        LET(executor, Executor::create(graph->graph, {.tokens = max_rows, .outputs = max_rows, .threads = runner->pool->size(), .exact = exact != 0}));
        runner->executor = std::move(executor);
        runner->bound.assign(graph->graph.values().size(), false);
        runner->max_rows = max_rows;
        *out = runner.release();
        return {};
    });
}

void quant_runner_free(quant_runner* runner) { delete runner; }

quant_status quant_runner_set_input(quant_runner* runner, quant_value input, const float* rows) {
    return guarded([&]() -> Status {
        if (!runner || !rows) return missing(!runner ? "runner" : "rows");
        if (input < 0 || static_cast<size_t>(input) >= runner->bound.size() ||
            runner->executor->graph().value(input).kind != ValueKind::external || runner->executor->graph().value(input).base != kNoValue)
            return usage_error(format_text("value %d is no input of the graph", input));
        runner->executor->bind(input, const_cast<float*>(rows));  // read only: nothing is stored in inputs
        runner->bound[static_cast<size_t>(input)] = true;
        return {};
    });
}

quant_status quant_runner_run(quant_runner* runner, int64_t rows) {
    return guarded([&]() -> Status {
        if (!runner) return missing("runner");
        if (rows < 1 || rows > runner->max_rows)
            return usage_error(format_text("rows: expected 1 to %lld, found %lld", static_cast<long long>(runner->max_rows),
                                           static_cast<long long>(rows)));
        for (size_t i = 0; i < runner->bound.size(); ++i)
            if (const GraphValue& value = runner->executor->graph().values()[i];
                value.kind == ValueKind::external && value.base == kNoValue && !runner->bound[i])
                return usage_error(format_text("input %zu '%s' was not set", i, value.name.c_str()));
        runner->executor->run(*runner->pool, rows, 0, 0, {});
        runner->rows = rows;
        return {};
    });
}

quant_status quant_runner_result(const quant_runner* runner, quant_value value, int64_t row, const float** out) {
    return guarded([&]() -> Status {
        if (!runner || !out) return missing(!runner ? "runner" : "out");
        if (value < 0 || static_cast<size_t>(value) >= runner->bound.size() || !runner->executor->graph().value(value).keep)
            return usage_error(format_text("value %d was not kept", value));
        if (row < 0 || row >= runner->rows)
            return usage_error(format_text("row: expected 0 to %lld, found %lld", static_cast<long long>(runner->rows - 1),
                                           static_cast<long long>(row)));
        const Tensor tensor = runner->executor->value(value);
        *out = reinterpret_cast<const float*>(static_cast<const uint8_t*>(tensor.data) + row * tensor.stride[1]);
        return {};
    });
}
