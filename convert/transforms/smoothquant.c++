// Scales that share the largest values between inputs and weights.
#include <cmath>

#include "base/log.h"
#include "convert/transforms/scales.h"

namespace quant {

std::vector<ScaleCandidate> smoothquant_scales(const ChannelRange& inputs, const ChannelRange& weights) {
    constexpr int kSteps = 10;
    std::vector<ScaleCandidate> out;
    for (int step = 0; step <= kSteps; ++step) {
        const double power = static_cast<double>(step) / kSteps;
        std::vector<double> s;
        for (size_t j = 0; j < inputs.squares.size(); ++j)
            s.push_back(std::pow(inputs.largest(j), power) / std::pow(weights.largest(j), 1 - power));
        out.push_back({format_text("smoothquant %.1f", power), usable(s)});
    }
    return out;
}

}  // namespace quant
