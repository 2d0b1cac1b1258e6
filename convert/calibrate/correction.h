// Low-rank matrices beside a rounded model that bring it nearer to the original, as a standard adapter (LoRA): found layer by
// layer on calibration text, each on the inputs that the rounded and corrected layers before it produce.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/threads.h"
#include "convert/rounding/low_rank.h"
#include "model/model.h"
#include "model/session.h"

namespace quant {

// How many dimensions a correction may have.
struct RankChoice {
    int64_t rank = 0;  // of every matrix, or
    double share = 0;  // of the smaller side of each
    int64_t of(int64_t rows, int64_t cols) const;
};

struct CorrectionOptions {
    RankChoice rank;
    // Activations that the rounded weights will read; the correction reads them unrounded and makes up for that too.
    ActivationForm activations{};
    int64_t window = 512;
    uint64_t memory = uint64_t{2} << 30;  // bytes that the hidden states of one model may take; more goes to disk
};

using Corrections = std::map<std::string, LowRankFactors, std::less<>>;  // by the name of the weight

// For every matrix of the layers that is quantized in `rounded` (or, with activations rounded, every one); experts, the
// embedding and the output matrix stay as they are. `rounded` is `original` in other formats: error "input" where a tensor
// differs in shape. `tokens`: whole windows. `progress` gets done and total windows through a part of a layer; false stops.
Result<Corrections> find_corrections(const Model& original, const Model& rounded, const std::vector<int32_t>& tokens,
                                     const CorrectionOptions& options, ThreadPool& pool,
                                     const std::function<bool(int64_t done, int64_t total, const std::string& what)>& progress);

// As a GGUF adapter with factors in F16. Nothing is left behind after an error.
Status write_corrections(const std::string& path, const Model& rounded, const Corrections& corrections, bool force);

}  // namespace quant
