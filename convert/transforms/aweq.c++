// Scales that make ranges of inputs and weights equal, for all channels or for those that stand out.
#include <algorithm>
#include <cmath>

#include "convert/transforms/scales.h"

namespace quant {

std::vector<ScaleCandidate> aweq_scales(const ChannelRange& inputs, const ChannelRange& weights) {
    std::vector<double> s;
    for (size_t j = 0; j < inputs.squares.size(); ++j)
        s.push_back(std::sqrt((inputs.high[j] - inputs.low[j]) / (weights.high[j] - weights.low[j])));
    return {{"aweq", usable(s)}};
}

std::vector<ScaleCandidate> outlier_scales(const ChannelRange& inputs, const ChannelRange& weights, double threshold) {
    std::vector<double> ratio, known;
    for (size_t j = 0; j < inputs.squares.size(); ++j) {
        ratio.push_back(std::sqrt(std::sqrt(inputs.squares[j] / weights.squares[j])));
        if (std::isfinite(ratio.back()) && ratio.back() > 0) known.push_back(ratio.back());
    }
    if (known.empty()) return {};
    const auto middle = known.begin() + static_cast<std::ptrdiff_t>(known.size() / 2);
    std::nth_element(known.begin(), middle, known.end());
    const double median = *middle;
    std::vector<double> s;
    bool any = false;
    for (const double each : ratio) {
        const bool stands_out = std::isfinite(each) && each > 0 && (each > median * threshold || each < median / threshold);
        any = any || stands_out;
        s.push_back(stands_out ? each / median : 1.0);
    }
    if (!any) return {};
    ScaleCandidate candidate{"outliers", {}};
    candidate.s.assign(s.begin(), s.end());
    return {candidate};
}

}  // namespace quant
