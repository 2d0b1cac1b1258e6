// Seconds of products with one token on this machine: the real kernels, run on weights that come from memory.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <tuple>

#include "base/result.h"
#include "base/threads.h"
#include "convert/plan/plan.h"
#include "convert/plan/time_budget.h"
#include "model/model.h"

namespace quant {

class KernelTimes {
public:
    // `working_set`: bytes of weights that a token goes through, about; so many are kept in turn, at most 64 MiB.
    KernelTimes(uint64_t working_set, ThreadPool& pool) : working_set_(working_set), pool_(pool) {}
    // Of a matrix times one token's activations, packing them included. Each format and shape is timed once. 0 where rows
    // do not fit the format.
    double seconds(const Format& format, int64_t cols, int64_t rows);

private:
    uint64_t working_set_;
    ThreadPool& pool_;
    std::map<std::tuple<FormatSlot, int64_t, int64_t>, double> known_;
};

struct TokenTimes {
    Times free;       // of free_tensors(), by candidate
    double rest = 0;  // everything else: other products, attention, norms
};

// Times of a plan's products. The rest is what a token of the source takes beyond its own products. A table that is only
// looked up takes no time; of stacked experts those in use count.
Result<TokenTimes> time_tokens(std::shared_ptr<const Model> model, const Plan& plan, const std::vector<const Format*>& candidates, ThreadPool& pool);

}  // namespace quant
