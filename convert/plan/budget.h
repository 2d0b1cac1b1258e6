// A plan whose formats are chosen by what they cost in fidelity, within a size.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "convert/plan/plan.h"

namespace quant {

// The tensors whose format is free: quantized by the plan, and not because the user named a format for them.
std::vector<std::string> free_tensors(const Plan& plan);

// The stock formats that may take a tensor's place: all with codes of two bits and more, and F16; `importance`: there is some,
// for the formats that need it.
std::vector<const Format*> budget_candidates(bool importance);

// By tensor of free_tensors(): the loss in each candidate's format, NaN where its rows do not fit.
using Losses = std::vector<std::vector<double>>;

// Gives the free tensors the candidates with the least total loss such that `file_bytes(plan)` stays within `limit`.
// Returns the sum of their losses. Error "usage": not even the smallest fit, with the least size possible.
Result<double> spend_budget(Plan& plan, const std::vector<const Format*>& candidates, const Losses& losses, uint64_t limit,
                            const std::function<Result<uint64_t>(const Plan& plan)>& file_bytes);

// The plan as rows for --tensor-type-file, one for each quantized tensor.
std::string plan_as_rows(const Plan& plan);

}  // namespace quant
