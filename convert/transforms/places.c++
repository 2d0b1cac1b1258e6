// The table by family, and the places of a model by its roles.
#include "convert/transforms/places.h"

#include <iterator>
#include <string_view>
#include <utility>

#include "base/file.h"
#include "model/architecture.h"

namespace quant {

namespace {

constexpr const char* kHeadNorms = "q and k are normed by head before their positions are added";
constexpr const char* kPostNorms = "norms behind the blocks fix the axes of the hidden states";
constexpr const char* kTernary = "its weights are ternary, a transform would make others of them";

struct Rules {
    const char* architecture;
    const char* refused[kPlaceKinds];  // norm, value, up, residual, keys; null: allowed
};
constexpr Rules kRules[] = {
    {"llama", {nullptr, nullptr, nullptr, nullptr, nullptr}},
    {"qwen2", {nullptr, nullptr, nullptr, nullptr, nullptr}},
    {"qwen3", {nullptr, nullptr, nullptr, nullptr, kHeadNorms}},
    {"qwen3moe", {nullptr, nullptr, nullptr, nullptr, kHeadNorms}},
    {"gemma2", {nullptr, nullptr, nullptr, kPostNorms, nullptr}},
    {"gemma3", {nullptr, nullptr, nullptr, kPostNorms, kHeadNorms}},
    {"phi3", {nullptr, nullptr, nullptr, nullptr, nullptr}},
    {"olmo2", {"it has no norms before its blocks", nullptr, nullptr, kPostNorms, kHeadNorms}},
    {"granite", {nullptr, nullptr, nullptr, nullptr, nullptr}},
    {"smollm3", {nullptr, nullptr, nullptr, nullptr, nullptr}},
    {"gpt-oss", {nullptr, nullptr, "its gate is clamped, so that up's scale counts", nullptr, nullptr}},
    {"bitnet-b1.58", {kTernary, kTernary, kTernary, kTernary, kTernary}},
    {"gpt2", {nullptr, nullptr, "its feed-forward block has no gate", "its norms subtract the mean of the hidden states", nullptr}},
};

using As = Fold::As;

class Finder {
public:
    explicit Finder(const Outline& model) : m_(model), a_(*model.architecture), c_(model.config) {}

    std::vector<Place> norms() const {
        std::vector<Place> out;
        for (int32_t i = 0; i < layers(); ++i) {
            Place attention = start(PlaceKind::norm, i, "attn_norm", c_.embedding);
            make(attention, i, Role::attention_norm, As::maker_elements);
            make(attention, i, Role::attention_norm_bias, As::maker_elements);
            for (const Role role : kAttentionReaders) read(attention, i, role);
            out.push_back(std::move(attention));
            Place forward = start(PlaceKind::norm, i, "ffn_norm", c_.embedding);
            make(forward, i, Role::feed_forward_norm, As::maker_elements);
            make(forward, i, Role::feed_forward_norm_bias, As::maker_elements);
            for (const Role role : kForwardReaders) read(forward, i, role);
            out.push_back(std::move(forward));
        }
        if (tied()) return out;
        Place output = start(PlaceKind::norm, -1, "output_norm", c_.embedding);
        output.makers.push_back({m_.weights.output_norm->name, As::maker_elements});
        if (m_.weights.output_norm_bias) output.makers.push_back({m_.weights.output_norm_bias->name, As::maker_elements});
        output.readers.push_back({m_.weights.output->name});
        out.push_back(std::move(output));
        return out;
    }

    std::vector<Place> values() const {
        std::vector<Place> out;
        const int64_t before = c_.q_width() + c_.k_width(), width = c_.v_width(), size = c_.v_head_dim;
        for (int32_t i = 0; i < layers(); ++i) {
            Place place = start(PlaceKind::value, i, "attn_v", width);
            place.block = size;
            make(place, i, Role::v, As::maker_rows);
            make(place, i, Role::v_bias, As::maker_elements);
            make(place, i, Role::qkv, As::maker_rows, before, width);
            make(place, i, Role::qkv_bias, As::maker_elements, before, width);
            read(place, i, Role::attention_output);
            for (int64_t c = 0; c < c_.attention_width(); ++c) place.channel_of.push_back(shared_head(c, size));
            out.push_back(std::move(place));
        }
        return out;
    }

    std::vector<Place> ups() const {
        std::vector<Place> out;
        const bool fused = a_.feed_forward == FeedForward::gated_fused;
        const int64_t width = c_.feed_forward;
        for (int32_t i = 0; i < layers(); ++i) {
            const bool experts = has(i, Role::expert_up);
            Place place = start(PlaceKind::up, i, "ffn_up", experts ? c_.experts * c_.expert_feed_forward : width);
            make(place, i, Role::up, As::maker_rows, fused ? width : 0, fused ? width : 0);
            make(place, i, Role::up_bias, As::maker_elements, fused ? width : 0, fused ? width : 0);
            make(place, i, Role::expert_up, As::maker_rows);
            make(place, i, Role::expert_up_bias, As::maker_elements, 0, 0, true);
            read(place, i, Role::down);
            read(place, i, Role::expert_down, true);
            out.push_back(std::move(place));
        }
        return out;
    }

    // Of a model whose output matrix is its own.
    std::vector<Place> residual() const {
        if (tied()) return {};
        Place place = start(PlaceKind::residual, -1, "residual", c_.embedding);
        place.block = c_.embedding;
        place.makers.push_back({m_.weights.embedding->name, As::maker_elements});
        for (int32_t i = 0; i < layers(); ++i) {
            for (const Role role : kAttentionReaders) read(place, i, role);
            make(place, i, Role::attention_output, As::maker_rows);
            make(place, i, Role::attention_output_bias, As::maker_elements);
            for (const Role role : kForwardReaders) read(place, i, role);
            make(place, i, Role::down, As::maker_rows);
            make(place, i, Role::down_bias, As::maker_elements);
            make(place, i, Role::expert_down, As::maker_rows);
            make(place, i, Role::expert_down_bias, As::maker_elements);
        }
        place.readers.push_back({m_.weights.output->name});
        return {place};
    }

    std::vector<Place> keys() const {
        std::vector<Place> out;
        const int64_t size = c_.k_head_dim, q = c_.q_width(), k = c_.k_width();
        for (int32_t i = 0; i < layers(); ++i) {
            Place place = start(PlaceKind::keys, i, "attn_k", k);
            place.block = size;
            make(place, i, Role::k, As::maker_rows);
            make(place, i, Role::k_bias, As::maker_elements);
            make(place, i, Role::qkv, As::maker_rows, q, k);
            make(place, i, Role::qkv_bias, As::maker_elements, q, k);
            query(place, i, Role::q, As::query_rows, 0);
            query(place, i, Role::q_bias, As::query_elements, 0);
            query(place, i, Role::qkv, As::query_rows, q);
            query(place, i, Role::qkv_bias, As::query_elements, q);
            for (int64_t r = 0; r < q; ++r) place.channel_of.push_back(shared_head(r, size));
            out.push_back(std::move(place));
        }
        return out;
    }

private:
    static constexpr Role kAttentionReaders[] = {Role::q, Role::k, Role::v, Role::qkv};
    static constexpr Role kForwardReaders[] = {Role::gate, Role::up, Role::router, Role::expert_gate, Role::expert_up};

    int32_t layers() const { return static_cast<int32_t>(m_.weights.layers.size()); }
    bool tied() const { return m_.weights.output == m_.weights.embedding; }
    const TensorInfo* tensor(int32_t layer, Role role) const { return m_.weights.layers[static_cast<size_t>(layer)][role]; }
    bool has(int32_t layer, Role role) const { return tensor(layer, role) != nullptr; }

    // Query heads share the channels of their kv head.
    int32_t shared_head(int64_t column, int64_t size) const {
        return static_cast<int32_t>(column / size / (c_.heads / c_.kv_heads) * size + column % size);
    }

    static Place start(PlaceKind kind, int32_t layer, const char* name, int64_t channels) {
        Place place;
        place.kind = kind;
        place.layer = layer;
        place.name = name;
        place.channels = channels;
        return place;
    }
    void make(Place& place, int32_t layer, Role role, As as, int64_t first = 0, int64_t count = 0, bool per_matrix = false) const {
        if (has(layer, role)) place.makers.push_back({tensor(layer, role)->name, as, first, count, per_matrix});
    }
    void read(Place& place, int32_t layer, Role role, bool per_matrix = false) const {
        if (has(layer, role)) place.readers.push_back({tensor(layer, role)->name, As::reader, 0, 0, per_matrix});
    }
    void query(Place& place, int32_t layer, Role role, As as, int64_t count) const {
        if (has(layer, role)) place.readers.push_back({tensor(layer, role)->name, as, 0, count, false});
    }

    const Outline& m_;
    const Architecture& a_;
    const Config& c_;
};

}  // namespace

const char* refusal(const Architecture& architecture, PlaceKind kind) {
    for (const Rules& rules : kRules)
        if (std::string_view(rules.architecture) == architecture.name) return rules.refused[static_cast<size_t>(kind)];
    return "no rules for this architecture yet";
}

Result<std::unique_ptr<Outline>> outline_of(const Source& source) {
    auto out = std::make_unique<Outline>();
    std::vector<TensorInfo> tensors = source.tensors();
    for (size_t i = 0; i < tensors.size(); ++i) {
        if (tensors[i].rows() != 1 || tensors[i].data) continue;
        std::vector<float>& values = out->vectors.emplace_back(static_cast<size_t>(tensors[i].cols()));
        source.read_rows(i, 0, 1, values.data());
        tensors[i].format = &format_of(FormatSlot::f32);
        tensors[i].data = reinterpret_cast<const uint8_t*>(values.data());
    }
    out->gguf = Gguf::of(source.metadata(), std::move(tensors));
    const Metadata& metadata = out->gguf.metadata();
    LET(name, metadata.get_string("general.architecture"));
    out->architecture = find_architecture(name.value_or(""));
    if (!out->architecture)
        return input_error(escaped(metadata.origin) + ": a transform needs an architecture that quant runs, found '" +
                           escaped(name.value_or("")) + "'");
    LET(config, read_config(metadata, *out->architecture));
    LET(weights, find_weights(out->gguf, *out->architecture, config));
    out->config = std::move(config);
    out->weights = std::move(weights);
    return out;
}

std::vector<Place> places_of(const Outline& model, PlaceKind kind) {
    if (refusal(*model.architecture, kind)) return {};
    const Finder finder(model);
    switch (kind) {
        case PlaceKind::norm: return finder.norms();
        case PlaceKind::value: return finder.values();
        case PlaceKind::up: return finder.ups();
        case PlaceKind::residual: return finder.residual();
        case PlaceKind::keys: return finder.keys();
    }
    return {};
}

Edits fold_at(const Place& place, const SharedMap& for_makers, const SharedMap& for_readers) {
    Edits edits;
    for (const Place::Side& side : place.makers) edits.add(side.tensor, {side.as, for_makers, side.first, side.count, side.per_matrix});
    for (const Place::Side& side : place.readers) edits.add(side.tensor, {side.as, for_readers, side.first, side.count, side.per_matrix});
    return edits;
}

Edits scale_at(const Place& place, const std::vector<float>& s) {
    return fold_at(place, scale_map(s), scale_map(by_column(place, s)));
}

std::vector<float> by_column(const Place& place, const std::vector<float>& s) {
    if (place.channel_of.empty()) return s;
    std::vector<float> out;
    for (const int32_t channel : place.channel_of) out.push_back(s[static_cast<size_t>(channel)]);
    return out;
}

}  // namespace quant
