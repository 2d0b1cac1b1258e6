// Fidelity against size: the file at hand and the ecosystem's mixes, rounded to nearest in memory, on the same text.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/threads.h"
#include "convert/report/report.h"
#include "model/model.h"

namespace quant {

struct CurveOptions {
    int64_t window = 512;
    int64_t windows = 8;
    uint64_t memory = uint64_t{2} << 30;  // bytes that hidden states may take; more goes to disk
    double seconds = 120;                 // no further mix is begun after so long
};

struct SizeCurve {
    std::vector<ReportPoint> points;  // the file first, then mixes
    double source_perplexity = 0;
    int64_t windows = 0, places = 0;  // places of each window that were scored
    std::vector<std::string> left_out;  // mixes there was no time for
};

// `tokens`: whole windows. Everything in full precision of activations. Mixes nearest in size come first.
// Errors: another vocabulary; interrupted.
Result<SizeCurve> measure_size_curve(const Model& source, const Model& output, uint64_t output_bytes, const std::string& label,
                                     const std::vector<int32_t>& tokens, const CurveOptions& options, ThreadPool& pool,
                                     const std::function<bool(int64_t done, int64_t total, const std::string& what)>& progress);

}  // namespace quant
