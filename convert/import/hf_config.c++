// config.json: look-ups with aliases, checked conversions.
#include "convert/import/hf_config.h"

#include <cmath>
#include <limits>
#include <utility>

#include "base/file.h"

namespace quant {

namespace {

constexpr uint64_t kConfigBytes = uint64_t{16} << 20;

Error wrong(const std::string& origin, std::string_view key, const char* expected, JsonValue found) {
    std::string text = found.kind_name();
    if (const auto number = found.real()) text = std::to_string(*number);
    if (const auto string = found.text()) text = "'" + escaped(*string) + "'";
    return input_error(escaped(origin) + ": \"" + escaped(key) + "\": expected " + expected + ", found " + text);
}

Result<std::optional<double>> real_of(const std::string& origin, std::string_view key, JsonValue value) {
    if (!value || value.is(JsonValue::Kind::null)) return std::optional<double>();
    const auto number = value.real();
    if (!number || !std::isfinite(*number)) return wrong(origin, key, "a number", value);
    return number;
}

Result<std::optional<int64_t>> integer_of(const std::string& origin, std::string_view key, JsonValue value) {
    if (!value || value.is(JsonValue::Kind::null)) return std::optional<int64_t>();
    if (const auto number = value.integer()) return number;
    // Some writers say 8192.0
    const auto number = value.real();
    if (!number || std::nearbyint(*number) != *number || std::abs(*number) > 9e15)
        return wrong(origin, key, "an integer", value);
    return std::optional<int64_t>(static_cast<int64_t>(*number));
}

}  // namespace

Result<HfConfig> HfConfig::parse(std::string_view text, const std::string& origin) {
    HfConfig config;
    config.origin_ = origin;
    LET(json, Json::parse(text, origin));
    config.json_ = std::make_unique<Json>(std::move(json));
    if (!config.root().is(JsonValue::Kind::object)) return input_error(escaped(origin) + ": no JSON object");
    return config;
}

Result<HfConfig> HfConfig::open(const std::string& folder) {
    const std::string path = folder + "/config.json";
    LET(text, read_text_file(path, kConfigBytes));
    return parse(text, path);
}

JsonValue HfConfig::find(std::initializer_list<std::string_view> names) const {
    for (const JsonValue place : {root()["text_config"], root()})
        for (const std::string_view name : names)
            if (const JsonValue value = place[name]; value && !value.is(JsonValue::Kind::null)) return value;
    return {};
}

Result<std::string> HfConfig::architecture() const {
    const JsonValue list = root()["architectures"];
    if (list.is(JsonValue::Kind::array))
        for (const JsonValue item : list.items())
            if (const auto text = item.text()) return std::string(*text);
    return input_error(escaped(origin_) + ": \"architectures\" names none");
}

Result<std::optional<int64_t>> HfConfig::integer(std::initializer_list<std::string_view> names) const {
    return integer_of(origin_, *names.begin(), find(names));
}

Result<std::optional<double>> HfConfig::real(std::initializer_list<std::string_view> names) const {
    return real_of(origin_, *names.begin(), find(names));
}

Result<int64_t> HfConfig::count(std::initializer_list<std::string_view> names) const {
    LET(found, integer(names));
    if (!found) return input_error(escaped(origin_) + ": \"" + std::string(*names.begin()) + "\" is missing");
    if (*found < 1 || *found > std::numeric_limits<int32_t>::max())
        return wrong(origin_, *names.begin(), "an integer from 1 to 2147483647", find(names));
    return *found;
}

Result<HfRope> HfConfig::rope() const {
    HfRope rope;
    JsonValue settings = find({"rope_parameters", "rope_scaling"});
    const JsonValue local = settings["sliding_attention"];
    if (settings["full_attention"]) settings = settings["full_attention"];
    const auto set = [&](std::optional<double>& to, std::initializer_list<std::string_view> names,
                         std::initializer_list<std::string_view> top_level) -> Status {
        for (const std::string_view name : names) {
            LET(value, real_of(origin_, name, settings[name]));
            if (!to) to = value;
        }
        if (to || top_level.size() == 0) return {};
        LET(value, real(top_level));
        to = value;
        return {};
    };
    for (const char* name : {"rope_type", "type"})
        if (const auto text = settings[name].text(); text && rope.type == "default") rope.type = *text;
    TRY(set(rope.theta, {"rope_theta"}, {"rope_theta", "global_rope_theta", "rotary_emb_base"}));
    TRY(set(rope.factor, {"factor"}, {}));
    TRY(set(rope.partial, {"partial_rotary_factor"}, {"partial_rotary_factor", "rope_pct"}));
    TRY(set(rope.attention_factor, {"attention_factor", "attn_factor"}, {}));
    TRY(set(rope.beta_fast, {"beta_fast"}, {}));
    TRY(set(rope.beta_slow, {"beta_slow"}, {}));
    TRY(set(rope.extrapolation_factor, {"extrapolation_factor"}, {}));
    TRY(set(rope.low_freq_factor, {"low_freq_factor"}, {}));
    TRY(set(rope.high_freq_factor, {"high_freq_factor"}, {}));
    LET(theta_local, real_of(origin_, "rope_theta", local["rope_theta"]));
    rope.theta_local = theta_local;
    if (!rope.theta_local) {
        LET(top_level, real({"rope_local_base_freq", "local_rope_theta"}));
        rope.theta_local = top_level;
    }
    LET(original, integer_of(origin_, "original_max_position_embeddings", settings["original_max_position_embeddings"]));
    rope.original_context = original;
    if (!rope.original_context) {
        LET(top_level, integer({"original_max_position_embeddings"}));
        rope.original_context = top_level;
    }
    rope.long_factors = settings["long_factor"];
    rope.short_factors = settings["short_factor"];
    return rope;
}

}  // namespace quant
