// Text to a real number. Knows nothing of options or files.
#pragma once

#include <optional>
#include <string_view>

namespace quant {

// The whole text as a number, whatever the locale: digits, a point, an exponent, `inf` or `nan`. No value for
// anything else (a space, a `+` in front, hexadecimal digits) and for what is out of range.
std::optional<double> parse_double(std::string_view text);

}  // namespace quant
