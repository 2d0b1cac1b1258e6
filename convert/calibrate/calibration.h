// From calibration texts to rounded tensors: loads the model, cuts the texts into windows, rounds layer by
// layer.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "convert/plan/plan.h"
#include "convert/stream/stream.h"

namespace quant {

struct CalibrationOptions {
    std::vector<std::string> texts;  // files, in this order
    int64_t window = 512;            // tokens of a window; each begins with BOS where the model wants one
    int64_t windows = 128;           // at most so many, from the beginning of the texts; -1: all
};

struct Calibration {
    RoundedTensors rounded;
    int64_t windows = 0;
    std::string dataset;  // file names without folders, for the output's metadata
};

// `done` of `total` windows through a layer or a part of one, and what is at hand. Returns false to stop.
using CalibrationProgress = std::function<bool(int64_t done, int64_t total, const std::string& what)>;

// `model_path` is a GGUF of a known architecture. Errors: the model's and the texts' own; a text of less than
// two windows.
Result<Calibration> calibrate_and_round(const std::string& model_path, const Plan& plan,
                                        const CalibrationOptions& options, int threads,
                                        const CalibrationProgress& progress);

}  // namespace quant
