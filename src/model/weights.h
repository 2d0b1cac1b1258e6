// The tensors of a model by role: found by name, their shapes checked against the Config once.
// Knows names and shapes; not the order in which a forward pass uses them.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/result.h"
#include "gguf/gguf.h"
#include "model/architecture.h"
#include "model/config.h"

namespace quant {

// What a tensor of a layer is for. Order = order of the table in weights.c++.
enum class Role : uint8_t {
    attention_norm,
    attention_norm_bias,
    q,
    q_bias,
    k,
    k_bias,
    v,
    v_bias,
    qkv,
    qkv_bias,
    q_norm,
    k_norm,
    sinks,
    attention_sub_norm,
    attention_output,
    attention_output_bias,
    attention_post_norm,
    feed_forward_norm,
    feed_forward_norm_bias,
    gate,
    gate_bias,
    up,
    up_bias,
    feed_forward_sub_norm,
    down,
    down_bias,
    router,
    router_bias,
    expert_gate,
    expert_gate_bias,
    expert_up,
    expert_up_bias,
    expert_down,
    expert_down_bias,
    feed_forward_post_norm,
    count
};
inline constexpr size_t kRoleCount = static_cast<size_t>(Role::count);

struct Layer {
    std::array<const TensorInfo*, kRoleCount> tensors{};  // null: the model has none
    const TensorInfo* operator[](Role role) const { return tensors[static_cast<size_t>(role)]; }
};

struct Weights {
    const TensorInfo* embedding = nullptr;  // [embedding, vocab]
    const TensorInfo* output = nullptr;     // [embedding, vocab]; the embedding itself where the two are tied
    const TensorInfo* output_bias = nullptr;  // [vocab]
    const TensorInfo* output_norm = nullptr;  // [embedding]
    const TensorInfo* output_norm_bias = nullptr;
    const TensorInfo* position_embedding = nullptr;  // [embedding, context]
    const TensorInfo* rope_factors = nullptr;        // [rope.dims / 2], divisors of the frequencies
    const TensorInfo* rope_factors_long = nullptr;
    const TensorInfo* rope_factors_short = nullptr;
    std::vector<Layer> layers;
};

// Finds and checks all tensors, sets config.vocab. Pointers are into `gguf.tensors()`. Errors name the
// tensor, what was expected and what was found; a tensor that nothing would use is an error too, because its
// effect would be missing.
Result<Weights> find_weights(const Gguf& gguf, const Architecture& architecture, Config& config);

// The role of a layer's tensor by its name ("blk.3.attn_q.weight"), for tools that treat tensors by role;
// false: none.
bool role_of(const std::string& tensor_name, const Architecture& architecture, Role& role, int64_t& layer);

}  // namespace quant
