// From calibration texts to rounded tensors: loads the model, cuts the texts into windows, measures what each tensor's
// rounding costs, rounds layer by layer.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/threads.h"
#include "convert/calibrate/correction.h"
#include "convert/calibrate/effort.h"
#include "convert/calibrate/journal.h"
#include "convert/calibrate/observer.h"
#include "convert/calibrate/options.h"
#include "convert/calibrate/sensitivity.h"
#include "convert/plan/plan.h"
#include "convert/stream/stream.h"
#include "model/model.h"

namespace quant {

// The tokens of the texts as whole windows. Errors: the texts' own; less than two windows.
Result<std::vector<int32_t>> calibration_windows(const Model& model, const CalibrationOptions& options);
std::string dataset_name(const CalibrationOptions& options);  // file names without folders, for metadata

class Calibrator {
public:
    // Errors: the texts' own; a text of less than two windows.
    static Result<Calibrator> open(std::shared_ptr<const Model> model, const CalibrationOptions& options, int threads,
                                   CalibrationProgress progress);

    // Long work goes into a file there as it is done, and is taken from it where an earlier run has done it.
    Status keep_journal(const std::string& path);
    bool goes_on() const { return journal_ && journal_->goes_on(); }
    // What rounding each of these tensors would cost in each format, on a few of the windows; with error feedback or without.
    Result<std::vector<TensorSensitivity>> measure(const std::vector<std::string>& names,
                                                   const std::vector<const Format*>& candidates, bool feedback);
    // How long the rest will take on this machine.
    Result<TimeEstimate> estimate(const Plan& plan, const WorkToCome& work);
    // Mean squares of what each matrix reads on all windows, experts and the output matrix included.
    Result<ImportanceMatrix> importance();
    // Rounds what the plan quantizes.
    Result<RoundedTensors> round(const Plan& plan);

    // Fixed ranges of activations.
    Result<ActivationRanges> ranges(ObserverKind kind);
    // Low-rank matrices that make up for what rounding did; `rounded` is the model in other formats. Window and memory of
    // `options` are the calibration's.
    Result<Corrections> correct(const Model& rounded, CorrectionOptions options);

    int64_t windows() const { return static_cast<int64_t>(tokens_.size()) / options_.window; }
    const std::string& dataset() const { return dataset_; }  // file names without folders, for the output's metadata

private:
    Calibrator() = default;
    std::shared_ptr<const Model> model_;
    std::vector<int32_t> tokens_;  // whole windows
    CalibrationOptions options_;
    std::string dataset_;
    std::unique_ptr<ThreadPool> pool_;
    CalibrationProgress progress_;
    std::unique_ptr<Journal> journal_;
};

}  // namespace quant
