// Biases that make up for the mean error of rounding (Nagel et al. 2019, AWEQ): b + E[W t - Q s], with t what the original
// reads and s what the rounded model reads. Only of matrices that have a bias: none is added.
#pragma once

#include "convert/stream/stream.h"
#include "convert/transforms/gains.h"
#include "convert/transforms/whole_check.h"

namespace quant {

// Layer by layer, each on what the layers before it produce with their new biases. A bias is changed where the mean error
// falls on windows kept apart (everywhere without `gate`); `rounded` gets it as F32.
Result<TransformGains> correct_biases(const Model& model, const Plan& plan, bool gate, const SplitWindows& text,
                                      const CheckOptions& options, ThreadPool& pool, RoundedTensors& rounded);

}  // namespace quant
