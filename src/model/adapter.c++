// Pairs of low-rank factors: found by name, checked against each other and against the model.
#include "model/adapter.h"

#include <cmath>
#include <map>
#include <optional>

#include "base/log.h"
#include "model/architecture.h"
#include "model/model.h"

namespace quant {
namespace {

constexpr std::string_view kSuffixA = ".lora_a", kSuffixB = ".lora_b";

Error wrong(const std::string& origin, const std::string& tensor, const std::string& expected,
            const std::string& found) {
    return input_error(escaped(origin) + ": tensor " + escaped(tensor) + ": expected " + expected + ", found " + found);
}

Status expect_text(const Metadata& metadata, const char* key, const char* expected) {
    LET(found, metadata.get_string(key));
    if (found && *found == expected) return {};
    return input_error(escaped(metadata.origin) + ": " + key + ": expected '" + expected + "', found " +
                       (found ? "'" + escaped(*found) + "'" : "no such key"));
}

struct Halves {
    std::optional<size_t> a, b;
};

// By target; ordered, because names come from a file and must not collide in a hash.
Result<std::map<std::string, Halves>> pair_up(const std::string& origin, const std::vector<TensorInfo>& tensors,
                                              AdapterParts& out) {
    std::map<std::string, Halves> halves;
    for (size_t i = 0; i < tensors.size(); ++i) {
        const std::string& name = tensors[i].name;
        const bool is_a = name.ends_with(kSuffixA);
        if (is_a || name.ends_with(kSuffixB)) {
            Halves& both = halves[name.substr(0, name.size() - kSuffixA.size())];
            (is_a ? both.a : both.b) = i;
        } else if (name.ends_with("_norm.weight")) {
            ++out.norms;
        } else {
            return wrong(origin, name, "a name ending in .lora_a or .lora_b", "another");
        }
    }
    for (const auto& [target, both] : halves) {
        if (both.a && both.b) continue;
        const std::string missing = target + std::string(both.a ? kSuffixB : kSuffixA);
        return wrong(origin, missing, "the other half of " + escaped(tensors[both.a ? *both.a : *both.b].name),
                     "no such tensor");
    }
    return halves;
}

Status check_pair(const std::string& origin, const TensorInfo& a, const TensorInfo& b, bool lookup) {
    for (const TensorInfo* tensor : {&a, &b}) {
        if (tensor->ne[2] != 1 || tensor->ne[3] != 1)
            return wrong(origin, tensor->name, "a matrix (adapters of experts are not supported)", shape_text(*tensor));
        if (tensor->format->kind == FormatKind::integer)
            return wrong(origin, tensor->name, "a format of weights", tensor->format->name);
    }
    const int64_t rank = lookup ? a.ne[0] : a.ne[1];
    if (b.ne[0] != rank)
        return wrong(origin, b.name, format_text("rows of %lld, the rank of its other half", static_cast<long long>(rank)),
                     shape_text(b));
    return {};
}

}  // namespace

Result<AdapterParts> find_adapter_parts(const Metadata& metadata, const std::vector<TensorInfo>& tensors) {
    TRY(expect_text(metadata, "general.type", "adapter"));
    TRY(expect_text(metadata, "adapter.type", "lora"));
    AdapterParts out;
    LET(architecture, metadata.get_string("general.architecture"));
    out.architecture = architecture.value_or("");
    LET(given, metadata.get_f32("adapter.lora.alpha"));
    const float alpha = given.value_or(0.0f);
    if (!std::isfinite(alpha))
        return input_error(escaped(metadata.origin) + ": adapter.lora.alpha: expected a finite number, found " +
                           format_text("%g", static_cast<double>(alpha)));
    if (metadata.find("adapter.alora.invocation_tokens"))
        return input_error(escaped(metadata.origin) +
                           ": adapter.alora.invocation_tokens: adapters that begin at certain tokens are not supported");
    LET(halves, pair_up(metadata.origin, tensors, out));
    for (const auto& [target, both] : halves) {
        AdapterPart part{target, *both.a, *both.b, 1.0f, target == "token_embd.weight"};
        const TensorInfo &a = tensors[part.a], &b = tensors[part.b];
        TRY(check_pair(metadata.origin, a, b, part.lookup));
        if (alpha != 0.0f) part.scale = alpha / static_cast<float>(b.ne[0]);
        out.parts.push_back(std::move(part));
    }
    if (out.parts.empty()) return input_error(escaped(metadata.origin) + ": no pair of .lora_a and .lora_b in it");
    return out;
}

Status check_adapter_target(const std::string& origin, const AdapterPart& part, const TensorInfo& a,
                            const TensorInfo& b, const TensorInfo* target) {
    if (!target)
        return input_error(escaped(origin) + ": adapts " + escaped(part.target) +
                           ", expected a tensor of the model, found no such tensor in it (another base model?)");
    // Vectors, biases and tables of positions are not multiplied with anything.
    const bool multiplied = target->ne[1] > 1 && target->ne[2] == 1 && target->ne[3] == 1 &&
                            target->name.ends_with(".weight") && target->name != "position_embd.weight";
    if (!multiplied)
        return wrong(origin, a.name, "an adapter of a matrix",
                     "one of " + escaped(part.target) + " " + shape_text(*target) + ", which is not supported");
    const bool fits = part.lookup ? a.ne[1] == target->ne[1] && b.ne[1] == target->ne[0]
                                  : a.ne[0] == target->ne[0] && b.ne[1] == target->ne[1];
    if (fits) return {};
    return wrong(origin, a.name, "a pair for " + escaped(part.target) + " " + shape_text(*target),
                 shape_text(a) + " and " + shape_text(b) + " (another base model?)");
}

Result<std::shared_ptr<const Adapter>> Adapter::load(const std::string& path) {
    LET(gguf, Gguf::open(path));
    return from_gguf(std::move(gguf));
}

Result<std::shared_ptr<const Adapter>> Adapter::from_gguf(Gguf gguf) {
    std::shared_ptr<Adapter> adapter(new Adapter);
    adapter->gguf_ = std::move(gguf);
    LET(parts, find_adapter_parts(adapter->gguf_.metadata(), adapter->gguf_.tensors()));
    adapter->parts_ = std::move(parts);
    for (size_t i = 0; i < adapter->parts_.parts.size(); ++i) adapter->by_target_[adapter->parts_.parts[i].target] = i;
    return std::shared_ptr<const Adapter>(std::move(adapter));
}

Status Adapter::check(const Model& model) const {
    const std::string& origin = gguf_.metadata().origin;
    if (parts_.architecture != model.architecture().name)
        return input_error(escaped(origin) + ": general.architecture: expected '" + model.architecture().name +
                           "', the model's, found '" + escaped(parts_.architecture) + "'");
    for (const AdapterPart& part : parts_.parts)
        TRY(check_adapter_target(origin, part, gguf_.tensors()[part.a], gguf_.tensors()[part.b],
                                 model.gguf().find(part.target)));
    return {};
}

Adapter::LowRank Adapter::find(std::string_view target) const {
    const auto found = by_target_.find(target);
    if (found == by_target_.end()) return {};
    const AdapterPart& part = parts_.parts[found->second];
    return {&gguf_.tensors()[part.a], &gguf_.tensors()[part.b], part.scale};
}

}  // namespace quant
