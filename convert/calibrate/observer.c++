// A histogram of absolute values whose bins join in pairs when a larger value comes.
#include "convert/calibrate/observer.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace quant {

namespace {

struct Named {
    const char* name;
    ObserverKind kind;
};
constexpr Named kKinds[] = {{"minmax", ObserverKind::minmax},
                            {"percentile", ObserverKind::percentile},
                            {"percentile99.9", ObserverKind::percentile3},
                            {"mse", ObserverKind::mse},
                            {"kl", ObserverKind::kl}};
constexpr int kLevels = 127;

}  // namespace

std::optional<ObserverKind> observer_of(std::string_view name) {
    for (const Named& each : kKinds)
        if (name == each.name) return each.kind;
    return {};
}

const char* observer_name(ObserverKind kind) {
    for (const Named& each : kKinds)
        if (kind == each.kind) return each.name;
    return "";
}

void RangeObserver::add(const float* values, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
        const auto value = std::fabs(static_cast<double>(values[i]));
        if (!std::isfinite(value)) continue;
        largest_ = std::max(largest_, value);
        if (top_ == 0 && value > 0) top_ = std::exp2(std::floor(std::log2(value)) + 1);
        while (value >= top_ && value > 0) {
            for (size_t b = 0; b < kBins / 2; ++b) counts_[b] = counts_[2 * b] + counts_[2 * b + 1];
            std::fill(counts_.begin() + kBins / 2, counts_.end(), 0);
            top_ *= 2;
        }
        ++counts_[value > 0 ? static_cast<size_t>(value / width()) : 0];
    }
}

double RangeObserver::quantile(double share) const {
    const auto all = std::accumulate(counts_.begin(), counts_.end(), uint64_t{0});
    uint64_t seen = 0;
    for (size_t b = 0; b < kBins; ++b) {
        seen += counts_[b];
        if (static_cast<double>(seen) >= share * static_cast<double>(all)) return std::min(largest_, static_cast<double>(b + 1) * width());
    }
    return largest_;
}

double RangeObserver::least_squares() const {
    constexpr int kClips = 200;
    double best = largest_, least = INFINITY;
    for (int i = kClips; i >= 1; --i) {
        const double clip = largest_ * i / kClips, step = clip / kLevels;
        double error = 0;
        for (size_t b = 0; b < kBins && error < least; ++b) {
            if (counts_[b] == 0) continue;
            const double value = (static_cast<double>(b) + 0.5) * width();
            const double off = value - step * std::min<double>(kLevels, std::nearbyint(value / step));
            // Values lie anywhere in a bin: where bins are wider than steps, rounding is off by that of a uniform spread.
            error += static_cast<double>(counts_[b]) * (width() > step && value < clip ? step * step / 12 : off * off);
        }
        if (error < least) {
            least = error;
            best = clip;
        }
    }
    return best;
}

// For each clip, D(P || Q) over all bins: P is the histogram, Q what it is after rounding. What rounds to one code is spread
// evenly over the filled bins that do, and the last code gets what lies behind the clip too, whose own bins Q then leaves
// empty; one more value in every bin keeps that finite. Values count by their size: counted by number (the usual form, made for outputs of ReLU) the many values next to zero decide,
// a clip costs next to nothing, and the inputs of a language model's down projection lose their large values. KL divergence of
// the bundled model, 16 windows: by number 0.077, by size 0.0055, by square 0.0102; least squares 0.0052, min-max 0.0120.
double RangeObserver::least_divergence() const {
    constexpr size_t kLeast = 128, kStep = 16;  // bins kept
    std::vector<double> mass(kBins), one(kBins);  // of all values in a bin, of a single one
    for (size_t b = 0; b < kBins; ++b) {
        one[b] = static_cast<double>(b) + 0.5;
        mass[b] = static_cast<double>(counts_[b]) * one[b];
    }
    const double all = std::accumulate(mass.begin(), mass.end(), 0.0);
    const double smoothed = (all + std::accumulate(one.begin(), one.end(), 0.0)) / all;
    double best = largest_, least = INFINITY;
    for (size_t kept = kLeast; kept <= kBins; kept += kStep) {
        const double clip = std::min(largest_, static_cast<double>(kept) * width()), step = clip / kLevels;
        const auto code = [&](size_t b) { return std::min(kLevels, static_cast<int>(std::lround((static_cast<double>(b) + 0.5) * width() / step))); };
        double behind = 0, divergence = 0;
        for (size_t b = kept; b < kBins; ++b) {
            behind += mass[b];
            if (mass[b] > 0) divergence += mass[b] * std::log(mass[b] * smoothed / one[b]);
        }
        for (size_t first = 0, end = 0; first < kept; first = end) {
            const int own = code(first);
            double sum = 0, filled = 0;
            for (end = first; end < kept && code(end) == own; ++end) {
                sum += mass[end];
                filled += mass[end] > 0;
            }
            if (end == kept) {  // where nothing else is, what was clipped lies in the last bin
                sum += behind;
                filled = std::max(filled, 1.0);
            }
            for (size_t b = first; b < end; ++b)
                if (mass[b] > 0) divergence += mass[b] * std::log(mass[b] * smoothed / (sum / filled + one[b]));
        }
        if (divergence < least) {
            least = divergence;
            best = clip;
        }
        if (static_cast<double>(kept) * width() > largest_) break;
    }
    return best;
}

float RangeObserver::range(ObserverKind kind) const {
    if (largest_ == 0) return 0;
    switch (kind) {
        case ObserverKind::minmax: break;
        case ObserverKind::percentile: return static_cast<float>(quantile(0.9999));
        case ObserverKind::percentile3: return static_cast<float>(quantile(0.999));
        case ObserverKind::mse: return static_cast<float>(least_squares());
        case ObserverKind::kl: return static_cast<float>(least_divergence());
    }
    return static_cast<float>(largest_);
}

}  // namespace quant
