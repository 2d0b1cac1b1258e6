// A quantized model tensor by tensor beside what it was made from: errors, and how the worst tensors' weights are
// distributed. Reads both row by row.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/threads.h"
#include "convert/calibrate/statistics.h"
#include "convert/import/source.h"
#include "convert/report/report.h"

namespace quant {

struct Comparison {
    std::vector<ReportTensor> tensors;  // in the order of `after`, without `why`
    std::vector<ReportHistogram> worst;
};

// Tensors are matched by name and shape; one without a match is listed without an error. `statistics` (may be null) weigh
// the columns. Error: interrupted, when a signal came or `progress` (done and total weights) said so.
Result<Comparison> compare_tensors(const Source& before, const Source& after, const Statistics* statistics, ThreadPool& pool,
                                   const std::function<bool(int64_t done, int64_t total, const std::string& tensor)>& progress);

}  // namespace quant
