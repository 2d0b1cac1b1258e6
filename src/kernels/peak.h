// What the processor could do at best: the rate of its widest multiplication, measured by running nothing else.
// For reports only; knows no formats and no weights.
#pragma once

#include <cstdint>

namespace quant {

enum class PeakOf { int8, f32 };

// Multiply-adds in one round of the widest multiplication that the table in use (kernels()) works with, and a loop of
// `rounds` of them in registers. 0, and no loop: not known for this table.
int64_t peak_round(PeakOf of);
void run_peak(PeakOf of, int64_t rounds);

// Brings `count` words into the processor: a sum of one of each 64 bytes, because adding them all would hold up the reading.
uint64_t read_lines(const uint64_t* words, int64_t count);

}  // namespace quant
