// From two models to the report's page: compares, runs both over a text, writes the file.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "convert/calibrate/options.h"
#include "convert/import/source.h"
#include "convert/report/report.h"
#include "model/model.h"

namespace quant {

struct ReportRequest {
    std::string path;
    bool force = false;
    int64_t window = 512;
    int64_t windows = -1;  // of the text; -1: as many as a model of its size takes in about a minute
    uint64_t memory = uint64_t{2} << 30;
    int threads = 1;
    CalibrationProgress progress;  // phases "compare" (weights) and "judge" (windows); may be empty
};

struct ReportSubject {
    std::string input, output;  // paths; of a split output the first
    std::string type, how;
    const Source* source = nullptr;
    std::shared_ptr<const Model> model;  // the source, to be run; null: nothing is run
    std::vector<int32_t> tokens;         // whole windows; empty: nothing is run
    std::string text_note;               // what the tokens are, or why there are none
    std::map<std::string, std::string> why;  // by tensor
    std::vector<ReportGain> gains;
};

// Errors: those of reading the output and of writing the page; interrupted. An output of an architecture that cannot be
// run is compared, not judged, and the page says so.
Status write_report(const ReportSubject& subject, const ReportRequest& request);

// At most `most` windows of `texts` for a report; with `skip` those behind the first so many, where there are at least two.
struct ReportText {
    std::vector<int32_t> tokens;
    bool behind = false;  // the windows lie behind the skipped ones
};
Result<ReportText> report_text(const Model& model, const std::vector<TextFile>& texts, int64_t window, int64_t skip, int64_t most);

}  // namespace quant
