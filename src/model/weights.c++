// Names and shapes of all roles as one table; which of them a model must, may or must not have follows from
// its architecture.
#include "model/weights.h"

#include <charconv>
#include <unordered_set>

#include "base/limits.h"
#include "base/log.h"

namespace quant {
namespace {

enum class Dim : uint8_t {
    none,
    embedding,
    q,
    k,
    v,
    qkv,
    attention,
    k_head,
    heads,
    feed_forward,
    up_rows,
    expert_feed_forward,
    experts,
};

struct RoleRow {
    Role role;
    const char* name;  // after "blk.N."
    Dim cols, rows, depth;
};

constexpr RoleRow kRoles[] = {
    {Role::attention_norm, "attn_norm.weight", Dim::embedding, Dim::none, Dim::none},
    {Role::attention_norm_bias, "attn_norm.bias", Dim::embedding, Dim::none, Dim::none},
    {Role::q, "attn_q.weight", Dim::embedding, Dim::q, Dim::none},
    {Role::q_bias, "attn_q.bias", Dim::q, Dim::none, Dim::none},
    {Role::k, "attn_k.weight", Dim::embedding, Dim::k, Dim::none},
    {Role::k_bias, "attn_k.bias", Dim::k, Dim::none, Dim::none},
    {Role::v, "attn_v.weight", Dim::embedding, Dim::v, Dim::none},
    {Role::v_bias, "attn_v.bias", Dim::v, Dim::none, Dim::none},
    {Role::qkv, "attn_qkv.weight", Dim::embedding, Dim::qkv, Dim::none},
    {Role::qkv_bias, "attn_qkv.bias", Dim::qkv, Dim::none, Dim::none},
    {Role::q_norm, "attn_q_norm.weight", Dim::k_head, Dim::none, Dim::none},  // full width: Dim::q
    {Role::k_norm, "attn_k_norm.weight", Dim::k_head, Dim::none, Dim::none},  // full width: Dim::k
    {Role::sinks, "attn_sinks.weight", Dim::heads, Dim::none, Dim::none},
    {Role::attention_sub_norm, "attn_sub_norm.weight", Dim::attention, Dim::none, Dim::none},
    {Role::attention_output, "attn_output.weight", Dim::attention, Dim::embedding, Dim::none},
    {Role::attention_output_bias, "attn_output.bias", Dim::embedding, Dim::none, Dim::none},
    {Role::attention_post_norm, "post_attention_norm.weight", Dim::embedding, Dim::none, Dim::none},
    {Role::feed_forward_norm, "ffn_norm.weight", Dim::embedding, Dim::none, Dim::none},
    {Role::feed_forward_norm_bias, "ffn_norm.bias", Dim::embedding, Dim::none, Dim::none},
    {Role::gate, "ffn_gate.weight", Dim::embedding, Dim::feed_forward, Dim::none},
    {Role::gate_bias, "ffn_gate.bias", Dim::feed_forward, Dim::none, Dim::none},
    {Role::up, "ffn_up.weight", Dim::embedding, Dim::up_rows, Dim::none},
    {Role::up_bias, "ffn_up.bias", Dim::up_rows, Dim::none, Dim::none},
    {Role::feed_forward_sub_norm, "ffn_sub_norm.weight", Dim::feed_forward, Dim::none, Dim::none},
    {Role::down, "ffn_down.weight", Dim::feed_forward, Dim::embedding, Dim::none},
    {Role::down_bias, "ffn_down.bias", Dim::embedding, Dim::none, Dim::none},
    {Role::router, "ffn_gate_inp.weight", Dim::embedding, Dim::experts, Dim::none},
    {Role::router_bias, "ffn_gate_inp.bias", Dim::experts, Dim::none, Dim::none},
    {Role::expert_gate, "ffn_gate_exps.weight", Dim::embedding, Dim::expert_feed_forward, Dim::experts},
    {Role::expert_gate_bias, "ffn_gate_exps.bias", Dim::expert_feed_forward, Dim::experts, Dim::none},
    {Role::expert_up, "ffn_up_exps.weight", Dim::embedding, Dim::expert_feed_forward, Dim::experts},
    {Role::expert_up_bias, "ffn_up_exps.bias", Dim::expert_feed_forward, Dim::experts, Dim::none},
    {Role::expert_down, "ffn_down_exps.weight", Dim::expert_feed_forward, Dim::embedding, Dim::experts},
    {Role::expert_down_bias, "ffn_down_exps.bias", Dim::embedding, Dim::experts, Dim::none},
    {Role::feed_forward_post_norm, "post_ffw_norm.weight", Dim::embedding, Dim::none, Dim::none},
};
static_assert(std::size(kRoles) == kRoleCount);

int64_t size_of(Dim dim, const Architecture& a, const Config& c) {
    switch (dim) {
        case Dim::none: return 1;
        case Dim::embedding: return c.embedding;
        case Dim::q: return c.q_width();
        case Dim::k: return c.k_width();
        case Dim::v: return c.v_width();
        case Dim::qkv: return c.q_width() + c.k_width() + c.v_width();
        case Dim::attention: return c.attention_width();
        case Dim::k_head: return c.k_head_dim;
        case Dim::heads: return c.heads;
        case Dim::feed_forward: return c.feed_forward;
        case Dim::up_rows:
            return a.feed_forward == FeedForward::gated_fused ? 2 * c.feed_forward : c.feed_forward;
        case Dim::expert_feed_forward: return c.expert_feed_forward;
        case Dim::experts: return c.experts;
    }
    return 0;
}

Presence when(bool condition, Presence presence = Presence::required) {
    return condition ? presence : Presence::never;
}

Presence presence_of(Role role, const Architecture& a, const Config& c) {
    const bool dense = c.experts == 0, moe = !dense, gated = a.feed_forward == FeedForward::gated;
    switch (role) {
        case Role::attention_norm: return when(a.attention_norm);
        case Role::attention_norm_bias: return when(a.attention_norm, a.norm_bias);
        case Role::q:
        case Role::k:
        case Role::v: return when(!a.fused_qkv);
        case Role::q_bias:
        case Role::k_bias:
        case Role::v_bias: return when(!a.fused_qkv, a.qkv_bias);
        case Role::qkv: return when(a.fused_qkv);
        case Role::qkv_bias: return when(a.fused_qkv, a.qkv_bias);
        case Role::q_norm:
        case Role::k_norm: return when(a.head_norm != HeadNorm::none, a.head_norm_presence);
        case Role::sinks: return when(a.sinks);
        case Role::attention_sub_norm: return when(a.sub_norms);
        case Role::attention_output: return Presence::required;
        case Role::attention_output_bias: return a.attention_output_bias;
        case Role::attention_post_norm: return when(a.attention_post_norm);
        case Role::feed_forward_norm: return when(a.feed_forward_norm);
        case Role::feed_forward_norm_bias: return when(a.feed_forward_norm, a.norm_bias);
        case Role::gate: return when(dense && gated);
        case Role::gate_bias: return when(dense && gated, a.feed_forward_bias);
        case Role::up:
        case Role::down: return when(dense);
        case Role::up_bias:
        case Role::down_bias: return when(dense, a.feed_forward_bias);
        case Role::feed_forward_sub_norm: return when(dense && a.sub_norms);
        case Role::router:
        case Role::expert_gate:
        case Role::expert_up:
        case Role::expert_down: return when(moe);
        case Role::router_bias: return when(moe, a.router_bias);
        case Role::expert_gate_bias:
        case Role::expert_up_bias:
        case Role::expert_down_bias: return when(moe, a.expert_bias);
        case Role::feed_forward_post_norm: return when(a.feed_forward_post_norm);
        case Role::count: break;
    }
    return Presence::never;
}

std::string name_of(const RoleRow& row, const Architecture& a) {
    if (row.role == Role::feed_forward_norm) return std::string(a.feed_forward_norm_name) + ".weight";
    if (row.role == Role::feed_forward_norm_bias) return std::string(a.feed_forward_norm_name) + ".bias";
    return row.name;
}

class Finder {
public:
    explicit Finder(const Gguf& gguf) : gguf_(gguf) {}

    // Null when absent and optional. Vectors and biases are added and multiplied as floats: they must be F32.
    Result<const TensorInfo*> find(const std::string& name, Presence presence, int64_t cols, int64_t rows,
                                   int64_t depth, bool plain) {
        const TensorInfo* found = presence == Presence::never ? nullptr : gguf_.find(name);
        if (!found) {
            if (presence == Presence::required)
                return error(name, shape(cols, rows, depth), "no such tensor");
            return found;
        }
        used_.insert(found);
        if (found->ne[0] != cols || found->ne[1] != rows || found->ne[2] != depth || found->ne[3] != 1)
            return error(name, shape(cols, rows, depth), shape_text(*found));
        if (plain && found->format->slot != FormatSlot::f32)
            return error(name, "format F32", found->format->name);
        if (found->format->kind == FormatKind::integer)
            return error(name, "a format of weights", found->format->name);
        return found;
    }

    Error error(const std::string& name, const std::string& expected, const std::string& found) const {
        return input_error(escaped(gguf_.path()) + ": tensor " + escaped(name) + ": expected " + expected +
                           ", found " + found);
    }

    Status all_used() const {
        for (const TensorInfo& tensor : gguf_.tensors())
            if (!used_.contains(&tensor))
                return error(tensor.name, "only tensors that its architecture uses",
                             "this one, of no known role");
        return {};
    }

private:
    static std::string shape(int64_t cols, int64_t rows, int64_t depth) {
        TensorInfo wanted;
        wanted.ne = {cols, rows, depth, 1};
        wanted.n_dims = depth > 1 ? 3 : rows > 1 ? 2 : 1;
        return "shape " + shape_text(wanted);
    }
    const Gguf& gguf_;
    std::unordered_set<const TensorInfo*> used_;
};

Status find_layer(Finder& finder, const Architecture& a, const Config& c, size_t index, Layer& layer) {
    for (const RoleRow& row : kRoles) {
        const Presence presence = presence_of(row.role, a, c);
        if (presence == Presence::never) continue;
        Dim cols = row.cols;
        if (a.head_norm == HeadNorm::full_width && row.role == Role::q_norm) cols = Dim::q;
        if (a.head_norm == HeadNorm::full_width && row.role == Role::k_norm) cols = Dim::k;
        const std::string name = "blk." + std::to_string(index) + "." + name_of(row, a);
        const bool plain = row.rows == Dim::none || name.ends_with(".bias");
        LET(tensor, finder.find(name, presence, size_of(cols, a, c), size_of(row.rows, a, c),
                                size_of(row.depth, a, c), plain));
        layer.tensors[static_cast<size_t>(row.role)] = tensor;
    }
    return {};
}

Status find_rope_factors(Finder& finder, const Gguf& gguf, const Architecture& a, const Config& c,
                         Weights& w) {
    if (a.rope == RopeKind::none) return {};
    const int64_t pairs = c.rope.dims / 2;
    LET(factors, finder.find("rope_freqs.weight", Presence::optional, pairs, 1, 1, true));
    LET(longer, finder.find("rope_factors_long.weight", Presence::optional, pairs, 1, 1, true));
    LET(shorter, finder.find("rope_factors_short.weight", Presence::optional, pairs, 1, 1, true));
    w.rope_factors = factors;
    w.rope_factors_long = longer;
    w.rope_factors_short = shorter;
    for (const TensorInfo* tensor : {w.rope_factors, w.rope_factors_long, w.rope_factors_short}) {
        if (!tensor) continue;
        const auto* values = reinterpret_cast<const float*>(tensor->data);
        for (int64_t i = 0; i < pairs; ++i)
            if (!(values[i] > 0.0f && values[i] < 1e30f))
                return finder.error(tensor->name, "positive finite divisors",
                                    format_text("%g", static_cast<double>(values[i])));
    }
    if (c.rope.scaling == RopeScaling::longrope && (!longer || !shorter))
        return finder.error("rope_factors_long.weight",
                            "both long and short factors (rope.scaling.type is longrope)",
                            "none in " + escaped(gguf.path()));
    return {};
}

}  // namespace

Result<Weights> find_weights(const Gguf& gguf, const Architecture& a, Config& c) {
    Finder finder(gguf);
    Weights w;
    const TensorInfo* embedding = gguf.find("token_embd.weight");
    c.vocab = embedding ? embedding->ne[1] : 1;
    if (c.vocab > int64_t{limits::kVocab})
        return finder.error("token_embd.weight", format_text("at most %u rows", limits::kVocab),
                            shape_text(*embedding));
    LET(table, finder.find("token_embd.weight", Presence::required, c.embedding, c.vocab, 1, false));
    LET(output, finder.find("output.weight", a.output, c.embedding, c.vocab, 1, false));
    LET(output_norm, finder.find("output_norm.weight", Presence::required, c.embedding, 1, 1, true));
    LET(output_norm_bias, finder.find("output_norm.bias", a.norm_bias, c.embedding, 1, 1, true));
    w.embedding = table;
    w.output = output ? output : table;
    w.output_norm = output_norm;
    w.output_norm_bias = output_norm_bias;
    if (a.position_embedding) {
        LET(positions,
            finder.find("position_embd.weight", Presence::required, c.embedding, c.context, 1, false));
        w.position_embedding = positions;
    }
    TRY(find_rope_factors(finder, gguf, a, c, w));
    w.layers.resize(c.layers.size());
    for (size_t i = 0; i < w.layers.size(); ++i) TRY(find_layer(finder, a, c, i, w.layers[i]));
    TRY(finder.all_used());
    return w;
}

bool role_of(const std::string& tensor_name, const Architecture& a, Role& role, int64_t& layer) {
    constexpr std::string_view kPrefix = "blk.";
    if (!tensor_name.starts_with(kPrefix)) return false;
    const char* end = tensor_name.data() + tensor_name.size();
    const auto [after, failure] = std::from_chars(tensor_name.data() + kPrefix.size(), end, layer);
    if (failure != std::errc{} || after == end || *after != '.') return false;
    const std::string_view rest(after + 1, static_cast<size_t>(end - after - 1));
    for (const RoleRow& row : kRoles) {
        if (rest != name_of(row, a)) continue;
        role = row.role;
        return true;
    }
    return false;
}

}  // namespace quant
