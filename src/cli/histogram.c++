// Distribution of a tensor's values. Two passes over the rows: moments first, then bins around the mean.
#include "cli/histogram.h"

#include <algorithm>
#include <cmath>

#include "base/file.h"
#include "base/json_writer.h"
#include "base/log.h"
#include "base/signals.h"

namespace quant {

namespace {

constexpr size_t kBins = 32;
constexpr size_t kBarWidth = 60;

template <class Body>
Status for_each_value(const TensorInfo& tensor, Body body) {
    std::vector<float> row(static_cast<size_t>(tensor.cols()));
    for (int64_t r = 0; r < tensor.rows(); ++r) {
        if (interrupted()) return Error{Code::interrupted, "interrupted"};
        decode_rows(*tensor.format, tensor.view(), r, 1, row.data());
        for (const float value : row) body(value);
    }
    return {};
}

// Count, extremes and the first four moments in one pass, by running sums about the first value (no cancellation for
// the nearly centred tensors of models).
Status take_moments(const TensorInfo& tensor, Histogram* out) {
    double shift = 0, s1 = 0, s2 = 0, s3 = 0, s4 = 0;
    uint64_t finite = 0;
    TRY(for_each_value(tensor, [&](float value) {
        ++out->count;
        if (!std::isfinite(value)) {
            ++out->not_finite;
            return;
        }
        const double x = static_cast<double>(value);
        if (finite++ == 0) shift = out->minimum = out->maximum = x;
        out->minimum = std::min(out->minimum, x);
        out->maximum = std::max(out->maximum, x);
        out->zeros += x == 0;
        const double d = x - shift;
        s1 += d, s2 += d * d, s3 += d * d * d, s4 += d * d * d * d;
    }));
    if (finite == 0) return {};
    const double n = static_cast<double>(finite), m = s1 / n;
    const double variance = std::max(0.0, s2 / n - m * m);
    out->mean = shift + m;
    out->deviation = std::sqrt(variance);
    const double fourth = s4 / n - 4 * m * s3 / n + 6 * m * m * s2 / n - 3 * m * m * m * m;
    if (variance > 0) out->excess_kurtosis = fourth / (variance * variance) - 3;
    return {};
}

}  // namespace

Result<Histogram> histogram_of(const TensorInfo& tensor) {
    if (!tensor.format->decode)
        return usage_error("tensor '" + escaped(tensor.name) + "': format " + tensor.format->name + " has no values to draw");
    Histogram out;
    out.tensor = tensor.name;
    out.format = tensor.format->name;
    TRY(take_moments(tensor, &out));
    out.low = std::max(out.minimum, out.mean - 4 * out.deviation);
    out.high = std::min(out.maximum, out.mean + 4 * out.deviation);
    out.bins.assign(kBins, 0);
    const double scale = out.high > out.low ? static_cast<double>(kBins) / (out.high - out.low) : 0;
    TRY(for_each_value(tensor, [&](float value) {
        if (!std::isfinite(value)) return;
        const double x = static_cast<double>(value);
        if (x < out.low) {
            ++out.below;
        } else if (x > out.high) {
            ++out.above;
        } else {
            ++out.bins[std::min(kBins - 1, static_cast<size_t>((x - out.low) * scale))];
        }
    }));
    return out;
}

std::string histogram_text(const Histogram& histogram) {
    std::string out = format_text("%s  %s  %llu values, %llu zero, %llu not finite\n", escaped(histogram.tensor).c_str(),
                                  histogram.format.c_str(), static_cast<unsigned long long>(histogram.count),
                                  static_cast<unsigned long long>(histogram.zeros),
                                  static_cast<unsigned long long>(histogram.not_finite));
    out += format_text("min %.6g  max %.6g  mean %.6g  deviation %.6g  excess kurtosis %.4g\n\n", histogram.minimum,
                       histogram.maximum, histogram.mean, histogram.deviation, histogram.excess_kurtosis);
    const uint64_t largest = std::max<uint64_t>(1, *std::max_element(histogram.bins.begin(), histogram.bins.end()));
    const double width = (histogram.high - histogram.low) / static_cast<double>(kBins);
    for (size_t i = 0; i < histogram.bins.size(); ++i) {
        const uint64_t count = histogram.bins[i];
        const auto bar = static_cast<size_t>(static_cast<double>(count) * kBarWidth / static_cast<double>(largest) + 0.5);
        out += format_text("%12.5g %10llu |", histogram.low + (static_cast<double>(i) + 0.5) * width,
                           static_cast<unsigned long long>(count));
        out += std::string(count && !bar ? 1 : bar, bar ? '#' : '.') + "\n";
    }
    if (histogram.below || histogram.above)
        out += format_text("\nfurther out: %llu below, %llu above\n", static_cast<unsigned long long>(histogram.below),
                           static_cast<unsigned long long>(histogram.above));
    return out;
}

std::string histogram_json(const Histogram& histogram) {
    std::string out;
    JsonWriter json(out);
    json.begin_object();
    json.member("tensor", histogram.tensor);
    json.member("type", histogram.format);
    json.member("count", histogram.count);
    json.member("zeros", histogram.zeros);
    json.member("not_finite", histogram.not_finite);
    json.member("min", histogram.minimum);
    json.member("max", histogram.maximum);
    json.member("mean", histogram.mean);
    json.member("deviation", histogram.deviation);
    json.member("excess_kurtosis", histogram.excess_kurtosis);
    json.member("low", histogram.low);
    json.member("high", histogram.high);
    json.member("below", histogram.below);
    json.member("above", histogram.above);
    json.key("bins");
    json.begin_array();
    for (const uint64_t count : histogram.bins) json.value(count);
    json.end_array();
    json.end_object();
    return out + "\n";
}

}  // namespace quant
