// The names a user can give as TYPE, and the rules of each mix: which tensor of which layer gets which format.
// The mixes are those of the GGUF ecosystem's own quantizer, as data. Knows names and figures of a model, never its bytes.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "formats/format.h"

namespace quant {

// What a tensor is for, as far as the mixes care; recognised by name in every architecture.
enum class TensorRole : uint8_t {
    other, token_embd, output, attn_q, attn_k,
    attn_v,  // also the joined attn_qkv and attn_kv_b, which hold values
    attn_output, ffn_up, ffn_gate, ffn_down,
};
TensorRole role_of(std::string_view tensor_name);

// The layer in `blk.LAYER.`, or -1.
int64_t layer_of(std::string_view tensor_name);

// Why tensors of this name are never quantized (norms, routers, small state matrices); null when they are.
const char* never_quantized(std::string_view tensor_name);

// What the rules ask about a model.
struct ModelFacts {
    std::string architecture;
    int64_t layers = 0, heads = 0, kv_heads = 0, experts = 0;
    int64_t value_tensors = 0;  // how many tensors have the role attn_v
    bool tied = true;           // no output matrix of its own: the embedding table serves
    bool importance = false;    // an importance matrix is at hand
};

// A target: the format of most tensors and, by its name, the rules for the others.
struct Recipe {
    std::string name;  // as shown and as used in file names: "Q4_K_M"
    FormatSlot base = FormatSlot::f16;
    int32_t file_type = -1;          // general.file_type; -1: leave the key away
    bool copy = false;               // tensors stay as they are
    bool needs_importance = false;   // for every tensor of the base format
    bool keep_tables = false;        // embedding table and output matrix stay as they are
    std::string purpose;             // one line for people
    bool keep = false;               // as copy, but codes of other programs stay codes where a format holds them exactly
};

// Any mix, format, short name or number of general.file_type, in any case. Errors list what is known.
Result<Recipe> find_recipe(std::string_view name);
bool is_recipe(std::string_view name);
// All names find_recipe() takes, without numbers, for --help and for recognising suffixes of file names.
std::span<const std::string> recipe_names();

// Formats that lists for people do not name one by one: the affine ones, for which A1 ... A8 stand.
bool in_family(const Format& format);

// One tensor as the rules see it.
struct RuleInput {
    TensorRole role = TensorRole::other;
    int64_t layer = 0, cols = 0;
    int64_t count = 0;     // tensors of its role before it, in the order layer, name
    bool stacked = false;  // 3-D: the matrices of experts
};
struct RuleAnswer {
    FormatSlot format;
    const char* reason;  // "" when it is the base format
};
// The mix's choice, before rows that do not divide are looked at.
RuleAnswer apply_rules(const Recipe& recipe, const ModelFacts& facts, const RuleInput& tensor);

// The format that takes over when a row of `cols` is no whole number of blocks, as in the ecosystem's tool;
// null when there is none. Returns `wanted` itself when the row divides.
const Format* fallback_for(const Format& wanted, int64_t cols);

}  // namespace quant
