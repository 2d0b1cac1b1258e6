// Error feedback around columns that a format keeps in f16. Knows the layout of such formats (formats/kept_columns.h).
#pragma once

#include <cstdint>
#include <vector>

#include "base/threads.h"
#include "convert/rounding/error_feedback.h"
#include "formats/format.h"

namespace quant {

// As round_with_feedback, for a format that keeps columns. False, with nothing written: `gram` without the kept columns is not
// positive definite.
bool round_beside_kept(const Format& format, const float* w, int64_t rows, int64_t cols, const std::vector<float>& gram,
                       const FeedbackOptions& options, ThreadPool& pool, uint8_t* blocks);

}  // namespace quant
