// One progress bar after the other for the phases of long work.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "base/progress.h"
#include "convert/calibrate/options.h"

namespace quant {

class PhaseProgress {
public:
    // Lives as long as this object.
    CalibrationProgress callback() {
        return [this](const char* phase, int64_t done, int64_t total, const std::string& what) {
            // A phase that begins again counts from its start.
            if (std::exchange(phase_, phase) != phase || done < done_) {
                const bool bytes = phase_ == "convert";
                bar_ = std::make_unique<Progress>(phase, bytes ? "bytes" : phase_ == "compare" ? "weights" : "windows", static_cast<uint64_t>(total));
                done_ = 0;
            }
            bar_->note(what);
            bar_->advance(static_cast<uint64_t>(done - std::exchange(done_, done)));
            return true;
        };
    }
    void finish() { bar_.reset(); }

private:
    std::unique_ptr<Progress> bar_;
    std::string phase_;
    int64_t done_ = 0;
};

}  // namespace quant
