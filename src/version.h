// The version of program and library; quant.h repeats it for C.
#pragma once

namespace quant {
inline constexpr const char* kVersion = "0.1.0";
}
