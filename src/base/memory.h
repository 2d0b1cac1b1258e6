// How much memory there is to be had.
#pragma once

#include <cstdint>

namespace quant {

// Bytes that could be used without pushing anything out, within the limit of the control group; 0 when the system does not say.
uint64_t memory_to_spare();

}  // namespace quant
