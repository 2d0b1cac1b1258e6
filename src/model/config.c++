// Reads hyper-parameters. Every number from the file passes a range check here, with the key's name in the
// message.
#include "model/config.h"

#include <cmath>

#include "base/limits.h"
#include "base/log.h"
#include "model/architecture.h"

namespace quant {
namespace {

// Upper bounds that keep every later product far below 2^63; the tensors' own sizes are the real limit.
constexpr int64_t kMaxWidth = int64_t{1} << 24;
constexpr int64_t kMaxHeads = 65536;
constexpr int64_t kMaxHeadDim = 8192;

class Reader {
public:
    Reader(const Metadata& metadata, std::string prefix) : metadata_(metadata), prefix_(std::move(prefix)) {}

    Error error(std::string_view key, const std::string& expected, const std::string& found) const {
        return input_error(escaped(metadata_.origin) + ": " + prefix_ + std::string(key) + ": expected " +
                           expected + ", found " + found);
    }

    // Missing: `fallback`, or an error when it is below `low`.
    Status integer(std::string_view key, int64_t low, int64_t high, int64_t fallback, int64_t& out) const {
        LET(found, metadata_.get_i64(prefix_ + std::string(key)));
        const std::string range = format_text("an integer from %lld to %lld", static_cast<long long>(low),
                                              static_cast<long long>(high));
        if (!found && fallback < low) return error(key, range, "no such key");
        out = found.value_or(fallback);
        if (out < low || out > high) return error(key, range, std::to_string(out));
        return {};
    }
    Status required(std::string_view key, int64_t low, int64_t high, int64_t& out) const {
        return integer(key, low, high, low - 1, out);
    }

    // low < value <= high. `fallback` NaN: the key is required.
    Status real(std::string_view key, double low, double high, float fallback, float& out) const {
        LET(found, metadata_.get_f32(prefix_ + std::string(key)));
        const std::string range = format_text("a number above %g and up to %g", low, high);
        if (!found && std::isnan(fallback)) return error(key, range, "no such key");
        out = found.value_or(fallback);
        if (found && !(static_cast<double>(out) > low && static_cast<double>(out) <= high))
            return error(key, range, format_text("%g", static_cast<double>(out)));
        return {};
    }

    // A factor or bound that 0 turns off.
    Status optional_bound(std::string_view key, float& out) const {
        LET(found, metadata_.get_f32(prefix_ + std::string(key)));
        out = found.value_or(0.0f);
        if (!(out >= 0.0f && out <= 1e6f))
            return error(key, "a number from 0 to 1e6", format_text("%g", static_cast<double>(out)));
        return {};
    }

    const Metadata& metadata() const { return metadata_; }
    const std::string& prefix() const { return prefix_; }

private:
    const Metadata& metadata_;
    std::string prefix_;
};

Status read_heads(const Reader& in, Config& c) {
    TRY(in.required("attention.head_count", 1, kMaxHeads, c.heads));
    TRY(in.integer("attention.head_count_kv", 1, c.heads, c.heads, c.kv_heads));
    if (c.heads % c.kv_heads != 0)
        return in.error("attention.head_count_kv", "a divisor of head_count " + std::to_string(c.heads),
                        std::to_string(c.kv_heads));
    const int64_t even = c.embedding % c.heads == 0 ? c.embedding / c.heads : 0;
    if (even == 0 && !in.metadata().find(in.prefix() + "attention.key_length"))
        return in.error("attention.head_count",
                        "a divisor of embedding_length " + std::to_string(c.embedding),
                        std::to_string(c.heads));
    TRY(in.integer("attention.key_length", 1, kMaxHeadDim, even, c.k_head_dim));
    TRY(in.integer("attention.value_length", 1, kMaxHeadDim, even, c.v_head_dim));
    return {};
}

Status read_experts(const Reader& in, const Architecture& a, Config& c) {
    if (a.experts != Presence::never) {
        const int64_t fewest = a.experts == Presence::required ? 1 : 0;
        TRY(in.integer("expert_count", fewest, limits::kExperts, 0, c.experts));
    }
    const bool dense = c.experts == 0;
    TRY(in.integer("feed_forward_length", 1, kMaxWidth, dense ? 0 : 1, c.feed_forward));
    if (dense) return {};
    TRY(in.required("expert_used_count", 1, c.experts, c.experts_used));
    return in.integer("expert_feed_forward_length", 1, kMaxWidth, c.feed_forward, c.expert_feed_forward);
}

Status read_rope_scaling(const Reader& in, RopeConfig& rope, int64_t context) {
    LET(type, in.metadata().get_string(in.prefix() + "rope.scaling.type"));
    if (!type || *type == "none") {
        // Files of 2023 have the inverse of a linear factor and no type.
        TRY(in.real("rope.scale_linear", 0, 1e6, 1.0f, rope.factor));
        if (rope.factor != 1.0f) rope.scaling = RopeScaling::linear;
        return {};
    }
    if (*type == "linear")
        rope.scaling = RopeScaling::linear;
    else if (*type == "yarn")
        rope.scaling = RopeScaling::yarn;
    else if (*type == "longrope")
        rope.scaling = RopeScaling::longrope;
    else
        return in.error("rope.scaling.type", "none, linear, yarn or longrope", "'" + escaped(*type) + "'");
    TRY(in.real("rope.scaling.factor", 0, 1e6, rope.scaling == RopeScaling::longrope ? 1.0f : NAN,
                rope.factor));
    TRY(in.integer("rope.scaling.original_context_length", 1, limits::kContext, context,
                   rope.original_context));
    TRY(in.optional_bound("rope.scaling.attn_factor", rope.attention_factor));
    TRY(in.real("rope.scaling.yarn_beta_fast", 0, 1e6, 32.0f, rope.beta_fast));
    return in.real("rope.scaling.yarn_beta_slow", 0, 1e6, 1.0f, rope.beta_slow);
}

Status read_rope(const Reader& in, const Architecture& a, Config& c) {
    if (a.rope == RopeKind::none) return {};
    TRY(in.integer("rope.dimension_count", 2, c.k_head_dim, c.k_head_dim, c.rope.dims));
    if (c.rope.dims % 2 != 0)
        return in.error("rope.dimension_count", "an even number", std::to_string(c.rope.dims));
    TRY(in.real("rope.freq_base", 1, 1e12, 10000.0f, c.rope.base));
    if (a.windowed_layers_unscaled)
        TRY(in.real("rope.freq_base_swa", 1, 1e12, 10000.0f, c.rope.base_windowed));
    return read_rope_scaling(in, c.rope, c.context);
}

// embedding_scale, residual_scale and attention.scale multiply, logit_scale divides.
Status read_scalars(const Reader& in, Config& c) {
    float logit_divisor = 1;
    TRY(in.real("embedding_scale", 0, 1e6, 1.0f, c.embedding_scale));
    TRY(in.real("residual_scale", 0, 1e6, 1.0f, c.residual_scale));
    TRY(in.real("attention.scale", 0, 1e6, c.attention_scale, c.attention_scale));
    TRY(in.real("logit_scale", 0, 1e6, 1.0f, logit_divisor));
    c.logit_scale = 1.0f / logit_divisor;
    LET(finetuned, in.metadata().get_bool(in.prefix() + "rope.scaling.finetuned"));
    if (finetuned && !*finetuned)
        for (LayerConfig& layer : c.layers) layer.rope = false;
    return {};
}

bool windowed_layer(WindowPattern pattern, int64_t layer) {
    switch (pattern) {
        case WindowPattern::none: return false;
        case WindowPattern::even_layers: return layer % 2 == 0;
        case WindowPattern::five_of_six: return layer % 6 < 5;
    }
    return false;
}

}  // namespace

Result<Config> read_config(const Metadata& metadata, const Architecture& a) {
    const Reader in(metadata, std::string(a.name) + ".");
    Config c;
    c.architecture = a.name;
    int64_t layers = 0;
    TRY(in.required("block_count", 1, limits::kLayers, layers));
    TRY(in.required("context_length", 1, limits::kContext, c.context));
    TRY(in.required("embedding_length", 1, kMaxWidth, c.embedding));
    TRY(read_heads(in, c));
    TRY(read_experts(in, a, c));
    TRY(in.real(a.norm == NormKind::rms ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon",
                0, 1, NAN, c.norm_eps));
    c.layers.resize(static_cast<size_t>(layers));
    c.attention_scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(c.k_head_dim)));
    TRY(read_rope(in, a, c));
    if (a.windows != WindowPattern::none) {
        TRY(in.integer("attention.sliding_window", 0, int64_t{1} << 32, -1, c.window));
        for (int64_t i = 0; i < layers; ++i)
            c.layers[static_cast<size_t>(i)].windowed = c.window > 0 && windowed_layer(a.windows, i);
    }
    if (a.soft_caps) {
        TRY(in.optional_bound("attn_logit_softcapping", c.attention_cap));
        TRY(in.optional_bound("final_logit_softcapping", c.logit_cap));
    }
    if (a.scalars) TRY(read_scalars(in, c));
    if (a.adjust) a.adjust(c);
    return c;
}

}  // namespace quant
