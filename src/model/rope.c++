// Frequencies of rotary position embeddings under the scalings that models are published with.
#include <algorithm>
#include <cmath>

#include "model/builder.h"

namespace quant {
namespace {

// The dimension that turns `rotations` times over the original context.
double dimension_of(double rotations, const RopeConfig& rope) {
    const double per_radian = static_cast<double>(rope.original_context) / (rotations * 2 * M_PI);
    return static_cast<double>(rope.dims) * std::log(per_radian) /
           (2 * std::log(static_cast<double>(rope.base)));
}

// Share of interpolation (against extrapolation) of pair `i`.
double yarn_ramp(int64_t i, const RopeConfig& rope, bool rounded) {
    double low = dimension_of(static_cast<double>(rope.beta_fast), rope),
           high = dimension_of(static_cast<double>(rope.beta_slow), rope);
    if (rounded) {
        low = std::floor(low);
        high = std::ceil(high);
    }
    low = std::max(low, 0.0);
    high = std::min(high, static_cast<double>(rope.dims - 1));
    if (low == high) high += 0.001;
    return std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
}

const float* factors_for(const Config& c, const Weights& w, int64_t context) {
    const TensorInfo* chosen = w.rope_factors;
    if (c.rope.scaling == RopeScaling::longrope)
        chosen = context > c.rope.original_context ? w.rope_factors_long : w.rope_factors_short;
    return chosen ? reinterpret_cast<const float*>(chosen->data) : nullptr;
}

double magnitude_of(const Config& c) {
    const auto& rope = c.rope;
    if (rope.scaling == RopeScaling::yarn)
        return rope.factor > 1 ? 1 + 0.1 * std::log(static_cast<double>(rope.factor)) : 1;
    if (rope.scaling != RopeScaling::longrope) return 1;
    if (rope.attention_factor > 0) return static_cast<double>(rope.attention_factor);
    const double stretch = static_cast<double>(c.context) / static_cast<double>(rope.original_context);
    return stretch > 1
               ? std::sqrt(1 + std::log(stretch) / std::log(static_cast<double>(rope.original_context)))
               : 1;
}

}  // namespace

RopeTableParams rope_frequencies(const Architecture& a, const Config& c, const Weights& w, int64_t context,
                                 bool windowed) {
    const bool plain = windowed && a.windowed_layers_unscaled;
    const double base =
        static_cast<double>(plain && c.rope.base_windowed > 0 ? c.rope.base_windowed : c.rope.base);
    const float* factors = plain ? nullptr : factors_for(c, w, context);
    RopeTableParams table;
    for (int64_t i = 0; i < c.rope.dims / 2; ++i) {
        double frequency = std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(c.rope.dims));
        if (factors) frequency /= static_cast<double>(factors[i]);
        if (!plain && c.rope.scaling == RopeScaling::linear) frequency /= static_cast<double>(c.rope.factor);
        if (!plain && c.rope.scaling == RopeScaling::yarn) {
            const double ramp = yarn_ramp(i, c.rope, a.yarn_floor);
            frequency = frequency / static_cast<double>(c.rope.factor) * ramp + frequency * (1 - ramp);
        }
        table.frequencies.push_back(static_cast<float>(frequency));
    }
    table.magnitude = plain ? 1.0f : static_cast<float>(magnitude_of(c));
    return table;
}

}  // namespace quant
