// Relative errors on random weights.
#include "formats/accuracy.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/rng.h"
#include "formats/side_data.h"

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
    ThreadPool pool(1);
    HeadInput input{kCols, kRows, format.head && format.head->grouped ? kRows : 0, {}, {}, &pool};
    input.read = [&](int64_t row, int64_t count, float* out) { std::copy_n(x.data() + row * kCols, count * kCols, out); };
    if (format.needs_importance) input.importance = [&](int64_t) { return ones.data(); };
    std::vector<uint8_t> encoded(format.tensor_bytes(kCols, kRows, input.group));
    std::vector<float> y(x.size());
    encode_tensor(format, input, encoded.data());
    const uint64_t head = format.head_bytes(kCols, kRows, input.group);
    decode_rows(format, {encoded.data(), kCols, kRows, head, input.group, 0}, 0, kRows, y.data());
    double error = 0, energy = 0;
    for (size_t i = 0; i < x.size(); ++i) {
        const double w = static_cast<double>(x[i]), difference = w - static_cast<double>(y[i]);
        error += difference * difference;
        energy += w * w;
    }
    return std::sqrt(error / energy);
}

}  // namespace quant
