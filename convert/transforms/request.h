// What a user asks of transforms.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace quant {

enum class Transform : uint8_t { fold_norm, rotate, fptquant, awq, smoothquant, aweq };

struct TransformRequest {
    std::vector<Transform> list;  // in the order of the enumeration, whatever the order given
    bool automatic = true;        // channels that stand out are scaled back, if there is a text to judge it on
    bool gate = true;             // kept only where it helps
    uint64_t seed = 0;            // of random rotations
};
// "awq,rotate", "auto" or "none". Error: an unknown name, with all that are known.
Status parse_transforms(std::string_view list, TransformRequest& request);
std::string names_of(const TransformRequest& request);  // of the list; empty where there is none
// "fold-norm, rotate, ...", for messages.
std::string transform_names();

}  // namespace quant
