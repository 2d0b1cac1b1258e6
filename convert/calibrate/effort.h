// What an effort means for the stages of calibration, and how long they will take on this machine.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "base/threads.h"
#include "convert/calibrate/correction.h"
#include "convert/calibrate/options.h"
#include "convert/calibrate/sensitivity.h"
#include "convert/calibrate/sequential.h"
#include "convert/plan/plan.h"
#include "model/model.h"

namespace quant {

// How sensitivities are measured: decided by the amount of work, never by the time it takes, so that the same formats are
// chosen on every machine. Large models are measured on fewer windows, or one shorter than those of calibration; `windows`
// of these there are. On the bundled model one window chooses as well as eight (KL 0.00179 and 0.00180 in the end), while
// sums over roles and over layers, split by weighted errors, do not (0.00285).
SensitivityOptions sensitivity_options(const Model& model, const std::vector<std::string>& names, int64_t windows, const CalibrationOptions& options);
// The first `short_window` tokens of each window.
std::vector<int32_t> shortened(const std::vector<int32_t>& tokens, int64_t window, int64_t short_window);

SequentialOptions sequential_options(const CalibrationOptions& options);

struct TimeEstimate {
    double transforms = 0, statistics = 0, measuring = 0, observing = 0, rounding = 0, correcting = 0;  // seconds; 0: not part of the work
    double total() const { return transforms + statistics + measuring + observing + rounding + correcting; }
};

struct WorkToCome {
    std::vector<std::string> measured;  // tensors; empty: none
    bool statistics = false, feedback = false;
    bool outliers = false;   // channels that stand out are looked for; where some do, more work follows than is foreseen
    int transforms = 0;      // methods named by the user
    bool observes = false;   // ranges of activations
    RankChoice correction;   // of the adapter beside the output; none: {0, 0}
    bool noise = false;      // and activations are rounded for it
};

// From a window through one layer, one sum of products, one small system of equations, a few rows rounded and a small matrix
// approximated, all timed now.
Result<TimeEstimate> estimate_time(const Model& model, const Plan& plan, const WorkToCome& work, const std::vector<int32_t>& tokens,
                                   const CalibrationOptions& options, ThreadPool& pool);

// "about 3 min: measuring 90 s, rounding 50 s"
std::string time_text(const TimeEstimate& estimate);

}  // namespace quant
