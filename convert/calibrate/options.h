// What a user says about calibration. Knows no model.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "convert/calibrate/text_file.h"

namespace quant {

// How much work fidelity is worth.
enum class Effort : uint8_t {
    fast,    // few windows, importance only, the mix's own formats
    normal,  // formats by measured cost, error feedback
    max      // more windows, more sweeps
};

struct CalibrationOptions {
    std::vector<TextFile> texts;     // in this order
    int64_t window = 512;            // tokens of a window; each begins with BOS where the model wants one
    int64_t windows = 128;           // at most so many, from the beginning of the texts; -1: all
    Effort effort = Effort::normal;
    uint64_t memory = uint64_t{2} << 30;  // bytes that hidden states may take; more goes to disk
};

// `done` of `total` steps of a phase ("convert": bytes; "measure", "calibrate": windows), and what is at hand. Returns false to stop.
using CalibrationProgress =
    std::function<bool(const char* phase, int64_t done, int64_t total, const std::string& what)>;

}  // namespace quant
