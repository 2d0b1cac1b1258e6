// Class names of checkpoints and the keys they become.
#include "convert/import/hf_architecture.h"

#include <cmath>
#include <utility>

#include "base/file.h"

namespace quant {

namespace {

Status set_count(const HfConfig& config, std::initializer_list<std::string_view> names, const std::string& key, Metadata& out) {
    LET(value, config.count(names));
    out.set(key, Value::of_u32(static_cast<uint32_t>(value)));
    return {};
}

Status set_real_if_there(const HfConfig& config, std::string_view name, const std::string& key, Metadata& out) {
    LET(value, config.real({name}));
    if (value) out.set(key, Value::of_f32(static_cast<float>(*value)));
    return {};
}

Status set_window_or_zero(const HfConfig& config, const std::string& prefix, Metadata& out) {
    LET(window, config.integer({"sliding_window"}));
    out.set(prefix + "attention.sliding_window", Value::of_u32(static_cast<uint32_t>(window.value_or(0))));
    return {};
}

Status granite_keys(const HfConfig& config, const std::string& prefix, Metadata& out) {
    TRY(set_real_if_there(config, "attention_multiplier", prefix + "attention.scale", out));
    TRY(set_real_if_there(config, "embedding_multiplier", prefix + "embedding_scale", out));
    TRY(set_real_if_there(config, "residual_multiplier", prefix + "residual_scale", out));
    return set_real_if_there(config, "logits_scaling", prefix + "logit_scale", out);
}

Status gemma2_keys(const HfConfig& config, const std::string& prefix, Metadata& out) {
    TRY(set_real_if_there(config, "attn_logit_softcapping", prefix + "attn_logit_softcapping", out));
    TRY(set_real_if_there(config, "final_logit_softcapping", prefix + "final_logit_softcapping", out));
    return set_count(config, {"sliding_window"}, prefix + "attention.sliding_window", out);
}

Status gemma3_keys(const HfConfig& config, const std::string& prefix, Metadata& out) {
    TRY(set_real_if_there(config, "final_logit_softcapping", prefix + "final_logit_softcapping", out));
    return set_count(config, {"sliding_window"}, prefix + "attention.sliding_window", out);
}

Status gpt_oss_keys(const HfConfig& config, const std::string& prefix, Metadata& out) {
    TRY(set_count(config, {"sliding_window"}, prefix + "attention.sliding_window", out));
    return set_count(config, {"intermediate_size"}, prefix + "expert_feed_forward_length", out);
}

Status qwen3moe_keys(const HfConfig& config, const std::string& prefix, Metadata& out) {
    return set_count(config, {"moe_intermediate_size"}, prefix + "expert_feed_forward_length", out);
}

// OLMo 3 is OLMo 2 with windows: every fourth layer sees all.
Status olmo2_keys(const HfConfig& config, const std::string& prefix, Metadata& out) {
    LET(window, config.integer({"sliding_window"}));
    if (!window) return {};
    LET(layers, config.count({"num_hidden_layers"}));
    out.set(prefix + "attention.sliding_window", Value::of_u32(static_cast<uint32_t>(*window)));
    std::vector<uint8_t> pattern;
    const JsonValue types = config.find({"layer_types"});
    if (types.is(JsonValue::Kind::array)) {
        for (const JsonValue type : types.items()) pattern.push_back(type.text() == "sliding_attention");
    } else {
        for (int64_t layer = 0; layer < layers; ++layer) pattern.push_back((layer + 1) % 4 != 0);
    }
    out.set(prefix + "attention.sliding_window_pattern", Value::of_bools(pattern));
    return {};
}

Status phi3_keys(const HfConfig& config, const std::string& prefix, Metadata& out) {
    LET(rope, config.rope());
    LET(context, config.count({"max_position_embeddings", "n_positions"}));
    LET(width, config.count({"hidden_size"}));
    LET(heads, config.count({"num_attention_heads"}));
    const int64_t original = rope.original_context.value_or(context);
    if (original < 2) return input_error(escaped(config.origin()) + ": \"original_max_position_embeddings\" is below 2");
    const auto turned = static_cast<int64_t>(rope.partial.value_or(1.0) * static_cast<double>(width));
    out.set(prefix + "rope.scaling.original_context_length", Value::of_u32(static_cast<uint32_t>(original)));
    out.set(prefix + "rope.dimension_count", Value::of_u32(static_cast<uint32_t>(turned / heads)));
    out.set(prefix + "rope.freq_base", Value::of_f32(static_cast<float>(rope.theta.value_or(10000.0))));
    if (rope.long_factors) {
        // The factor on cos and sin for contexts beyond the original one.
        const double scale = static_cast<double>(context) / static_cast<double>(original);
        double factor = 1.0;
        if (scale > 1 && rope.type == "yarn") factor = 0.1 * std::log(scale) + 1.0;
        else if (scale > 1) factor = std::sqrt(1 + std::log(scale) / std::log(static_cast<double>(original)));
        out.set(prefix + "rope.scaling.attn_factor", Value::of_f32(static_cast<float>(factor)));
    }
    return set_window_or_zero(config, prefix, out);
}

void gemma3_defaults(HfDefaults& defaults) { defaults = {131072, 8, 4, 1e-6, 1e6}; }

constexpr HfArchitecture kArchitectures[] = {
    {.class_name = "LlamaForCausalLM", .gguf_name = "llama", .vocabulary_key = true, .head_dim_filled = true,
     .rope_pairs_side_by_side = true},
    {.class_name = "MistralForCausalLM", .gguf_name = "llama", .vocabulary_key = true, .head_dim_filled = true,
     .rope_pairs_side_by_side = true},
    {.class_name = "MixtralForCausalLM", .gguf_name = "llama", .vocabulary_key = true, .rope_pairs_side_by_side = true},
    {.class_name = "Qwen2ForCausalLM", .gguf_name = "qwen2"},
    {.class_name = "Qwen3ForCausalLM", .gguf_name = "qwen3", .default_head_dim = 128},
    {.class_name = "Qwen3MoeForCausalLM", .gguf_name = "qwen3moe", .keys = qwen3moe_keys},
    {.class_name = "Gemma2ForCausalLM", .gguf_name = "gemma2", .rope_keys = false, .default_head_dim = 256,
     .keys = gemma2_keys, .branch_norms = true, .norms_minus_one = true, .own_output = false},
    {.class_name = "Gemma3ForCausalLM", .gguf_name = "gemma3", .default_head_dim = 256, .defaults = gemma3_defaults,
     .keys = gemma3_keys, .branch_norms = true, .norms_minus_one = true, .embedding_cut = true},
    {.class_name = "Gemma3ForConditionalGeneration", .gguf_name = "gemma3", .default_head_dim = 256, .defaults = gemma3_defaults,
     .keys = gemma3_keys, .branch_norms = true, .norms_minus_one = true, .embedding_cut = true},
    {.class_name = "Phi3ForCausalLM", .gguf_name = "phi3", .rope_keys = false, .head_dim_keys = false, .keys = phi3_keys},
    {.class_name = "Olmo2ForCausalLM", .gguf_name = "olmo2", .keys = olmo2_keys, .branch_norms = true},
    {.class_name = "Olmo3ForCausalLM", .gguf_name = "olmo2", .keys = olmo2_keys, .branch_norms = true},
    {.class_name = "GraniteForCausalLM", .gguf_name = "granite", .vocabulary_key = true, .head_dim_keys = false,
     .keys = granite_keys, .rope_pairs_side_by_side = true},
    {.class_name = "SmolLM3ForCausalLM", .gguf_name = "smollm3", .vocabulary_key = true, .rope_pairs_side_by_side = true},
    {.class_name = "GptOssForCausalLM", .gguf_name = "gpt-oss", .default_head_dim = 64, .keys = gpt_oss_keys, .branch_norms = true},
    {.class_name = "BitNetForCausalLM", .gguf_name = "bitnet-b1.58", .vocabulary_key = true},
    {.class_name = "BitnetForCausalLM", .gguf_name = "bitnet-b1.58", .vocabulary_key = true},
    {.class_name = "GPT2LMHeadModel", .gguf_name = "gpt2", .rope_keys = false, .transposed = true},
};

Status write_sizes(const HfConfig& config, const HfDefaults& defaults, const std::string& prefix, Metadata& out) {
    const auto count = [&](const char* key, std::initializer_list<std::string_view> names, int64_t absent) -> Status {
        if (absent > 0 && !config.find(names)) {
            out.set(prefix + key, Value::of_u32(static_cast<uint32_t>(absent)));
            return {};
        }
        return set_count(config, names, prefix + key, out);
    };
    TRY(count("block_count", {"num_hidden_layers", "n_layers", "n_layer"}, 0));
    TRY(count("context_length", {"max_position_embeddings", "n_ctx", "n_positions"}, defaults.context));
    TRY(count("embedding_length", {"hidden_size", "n_embd"}, 0));
    LET(width, config.count({"hidden_size", "n_embd"}));
    // GPT-2 says nothing when it is four times the width.
    TRY(count("feed_forward_length", {"intermediate_size", "n_inner"}, config.find({"n_embd"}) ? 4 * width : 0));
    TRY(count("attention.head_count", {"num_attention_heads", "n_head"}, defaults.heads));
    if (config.find({"num_key_value_heads"}) || defaults.kv_heads > 0)
        TRY(count("attention.head_count_kv", {"num_key_value_heads"}, defaults.kv_heads));
    return {};
}

Status write_rope(const HfConfig& config, const HfDefaults& defaults, const std::string& prefix, Metadata& out) {
    LET(rope, config.rope());
    const auto real = [&](const char* key, const std::optional<double>& value) {
        if (value) out.set(prefix + key, Value::of_f32(static_cast<float>(*value)));
    };
    if ((rope.type == "linear" || rope.type == "yarn") && rope.factor) {
        out.set(prefix + "rope.scaling.type", Value::of_string(rope.type));
        real("rope.scaling.factor", rope.factor);
    }
    if (rope.type == "yarn" && rope.factor) {
        if (!rope.original_context)
            return input_error(escaped(config.origin()) + ": \"original_max_position_embeddings\" is missing, YaRN needs it");
        out.set(prefix + "rope.scaling.original_context_length", Value::of_u32(static_cast<uint32_t>(*rope.original_context)));
        real("rope.scaling.yarn_ext_factor", rope.extrapolation_factor);
        real("rope.scaling.yarn_attn_factor", rope.attention_factor);
        real("rope.scaling.yarn_beta_fast", rope.beta_fast);
        real("rope.scaling.yarn_beta_slow", rope.beta_slow);
    }
    const bool known = rope.type == "default" || rope.type == "linear" || rope.type == "yarn" || rope.type == "llama3" ||
                       rope.type == "longrope" || rope.type == "su";
    if (!known) return input_error(escaped(config.origin()) + ": rope type '" + escaped(rope.type) + "' is not supported");
    if (!rope.theta && defaults.rope_theta > 0) rope.theta = defaults.rope_theta;
    real("rope.freq_base", rope.theta);
    real("rope.freq_base_swa", rope.theta_local);
    return {};
}

Status write_epsilon(const HfConfig& config, const HfDefaults& defaults, const std::string& prefix, Metadata& out) {
    LET(rms, config.real({"rms_norm_eps", "norm_eps"}));
    LET(layer, config.real({"layer_norm_epsilon", "layer_norm_eps"}));
    if (!rms && !layer && defaults.norm_epsilon > 0) rms = defaults.norm_epsilon;
    if (rms) out.set(prefix + "attention.layer_norm_rms_epsilon", Value::of_f32(static_cast<float>(*rms)));
    if (layer) out.set(prefix + "attention.layer_norm_epsilon", Value::of_f32(static_cast<float>(*layer)));
    return {};
}

Status write_experts(const HfConfig& config, const std::string& prefix, Metadata& out) {
    LET(experts, config.integer({"num_local_experts", "num_experts", "n_routed_experts"}));
    if (!experts || *experts == 0) return {};
    TRY(set_count(config, {"num_local_experts", "num_experts", "n_routed_experts"}, prefix + "expert_count", out));
    return set_count(config, {"num_experts_per_tok", "num_experts_per_token"}, prefix + "expert_used_count", out);
}

Status write_head_dim(const HfArchitecture& architecture, const HfConfig& config, const std::string& prefix, Metadata& out) {
    LET(given, config.integer({"head_dim"}));
    LET(heads, out.get_i64(prefix + "attention.head_count"));
    LET(width, out.get_i64(prefix + "embedding_length"));
    const int64_t derived = *width / *heads;
    int64_t head_dim = given.value_or(0);
    if (!head_dim && architecture.default_head_dim) head_dim = architecture.default_head_dim;
    if (!head_dim && architecture.head_dim_filled) head_dim = derived;
    if (head_dim < 0 || head_dim > 65536) return input_error(escaped(config.origin()) + ": \"head_dim\" is out of range");
    if (head_dim && architecture.head_dim_keys) {
        out.set(prefix + "attention.key_length", Value::of_u32(static_cast<uint32_t>(head_dim)));
        out.set(prefix + "attention.value_length", Value::of_u32(static_cast<uint32_t>(head_dim)));
    }
    if (!architecture.vocabulary_key) return {};
    TRY(set_count(config, {"vocab_size"}, prefix + "vocab_size", out));
    const int64_t turned = head_dim && architecture.head_dim_keys ? head_dim : derived;
    out.set(prefix + "rope.dimension_count", Value::of_u32(static_cast<uint32_t>(turned)));
    return {};
}

}  // namespace

std::span<const HfArchitecture> hf_architectures() { return kArchitectures; }

Result<const HfArchitecture*> find_hf_architecture(const std::string& class_name) {
    std::string known;
    for (const HfArchitecture& architecture : kArchitectures) {
        if (class_name == architecture.class_name) return &architecture;
        known += (known.empty() ? "" : " ") + std::string(architecture.class_name);
    }
    return input_error("architecture '" + escaped(class_name) + "' cannot be imported, known: " + known);
}

Status write_hf_keys(const HfArchitecture& architecture, const HfConfig& config, Metadata& out) {
    const std::string prefix = architecture.gguf_name + std::string(".");
    HfDefaults defaults;
    if (architecture.defaults) architecture.defaults(defaults);
    TRY(write_sizes(config, defaults, prefix, out));
    if (architecture.rope_keys) TRY(write_rope(config, defaults, prefix, out));
    TRY(write_epsilon(config, defaults, prefix, out));
    TRY(write_experts(config, prefix, out));
    TRY(write_head_dim(architecture, config, prefix, out));
    return architecture.keys ? architecture.keys(config, prefix, out) : Status();
}

}  // namespace quant
