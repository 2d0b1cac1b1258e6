// The names of a checkpoint's tensors: where each goes in a GGUF. Knows neither shapes nor data.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "convert/import/hf_architecture.h"

namespace quant {

// Rows of queries and keys are permuted where an architecture turns pairs side by side.
enum class HfKind : uint8_t { plain, queries, keys };

// A name without what wrappers put before it. layer -1: outside the layers.
struct HfName {
    int64_t layer = -1;
    std::string_view rest;  // within the layer: "self_attn.q_proj.weight"
};
// nullopt: the number of its layer is none.
std::optional<HfName> split_hf_name(std::string_view name);

// Where a module goes: "blk.3.attn_q" or "token_embd", its tensors' .weight and .bias behind it.
struct HfPlace {
    std::string stem;
    HfKind kind = HfKind::plain;
    bool transposed = false;  // its matrix is stored [in, out]
};
// `name.rest` without its .weight or .bias; nullopt: no module of that name, or one of experts.
std::optional<HfPlace> find_hf_place(const HfArchitecture& architecture, const HfName& module);

// "ffn_gate_exps" for "w1" or "gate_proj"; empty: none.
std::string_view expert_stem(std::string_view module);

// Take something off the start of `text`. A number must be followed by a dot, which goes with it, or by the end.
std::optional<int64_t> take_number(std::string_view& text);
bool take_prefix(std::string_view& text, std::string_view prefix);

}  // namespace quant
