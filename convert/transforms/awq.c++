// Activation-aware scales: channels that carry more get finer steps.
#include <algorithm>
#include <cmath>

#include "base/log.h"
#include "convert/transforms/scales.h"

namespace quant {

std::vector<ScaleCandidate> awq_scales(const ChannelRange& inputs) {
    constexpr int kSteps = 20;
    constexpr double kLeast = 1e-4;
    std::vector<ScaleCandidate> out;
    for (int step = 1; step < kSteps; ++step) {  // 0 is the model as it is
        const double power = static_cast<double>(step) / kSteps;
        std::vector<double> s;
        for (const double x : inputs.absolute) s.push_back(std::max(std::pow(x, power), kLeast));
        out.push_back({format_text("awq %.2f", power), usable(s)});
    }
    return out;
}

}  // namespace quant
