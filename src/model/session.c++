// A session runs the model's graph over batches of tokens and keeps the position in the cache.
#include "model/session.h"

#include <algorithm>
#include <map>
#include <new>

#include "base/limits.h"
#include "base/log.h"
#include "base/threads.h"
#include "model/builder.h"
#include "model/kv_cache.h"
#include "tensor/executor.h"

namespace quant {

struct Session::State {
    std::shared_ptr<const Model> model;
    SessionOptions options;
    ModelGraph graph;  // its Graph has moved into the executor; the ids stay
    std::unique_ptr<Executor> executor;
    std::unique_ptr<ThreadPool> pool;
    KvCache cache;
    KvMixing mixing;  // of the cache
    int64_t position = 0;
    std::unique_ptr<float[]> logits;  // [logit_capacity, vocab]
    int64_t logit_rows = 0, logit_capacity = 0;
    std::vector<int32_t> tokens, positions, picked;  // of the batch being run

    Status make_room_for_logits(int64_t rows);
    void run_batch(std::span<const int32_t> batch, LogitsOf which, int64_t first_row);
};

Session::Session() = default;
Session::~Session() = default;

Result<std::unique_ptr<Session>> Session::create(std::shared_ptr<const Model> model,
                                                 const SessionOptions& options) {
    if (options.context < 1 || options.context > limits::kContext)
        return usage_error(format_text("context of %lld positions: expected 1 to %lld",
                                       static_cast<long long>(options.context),
                                       static_cast<long long>(limits::kContext)));
    if (options.threads < 0 || options.threads > kMaxThreads)
        return usage_error(format_text("%d threads: expected 1 to %d", options.threads, kMaxThreads));
    if (options.batch < 1) return usage_error("a batch needs at least one token");
    const Config& config = model->config();
    if (model->weights().position_embedding && options.context > config.context)
        return usage_error(format_text("context of %lld positions: this model has a table of %lld",
                                       static_cast<long long>(options.context),
                                       static_cast<long long>(config.context)));
    for (const AppliedAdapter& each : options.adapters) TRY(each.adapter->check(*model));
    std::unique_ptr<Session> session(new Session);
    session->state_ = std::make_unique<State>();
    State& s = *session->state_;
    s.model = std::move(model);
    s.options = options;
    s.options.batch = std::min(options.batch, options.context);
    s.options.threads = options.threads == 0 ? default_threads() : options.threads;
    LET(cache, KvCache::create(config, options.context, options.k_type, options.v_type));
    s.cache = std::move(cache);
    if (options.mix_kv) s.mixing = kv_mixing(config, options.k_type, options.v_type);
    if (options.activations.bits > 0) s.options.exact = true;
    s.graph = build_graph(s.model->architecture(), config, s.model->weights(),
                          {options.context, s.options.batch, s.options.adapters, s.mixing, options.activations, nullptr,
                           &s.model->activation_ranges()});
    LET(executor, Executor::create(std::move(s.graph.graph),
                                   {s.options.batch, s.options.batch, s.options.threads, s.options.exact}));
    s.executor = std::move(executor);
    s.pool = std::make_unique<ThreadPool>(s.options.threads);
    return session;
}

Status Session::State::make_room_for_logits(int64_t rows) {
    if (rows > logit_capacity) {
        logits.reset();
        logit_capacity = 0;
        const auto count = static_cast<uint64_t>(rows) * static_cast<uint64_t>(model->config().vocab);
        logits.reset(new (std::nothrow) float[count]);
        if (!logits)
            return Error{Code::memory, "cannot get " + human_bytes(count * sizeof(float)) + " for logits"};
        logit_capacity = rows;
    }
    return {};
}

void Session::State::run_batch(std::span<const int32_t> batch, LogitsOf which, int64_t first_row) {
    tokens.assign(batch.begin(), batch.end());
    positions.resize(tokens.size());
    for (size_t i = 0; i < positions.size(); ++i)
        positions[i] = static_cast<int32_t>(position + static_cast<int64_t>(i));
    picked.clear();
    if (which == LogitsOf::last) picked.push_back(static_cast<int32_t>(tokens.size() - 1));
    if (which == LogitsOf::all)
        for (size_t i = 0; i < tokens.size(); ++i) picked.push_back(static_cast<int32_t>(i));
    executor->bind(graph.tokens, tokens.data());
    executor->bind(graph.picked, picked.data());
    executor->bind(graph.logits, logits.get() + first_row * model->config().vocab);
    if (graph.positions != kNoValue) executor->bind(graph.positions, positions.data());
    executor->run(*pool, static_cast<int64_t>(tokens.size()), static_cast<int64_t>(picked.size()), position,
                  cache.slots());
    position += static_cast<int64_t>(tokens.size());
}

Status Session::eval(std::span<const int32_t> tokens, LogitsOf which) {
    State& s = *state_;
    for (const int32_t id : tokens)
        if (id < 0 || id >= s.model->config().vocab)
            return usage_error("token id " + std::to_string(id) + ": expected 0 to " +
                               std::to_string(s.model->config().vocab - 1));
    const auto count = static_cast<int64_t>(tokens.size());
    if (count > s.options.context - s.position)
        return usage_error(format_text("the context is full: %lld tokens at position %lld, it holds %lld",
                                       static_cast<long long>(count), static_cast<long long>(s.position),
                                       static_cast<long long>(s.options.context)));
    const int64_t rows = count == 0 || which == LogitsOf::none ? 0 : which == LogitsOf::last ? 1 : count;
    s.logit_rows = 0;
    TRY(s.make_room_for_logits(rows));
    s.logit_rows = rows;
    for (int64_t done = 0; done < count;) {
        const int64_t part = std::min(s.options.batch, count - done);
        const bool ends = done + part == count;
        const LogitsOf wanted = which == LogitsOf::last && !ends ? LogitsOf::none : which;
        s.run_batch(tokens.subspan(static_cast<size_t>(done), static_cast<size_t>(part)), wanted,
                    which == LogitsOf::all ? done : 0);
        done += part;
    }
    return {};
}

std::span<const float> Session::logits(int64_t index) const {
    const auto vocab = static_cast<size_t>(state_->model->config().vocab);
    if (index < 0 || index >= state_->logit_rows) return {};
    return {state_->logits.get() + static_cast<size_t>(index) * vocab, vocab};
}

int64_t Session::position() const { return state_->position; }
int64_t Session::context() const { return state_->options.context; }
void Session::truncate(int64_t position) {
    state_->position = std::clamp<int64_t>(position, 0, state_->position);
}
bool Session::remove(int64_t begin, int64_t end) {
    State& s = *state_;
    const Architecture& architecture = s.model->architecture();
    const Config& config = s.model->config();
    if (begin < 0 || begin > end || end > s.position || s.graph.positions != kNoValue) return false;
    const RopeTableParams plain = rope_frequencies(architecture, config, s.model->weights(), s.options.context, false),
                          windowed = rope_frequencies(architecture, config, s.model->weights(), s.options.context, true);
    s.pool->for_each_piece(static_cast<int64_t>(config.layers.size()), 1, [&](int64_t layer, int64_t, int) {
        const LayerConfig& own = config.layers[static_cast<size_t>(layer)];
        KvCache::KeyRope rope{nullptr,
                              {config.kv_heads, config.k_head_dim, config.rope.dims, architecture.rope == RopeKind::neox},
                              s.mixing.k};
        if (architecture.rope != RopeKind::none && own.rope) rope.table = own.windowed ? &windowed : &plain;
        s.cache.remove(static_cast<size_t>(layer), begin, end, s.position, rope);
    });
    s.position -= end - begin;
    return true;
}
const Model& Session::model() const { return *state_->model; }
ThreadPool& Session::threads() { return *state_->pool; }
uint64_t Session::kv_bytes() const { return state_->cache.bytes(); }

void Session::observe(std::function<void(const Node& node, const Tensor& result)> observer) {
    state_->executor->observe(std::move(observer));
}

Tensor Session::operand(const Node& node, int index) const {
    return state_->executor->value(node.inputs[static_cast<size_t>(index)]);
}

std::string Session::kernel_summary() const {
    struct Use {
        const Format* format;
        int64_t tensors = 0;
    };
    std::map<FormatSlot, Use> uses;
    for (const Node& node : state_->executor->graph().nodes()) {
        if (node.op != Op::matmul && node.op != Op::expert_matmul) continue;
        const Format* format = state_->executor->graph().value(node.inputs[0]).tensor.format;
        ++uses.try_emplace(format->slot, Use{format}).first->second.tensors;
    }
    std::string text;
    for (const auto& [slot, use] : uses) {
        const MatmulKernels& fast = kernels().matmul[static_cast<size_t>(slot)];
        if (!text.empty()) text += '\n';
        text += format_text("%s, %lld tensors: ", use.format->name, static_cast<long long>(use.tensors));
        if (state_->options.exact || !fast.gemv)
            text += "decoded to f32";
        else
            text += format_text("1 to %lld rows %s, more %s", static_cast<long long>(fast.gemm_min_rows - 1),
                                fast.gemv_name, fast.gemm ? fast.gemm_name : fast.gemv_name);
    }
    return text;
}

}  // namespace quant
