// Rounds tensors with error feedback from Gram matrices that lie in a file, one at a time as they are written. No model is
// run and no text is needed. The same bytes on every machine.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/threads.h"
#include "convert/calibrate/gram_file.h"
#include "convert/import/source.h"
#include "convert/plan/plan.h"
#include "convert/rounding/error_feedback.h"

namespace quant {

// Whether feedback from the file will round this tensor.
bool rounds_from(const GramFile& grams, const PlannedTensor& tensor);

// Before anything is written. Errors: matrices of other widths; a tensor whose format needs importance, and has none.
// Says by a warning what matrices of layers the file does not know.
Status check_grams(const GramFile& grams, const Plan& plan, std::vector<std::string>& warnings);

class SavedRounding {
public:
    // All outlive it.
    SavedRounding(const Source& source, const Plan& plan, const GramFile& grams, const FeedbackOptions& options, int threads)
        : source_(source), plan_(plan), grams_(grams), options_(options), pool_(threads) {}
    // The tensor's bytes, until the next call; null: not rounded by this. Memory: the encoded tensor, its Gram matrix twice, and
    // some rows as floats (all of them in formats with tables).
    Result<const uint8_t*> tensor(size_t index);

private:
    const Source& source_;
    const Plan& plan_;
    const GramFile& grams_;
    FeedbackOptions options_;
    ThreadPool pool_;
    const TensorInfo* site_ = nullptr;  // whose Gram matrix and factor these are: neighbours often share them
    std::vector<float> gram_, factor_;
    FeedbackOptions feedback_;  // damped for it
    std::vector<uint8_t> blocks_;
};

}  // namespace quant
