// The C interface: sessions and the choice of tokens.
#include <algorithm>

#include "abi/guard.h"
#include "base/limits.h"
#include "base/log.h"
#include "model/sampler.h"
#include "model/session.h"

using namespace quant;
using namespace quant::abi;

struct quant_session {
    std::unique_ptr<Session> session;
    int64_t rows = 0;  // of logits, after the last eval
};
struct quant_adapter {
    std::shared_ptr<const Adapter> adapter;
};
struct quant_sampler {
    Sampler sampler;
};

namespace {

constexpr int64_t kDefaultContext = 4096;

quant_session_options defaults_for(const Model& model) {
    const SessionOptions ours;
    return {std::min(kDefaultContext, model.config().context), ours.batch, QUANT_KV_F16, QUANT_KV_F16, 0, 0, nullptr, nullptr, 0};
}

Result<KvType> kv_type_of(quant_kv_type type) {
    switch (type) {
        case QUANT_KV_F32: return KvType::f32;
        case QUANT_KV_F16: return KvType::f16;
        case QUANT_KV_Q8_0: return KvType::q8_0;
        case QUANT_KV_Q4_0: return KvType::q4_0;
    }
    return usage_error(format_text("cache type %d is unknown", static_cast<int>(type)));
}

Status check_range(const char* what, int64_t value, int64_t low, int64_t high) {
    if (value >= low && value <= high) return {};
    return usage_error(format_text("%s: expected %lld to %lld, found %lld", what, static_cast<long long>(low), static_cast<long long>(high),
                                   static_cast<long long>(value)));
}

Result<std::vector<AppliedAdapter>> adapters_of(const quant_session_options& options) {
    std::vector<AppliedAdapter> out;
    if (options.adapter_count && !options.adapters) return missing("adapters");
    for (size_t i = 0; i < options.adapter_count; ++i) {
        if (!options.adapters[i]) return missing("adapters[i]");
        out.push_back({options.adapters[i]->adapter, options.adapter_scales ? options.adapter_scales[i] : 1.0f});
    }
    return out;
}

}  // namespace

quant_status quant_adapter_load(const char* path, quant_adapter** out) {
    return guarded([&]() -> Status {
        if (!path || !out) return missing(!path ? "path" : "out");
        LET(adapter, Adapter::load(path));
        *out = new quant_adapter{std::move(adapter)};
        return {};
    });
}

void quant_adapter_free(quant_adapter* adapter) { delete adapter; }

quant_status quant_session_defaults(const quant_model* model, quant_session_options* out) {
    return guarded([&]() -> Status {
        if (!model || !out) return missing(!model ? "model" : "out");
        *out = defaults_for(*model->model);
        return {};
    });
}

quant_status quant_session_create(const quant_model* model, const quant_session_options* options, quant_session** out) {
    return guarded([&]() -> Status {
        if (!model || !out) return missing(!model ? "model" : "out");
        const quant_session_options given = options ? *options : defaults_for(*model->model);
        TRY(check_range("context", given.context, 1, limits::kContext));
        TRY(check_range("batch", given.batch, 1, limits::kContext));
        TRY(check_threads(given.threads));
        LET(k_type, kv_type_of(given.k_type));
        LET(v_type, kv_type_of(given.v_type));
        LET(adapters, adapters_of(given));
        const SessionOptions ours{.context = given.context, .batch = std::min(given.batch, given.context), .k_type = k_type,
                                  .v_type = v_type, .threads = given.threads, .exact = given.exact != 0,
                                  .adapters = std::move(adapters)};
        LET(session, Session::create(model->model, ours));
        *out = new quant_session{std::move(session)};
        return {};
    });
}

void quant_session_free(quant_session* session) { delete session; }

quant_status quant_session_eval(quant_session* handle, const int32_t* ids, size_t n, int32_t all_logits) {
    return guarded([&]() -> Status {
        if (!handle || !ids) return missing(!handle ? "session" : "ids");
        if (n == 0) return usage_error("no tokens given");
        TRY(handle->session->eval({ids, n}, all_logits ? LogitsOf::all : LogitsOf::last));
        handle->rows = all_logits ? static_cast<int64_t>(n) : 1;
        return {};
    });
}

quant_status quant_session_logits(const quant_session* handle, int64_t row, const float** out) {
    return guarded([&]() -> Status {
        if (!handle || !out) return missing(!handle ? "session" : "out");
        if (handle->rows == 0) return usage_error("no tokens were evaluated yet");
        TRY(check_range("row", row, 0, handle->rows - 1));
        *out = handle->session->logits(row).data();
        return {};
    });
}

int64_t quant_session_position(const quant_session* handle) { return handle ? handle->session->position() : 0; }
int64_t quant_session_context(const quant_session* handle) { return handle ? handle->session->context() : 0; }

quant_status quant_session_truncate(quant_session* handle, int64_t position) {
    return guarded([&]() -> Status {
        if (!handle) return missing("session");
        TRY(check_range("position", position, 0, handle->session->position()));
        handle->session->truncate(position);
        return {};
    });
}

quant_status quant_session_remove(quant_session* handle, int64_t begin, int64_t end) {
    return guarded([&]() -> Status {
        if (!handle) return missing("session");
        TRY(check_range("end", end, 0, handle->session->position()));
        TRY(check_range("begin", begin, 0, end));
        if (!handle->session->remove(begin, end)) return usage_error("this model's positions cannot be moved: they are added to the embedding");
        return {};
    });
}

quant_status quant_sampler_defaults(quant_sampler_options* out) {
    return guarded([&]() -> Status {
        if (!out) return missing("out");
        const SamplerOptions ours;
        *out = {ours.seed, ours.temperature, ours.top_k, ours.top_p, ours.min_p, ours.repeat_penalty, ours.presence_penalty,
                ours.frequency_penalty, ours.repeat_last_n, ours.log_probability};
        return {};
    });
}

quant_status quant_sampler_create(const quant_sampler_options* options, quant_sampler** out) {
    return guarded([&]() -> Status {
        if (!out) return missing("out");
        SamplerOptions ours;
        if (options) {
            ours.seed = options->seed;
            ours.temperature = options->temperature;
            ours.top_k = options->top_k;
            ours.top_p = options->top_p;
            ours.min_p = options->min_p;
            ours.repeat_penalty = options->repeat_penalty;
            ours.presence_penalty = options->presence_penalty;
            ours.frequency_penalty = options->frequency_penalty;
            ours.repeat_last_n = options->repeat_last_n;
            ours.log_probability = options->log_probability != 0;
        }
        if (!(ours.repeat_penalty > 0)) return usage_error("repeat_penalty: expected a number above 0");
        *out = new quant_sampler{Sampler(ours)};
        return {};
    });
}

void quant_sampler_free(quant_sampler* sampler) { delete sampler; }

quant_status quant_sampler_choose(quant_sampler* handle, const float* logits, int64_t n, int32_t* id, float* log_probability) {
    return guarded([&]() -> Status {
        if (!handle || !logits || !id) return missing(!handle ? "sampler" : !logits ? "logits" : "id");
        TRY(check_range("n", n, 1, limits::kVocab));
        const Sampler::Choice choice = handle->sampler.sample({logits, static_cast<size_t>(n)});
        if (choice.id < 0) return input_error("no logit is a number above minus infinity");
        *id = choice.id;
        if (log_probability) *log_probability = choice.log_probability;
        return {};
    });
}

quant_status quant_sampler_accept(quant_sampler* handle, int32_t id) {
    return guarded([&]() -> Status {
        if (!handle) return missing("sampler");
        handle->sampler.accept(id);
        return {};
    });
}
