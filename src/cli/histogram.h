// The distribution of one tensor's values: moments, extremes and counts in equal bins, as text or JSON.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "gguf/gguf.h"

namespace quant {

struct Histogram {
    std::string tensor, format;
    uint64_t count = 0, zeros = 0, not_finite = 0;  // count includes all
    double minimum = 0, maximum = 0, mean = 0, deviation = 0;
    double excess_kurtosis = 0;     // 0 for a normal distribution; high means outliers
    double low = 0, high = 0;       // range of the bins: mean +- 4 deviations, cut to the extremes
    std::vector<uint64_t> bins;
    uint64_t below = 0, above = 0;  // outside the bins
};

// Decodes the tensor row by row. Error "usage" for formats that hold no numbers to decode.
Result<Histogram> histogram_of(const TensorInfo& tensor);
std::string histogram_text(const Histogram& histogram);
std::string histogram_json(const Histogram& histogram);

}  // namespace quant
