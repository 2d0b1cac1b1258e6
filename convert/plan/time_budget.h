// A plan whose formats are chosen within a time per token as well as a size. Knows figures only.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/result.h"
#include "convert/plan/budget.h"

namespace quant {

// By tensor of free_tensors(): seconds per token of its product in each candidate's format; 0 where it takes no part in one.
using Times = std::vector<std::vector<double>>;

struct Spent {
    double loss = 0;     // sums over the free tensors
    double seconds = 0;
};

// As spend_budget(), and the times of the free tensors sum up to at most `seconds`. Losses are minimised by a price for a
// second (Lagrange multiplier). Error "usage": the size cannot be met, or the time: then with the least possible, to which
// `rest` seconds outside of the free tensors' products are added in the message.
Result<Spent> spend_time(Plan& plan, const std::vector<const Format*>& candidates, const Losses& losses, const Times& times,
                         double seconds, double rest, uint64_t limit, const std::function<Result<uint64_t>(const Plan& plan)>& file_bytes);

}  // namespace quant
