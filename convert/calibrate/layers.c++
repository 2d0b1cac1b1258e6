// One executor at a time, rebuilt when the part or its weights change.
#include "convert/calibrate/layers.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace quant {

std::vector<Site> sites_of(const Graph& graph) {
    std::vector<Site> sites;
    for (const Node& node : graph.nodes()) {
        if (node.op != Op::matmul) continue;
        const ValueId input = node.inputs[1];
        auto site =
            std::find_if(sites.begin(), sites.end(), [&](const Site& each) { return each.input == input; });
        if (site == sites.end()) site = sites.insert(sites.end(), Site{input, {}, false});
        site->weights.push_back(graph.value(node.inputs[0]).name);
        for (const Node& reader : graph.nodes())
            if (reader.op == Op::add && reader.inputs[0] == node.output &&
                graph.value(reader.inputs[1]).extent == Extent::tokens)
                site->writes_residual = true;
    }
    return sites;
}

Status Hidden::make(int64_t window, int64_t windows, int64_t width, uint64_t memory) {
    LET(values, Spill::create(sizeof(float) * static_cast<uint64_t>(window * windows * width), memory));
    values_ = std::move(values);
    window_ = window;
    windows_ = windows;
    width_ = width;
    return {};
}

Status Hidden::copy(const Hidden& from, uint64_t memory) {
    TRY(make(from.window_, from.windows_, from.width_, memory));
    std::memcpy(values_.data(), from.values_.data(), values_.bytes());
    return {};
}

Result<PartRunner> PartRunner::create(const Model& model, const Weights& weights, int64_t window,
                                      ThreadPool& pool) {
    PartRunner runner;
    runner.model_ = &model;
    runner.weights_ = &weights;
    runner.window_ = window;
    runner.pool_ = &pool;
    LET(cache, KvCache::create(model.config(), window, KvType::f32, KvType::f32));
    runner.cache_ = std::move(cache);
    runner.positions_.resize(static_cast<size_t>(window));
    std::iota(runner.positions_.begin(), runner.positions_.end(), 0);
    return runner;
}

Status PartRunner::load(Part part, int32_t layer) { return load_until(part, layer, kNoValue); }

Status PartRunner::load_until(Part part, int32_t layer, ValueId until) {
    PartGraph made = build(part, layer);
    if (until != kNoValue) made.graph.end_at(until);
    const ValueId output = until == kNoValue ? made.output : until;
    return start(std::move(made), output);
}

Status PartRunner::load_with_sites(int32_t layer, std::vector<Site>& sites) {
    PartGraph made = build(Part::layer, layer);
    sites = sites_of(made.graph);
    for (const Site& site : sites) made.graph.keep(site.input);
    const ValueId output = made.output;
    return start(std::move(made), output);
}

Status PartRunner::load_keeping(int32_t layer, ValueId earlier, ValueId last) {
    PartGraph made = build(Part::layer, layer);
    made.graph.keep(earlier);
    made.graph.end_at(last);
    return start(std::move(made), last);
}

PartGraph PartRunner::build(Part part, int32_t layer) const {
    return build_part(model_->architecture(), model_->config(), *weights_,
                      {window_, window_, {}, {}, activations_, corrections_}, part, layer);
}

Status PartRunner::start(PartGraph made, ValueId output) {
    input_ = made.input;
    position_input_ = made.positions;
    output_ = output;
    LET(executor, Executor::create(std::move(made.graph), {window_, window_, pool_->size(), true}));
    executor_ = std::move(executor);
    return {};
}

Status PartRunner::embed(const std::vector<int32_t>& tokens, Hidden& out) {
    TRY(load(Part::embedding, 0));
    for (int64_t w = 0; w < out.windows(); ++w)
        std::copy_n(run(tokens.data() + w * window_).f32(), window_ * out.width(), out.at(w));
    return {};
}

Status PartRunner::advance(Hidden& hidden, const std::function<Status(int64_t window)>& step) {
    for (int64_t w = 0; w < hidden.windows(); ++w) {
        std::copy_n(run(hidden.at(w)).f32(), window_ * hidden.width(), hidden.at(w));
        if (step) TRY(step(w));
    }
    return {};
}

Tensor PartRunner::run(const void* input) {
    executor_->bind(input_, const_cast<void*>(input));
    if (position_input_ != kNoValue) executor_->bind(position_input_, positions_.data());
    executor_->run(*pool_, window_, 0, 0, cache_.slots());
    return executor_->value(output_);
}

}  // namespace quant
