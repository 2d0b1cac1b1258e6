// What a report says of a quantized model, and the page that says it. Figures only: knows no files and no models.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace quant {

struct ReportTensor {
    std::string name, format, why;
    uint64_t weights = 0, bytes = 0, source_bytes = 0;
    bool quantized = false;      // its numbers are not those of the source
    double error = -1;           // sum (w - w')^2 / sum w^2; -1: not comparable
    double weighted_error = -1;  // the same, each column by the mean square of what it reads; -1: not known
    double shown() const { return weighted_error >= 0 ? weighted_error : error; }
};

// One file, or one way to make it, judged on the report's text.
struct ReportPoint {
    std::string label;
    uint64_t bytes = 0;
    double divergence = 0, divergence_error = 0;  // mean KL to the source, nats per token
    double perplexity = 0;
    bool plain = false;  // a mix of the ecosystem, rounded to nearest
};

// Shares of all weights in equal bins over [-range, range], in units of the source's root mean square.
struct ReportHistogram {
    std::string tensor, format;
    double error = 0, range = 0;
    std::vector<double> before, after;
};

// What a transform did at one place, on text held back from its search.
struct ReportGain {
    std::string place, transform;
    double before = 0, after = 0;  // loss
    bool kept = false;
};

struct ReportData {
    std::string title, input, output, type;
    uint64_t input_bytes = 0, output_bytes = 0;
    double bits_per_weight = 0;
    std::string how;         // one sentence: how it was made
    std::string text_note;   // what the curve was measured on, or why there is none
    double source_perplexity = 0;
    std::vector<ReportTensor> tensors;  // in the order of the file
    std::vector<ReportPoint> points;    // the file itself first; may be empty
    std::vector<ReportHistogram> histograms;
    std::vector<ReportGain> gains;
};

// One self-contained HTML page: no scripts, no references to anything outside. All text is escaped.
std::string report_page(const ReportData& data);

}  // namespace quant
