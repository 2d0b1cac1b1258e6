// The range of a tensor's values that an int8 grid of one fixed scale should cover, from values as they come by.
// Knows no model and no file.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace quant {

enum class ObserverKind : uint8_t {
    minmax,       // the largest absolute value seen
    percentile,   // the one that 99.99 % of the values do not exceed
    percentile3,  // 99.9 %
    mse,          // least squared error of the rounded values
    kl,           // least KL divergence between the values' histogram and that of the rounded ones
};
std::optional<ObserverKind> observer_of(std::string_view name);  // minmax, percentile, percentile99.9, mse, kl
const char* observer_name(ObserverKind kind);

class RangeObserver {
public:
    // Values that are not finite are passed over.
    void add(const float* values, int64_t count);
    // Greatest absolute value of the grid -127 .. 127; 0 when nothing but zeros came.
    float range(ObserverKind kind) const;

private:
    static constexpr size_t kBins = 2048;
    double quantile(double share) const;
    double least_squares() const;
    double least_divergence() const;
    double width() const { return top_ / static_cast<double>(kBins); }

    std::array<uint64_t, kBins> counts_{};  // of absolute values below top_, equally wide bins
    double top_ = 0;                        // a power of two above all values
    double largest_ = 0;
};

}  // namespace quant
