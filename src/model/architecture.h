// What makes an architecture: data only. One row per family in models/NAME.c++; the switches in which
// families differ. Read by config.c++ (keys), weights.c++ (tensors) and builder.c++ (graph); nobody else asks
// for an architecture's name.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "tensor/graph.h"

namespace quant {

struct Config;

enum class Presence : uint8_t { never, optional, required };
enum class NormKind : uint8_t { rms, layer };
enum class RopeKind : uint8_t { none, normal, neox };            // pairs (i, i + 1) or (i, i + dims / 2)
enum class HeadNorm : uint8_t { none, per_head, full_width };    // RMS norm of q and k before rope
enum class FeedForward : uint8_t { gated, gated_fused, plain };  // fused: rows of ffn_up are gate, then up
enum class WindowPattern : uint8_t { none, even_layers, five_of_six };

struct Architecture {
    const char* name;  // general.architecture and the prefix of its keys

    // Tensors
    NormKind norm = NormKind::rms;
    Presence norm_bias = Presence::never;
    bool attention_norm = true, feed_forward_norm = true;  // before the block
    const char* feed_forward_norm_name = "ffn_norm";
    bool attention_post_norm = false,
         feed_forward_post_norm = false;  // on the block's output, before it is added
    bool sub_norms = false;               // before attn_output and before ffn_down
    bool fused_qkv = false;               // rows of attn_qkv are q, k, v
    Presence qkv_bias = Presence::never, attention_output_bias = Presence::never;
    Presence feed_forward_bias = Presence::never, router_bias = Presence::never,
             expert_bias = Presence::never;
    HeadNorm head_norm = HeadNorm::none;
    Presence head_norm_presence = Presence::required;
    bool sinks = false;  // one more score per head
    bool position_embedding = false;
    Presence output = Presence::optional;  // absent: the embedding serves
    Presence experts = Presence::never;

    // Computation
    RopeKind rope = RopeKind::normal;
    bool yarn_floor = true;  // the ramp's ends are rounded outwards to whole dimensions
    FeedForward feed_forward = FeedForward::gated;
    Gate activation = Gate::silu;
    GateForm gate_form = GateForm::standard;
    WindowPattern windows = WindowPattern::none;
    bool windowed_layers_unscaled = false;  // rope scaling is for layers without a window only
    bool scalars = false;    // embedding_scale, residual_scale, logit_scale, attention.scale are keys
    bool soft_caps = false;  // attn_logit_softcapping, final_logit_softcapping are keys

    // Last word on what has no key in the file; may be null.
    void (*adjust)(Config& config) = nullptr;
};

std::span<const Architecture* const> architectures();          // all, in order of models/list.c++
const Architecture* find_architecture(std::string_view name);  // null: unknown

}  // namespace quant
