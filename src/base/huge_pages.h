// Pages of 2 MiB: walking through much memory in small ones costs up to a quarter of the speed.
#pragma once

#include <cstddef>

namespace quant {

inline constexpr size_t kHugePage = size_t{2} << 20;

// Asks the system for huge pages in [data, data + bytes), data a multiple of kHugePage; where it has none, nothing happens.
void ask_for_huge_pages(void* data, size_t bytes);

}  // namespace quant
