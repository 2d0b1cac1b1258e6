// Options that several commands share.
#include "cli/shared_options.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "base/log.h"
#include "base/threads.h"

namespace quant {
namespace {

constexpr const char* kScaled = "--lora-scaled";
constexpr double kMostScale = 1e6;
constexpr int64_t kMostBatch = 1 << 16;

struct NamedKvType {
    const char* name;
    KvType type;
};
constexpr NamedKvType kKvTypes[] = {{"f32", KvType::f32}, {"f16", KvType::f16}, {"q8_0", KvType::q8_0}, {"q4_0", KvType::q4_0}};

}  // namespace

void add_threads(Options& options, int64_t* target) {
    options.call("-t --threads", "N", "threads (default: the physical cores)", [target](const std::string& text) -> Status {
        LET(number, parse_integer(text));
        if (number < -1 || number > kMaxThreads)
            return usage_error(format_text("expected 1 to %d, found %lld", kMaxThreads, static_cast<long long>(number)));
        *target = number < 0 ? 0 : number;
        return {};
    });
}

void add_batch(Options& options, int64_t* target) {
    struct Given {
        int64_t batch = kMostBatch, piece = 512;
    };
    const auto given = std::make_shared<Given>();
    const auto take = [given, target](int64_t Given::* member) {
        return [=](const std::string& text) -> Status {
            LET(number, parse_integer(text));
            if (number < 1 || number > kMostBatch)
                return usage_error(format_text("expected 1 to %lld, found %lld", static_cast<long long>(kMostBatch), static_cast<long long>(number)));
            (*given).*member = number;
            *target = std::min(given->batch, given->piece);
            return {};
        };
    };
    options.call("-ub --ubatch-size", "N", "tokens taken at once (default 512)", take(&Given::piece));
    options.call("-b --batch-size", "N", "the same where it is smaller, for command lines of other runners", take(&Given::batch));
}

Result<KvType> parse_kv_type(std::string_view name) {
    for (const NamedKvType& each : kKvTypes)
        if (name == each.name) return each.type;
    return usage_error("expected f32, f16, q8_0 or q4_0, found '" + escaped(name) + "'");
}

void add_cache_types(Options& options, KvType* k_type, KvType* v_type) {
    const auto kv_type = [](KvType* target) {
        return [target](const std::string& text) -> Status {
            LET(type, parse_kv_type(text));
            *target = type;
            return {};
        };
    };
    options.call("-ctk --cache-type-k", "TYPE", "keys in the cache as f32, f16, q8_0 or q4_0 (default f16)", kv_type(k_type));
    options.call("-ctv --cache-type-v", "TYPE", "values in the cache, likewise", kv_type(v_type));
}

const char* kv_type_name(KvType type) {
    for (const NamedKvType& each : kKvTypes)
        if (type == each.type) return each.name;
    return "";
}

Status parse_activations(const std::string& text, ActivationForm* out) {
    const Error wrong = usage_error("expected int2 to int8, int4,g32 for a scale per 32 values, or int8,static, found '" + escaped(text) + "'");
    const size_t comma = std::min(text.find(','), text.size());
    const std::string_view scales = std::string_view(text).substr(std::min(comma + 1, text.size()));
    if (!text.starts_with("int") || comma < 4) return wrong;
    const auto bits = parse_integer(std::string_view(text).substr(3, comma - 3));
    if (!bits || *bits < 2 || *bits > 8) return wrong;
    out->bits = static_cast<int>(*bits);
    out->group = 0;
    out->stored = scales == "static";
    if (comma == text.size() || out->stored) return {};
    const auto group = scales.starts_with('g') ? parse_integer(scales.substr(1)) : Result<int64_t>(wrong);
    if (!group || *group < 1 || *group > (1 << 20)) return wrong;
    out->group = *group;
    return {};
}

void add_load_mode(Options& options, MappedFile::Mode* target) {
    const auto sets = [&](const char* name, const char* help, MappedFile::Mode mode) {
        options.call_flag(name, help, [=] {
            *target = mode;
            return Status{};
        });
    };
    sets("--mmap", "map the model: starts at once, memory is shared with others that do (default)", MappedFile::Mode::map);
    sets("--no-mmap", "read the model into huge pages first: generation is 2 to 8 % faster", MappedFile::Mode::read);
}

void add_adapters(Options& options, std::vector<AdapterChoice>* chosen) {
    options.call("--lora", "FILE", "adapter (GGUF, quant convert makes it) that is added to the model; repeatable",
                 [chosen](const std::string& path) { return chosen->push_back({path, 1}), Status{}; });
    options.call(kScaled, "FILE S", "the same with its effect times S; repeatable",
                 [chosen](const std::string& text) -> Status {
                     const size_t colon = text.rfind(':');
                     const auto scale = parse_real(std::string_view(text).substr(colon == std::string::npos ? text.size() : colon + 1));
                     if (!scale || !(std::fabs(*scale) <= kMostScale) || colon == 0)
                         return usage_error("expected FILE S or FILE:S with a number S, found '" + escaped(text) + "'");
                     chosen->push_back({text.substr(0, colon), static_cast<float>(*scale)});
                     return {};
                 });
}

std::vector<std::string> with_joined_scales(Arguments arguments) {
    std::vector<std::string> out;
    for (size_t i = 0; i < arguments.size(); ++i) {
        out.push_back(arguments[i]);
        if (arguments[i] != kScaled || i + 1 == arguments.size()) continue;
        out.push_back(arguments[++i]);
        if (i + 1 < arguments.size() && parse_real(arguments[i + 1])) out.back() += ":" + arguments[++i];
    }
    return out;
}

Result<std::vector<AppliedAdapter>> load_adapters(const std::vector<AdapterChoice>& chosen) {
    std::vector<AppliedAdapter> out;
    for (const AdapterChoice& choice : chosen) {
        LET(adapter, Adapter::load(choice.path));
        if (adapter->parts().norms > 0)
            log_warning(format_text("%s: %zu norm vectors in it have no effect", escaped(choice.path).c_str(), adapter->parts().norms));
        log_verbose(escaped(choice.path) + format_text(": adapter of %zu weights, times %g", adapter->parts().parts.size(),
                                                       static_cast<double>(choice.scale)));
        out.push_back({std::move(adapter), choice.scale});
    }
    return out;
}

}  // namespace quant
