// The plan of a conversion. Never touches tensor data.
#include "convert/plan/plan.h"

#include <algorithm>
#include <array>
#include <numeric>

#include "base/checked.h"
#include "base/log.h"

namespace quant {

namespace {

// A figure of the first layer: a number, or an array with one entry per layer.
Result<int64_t> first_figure(const Metadata& metadata, const std::string& key, int64_t absent) {
    const Value* value = metadata.find(key);
    if (!value) return absent;
    if (value->type == ValueType::array) {
        auto values = metadata.get_i32s(key);
        if (!values) return std::move(values.error());
        const auto& figures = values.value();
        return figures && !figures->empty() ? figures->front() : absent;
    }
    LET(number, metadata.get_i64(key));
    return number.value_or(absent);
}

bool is_matrix(const TensorInfo& tensor) { return tensor.ne[1] > 1 || tensor.ne[2] > 1 || tensor.ne[3] > 1; }

// Why a tensor stays as it is whatever the mix says; empty when it does not.
std::string stays_because(const TensorInfo& tensor, const PlanOptions& options) {
    if (options.recipe.copy) return "copied";
    if (tensor.format->kind == FormatKind::integer) return "integers";
    if (!is_matrix(tensor)) return "one-dimensional";
    if (const char* reason = never_quantized(tensor.name)) return reason;
    if (options.leave_output && tensor.name == "output.weight") return "--leave-output-tensor";
    return "";
}

// The order in which the mixes count: tensors outside layers first, then by layer, then by name.
std::vector<size_t> counting_order(const std::vector<TensorInfo>& tensors) {
    std::vector<size_t> order(tensors.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::vector<int64_t> layers(tensors.size());
    std::transform(tensors.begin(), tensors.end(), layers.begin(), [](const TensorInfo& t) { return layer_of(t.name); });
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
        return layers[a] != layers[b] ? layers[a] < layers[b] : tensors[a].name < tensors[b].name;
    });
    return order;
}

class Planner {
public:
    Planner(const PlanOptions& options, const ModelFacts& facts) : options_(options), facts_(facts) {}

    Status choose(size_t index, const TensorInfo& tensor, PlannedTensor& planned) {
        planned.out = tensor;
        planned.out.data = nullptr;
        planned.from = tensor.format;
        planned.reason = stays_because(tensor, options_);
        const bool stays = !planned.reason.empty();
        const TensorRole role = role_of(tensor.name);
        const int64_t count = counters_[static_cast<size_t>(role)];
        if (!stays) {
            ++counters_[static_cast<size_t>(role)];
            TRY(choose_format(tensor, role, count, planned));
            TRY(fit_rows(tensor, planned));
            TRY(check_source(tensor, planned));
        }
        repack(index, planned);
        const Format& format = *planned.out.format;
        const auto bytes = checked_mul(format.row_bytes(tensor.cols()), static_cast<uint64_t>(tensor.rows()));
        if (!bytes || (format.head && tensor.rows() > kMaxHeadRows))
            return input_error("tensor " + tensor.name + ": size in " + format.name + " overflows");
        if (!planned.copies()) {
            planned.out.group = format.head && format.head->grouped ? group_for(tensor) : 0;
            planned.out.bytes = format.tensor_bytes(tensor.cols(), tensor.rows(), planned.out.group);
        }
        return {};
    }

private:
    int64_t group_for(const TensorInfo& tensor) const {
        const int64_t wanted = options_.palette_group > 0 ? options_.palette_group : tensor.ne[1];
        return std::min({wanted, tensor.rows(), int64_t{UINT32_MAX}});
    }

    Status choose_format(const TensorInfo& tensor, TensorRole role, int64_t count, PlannedTensor& planned) {
        if (options_.patterns) {
            LET(match, options_.patterns->find(tensor.name));
            if (match.format) return set_asked(planned, match.format, "--tensor-type " + match.row);
        }
        if (options_.embedding_format && role == TensorRole::token_embd)
            return set_asked(planned, options_.embedding_format, "--token-embedding-type");
        const bool is_output = role == TensorRole::output || (facts_.tied && role == TensorRole::token_embd);
        if (options_.output_format && is_output) return set_asked(planned, options_.output_format, "--output-tensor-type");
        if (options_.recipe.keep_tables && (role == TensorRole::token_embd || role == TensorRole::output))
            return set(planned, tensor.format, "table, kept");
        if (options_.pure) return set(planned, &format_of(options_.recipe.base), "");

        RuleInput input;
        input.role = role;
        input.cols = tensor.cols();
        input.count = count;
        input.stacked = tensor.ne[2] > 1;
        // Experts of one layer may be tensors of their own: there the name says the layer, not the count.
        const int64_t named = layer_of(tensor.name);
        input.layer = facts_.experts > 1 && role != TensorRole::attn_v && named >= 0 ? named : count;
        const RuleAnswer answer = apply_rules(options_.recipe, facts_, input);
        return set(planned, &format_of(answer.format), answer.reason);
    }

    static Status set_asked(PlannedTensor& planned, const Format* format, std::string reason) {
        planned.asked = true;
        return set(planned, format, std::move(reason));
    }

    // The type asked for, or with KEEP the best, holds what the source stores.
    void repack(size_t index, PlannedTensor& planned) const {
        if (!options_.exact_formats) return;
        const auto exact = options_.exact_formats(index);
        if (exact.empty()) return;
        if (options_.recipe.keep) planned.out.format = exact.front();
        planned.repacked = std::find(exact.begin(), exact.end(), planned.out.format) != exact.end();
    }

    static Status set(PlannedTensor& planned, const Format* format, std::string reason) {
        planned.out.format = format;
        planned.reason = std::move(reason);
        return {};
    }

    Status fit_rows(const TensorInfo& tensor, PlannedTensor& planned) const {
        const Format& wanted = *planned.out.format;
        if (tensor.cols() % wanted.block == 0) return {};
        const Format* fallback = options_.pure ? nullptr : fallback_for(wanted, tensor.cols());
        if (!fallback)
            return usage_error(format_text("tensor %s: a row of %lld is no multiple of the %u weights in a block of %s%s; "
                                           "choose another format for it with --tensor-type",
                                           tensor.name.c_str(), static_cast<long long>(tensor.cols()), wanted.block,
                                           wanted.name, options_.pure ? " (--pure allows no fallback)" : ""));
        planned.reason = format_text("fallback from %s: a row of %lld is no multiple of %u", wanted.name,
                                     static_cast<long long>(tensor.cols()), wanted.block);
        planned.out.format = fallback;
        planned.fallback = true;
        return {};
    }

    Status check_source(const TensorInfo& tensor, const PlannedTensor& planned) const {
        const bool twice = tensor.format->kind == FormatKind::block && planned.out.format->kind == FormatKind::block;
        if (!twice || planned.copies() || options_.allow_requantize) return {};
        return usage_error("tensor " + tensor.name + " is already " + tensor.format->name + ": quantizing it again to " +
                           planned.out.format->name + " loses more than from the original; --allow-requantize does it");
    }

    const PlanOptions& options_;
    const ModelFacts& facts_;
    std::array<int64_t, 16> counters_{};  // by TensorRole
};

Status attach_importance(const ImportanceMatrix* importance, Plan& plan, size_t index) {
    PlannedTensor& planned = plan.tensors[index];
    if (planned.copies() || planned.out.format->kind != FormatKind::block) return {};
    const TensorInfo& tensor = planned.out;
    const TensorRole role = role_of(tensor.name);
    const bool table = role == TensorRole::token_embd || role == TensorRole::output;
    if (importance) {
        const auto found = importance->entries.find(tensor.name);
        if (found == importance->entries.end()) {
            if (!table && plan.without_importance++ == 0) plan.first_without_importance = tensor.name;
        } else {
            const uint64_t expected = static_cast<uint64_t>(tensor.cols()) * static_cast<uint64_t>(tensor.ne[2]);
            if (found->second.values.size() == expected) {
                planned.importance = &found->second.values;
            } else if (role != TensorRole::token_embd) {  // look-ups leave an entry of another length there
                return input_error(format_text("%s: importance of %s has %zu values, expected %llu (%lld columns, %lld matrices)",
                                               importance->file.c_str(), tensor.name.c_str(), found->second.values.size(),
                                               static_cast<unsigned long long>(expected),
                                               static_cast<long long>(tensor.cols()), static_cast<long long>(tensor.ne[2])));
            }
        }
    }
    const bool by_mix = plan.recipe.needs_importance && tensor.format->slot == plan.recipe.base;
    if (!planned.importance && !table && (tensor.format->needs_importance || by_mix))
        plan.needing_importance.push_back(tensor.name);
    return {};
}

}  // namespace

Result<ModelFacts> model_facts(const Metadata& metadata, const std::vector<TensorInfo>& tensors) {
    ModelFacts facts;
    LET(architecture, metadata.get_string("general.architecture"));
    facts.architecture = architecture.value_or("");
    const std::string prefix = facts.architecture + ".";
    LET(layers, first_figure(metadata, prefix + "block_count", 0));
    LET(heads, first_figure(metadata, prefix + "attention.head_count", 0));
    LET(kv_heads, first_figure(metadata, prefix + "attention.head_count_kv", heads));
    LET(experts, first_figure(metadata, prefix + "expert_count", 0));
    facts.layers = layers;
    facts.heads = heads;
    facts.kv_heads = kv_heads;
    facts.experts = experts;
    for (const TensorInfo& tensor : tensors) {
        if (tensor.name == "output.weight") facts.tied = false;
        if (role_of(tensor.name) == TensorRole::attn_v) ++facts.value_tensors;
    }
    return facts;
}

Status set_importance(const ImportanceMatrix* importance, Plan& plan) {
    plan.without_importance = 0;
    plan.first_without_importance.clear();
    plan.needing_importance.clear();
    for (size_t index = 0; index < plan.tensors.size(); ++index) {
        plan.tensors[index].importance = nullptr;
        TRY(attach_importance(importance, plan, index));
    }
    return {};
}

Result<Plan> make_plan(const Metadata& metadata, const std::vector<TensorInfo>& tensors, const PlanOptions& options) {
    Plan plan;
    plan.recipe = options.recipe;
    LET(facts, model_facts(metadata, tensors));
    facts.importance = options.importance && !options.importance->entries.empty();
    plan.facts = facts;
    plan.tensors.resize(tensors.size());
    Planner planner(options, plan.facts);
    for (const size_t index : counting_order(tensors)) {
        TRY(planner.choose(index, tensors[index], plan.tensors[index]));
        plan.fallbacks += plan.tensors[index].fallback;
        if (!plan.tensors[index].out.format->stock && plan.first_own.empty()) plan.first_own = tensors[index].name;
    }
    TRY(set_importance(options.importance, plan));
    return plan;
}

}  // namespace quant
