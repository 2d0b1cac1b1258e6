// Tables of names as checkpoints have them, and as a GGUF has them.
#include "convert/import/hf_names.h"

#include <algorithm>
#include <charconv>
#include <span>

#include "base/limits.h"

namespace quant {

namespace {

struct NameRow {
    std::string_view from, to;
    HfKind kind = HfKind::plain;
};
// Within a layer; .weight and .bias are kept. %post is resolved by the architecture.
constexpr NameRow kLayerNames[] = {
    {"input_layernorm", "attn_norm"},
    {"self_attn.q_proj", "attn_q", HfKind::queries},
    {"self_attn.k_proj", "attn_k", HfKind::keys},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"},
    {"self_attn.qkv_proj", "attn_qkv"},
    {"self_attn.q_norm", "attn_q_norm"},
    {"self_attn.k_norm", "attn_k_norm"},
    {"self_attn.attn_sub_norm", "attn_sub_norm"},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.gate_up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
    {"mlp.ffn_sub_norm", "ffn_sub_norm"},
    {"mlp.gate", "ffn_gate_inp"},
    {"mlp.router", "ffn_gate_inp"},
    {"block_sparse_moe.gate", "ffn_gate_inp"},
    {"post_attention_layernorm", "%post"},
    {"pre_feedforward_layernorm", "ffn_norm"},
    {"post_feedforward_layernorm", "post_ffw_norm"},
    {"ln_1", "attn_norm"},
    {"ln_2", "ffn_norm"},
    {"attn.c_attn", "attn_qkv"},
    {"attn.c_proj", "attn_output"},
    {"mlp.c_fc", "ffn_up"},
    {"mlp.c_proj", "ffn_down"},
};
constexpr NameRow kOuterNames[] = {
    {"embed_tokens", "token_embd"}, {"norm", "output_norm"},   {"lm_head", "output"},
    {"wte", "token_embd"},          {"wpe", "position_embd"},  {"ln_f", "output_norm"},
};
constexpr NameRow kExpertNames[] = {
    {"w1", "ffn_gate_exps"},        {"w2", "ffn_down_exps"},      {"w3", "ffn_up_exps"},
    {"gate_proj", "ffn_gate_exps"}, {"down_proj", "ffn_down_exps"}, {"up_proj", "ffn_up_exps"},
};
// Conv1D of GPT-2 stores [in, out].
constexpr std::string_view kTransposedStems[] = {"attn_qkv", "attn_output", "ffn_up", "ffn_down"};

const NameRow* find_row(std::span<const NameRow> rows, std::string_view name) {
    const auto found = std::find_if(rows.begin(), rows.end(), [&](const NameRow& row) { return row.from == name; });
    return found == rows.end() ? nullptr : &*found;
}

}  // namespace

std::optional<int64_t> take_number(std::string_view& text) {
    int64_t number = -1;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    const auto used = static_cast<size_t>(end - text.data());
    if (error != std::errc{} || number < 0 || (used < text.size() && text[used] != '.')) return std::nullopt;
    text.remove_prefix(std::min(text.size(), used + 1));
    return number;
}

bool take_prefix(std::string_view& text, std::string_view prefix) {
    if (!text.starts_with(prefix)) return false;
    text.remove_prefix(prefix.size());
    return true;
}

std::optional<HfName> split_hf_name(std::string_view name) {
    for (const std::string_view prefix : {"language_model.", "transformer.", "model.", "language_model."}) take_prefix(name, prefix);
    if (!take_prefix(name, "layers.") && !take_prefix(name, "h.")) return HfName{-1, name};
    const auto layer = take_number(name);
    if (!layer || *layer >= limits::kLayers) return std::nullopt;
    return HfName{*layer, name};
}

std::optional<HfPlace> find_hf_place(const HfArchitecture& architecture, const HfName& module) {
    const bool outside = module.layer < 0;
    const NameRow* row = outside ? find_row(kOuterNames, module.rest) : find_row(kLayerNames, module.rest);
    if (!row) return std::nullopt;
    HfPlace place{std::string(row->to), row->kind, false};
    if (outside) return place;
    place.transposed = architecture.transposed && std::find(std::begin(kTransposedStems), std::end(kTransposedStems), row->to) !=
                                                      std::end(kTransposedStems);
    if (row->to == "%post") place.stem = architecture.branch_norms ? "post_attention_norm" : "ffn_norm";
    place.stem = "blk." + std::to_string(module.layer) + "." + place.stem;
    return place;
}

std::string_view expert_stem(std::string_view module) {
    const NameRow* row = find_row(kExpertNames, module);
    return row ? row->to : std::string_view();
}

}  // namespace quant
