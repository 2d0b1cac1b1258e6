// Logits of a model as another program computed them: logits.json and logits.f32 of a folder, and the
// comparison.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <vector>

struct ReferenceLogits {
    std::vector<int32_t> tokens, greedy;
    std::vector<float> values;  // [tokens, vocab]
    size_t vocab = 0;
    double range = 0;  // largest - smallest value

    static std::vector<int32_t> integers(const std::string& json, const std::string& key) {
        std::vector<int32_t> found;
        size_t at = json.find("\"" + key + "\": [");
        if (at == std::string::npos) return found;
        at = json.find('[', at);
        const size_t end = json.find(']', at);
        while (at < end) {
            char* after = nullptr;
            found.push_back(static_cast<int32_t>(std::strtol(json.c_str() + at + 1, &after, 10)));
            at = static_cast<size_t>(after - json.c_str());
        }
        return found;
    }

    static ReferenceLogits load(const std::string& folder) {
        ReferenceLogits reference;
        std::ifstream text(folder + "/logits.json"), raw(folder + "/logits.f32", std::ios::binary);
        const std::string json{std::istreambuf_iterator<char>(text), {}};
        const std::string bytes{std::istreambuf_iterator<char>(raw), {}};
        reference.tokens = integers(json, "tokens");
        reference.greedy = integers(json, "greedy_after_tokens");
        reference.values.resize(bytes.size() / sizeof(float));
        std::copy(bytes.begin(), bytes.end(), reinterpret_cast<char*>(reference.values.data()));
        if (reference.tokens.empty() || reference.values.empty()) return {};
        reference.vocab = reference.values.size() / reference.tokens.size();
        const auto [low, high] = std::minmax_element(reference.values.begin(), reference.values.end());
        reference.range = static_cast<double>(*high) - static_cast<double>(*low);
        return reference;
    }

    std::span<const float> row(size_t index) const { return std::span(values).subspan(index * vocab, vocab); }
};

// Largest absolute difference; NaN counts as infinite.
inline double largest_difference(std::span<const float> a, std::span<const float> b) {
    double most = a.size() == b.size() ? 0 : INFINITY;
    for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
        const double difference = std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
        if (!(difference <= most)) most = std::isnan(difference) ? INFINITY : difference;
    }
    return most;
}
