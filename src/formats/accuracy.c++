// Relative errors on random weights.
#include "formats/accuracy.h"

#include <cmath>
#include <limits>
#include <vector>

#include "base/rng.h"

namespace quant {

namespace {

constexpr int64_t kRows = 16, kCols = 1024;
constexpr double kDeviation = 0.02;  // about that of trained matrices

std::vector<float> sample(Weights weights) {
    Rng rng(weights == Weights::gaussian ? 1 : 2);
    std::vector<float> out(static_cast<size_t>(kRows * kCols));
    for (float& w : out) {
        double value = rng.gaussian();
        // The sum of four squared normal numbers is twice that of two exponential ones.
        if (weights == Weights::heavy) value /= std::sqrt(-0.5 * std::log((1.0 - rng.uniform()) * (1.0 - rng.uniform())));
        w = static_cast<float>(kDeviation * value);
    }
    return out;
}

}  // namespace

double relative_rms_error(const Format& format, Weights weights) {
    if (!format.encodes) return std::numeric_limits<double>::quiet_NaN();
    static const std::vector<float> samples[2] = {sample(Weights::gaussian), sample(Weights::heavy)};
    const std::vector<float>& x = samples[weights == Weights::heavy];
    const std::vector<float> ones(static_cast<size_t>(kCols), 1.0f);
    std::vector<uint8_t> blocks(format.row_bytes(kCols));
    std::vector<float> y(static_cast<size_t>(kCols));
    double error = 0, energy = 0;
    for (int64_t row = 0; row < kRows; ++row) {
        const float* from = x.data() + row * kCols;
        format.encode(nullptr, from, format.needs_importance ? ones.data() : nullptr, blocks.data(), kCols);
        format.decode(nullptr, blocks.data(), y.data(), kCols);
        for (int64_t i = 0; i < kCols; ++i) {
            const double w = static_cast<double>(from[i]), difference = w - static_cast<double>(y[static_cast<size_t>(i)]);
            error += difference * difference;
            energy += w * w;
        }
    }
    return std::sqrt(error / energy);
}

}  // namespace quant
