// What the methods share.
#include "convert/transforms/scales.h"

#include <algorithm>
#include <cmath>

namespace quant {

std::vector<float> usable(const std::vector<double>& s) {
    double sum = 0, count = 0;
    for (const double each : s)
        if (std::isfinite(each) && each > 0) sum += std::log(each), ++count;
    const double mean = count > 0 ? std::exp(sum / count) : 1;
    std::vector<float> out;
    for (const double each : s)
        out.push_back(std::isfinite(each) && each > 0 ? static_cast<float>(std::clamp(each / mean, 0x1p-40, 0x1p40)) : 1.0f);
    return out;
}

}  // namespace quant
