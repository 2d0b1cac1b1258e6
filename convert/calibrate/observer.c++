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

// For each number of bins kept: P is their histogram with all behind added to the last, Q the kept ones spread evenly over as
// many levels as int8 has, over the bins that hold something.
double RangeObserver::least_divergence() const {
    constexpr size_t kSteps = kLevels + 1;
    const auto all = static_cast<double>(std::accumulate(counts_.begin(), counts_.end(), uint64_t{0}));
    double best = largest_, least = INFINITY;
    for (size_t kept = kSteps; kept <= kBins; kept += kSteps / 8) {
        double inside = 0;
        for (size_t b = 0; b < kept; ++b) inside += static_cast<double>(counts_[b]);
        if (inside == 0) continue;
        double divergence = 0;
        for (size_t level = 0; level < kSteps; ++level) {
            const size_t first = level * kept / kSteps, last = (level + 1) * kept / kSteps;
            double sum = 0, filled = 0;
            for (size_t b = first; b < last; ++b) {
                sum += static_cast<double>(counts_[b]);
                filled += counts_[b] > 0;
            }
            for (size_t b = first; b < last; ++b) {
                const double p = (static_cast<double>(counts_[b]) + (b + 1 == kept ? all - inside : 0)) / all;
                if (p == 0) continue;
                const double q = counts_[b] > 0 ? sum / filled / inside : 1e-9;
                divergence += p * std::log(p / q);
            }
        }
        if (divergence < least) {
            least = divergence;
            best = std::min(largest_, static_cast<double>(kept) * width());
        }
        if (static_cast<double>(kept) * width() >= largest_) break;
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
