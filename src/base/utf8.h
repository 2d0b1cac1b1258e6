// The one place that says what well-formed UTF-8 is (Unicode 15, table 3-7).
#pragma once

#include <cstddef>
#include <string_view>

namespace quant {

// Bytes of the well-formed sequence at the start of `text` (not empty), 0 if there is none.
size_t utf8_length(std::string_view text);

}  // namespace quant
