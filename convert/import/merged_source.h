// A model with low-rank adapters added to its weights, row by row while it is read.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "convert/import/source.h"

namespace quant {

struct AdapterToMerge {
    std::unique_ptr<Source> adapter;
    float scale = 1;  // times the adapter's own
};

// Weights become W + sum of scale * B A, in f32. Memory beyond the base's own: the factors A of the tensors at hand.
// Errors: an adapter for another architecture, a target that the base lacks, shapes that differ, an adapted embedding
// that is the output matrix as well.
Result<std::unique_ptr<Source>> merge_adapters(std::unique_ptr<Source> base, std::vector<AdapterToMerge> adapters);

}  // namespace quant
