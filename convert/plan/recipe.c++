// The mixes as a table of rules. Knows names and figures of a model, never its bytes.
#include "convert/plan/recipe.h"

#include <algorithm>
#include <charconv>
#include <vector>

#include "base/file.h"
#include "formats/affine.h"

namespace quant {

namespace {

using Slot = FormatSlot;
using Role = TensorRole;

constexpr Slot kQ2K = Slot::q2_k, kQ4K = Slot::q4_k, kQ5K = Slot::q5_k, kQ6K = Slot::q6_k, kQ3K = Slot::q3_k;
constexpr Slot kIq3Xxs = Slot::iq3_xxs, kIq3S = Slot::iq3_s;

// Mixes that are no plain format.
struct Mix {
    const char* name;
    Slot base;
    int32_t file_type;
    bool needs_importance;
    const char* purpose;
    bool ecosystem = true;  // its number means this mix
    bool keep_tables = false;
};
constexpr Mix kMixes[] = {
    {"IQ2_S", Slot::iq2_xs, 28, true, "IQ2_XS, attn_v, attn_output and the first layers higher"},
    {"IQ2_M", Slot::iq2_s, 29, true, "IQ2_S, attn_v, attn_output and the first layers higher"},
    {"IQ3_XS", Slot::iq3_s, 22, false, "IQ3_S with IQ3_XXS for queries, keys and the middle layers"},
    {"IQ3_M", Slot::iq3_s, 27, false, "IQ3_S, attn_v, attn_output and the first layers at 4 bits"},
    {"Q2_K_S", Slot::q2_k, 21, true, "smallest of the 2-bit mixes; needs an importance matrix"},
    {"Q3_K_S", kQ3K, 11, false, "3 bits, small"},
    {"Q3_K_M", kQ3K, 12, false, "3 bits, attn_v, attn_output and ffn_down higher"},
    {"Q3_K_L", kQ3K, 13, false, "3 bits, attn_v, attn_output and ffn_down at 5"},
    {"Q4_K_S", kQ4K, 14, false, "4 bits, the first layers higher"},
    {"Q4_K_M", kQ4K, 15, false, "4 bits, half of attn_v and ffn_down at 6: the usual choice"},
    {"Q5_K_S", kQ5K, 16, false, "5 bits"},
    {"Q5_K_M", kQ5K, 17, false, "5 bits, half of attn_v and ffn_down at 6"},
    // Our own mixes of stock formats, chosen by KL divergence on the bundled model against bytes (24 windows of 512
    // tokens): Q4 0.0034 in 2.84 MB where Q4_K_M has 0.0053 in 2.85, Q5 0.0014 in 3.28 (Q5_K_M 0.0019 in 3.19),
    // Q2 0.048 in 2.16 (Q2_K 0.054 in 2.12).
    {"Q2", Slot::q2_k, 10, false, "the best stock mix near 2 bits", false},
    {"Q4", Slot::iq4_xs, 30, false, "the best stock mix near 4 bits", false},
    {"Q5", kQ5K, 17, false, "the best stock mix near 5 bits", false},
    // Models trained with few values keep their tables in plain numbers: lossless as a whole.
    {"TERNARY", Slot::tq2_0, 37, false, "three values per weight: lossless for models trained that way", false, true},
    {"BINARY", Slot::q1_0, 40, false, "two values per weight: lossless for models trained that way", false, true},
    {"MXFP4_MOE", Slot::mxfp4, 38, false, "experts in MXFP4, everything else in Q8_0"},
};

struct Alias {
    const char* name;
    const char* target;
    const char* purpose;
};
constexpr Alias kAliases[] = {
    {"Q3_K", "Q3_K_M", ""},
    {"Q4_K", "Q4_K_M", ""},
    {"Q5_K", "Q5_K_M", ""},
    {"A1", "A1_G64Z", "1 bit, with scale and zero point per 64"},
    {"A2", "A2_G64Z", "2 bits, with scale and zero point per 64"},
    {"A3", "A3_G64Z", "3 bits, with scale and zero point per 64"},
    {"A4", "A4_G64Z", "4 bits, with scale and zero point per 64"},
    {"A5", "A5_G64Z", "5 bits, with scale and zero point per 64"},
    {"A6", "A6_G64Z", "6 bits, with scale and zero point per 64"},
    {"A7", "A7_G64Z", "7 bits, with scale and zero point per 64"},
    {"A8", "A8_G64Z", "8 bits, with scale and zero point per 64"},
    {"A8_ROW", "Q8_ROW", ""},
    {"q3", "Q3_K_M", "the best stock mix near 3 bits"},
    {"q6", "Q6_K", "the best stock mix near 6 bits"},
    {"q8", "Q8_0", "the best stock mix near 8 bits"},
};

enum class When : uint8_t {
    always,
    more_bits,      // the first and the last eighth of the layers and every third between
    first,          // layer < n
    middle,         // neither the first nor the last eighth of the layers
    first_part,     // layer < layers / n
    first_part_with_importance,
    first_part_without_importance,
    first_part_counted,            // as first_part, where a matrix of each expert counts as a layer
    more_bits_with_8_experts,
    without_importance,
    grouped,             // at least n query heads share one value head
    grouped_or_experts,  // or there are n experts
};

struct Rule {
    std::string_view recipe;
    Role role;
    When when;
    int64_t n;
    Slot to;
    const char* reason;
};

constexpr const char* kSensitive = "first or last eighth of the layers, or every third";
constexpr const char* kFirstLayers = "first layers";
constexpr const char* kShared = "value heads shared by 4 or more query heads";
constexpr const char* kValues = "value projection";
constexpr const char* kDown = "down projection";
constexpr const char* kAttnOutput = "attention output";
constexpr const char* kKeys = "key projection";
constexpr const char* kQueries = "query projection";
constexpr const char* kMiddle = "neither first nor last layers";
constexpr const char* kTable = "embedding table";

// The first row that fits decides; without one the tensor gets the base format.
constexpr Rule kRules[] = {
    {"Q2_K", Role::attn_v, When::grouped, 4, kQ4K, kShared},
    {"Q2_K", Role::attn_v, When::always, 0, kQ3K, kValues},
    {"Q2_K", Role::ffn_down, When::always, 0, kQ3K, kDown},
    {"Q2_K", Role::attn_output, When::always, 0, kQ3K, kAttnOutput},
    {"Q2_K_S", Role::attn_v, When::grouped, 4, kQ4K, kShared},
    {"Q2_K_S", Role::ffn_down, When::first_part, 8, kQ4K, kFirstLayers},
    {"Q3_K_M", Role::attn_v, When::first, 2, kQ5K, kFirstLayers},
    {"Q3_K_M", Role::attn_v, When::always, 0, kQ4K, kValues},
    {"Q3_K_M", Role::ffn_down, When::first_part, 16, kQ5K, kFirstLayers},
    {"Q3_K_M", Role::ffn_down, When::always, 0, kQ4K, kDown},
    {"Q3_K_M", Role::attn_output, When::always, 0, kQ4K, kAttnOutput},
    {"Q3_K_L", Role::attn_v, When::always, 0, kQ5K, kValues},
    {"Q3_K_L", Role::ffn_down, When::always, 0, kQ5K, kDown},
    {"Q3_K_L", Role::attn_output, When::always, 0, kQ5K, kAttnOutput},
    {"Q4_K_S", Role::attn_v, When::first, 4, kQ5K, kFirstLayers},
    {"Q4_K_S", Role::ffn_down, When::first_part, 8, kQ5K, kFirstLayers},
    {"Q4_K_M", Role::attn_v, When::more_bits, 0, kQ6K, kSensitive},
    {"Q4_K_M", Role::ffn_down, When::more_bits, 0, kQ6K, kSensitive},
    {"Q2", Role::attn_v, When::always, 0, Slot::iq4_xs, kValues},
    {"Q2", Role::ffn_down, When::always, 0, kQ3K, kDown},
    {"Q2", Role::attn_output, When::always, 0, Slot::iq4_xs, kAttnOutput},
    {"Q5", Role::attn_v, When::always, 0, Slot::q8_0, kValues},
    {"Q5", Role::ffn_down, When::always, 0, kQ6K, kDown},
    {"Q4", Role::attn_v, When::always, 0, kQ6K, kValues},
    {"Q4", Role::ffn_down, When::always, 0, kQ5K, kDown},
    {"Q4", Role::attn_output, When::always, 0, kQ5K, kAttnOutput},
    {"Q5_K_M", Role::attn_v, When::more_bits, 0, kQ6K, kSensitive},
    {"Q5_K_M", Role::ffn_down, When::more_bits, 0, kQ6K, kSensitive},
    {"IQ1_S", Role::token_embd, When::always, 0, kQ2K, kTable},
    {"IQ1_S", Role::attn_v, When::grouped_or_experts, 4, kQ4K, kShared},
    {"IQ1_S", Role::attn_v, When::always, 0, kQ2K, kValues},
    {"IQ1_S", Role::ffn_down, When::first_part_counted, 8, kQ2K, kFirstLayers},
    {"IQ1_S", Role::attn_output, When::always, 0, Slot::iq2_xxs, kAttnOutput},
    {"IQ1_M", Role::token_embd, When::always, 0, kQ2K, kTable},
    {"IQ1_M", Role::attn_v, When::grouped_or_experts, 4, kQ4K, kShared},
    {"IQ1_M", Role::attn_v, When::always, 0, kQ2K, kValues},
    {"IQ1_M", Role::ffn_down, When::first_part_counted, 8, kQ2K, kFirstLayers},
    {"IQ1_M", Role::attn_output, When::always, 0, Slot::iq2_xxs, kAttnOutput},
    {"IQ2_XXS", Role::token_embd, When::always, 0, kQ2K, kTable},
    {"IQ2_XXS", Role::attn_v, When::grouped_or_experts, 4, kQ4K, kShared},
    {"IQ2_XXS", Role::attn_v, When::always, 0, kQ2K, kValues},
    {"IQ2_XXS", Role::ffn_down, When::first_part_counted, 8, kQ2K, kFirstLayers},
    {"IQ2_XS", Role::token_embd, When::always, 0, kQ2K, kTable},
    {"IQ2_XS", Role::attn_v, When::grouped_or_experts, 4, kQ4K, kShared},
    {"IQ2_XS", Role::attn_v, When::always, 0, kQ2K, kValues},
    {"IQ2_XS", Role::ffn_down, When::first_part_counted, 8, kQ2K, kFirstLayers},
    {"IQ2_S", Role::token_embd, When::always, 0, kIq3S, kTable},
    {"IQ2_S", Role::attn_v, When::grouped_or_experts, 4, kQ4K, kShared},
    {"IQ2_S", Role::attn_v, When::always, 0, kIq3S, kValues},
    {"IQ2_S", Role::ffn_down, When::first_part_counted, 8, kIq3S, kFirstLayers},
    {"IQ2_S", Role::attn_output, When::always, 0, kIq3S, kAttnOutput},
    {"IQ2_M", Role::token_embd, When::always, 0, kIq3S, kTable},
    {"IQ2_M", Role::attn_v, When::grouped_or_experts, 4, kQ4K, kShared},
    {"IQ2_M", Role::attn_v, When::always, 0, kIq3S, kValues},
    {"IQ2_M", Role::ffn_down, When::first_part_counted, 8, kIq3S, kFirstLayers},
    {"IQ2_M", Role::attn_output, When::always, 0, kIq3S, kAttnOutput},
    {"IQ3_XXS", Role::token_embd, When::always, 0, kIq3S, kTable},
    {"IQ3_XXS", Role::attn_v, When::grouped, 4, kQ4K, kShared},
    {"IQ3_XXS", Role::attn_v, When::without_importance, 0, kIq3S, kValues},
    {"IQ3_XXS", Role::attn_k, When::always, 0, Slot::iq2_s, kKeys},
    {"IQ3_XXS", Role::attn_q, When::always, 0, Slot::iq2_s, kQueries},
    {"IQ3_XXS", Role::ffn_down, When::first_part_without_importance, 8, kQ4K, kFirstLayers},
    {"IQ3_XXS", Role::ffn_down, When::without_importance, 0, kQ3K, kDown},
    {"IQ3_XXS", Role::attn_output, When::always, 0, kIq3S, kAttnOutput},
    {"IQ3_XS", Role::attn_v, When::grouped, 4, kQ4K, kShared},
    {"IQ3_XS", Role::attn_k, When::always, 0, kIq3Xxs, kKeys},
    {"IQ3_XS", Role::attn_q, When::always, 0, kIq3Xxs, kQueries},
    {"IQ3_XS", Role::ffn_gate, When::middle, 0, kIq3Xxs, kMiddle},
    {"IQ3_XS", Role::ffn_up, When::middle, 0, kIq3Xxs, kMiddle},
    {"IQ3_S", Role::attn_v, When::grouped, 4, kQ4K, kShared},
    {"IQ3_M", Role::attn_v, When::always, 0, kQ4K, kValues},
    {"IQ3_M", Role::ffn_down, When::first_part, 8, kQ4K, kFirstLayers},
    {"IQ3_M", Role::ffn_down, When::more_bits_with_8_experts, 0, kQ4K, kSensitive},
    {"IQ3_M", Role::attn_output, When::always, 0, kQ4K, kAttnOutput},
    {"IQ4_NL", Role::attn_v, When::grouped, 4, kQ5K, kShared},
    {"IQ4_NL", Role::ffn_down, When::first_part_without_importance, 8, kQ5K, kFirstLayers},
    {"IQ4_XS", Role::attn_v, When::grouped, 4, kQ5K, kShared},
    {"IQ4_XS", Role::ffn_down, When::first_part_without_importance, 8, kQ5K, kFirstLayers},
    {"Q4_0", Role::ffn_down, When::first_part_with_importance, 8, Slot::q4_1, kFirstLayers},
    {"Q5_0", Role::ffn_down, When::first_part_with_importance, 8, Slot::q5_1, kFirstLayers},
    {"TQ1_0", Role::token_embd, When::always, 0, kQ4K, kTable},
    {"TQ2_0", Role::token_embd, When::always, 0, kQ4K, kTable},
    {"Q2_0", Role::token_embd, When::always, 0, kQ4K, kTable},
};

// With 8 experts the small attention matrices cost little beside them.
constexpr std::string_view kAttnOutputOf8Experts[] = {"Q2_K", "Q3_K_S", "Q3_K_M", "Q4_K_S", "Q4_K_M",
                                                      "IQ4_NL", "IQ4_XS", "Q2",     "Q4",
                                                      "IQ3_XXS", "IQ3_XS", "IQ3_S", "IQ3_M"};

// Below 3 bits other rules hold for many experts and for 80 layers.
bool below_3_bits(Slot base) {
    return base == Slot::iq1_s || base == Slot::iq1_m || base == Slot::iq2_xxs || base == Slot::iq2_xs || base == Slot::iq2_s;
}

bool more_bits(int64_t layer, int64_t layers) {
    return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
}

bool grouped(const ModelFacts& facts, int64_t n) { return facts.kv_heads > 0 && facts.heads / facts.kv_heads >= n; }

bool holds(const Rule& rule, const ModelFacts& facts, const RuleInput& tensor, int64_t layers) {
    const int64_t layer = tensor.layer;
    switch (rule.when) {
        case When::always: return true;
        case When::more_bits: return more_bits(layer, layers);
        case When::first: return layer < rule.n;
        case When::first_part: return layer < layers / rule.n;
        case When::first_part_with_importance: return facts.importance && layer < layers / rule.n;
        case When::first_part_without_importance: return !facts.importance && layer < layers / rule.n;
        case When::middle: return layer >= layers / 8 && layer < 7 * layers / 8;
        case When::first_part_counted: return tensor.count < layers / rule.n;
        case When::more_bits_with_8_experts: return facts.experts == 8 && more_bits(layer, layers);
        case When::without_importance: return !facts.importance;
        case When::grouped: return grouped(facts, rule.n);
        case When::grouped_or_experts: return grouped(facts, rule.n) || facts.experts >= rule.n;
    }
    return false;
}

std::string upper(std::string_view text) {
    std::string out(text);
    for (char& c : out)
        if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    return out;
}

Recipe from_format(const Format& format) {
    return {format.name, format.slot, format.file_type, false, format.needs_importance, false, format.purpose};
}

Recipe from_mix(const Mix& mix) {
    return {mix.name, mix.base, mix.file_type, false, mix.needs_importance, mix.keep_tables, mix.purpose};
}

RuleAnswer output_rule(const Recipe& recipe, int64_t cols) {
    const Format& base = format_of(recipe.base);
    if (recipe.name == "MXFP4_MOE") return {Slot::q8_0, "output matrix"};
    if (cols % base.block != 0) return {Slot::q8_0, "output matrix, row not a multiple of the base format's block"};
    if (base.bits_per_weight() > format_of(kQ6K).bits_per_weight()) return {recipe.base, ""};
    if (below_3_bits(recipe.base) || recipe.base == kIq3Xxs) return {kQ5K, "output matrix"};
    return {kQ6K, "output matrix"};
}

}  // namespace

TensorRole role_of(std::string_view name) {
    if (name == "output.weight") return Role::output;
    if (name == "token_embd.weight" || name == "per_layer_token_embd.weight") return Role::token_embd;
    struct Part {
        std::string_view text;
        Role role;
    };
    static constexpr Part parts[] = {
        {"attn_qkv.weight", Role::attn_v}, {"attn_kv_b.weight", Role::attn_v},
        {"attn_v.weight", Role::attn_v},   {"attn_k.weight", Role::attn_k},
        {"attn_q.weight", Role::attn_q},   {"attn_output.weight", Role::attn_output},
        {"ffn_up", Role::ffn_up},          {"ffn_gate", Role::ffn_gate},
        {"ffn_down", Role::ffn_down},
    };
    for (const Part& part : parts)
        if (name.find(part.text) != std::string_view::npos) return part.role;
    return Role::other;
}

int64_t layer_of(std::string_view name) {
    if (!name.starts_with("blk.")) return -1;
    int64_t layer = -1;
    const auto [end, error] = std::from_chars(name.data() + 4, name.data() + name.size(), layer);
    if (error != std::errc{} || end == name.data() + name.size() || *end != '.' || layer < 0) return -1;
    return layer;
}

const char* never_quantized(std::string_view name) {
    if (!name.ends_with("weight")) return "not a weight matrix";
    if (name.find("_norm.weight") != std::string_view::npos) return "norm";
    struct Part {
        std::string_view text;
        const char* reason;
    };
    // Small, or read by operations that stock runners have for plain numbers only.
    static constexpr Part parts[] = {
        {"ffn_gate_inp.weight", "router of the experts"},
        {"ffn_gate_tid2eid.weight", "routing table"},
        {"position_embd", "position table"},
        {"token_types", "token type table"},
        {"altup", "small matrix"},
        {"laurel", "small matrix"},
        {"per_layer_model_proj", "small matrix"},
        {"indexer.k_proj.weight", "small matrix"},
        {"indexer.q_proj.weight", "small matrix"},
        {"ssm_conv1d", "convolution"},
        {"shortconv.conv.weight", "convolution"},
        {"time_mix_first.weight", "recurrent state"},
        {"time_mix_w0.weight", "recurrent state"},
        {"time_mix_w1.weight", "recurrent state"},
        {"time_mix_w2.weight", "recurrent state"},
        {"time_mix_v0.weight", "recurrent state"},
        {"time_mix_v1.weight", "recurrent state"},
        {"time_mix_v2.weight", "recurrent state"},
        {"time_mix_a0.weight", "recurrent state"},
        {"time_mix_a1.weight", "recurrent state"},
        {"time_mix_a2.weight", "recurrent state"},
        {"time_mix_g1.weight", "recurrent state"},
        {"time_mix_g2.weight", "recurrent state"},
        {"time_mix_decay_w1.weight", "recurrent state"},
        {"time_mix_decay_w2.weight", "recurrent state"},
        {"time_mix_lerp_fused.weight", "recurrent state"},
        {"attn_rel_b.weight", "position bias"},
        {"sam.pos_embd", "image encoder"},
        {"sam.neck.", "image encoder"},
        {"sam.net_", "image encoder"},
        {".rel_pos", "image encoder"},
        {".patch_embd", "image encoder"},
        {".patch_merger", "image encoder"},
        {"a.rvq.codebook", "audio code book"},
        {"mm.a.code_embd", "audio code book"},
    };
    for (const Part& part : parts)
        if (name.find(part.text) != std::string_view::npos) return part.reason;
    return nullptr;
}

bool in_family(const Format& format) { return format.slot >= Slot::affine && format.slot <= Slot::affine_last; }

bool is_recipe(std::string_view name) { return find_recipe(name).ok(); }

std::span<const std::string> recipe_names() {
    static const std::vector<std::string> names = [] {
        std::vector<std::string> out;
        for (const Format& format : formats())
            if (format.encodes) out.emplace_back(format.name);
        for (const Mix& mix : kMixes) out.emplace_back(mix.name);
        for (const Alias& alias : kAliases)
            if (std::find(out.begin(), out.end(), alias.name) == out.end()) out.emplace_back(alias.name);
        out.emplace_back("COPY");
        out.emplace_back("KEEP");
        return out;
    }();
    return names;
}

Result<Recipe> find_recipe(std::string_view given) {
    const std::string name = upper(given);
    if (name == "COPY") return Recipe{"COPY", Slot::f32, -1, true, false, false, "tensors as they are"};
    if (name == "KEEP")
        return Recipe{"KEEP", Slot::f32, -1, true, false, false, "tensors as they are, of quantized checkpoints the codes where a type holds them exactly", true};
    for (const Alias& alias : kAliases)
        if (name == upper(alias.name)) return find_recipe(alias.target);
    for (const Mix& mix : kMixes)
        if (name == mix.name) return from_mix(mix);
    if (const Format* format = find_format(name); format && format->encodes) return from_format(*format);

    int32_t number = -1;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
    if (error == std::errc{} && end == name.data() + name.size() && number >= 0) {
        for (const Mix& mix : kMixes)
            if (mix.file_type == number && mix.ecosystem) return from_mix(mix);
        for (const Format& format : formats())
            if (format.encodes && format.file_type == number) return from_format(format);
    }
    std::string known;
    for (const std::string& each : recipe_names()) {
        const Format* format = find_format(each);
        if (!format || !in_family(*format)) known += (known.empty() ? "" : " ") + each;
    }
    known += " A1_G32 ... A8_ROWZ (quant formats --all)";
    return usage_error("unknown type '" + escaped(given) + "', known: " + known);
}

RuleAnswer apply_rules(const Recipe& recipe, const ModelFacts& facts, const RuleInput& tensor) {
    const Slot base = recipe.base;
    if (format_of(base).kind != FormatKind::block) return {base, ""};
    if (tensor.role == Role::output || (facts.tied && tensor.role == Role::token_embd))
        return output_rule(recipe, tensor.cols);
    if (recipe.name == "MXFP4_MOE")
        return tensor.stacked ? RuleAnswer{Slot::mxfp4, ""} : RuleAnswer{Slot::q8_0, "not an expert"};

    const bool low = below_3_bits(base), eight_experts = facts.experts == 8 && !low;
    if (low && facts.experts == 8 && tensor.role == Role::attn_k) return {kQ4K, "small beside 8 experts"};
    if (low && facts.experts == 8 && tensor.role == Role::attn_output) return {kQ5K, "small beside 8 experts"};
    if (tensor.role == Role::attn_v && eight_experts) return {Slot::q8_0, "small beside 8 experts"};
    if (tensor.role == Role::attn_k && eight_experts) return {Slot::q8_0, "small beside 8 experts"};
    if (tensor.role == Role::attn_output && eight_experts) {
        const bool listed = std::find(std::begin(kAttnOutputOf8Experts), std::end(kAttnOutputOf8Experts),
                                      recipe.name) != std::end(kAttnOutputOf8Experts);
        return listed ? RuleAnswer{kQ5K, "small beside 8 experts"} : RuleAnswer{base, ""};
    }
    RuleAnswer answer{base, ""};
    const int64_t layers = tensor.role == Role::attn_v ? facts.value_tensors : facts.layers;
    for (const Rule& rule : kRules) {
        if (rule.recipe != recipe.name || rule.role != tensor.role || !holds(rule, facts, tensor, layers)) continue;
        answer = {rule.to, rule.reason};
        break;
    }
    // The 70B shape: 80 layers whose value matrices are an eighth of the query's.
    if (!low && tensor.role == Role::attn_v && facts.layers == 80 && facts.heads != facts.kv_heads &&
        (answer.format == kQ3K || answer.format == kQ4K))
        answer = {kQ5K, "value heads shared, 80 layers"};
    return answer;
}

const Format* fallback_for(const Format& wanted, int64_t cols) {
    if (cols % wanted.block == 0) return &wanted;
    struct Row {
        Slot from, to;
    };
    static constexpr Row rows[] = {
        {Slot::q2_k, Slot::q4_0},   {Slot::q3_k, Slot::q4_0},  {Slot::tq1_0, Slot::q4_0},   {Slot::tq2_0, Slot::q4_0},
        {Slot::q2_0, Slot::q4_0},   {Slot::q4_k, Slot::q5_0},  {Slot::q5_k, Slot::q5_1},    {Slot::q6_k, Slot::q8_0},
        {Slot::iq4_xs, Slot::iq4_nl}, {Slot::iq1_s, Slot::iq4_nl}, {Slot::iq1_m, Slot::iq4_nl}, {Slot::iq2_xxs, Slot::iq4_nl},
        {Slot::iq2_xs, Slot::iq4_nl}, {Slot::iq2_s, Slot::iq4_nl}, {Slot::iq3_xxs, Slot::iq4_nl}, {Slot::iq3_s, Slot::iq4_nl},
    };
    const Format* next = wanted.block <= 32 ? &wanted : nullptr;
    for (const Row& row : rows)
        if (row.from == wanted.slot) next = &format_of(row.to);
    if (in_family(wanted)) {  // fewer weights under a scale
        const size_t index = static_cast<size_t>(wanted.slot) - static_cast<size_t>(Slot::affine);
        next = &format_of(static_cast<Slot>(static_cast<size_t>(wanted.slot) - index / 2 % 4 * 2 + (affine_layout(index).group ? 0 : 6)));
    }
    if (wanted.slot == Slot::fp8_e4m3) next = &format_of(Slot::fp8_e4m3_row);
    if (wanted.slot == Slot::fp8_e5m2) next = &format_of(Slot::fp8_e5m2_row);
    if (!next) return nullptr;
    return cols % next->block == 0 ? next : &format_of(Slot::f16);
}

}  // namespace quant
