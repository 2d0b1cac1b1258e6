// PEFT adapters as a Source. Pairs A [rank, in] and B [out, rank] keep their orientation; rows of B go where the rows
// of the weight go. A GGUF adapter has one alpha and the effect alpha / rank: other scalings are brought into B.
#include "convert/import/lora_source.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <map>
#include <optional>
#include <utility>

#include "base/file.h"
#include "base/log.h"
#include "convert/import/hf_architecture.h"
#include "convert/import/hf_names.h"
#include "convert/import/hf_rows.h"
#include "convert/import/json.h"
#include "convert/import/safetensors.h"
#include "model/adapter.h"

namespace quant {

namespace {

constexpr const char* kConfigFile = "/adapter_config.json";
constexpr uint64_t kMaxConfigBytes = uint64_t{16} << 20;

struct LoraSettings {
    std::string origin;
    double alpha = 0;
    bool root_of_rank = false;                              // the effect is alpha / sqrt(rank)
    std::vector<std::pair<std::string, double>> patterns;  // other alphas for modules of these names
};

bool given(JsonValue value) {
    if (!value || value.is(JsonValue::Kind::null)) return false;
    if (const auto flag = value.boolean()) return *flag;
    return value.is(JsonValue::Kind::number) || value.is(JsonValue::Kind::string) || value.size() > 0;
}

// What has no form in a GGUF adapter, or changes what A and B mean.
Status refuse_other_kinds(const JsonValue root, const std::string& origin) {
    const auto type = root["peft_type"].text();
    if (type != "LORA")
        return input_error(escaped(origin) + ": \"peft_type\": expected LORA, found " +
                           (type ? "'" + escaped(*type) + "'" : root["peft_type"].kind_name()));
    constexpr std::pair<const char*, const char*> kRefused[] = {
        {"use_dora", "DoRA scales the merged weight's rows, which no GGUF adapter can say; merge it with PEFT"},
        {"modules_to_save", "modules trained whole have no place in a GGUF adapter; merge it with PEFT"},
        {"target_parameters", "adapters of experts are not supported"},
        {"layer_replication", "repeated layers are not supported"},
        {"alora_invocation_tokens", "adapters that begin at certain tokens are not supported"},
        {"trainable_token_indices", "single trained tokens have no place in a GGUF adapter; merge it with PEFT"},
        {"use_qalora", "QALoRA is not supported"},
        {"use_bdlora", "block-diagonal LoRA is not supported"},
        {"lora_bias", "biases have no place in a GGUF adapter; merge it with PEFT"},
    };
    for (const auto& [key, why] : kRefused)
        if (given(root[key])) return input_error(escaped(origin) + ": \"" + key + "\": " + why);
    return {};
}

Result<LoraSettings> read_settings(const Json& json, const std::string& origin) {
    const JsonValue root = json.root();
    TRY(refuse_other_kinds(root, origin));
    LoraSettings out;
    out.origin = origin;
    const auto positive = [&](JsonValue value, const std::string& key) -> Result<double> {
        const auto number = value.real();
        if (number && std::isfinite(*number) && *number > 0 && *number < 1e9) return *number;
        return input_error(escaped(origin) + ": \"" + escaped(key) + "\": expected a positive number, found " +
                           (number ? format_text("%g", *number) : value.kind_name()));
    };
    LET(alpha, positive(root["lora_alpha"], "lora_alpha"));
    out.alpha = alpha;
    out.root_of_rank = given(root["use_rslora"]);
    for (const JsonValue item : root["alpha_pattern"].items()) {
        const std::string key(item.key());
        if (key.find_first_of("\\^$*+?()[]{}|") != std::string::npos)
            return input_error(escaped(origin) + ": \"alpha_pattern\": expected names of modules, found the expression '" + escaped(key) + "'");
        LET(other, positive(item, "alpha_pattern"));
        out.patterns.emplace_back(key, other);
    }
    return out;
}

// The alpha of a module: PEFT takes a pattern that is the module's whole name or its end behind a dot.
double alpha_of(const LoraSettings& settings, std::string_view module) {
    for (const auto& [name, alpha] : settings.patterns)
        if (module == name || module.ends_with("." + name)) return alpha;
    return settings.alpha;
}

// A pair as found in the checkpoint.
struct Pair {
    const SafeTensor* a = nullptr;
    const SafeTensor* b = nullptr;
    bool embedding = false;
};

struct LoraName {
    std::string module;  // "model.layers.0.self_attn.q_proj"
    bool is_a = false, embedding = false;
};

// "base_model.model.MODULE.lora_A.weight", ".lora_embedding_A", with a name of the adapter at or before the end.
std::optional<LoraName> split_lora_name(std::string_view name) {
    take_prefix(name, "base_model.model.");
    if (name.ends_with(".weight")) name.remove_suffix(7);
    for (const bool embedding : {true, false})
        for (const bool is_a : {true, false}) {
            const std::string mark = std::string(embedding ? ".lora_embedding_" : ".lora_") + (is_a ? "A" : "B");
            const size_t at = name.rfind(mark);
            if (at == std::string_view::npos) continue;
            const std::string_view behind = name.substr(at + mark.size());
            if (!behind.empty() && (behind[0] != '.' || behind.find('.', 1) != std::string_view::npos)) continue;
            return LoraName{std::string(name.substr(0, at)), is_a, embedding};
        }
    return std::nullopt;
}

RowStream multiplied(RowStream from, float factor) {
    if (factor == 1.0f) return from;
    RowStream out = from;
    out.read = [read = std::move(from.read), cols = out.cols, factor](int64_t row, int64_t count, float* to) {
        read(row, count, to);
        for (int64_t i = 0; i < count * cols; ++i) to[i] *= factor;
    };
    return out;
}

class LoraSource final : public Source {
public:
    explicit LoraSource(SafeTensors tensors) : checkpoint_(std::move(tensors)) {
        files_ = checkpoint_.file_ids();
        bytes_ = checkpoint_.file_bytes();
    }

    void read_rows(size_t tensor, int64_t row, int64_t count, float* out) const override { rows_[tensor].read(row, count, out); }
    void stored_rows(size_t, int64_t, int64_t, uint8_t*) const override {}  // no blocks here
    void release(size_t) const override {}  // small, and B may lie in the page of the next A

    Status fill(const std::string& folder, const LoraSettings& settings, const Source& base) {
        LET(name, base.metadata().get_string("general.architecture"));
        const auto known = hf_architectures();
        const auto found = std::find_if(known.begin(), known.end(), [&](const HfArchitecture& each) { return name && *name == each.gguf_name; });
        if (found == known.end())
            return input_error(escaped(base.metadata().origin) + ": general.architecture: adapters of '" + escaped(name.value_or("")) +
                               "' cannot be imported");
        architecture_ = &*found;
        LET(heads, base.metadata().get_i64(*name + ".attention.head_count"));
        LET(kv_heads, base.metadata().get_i64(*name + ".attention.head_count_kv"));
        heads_ = heads.value_or(0);
        kv_heads_ = kv_heads.value_or(heads_);
        settings_ = &settings;
        metadata_.origin = folder;
        metadata_.set("general.architecture", Value::of_string(*name));
        metadata_.set("general.type", Value::of_string("adapter"));
        metadata_.set("adapter.type", Value::of_string("lora"));
        metadata_.set("general.name", Value::of_string(name_of_folder(folder)));
        metadata_.set("adapter.lora.alpha", Value::of_f32(0));
        metadata_.set("general.quantization_version", Value::of_u32(2));
        LET(pairs, pair_up());
        TRY(set_alpha(pairs));
        for (const auto& [module, pair] : pairs) TRY(add_pair(module, pair, base));
        return {};
    }

private:
    using Pairs = std::vector<std::pair<std::string, Pair>>;  // in the checkpoint's order

    Error wrong(const SafeTensor& tensor, const std::string& what) const {
        return input_error(escaped(metadata_.origin) + ": tensor " + escaped(tensor.name) + " " + shape_text(tensor) + ": " + what);
    }

    Result<Pairs> pair_up() {
        Pairs pairs;
        std::map<std::string, size_t> place;
        size_t norms = 0;
        for (const SafeTensor& tensor : checkpoint_.tensors()) {
            if (tensor.name.find("lora_magnitude_vector") != std::string::npos) return wrong(tensor, "DoRA is not supported; merge it with PEFT");
            const auto name = split_lora_name(tensor.name);
            if (!name) {
                if (tensor.name.find("norm") == std::string::npos)
                    return wrong(tensor, "expected lora_A or lora_B; whole weights and biases have no place in a GGUF adapter");
                ++norms;
                continue;
            }
            const auto at = place.try_emplace(name->module, pairs.size()).first->second;
            if (at == pairs.size()) pairs.push_back({name->module, {}});
            Pair& pair = pairs[at].second;
            const SafeTensor*& half = name->is_a ? pair.a : pair.b;
            if (half) return wrong(tensor, "its module has another one, " + escaped(half->name));
            half = &tensor;
            pair.embedding = name->embedding;
        }
        for (const auto& [module, pair] : pairs)
            if (!pair.a || !pair.b) return wrong(pair.a ? *pair.a : *pair.b, pair.a ? "its lora_B is missing" : "its lora_A is missing");
        if (pairs.empty()) return input_error(escaped(metadata_.origin) + ": no lora_A and lora_B in its safetensors");
        if (norms > 0) warnings_.push_back(format_text("%s: %zu norm vectors are left out, a GGUF adapter has no place for them", escaped(metadata_.origin).c_str(), norms));
        return pairs;
    }

    static int64_t rank_of(const Pair& pair) { return pair.a->shape.empty() ? 0 : pair.a->shape[0]; }

    // One alpha for all: that of the first module, so that for most adapters B stays as it is.
    Status set_alpha(const Pairs& pairs) {
        const auto rank = static_cast<double>(rank_of(pairs.front().second));
        const double alpha = settings_->alpha * (settings_->root_of_rank ? std::sqrt(rank) : 1.0);
        alpha_ = static_cast<float>(alpha);
        metadata_.set("adapter.lora.alpha", Value::of_f32(alpha_));
        return {};
    }

    // The effect that the module has by PEFT over the one that alpha_ gives it.
    float factor_of(const std::string& module, int64_t rank) const {
        const double alpha = alpha_of(*settings_, module), r = static_cast<double>(rank);
        const double wanted = settings_->root_of_rank ? alpha / std::sqrt(r) : alpha / r;
        const double factor = wanted / (static_cast<double>(alpha_) / r);
        return std::fabs(factor - 1.0) < 1e-6 ? 1.0f : static_cast<float>(factor);
    }

    Status add_pair(const std::string& module, const Pair& pair, const Source& base) {
        for (const SafeTensor* tensor : {pair.a, pair.b})
            if (tensor->shape.size() != 2 || tensor->elements() == 0 || !tensor->type->real)
                return wrong(*tensor, "expected a matrix of floating point numbers");
        const int64_t rank = rank_of(pair);
        if (pair.b->cols() != rank) return wrong(*pair.b, "expected rows of " + std::to_string(rank) + ", the rank of its lora_A");
        const auto name = split_hf_name(module);
        const auto place = name ? find_hf_place(*architecture_, *name) : std::nullopt;
        if (!place)
            return wrong(*pair.a, module.find("experts.") != std::string::npos ? "adapters of experts are not supported"
                                                                               : std::string("not known in ") + architecture_->class_name);
        const std::string target = place->stem + ".weight";
        RowStream a = pair.embedding ? transposed(*pair.a) : rows_of(*pair.a);
        RowStream b = rows_of(*pair.b);
        if (architecture_->rope_pairs_side_by_side && place->kind != HfKind::plain) {
            const int64_t heads = place->kind == HfKind::queries ? heads_ : kv_heads_;
            if (heads < 1 || b.rows % (2 * heads) != 0)
                return wrong(*pair.b, "its rows are no " + std::to_string(heads) + " heads of an even size");
            b = heads_permuted(std::move(b), heads);
        }
        const float factor = factor_of(module, rank);
        emit(target + ".lora_a", *pair.a, std::move(a), false);
        emit(target + ".lora_b", *pair.b, multiplied(std::move(b), factor), factor != 1.0f);
        const auto& tensors = base.tensors();
        const auto found = std::find_if(tensors.begin(), tensors.end(), [&](const TensorInfo& each) { return each.name == target; });
        const AdapterPart part{target, tensors_.size() - 2, tensors_.size() - 1, 1.0f, pair.embedding};
        if ((target == "token_embd.weight") != pair.embedding) return wrong(*pair.a, "lora_embedding_A is for embeddings, and they need it");
        return check_adapter_target(metadata_.origin, part, tensors_[part.a], tensors_[part.b], found == tensors.end() ? nullptr : &*found);
    }

    // In the checkpoint's own type; F32 where it was changed.
    void emit(const std::string& name, const SafeTensor& from, RowStream rows, bool changed) {
        const std::string_view type = from.type->name;
        TensorInfo info;
        info.name = name;
        info.n_dims = 2;
        info.ne = {rows.cols, rows.rows, 1, 1};
        info.format = &format_of(changed || type == "F32" || type == "F64" ? FormatSlot::f32 : type == "F16" ? FormatSlot::f16 : FormatSlot::bf16);
        info.bytes = info.format->tensor_bytes(info.cols(), info.rows());
        tensors_.push_back(std::move(info));
        rows_.push_back(std::move(rows));
    }

    SafeTensors checkpoint_;
    std::vector<RowStream> rows_;  // refer to checkpoint_
    const HfArchitecture* architecture_ = nullptr;
    const LoraSettings* settings_ = nullptr;  // during fill()
    int64_t heads_ = 0, kv_heads_ = 0;
    float alpha_ = 0;
};

Result<std::string> base_of(const Json& json, const std::string& origin, const std::string& base) {
    if (!base.empty()) return base;
    const std::string named(json.root()["base_model_name_or_path"].text().value_or(""));
    std::error_code unreadable;
    if (!named.empty() && std::filesystem::is_directory(named, unreadable)) return named;
    return usage_error(escaped(origin) + ": which model does it adapt? '" + escaped(named) +
                       "' is no folder here: --base MODEL (a GGUF or a Hugging Face folder)");
}

}  // namespace

bool is_lora_folder(const std::string& folder) {
    std::error_code unreadable;
    return std::filesystem::exists(folder + kConfigFile, unreadable);
}

Result<std::unique_ptr<Source>> open_lora_source(const std::string& folder, const std::string& base) {
    const std::string origin = folder + kConfigFile;
    LET(text, read_text_file(origin, kMaxConfigBytes));
    LET(json, Json::parse(text, origin));
    LET(settings, read_settings(json, origin));
    LET(base_path, base_of(json, origin, base));
    if (is_lora_folder(base_path)) return input_error(escaped(base_path) + ": expected the model that is adapted, found an adapter");
    LET(base_model, open_source(base_path));
    const std::string file = folder + "/adapter_model.safetensors";
    LET(tensors, SafeTensors::open_file(file));
    auto source = std::make_unique<LoraSource>(std::move(tensors));
    TRY(source->fill(folder, settings, *base_model));
    return std::unique_ptr<Source>(std::move(source));
}

}  // namespace quant
