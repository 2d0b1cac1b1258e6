// KEY=TYPE:VALUE rows by which a user sets metadata of the output.
#pragma once

#include <string_view>

#include "base/result.h"
#include "gguf/gguf.h"

namespace quant {

// TYPE is int, float, bool or str. An integer keeps the integer type that the key has already, where it fits;
// a new one becomes u32 as stock readers expect, or the smallest wider type that holds it.
Status override_metadata(std::string_view row, Metadata& metadata);

}  // namespace quant
