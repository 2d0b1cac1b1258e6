// Rows of numbers for the tests of the codecs: smooth, Gaussian, heavy-tailed, one outlier per 32.
#pragma once

#include <cmath>
#include <vector>

#include "base/rng.h"

namespace rows {

inline constexpr int kCols = 4096;
inline constexpr const char* kNames[] = {"cosine", "gaussian", "heavy", "outlier"};
inline constexpr int kSets = 4;

// The same values on every machine up to the last bit of the mathematical library.
inline std::vector<float> make(int set) {
    quant::Rng rng(static_cast<uint64_t>(set) + 1);
    std::vector<float> x(kCols);
    for (int i = 0; i < kCols; ++i) {
        const double g = rng.gaussian();
        double v = 0.1 + 2 * std::cos(i);
        if (set == 1) v = 0.02 * g;
        if (set == 2) v = 0.02 * g * std::exp(0.7 * rng.gaussian());
        if (set == 3) v = i % 32 == 7 ? 0.6 + 0.1 * g : 0.02 * g;
        x[static_cast<size_t>(i)] = static_cast<float>(v);
    }
    return x;
}

inline std::vector<float> importance() {
    quant::Rng rng(99);
    std::vector<float> w(kCols);
    for (float& v : w) v = static_cast<float>(std::exp(rng.gaussian()));
    return w;
}

inline double squared_error(const float* x, const float* y, const float* w, int n) {
    double sum = 0;
    for (int i = 0; i < n; ++i) {
        const double d = static_cast<double>(x[i]) - y[i];
        sum += (w ? w[i] : 1.0) * d * d;
    }
    return sum;
}

}  // namespace rows
