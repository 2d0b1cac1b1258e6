// Which format each tensor gets when the whole may have so many bytes: the least total loss within a budget.
// Knows figures only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace quant {

struct Choice {
    uint64_t bytes = 0;
    double loss = 0;  // any unit, additive over items
};

// One index into the choices of each item. Losses are minimised by a price for a byte (Lagrange multiplier), what is left
// of the budget by the best single changes and exchanges between two items; the total never exceeds the budget.
// Empty when even the smallest choices do not fit. Every item has a choice.
std::vector<size_t> allocate(const std::vector<std::vector<Choice>>& items, uint64_t budget);

}  // namespace quant
