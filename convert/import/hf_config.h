// config.json of a Hugging Face folder: figures under any of their names, rope settings in their old and new form.
// Knows no tensors and no GGUF keys.
#pragma once

#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "convert/import/json.h"

namespace quant {

// How positions turn queries and keys. Absent figures are nullopt.
struct HfRope {
    std::string type = "default";  // default, linear, yarn, llama3, longrope ...
    std::optional<double> theta, theta_local, factor, partial, attention_factor;
    std::optional<double> beta_fast, beta_slow, extrapolation_factor;
    std::optional<double> low_freq_factor, high_freq_factor;
    std::optional<int64_t> original_context;
    JsonValue long_factors, short_factors;  // arrays, or missing
};

class HfConfig {
public:
    static Result<HfConfig> open(const std::string& folder);
    static Result<HfConfig> parse(std::string_view text, const std::string& origin);

    const std::string& origin() const { return origin_; }  // path of config.json
    JsonValue root() const { return json_->root(); }
    // The first of the names that is there and not null; what a "text_config" says goes before the top level.
    JsonValue find(std::initializer_list<std::string_view> names) const;
    // The first of "architectures".
    Result<std::string> architecture() const;

    // nullopt: not there. Errors name the file, the key and what was found.
    Result<std::optional<int64_t>> integer(std::initializer_list<std::string_view> names) const;
    Result<std::optional<double>> real(std::initializer_list<std::string_view> names) const;
    // Must be there, from 1 to 2^31 - 1.
    Result<int64_t> count(std::initializer_list<std::string_view> names) const;
    Result<HfRope> rope() const;

private:
    std::string origin_;
    std::unique_ptr<Json> json_;
};

}  // namespace quant
