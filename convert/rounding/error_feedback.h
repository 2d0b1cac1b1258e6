// Error feedback (GPTQ, Frantar et al. 2023; the same as LDLQ) for every block format, those included in which several
// weights share a code. Minimises, row by row, (w - ŵ) H (w - ŵ)ᵀ with H the Gram matrix of the inputs: the
// error of each column is moved into the columns to come. Knows no files and no models.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "base/threads.h"
#include "formats/format.h"

namespace quant {

struct FeedbackOptions {
    double damping = 0.01;  // of H's typical_square (factor.h)
    int sweeps = 3;         // of coordinate descent over the codes afterwards, on the same objective; 0: none
    int refits = 2;         // of the blocks' scales to the codes then, each with one more sweep; none without sweeps
    // Of sub-blocks, among those beside the encoder's (scale_choices.h), when feedback reaches their weights: by then these are others
    // than those that the super-block was fitted to. KL on two held-out texts: Q4_K -4 and -3 %, Q2_K -5 and -5, Q6_K -4 and -1.
    bool chooses_scales = true;
};

// `options` for a Gram matrix [cols, cols] of so many tokens: the fewer there are, the less its small eigenvalues say of other
// text; their error goes with the root of columns per token (Marchenko and Pastur 1967). KL of Q4_0 on text held out, of the
// kind of the calibration text and of another: 24 windows of 512 tokens, without .0043 and .0056, with this .0038 and .0051; 160
// windows .0035 and .0052, .0032 and .0048.
FeedbackOptions damped_for(FeedbackOptions options, int64_t cols, double tokens);

// w [rows, cols] -> blocks, format.tensor_bytes(cols, rows, group); group 0: one table for all rows. gram [cols, cols]. Rows are independent: the same
// bytes for any number of threads. Formats without codes (F16) are encoded with diag(H) as importance; tables of a tensor are
// made with it before the codes are chosen.
Status round_with_feedback(const Format& format, const float* w, int64_t rows, int64_t cols, int64_t group,
                           const std::vector<float>& gram, const FeedbackOptions& options, ThreadPool& pool,
                           uint8_t* blocks);

// The same with inverse_factor(gram, cols, options.damping) at hand; empty where the format has no codes.
void round_with_factor(const Format& format, const float* w, int64_t rows, int64_t cols, int64_t group,
                       const std::vector<float>& gram, const std::vector<float>& factor, const FeedbackOptions& options,
                       ThreadPool& pool, uint8_t* blocks);

}  // namespace quant
