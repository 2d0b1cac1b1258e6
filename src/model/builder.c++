// The wiring of a transformer, one function per block; an architecture's switches are asked where its
// families part.
#include "model/builder.h"

#include <map>

#include "formats/kept_columns.h"
#include "tensor/hadamard.h"

namespace quant {
namespace {

class Builder {
public:
    Builder(const Architecture& a, const Config& c, const Weights& w, const BuildOptions& options)
        : a_(a), c_(c), w_(w), options_(options) {}

    ModelGraph build() {
        made_.tokens = g_.external("tokens", FormatSlot::i32, 1, 1, Extent::tokens);
        made_.picked = g_.external("picked", FormatSlot::i32, 1, 1, Extent::outputs);
        ValueId x = embed();
        for (size_t i = 0; i < w_.layers.size(); ++i) x = layer(x, static_cast<int32_t>(i));
        logits(g_.pick_rows("picked_rows", x, made_.picked));
        made_.graph = std::move(g_);
        return std::move(made_);
    }

    PartGraph build_part(Part part, int32_t index) {
        PartGraph out;
        if (part == Part::embedding) {
            out.input = made_.tokens = g_.external("tokens", FormatSlot::i32, 1, 1, Extent::tokens);
            out.output = embed();
            out.positions = made_.positions;
        } else {
            out.input = g_.external("hidden", FormatSlot::f32, c_.embedding, 1, Extent::tokens);
            out.output = part == Part::layer
                             ? layer(out.input, index)
                             : norm("output_norm", out.input, w_.output_norm, w_.output_norm_bias);
            if (part == Part::logits) out.output = part_logits(out.output);
        }
        g_.keep(out.output);
        out.graph = std::move(g_);
        return out;
    }

private:
    ValueId weight(const TensorInfo* tensor) {
        if (!tensor) return kNoValue;
        return g_.constant(tensor->name,
                           make_tensor(*tensor->format, tensor->ne, const_cast<uint8_t*>(tensor->data), tensor->group));
    }

    // w x + bias, and what adapters add: scale * b (a x), never a whole matrix.
    ValueId product(const std::string& name, const TensorInfo* w, ValueId x, const TensorInfo* bias = nullptr) {
        const ValueId matrix = weight(w);
        g_.set_input_range(matrix, range_of(w));
        return adapted(name, w, g_.matmul(name, matrix, rounded(name, x, w, range_of(w)), weight(bias)), x);
    }

    // Of what the weight reads; 0: not known.
    float range_of(const TensorInfo* w) const {
        if (!options_.ranges) return 0;
        const auto found = options_.ranges->find(w->name);
        return found == options_.ranges->end() ? 0 : found->second;
    }

    // The same with x as it is: what chooses between tokens or experts is not rounded.
    ValueId choice(const std::string& name, const TensorInfo* w, ValueId x, const TensorInfo* bias = nullptr) {
        return adapted(name, w, g_.matmul(name, weight(w), x, weight(bias)), x);
    }

    // What the product with w reads in place of x, one for all that read x; columns that w keeps are not rounded.
    ValueId rounded(const std::string& name, ValueId x, const TensorInfo* w, float range = 0) {
        const ActivationForm& form = options_.activations;
        if (form.bits == 0 || x == kNoValue) return x;
        std::vector<uint32_t> kept;
        if (!form.rotate) kept = columns_kept_by(*w->format, w->view());
        const auto [found, is_new] = rounded_.try_emplace({x, kept}, x);
        if (!is_new) return found->second;
        const int64_t block = hadamard_block(g_.value(x).cols);
        ValueId y = form.rotate ? g_.hadamard(name + ".input_mixed", x, block) : x;
        y = g_.round(name + ".input_rounded", y, {form.bits, form.group, form.stored ? range : 0, std::move(kept)});
        return found->second = form.rotate ? g_.hadamard(name + ".input_back", y, block) : y;
    }

    ValueId mixed(const std::string& name, ValueId x, int64_t block) {
        return block > 1 ? g_.hadamard(name, x, block) : x;
    }

    ValueId adapted(const std::string& name, const TensorInfo* w, ValueId y, ValueId x) {
        return adapted(name, w, y,
                       [&](const std::string& low, const TensorInfo* a) { return g_.matmul(low, weight(a), x); });
    }

    // `first` makes a's part of an adapter's product.
    template <class First>
    ValueId adapted(const std::string& name, const TensorInfo* w, ValueId y, const First& first) {
        for (size_t i = 0; i < options_.adapters.size(); ++i) {
            const AppliedAdapter& used = options_.adapters[i];
            y = with_low_rank(name + ".lora" + std::to_string(i), used.adapter->find(w->name), used.scale, y, first);
        }
        if (!options_.corrections) return y;
        const auto found = options_.corrections->find(w->name);
        return found == options_.corrections->end() ? y : with_low_rank(name + ".corrected", found->second, 1, y, first);
    }

    template <class First>
    ValueId with_low_rank(const std::string& at, const Adapter::LowRank& part, float scale, ValueId y, const First& first) {
        if (!part.a) return y;
        const ValueId low = scaled(at + "_scaled", first(at + "_a", part.a), scale * part.scale);
        return g_.add(at + "_added", g_.matmul(at + "_b", weight(part.b), low), y);
    }

    ValueId norm(const std::string& name, ValueId x, const TensorInfo* gain, const TensorInfo* bias) {
        if (a_.norm == NormKind::layer)
            return g_.layer_norm(name, x, weight(gain), weight(bias), c_.norm_eps);
        return g_.rms_norm(name, x, weight(gain), c_.norm_eps);
    }

    ValueId scaled(const std::string& name, ValueId x, float factor) {
        return factor == 1.0f ? x : g_.scale(name, x, factor);
    }

    ValueId embed() {
        ValueId x = g_.embed("token_embd", weight(w_.embedding), made_.tokens);
        x = adapted("token_embd", w_.embedding, x, [&](const std::string& low, const TensorInfo* a) {
            return g_.embed(low, weight(a), made_.tokens);
        });
        x = scaled("embedding_scale", x, c_.embedding_scale);
        if (!w_.position_embedding) return x;
        made_.positions = g_.external("positions", FormatSlot::i32, 1, 1, Extent::tokens);
        return g_.add("position_added", x,
                      g_.embed("position_embd", weight(w_.position_embedding), made_.positions));
    }

    ValueId part_logits(ValueId x) {
        x = g_.matmul("output", weight(w_.output), x);
        x = scaled("logit_scale", x, c_.logit_scale);
        return c_.logit_cap > 0 ? g_.soft_cap("logit_cap", x, c_.logit_cap) : x;
    }

    // Every step from the product on writes where the caller wants the result.
    void logits(ValueId x) {
        made_.logits = g_.external("logits", FormatSlot::f32, c_.vocab, 1, Extent::outputs);
        x = norm("output_norm", x, w_.output_norm, w_.output_norm_bias);
        // An adapter of an embedding that also serves as the output is one of the embedding alone.
        x = w_.output == w_.embedding ? g_.matmul("output", weight(w_.output), x) : choice("output", w_.output, x);
        g_.store_in(x, made_.logits);
        if (c_.logit_scale != 1.0f) g_.store_in(x = g_.scale("logit_scale", x, c_.logit_scale), made_.logits);
        if (c_.logit_cap > 0) g_.store_in(g_.soft_cap("logit_cap", x, c_.logit_cap), made_.logits);
    }

    // x + residual_scale * post_norm(block(pre_norm(x))), twice.
    ValueId layer(ValueId x, int32_t index) {
        const Layer& l = w_.layers[static_cast<size_t>(index)];
        const std::string at = "blk." + std::to_string(index) + ".";
        ValueId y = x;
        if (a_.attention_norm)
            y = norm(at + "attn_norm", x, l[Role::attention_norm], l[Role::attention_norm_bias]);
        y = attention(y, l, index, at);
        if (a_.attention_post_norm)
            y = norm(at + "post_attention_norm", y, l[Role::attention_post_norm], nullptr);
        x = g_.add(at + "attn_added", scaled(at + "attn_scaled", y, c_.residual_scale), x);
        y = x;
        if (a_.feed_forward_norm)
            y = norm(at + "ffn_norm", x, l[Role::feed_forward_norm], l[Role::feed_forward_norm_bias]);
        y = c_.experts > 0 ? experts(y, l, at) : feed_forward(y, l, at);
        if (a_.feed_forward_post_norm)
            y = norm(at + "post_ffw_norm", y, l[Role::feed_forward_post_norm], nullptr);
        return g_.add(at + "ffn_added", scaled(at + "ffn_scaled", y, c_.residual_scale), x);
    }

    // RMS norm of q or k, per head or over the whole row.
    ValueId head_norm(const std::string& name, ValueId x, const TensorInfo* gain) {
        if (!gain) return x;
        return g_.rms_norm(name, x, weight(gain), c_.norm_eps, gain->ne[0]);
    }

    ValueId rotated(const std::string& name, ValueId x, int64_t heads, const LayerConfig& layer) {
        if (a_.rope == RopeKind::none || !layer.rope) return x;
        ValueId& table = layer.windowed ? windowed_table_ : table_;
        if (table == kNoValue)
            table = g_.rope_table(layer.windowed ? "rope_table_windowed" : "rope_table",
                                  rope_frequencies(a_, c_, w_, options_.context, layer.windowed));
        return g_.rope(name, x, table, {heads, c_.k_head_dim, c_.rope.dims, a_.rope == RopeKind::neox});
    }

    ValueId attention(ValueId x, const Layer& l, int32_t index, const std::string& at) {
        const LayerConfig& layer = c_.layers[static_cast<size_t>(index)];
        ValueId q, k, v;
        if (a_.fused_qkv) {
            const ValueId qkv =
                product(at + "attn_qkv", l[Role::qkv], x, l[Role::qkv_bias]);
            q = g_.columns(qkv, 0, c_.q_width());
            k = g_.columns(qkv, c_.q_width(), c_.k_width());
            v = g_.columns(qkv, c_.q_width() + c_.k_width(), c_.v_width());
        } else {
            q = product(at + "attn_q", l[Role::q], x, l[Role::q_bias]);
            k = product(at + "attn_k", l[Role::k], x, l[Role::k_bias]);
            v = product(at + "attn_v", l[Role::v], x, l[Role::v_bias]);
        }
        q = rotated(at + "q_rope", head_norm(at + "attn_q_norm", q, l[Role::q_norm]), c_.heads, layer);
        k = rotated(at + "k_rope", head_norm(at + "attn_k_norm", k, l[Role::k_norm]), c_.kv_heads, layer);
        q = mixed(at + "q_mixed", q, options_.mixing.k);
        k = mixed(at + "k_mixed", k, options_.mixing.k);
        v = mixed(at + "v_mixed", v, options_.mixing.v);
        const ValueId stored = g_.kv_store(at + "kv_store", k, v, {index, c_.kv_heads});
        AttentionParams params;
        params.slot = index;
        params.heads = c_.heads;
        params.kv_heads = c_.kv_heads;
        params.k_dim = c_.k_head_dim;
        params.v_dim = c_.v_head_dim;
        params.scale = c_.attention_scale;
        params.cap = c_.attention_cap;
        params.window = layer.windowed ? c_.window : 0;
        ValueId y = g_.attention(at + "attention", q, stored, weight(l[Role::sinks]), params);
        y = mixed(at + "attention_back", y, options_.mixing.v);
        if (a_.sub_norms)
            y = g_.rms_norm(at + "attn_sub_norm", y, weight(l[Role::attention_sub_norm]), c_.norm_eps);
        return product(at + "attn_output", l[Role::attention_output], y, l[Role::attention_output_bias]);
    }

    ValueId feed_forward(ValueId x, const Layer& l, const std::string& at) {
        ValueId gate = kNoValue, y = kNoValue;
        if (a_.feed_forward == FeedForward::gated) gate = product(at + "ffn_gate", l[Role::gate], x, l[Role::gate_bias]);
        ValueId up = product(at + "ffn_up", l[Role::up], x, l[Role::up_bias]);
        if (a_.feed_forward == FeedForward::plain) {
            y = g_.activate(at + "ffn_act", up, a_.activation);
        } else {
            if (a_.feed_forward == FeedForward::gated_fused) {
                gate = g_.columns(up, 0, c_.feed_forward);
                up = g_.columns(up, c_.feed_forward, c_.feed_forward);
            }
            y = g_.gated(at + "ffn_act", gate, up, {a_.activation, a_.gate_form});
        }
        if (a_.sub_norms)
            y = g_.rms_norm(at + "ffn_sub_norm", y, weight(l[Role::feed_forward_sub_norm]), c_.norm_eps);
        return product(at + "ffn_down", l[Role::down], y, l[Role::down_bias]);
    }

    // Tokens are sorted by expert, so that each expert's weights are read once for all its tokens.
    ValueId experts(ValueId x, const Layer& l, const std::string& at) {
        const RouteParams params{c_.experts, c_.experts_used};
        const ValueId router =
            choice(at + "ffn_gate_inp", l[Role::router], x, l[Role::router_bias]);
        const ValueId routing = g_.route(at + "ffn_route", router, params);
        const ValueId plan = g_.route_plan(at + "ffn_plan", routing, params, options_.batch);
        const ValueId rows = g_.expert_gather(at + "ffn_gather", x, plan, params);
        const ValueId gate = g_.expert_matmul(at + "ffn_gate_exps", weight(l[Role::expert_gate]), rounded(at + "ffn_gather", rows, l[Role::expert_gate]),
                                              weight(l[Role::expert_gate_bias]), plan, params);
        const ValueId up = g_.expert_matmul(at + "ffn_up_exps", weight(l[Role::expert_up]), rounded(at + "ffn_gather", rows, l[Role::expert_up]),
                                            weight(l[Role::expert_up_bias]), plan, params);
        const ValueId y = g_.gated(at + "ffn_act", gate, up, {a_.activation, a_.gate_form});
        const ValueId down = g_.expert_matmul(at + "ffn_down_exps", weight(l[Role::expert_down]), rounded(at + "ffn_act", y, l[Role::expert_down]),
                                              weight(l[Role::expert_down_bias]), plan, params);
        return g_.expert_combine(at + "ffn_combine", down, routing, plan, params);
    }

    const Architecture& a_;
    const Config& c_;
    const Weights& w_;
    const BuildOptions& options_;
    Graph g_;
    ModelGraph made_;
    ValueId table_ = kNoValue, windowed_table_ = kNoValue;
    std::map<std::pair<ValueId, std::vector<uint32_t>>, ValueId> rounded_;  // by what was to be rounded, but for these columns
};

}  // namespace

ModelGraph build_graph(const Architecture& a, const Config& c, const Weights& w,
                       const BuildOptions& options) {
    return Builder(a, c, w, options).build();
}

PartGraph build_part(const Architecture& a, const Config& c, const Weights& w, const BuildOptions& options,
                     Part part, int32_t layer) {
    return Builder(a, c, w, options).build_part(part, layer);
}

}  // namespace quant
