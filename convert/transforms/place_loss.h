// What a map of channels does to the rounding of the tensors around it, measured on what they read: nobody rounds the
// whole model for that. Knows a layer's matrices and Gram matrices, not how a map was chosen.
#pragma once

#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/threads.h"
#include "convert/plan/plan.h"
#include "convert/transforms/places.h"
#include "model/model.h"

namespace quant {

// Of what one matrix reads.
struct InputStatistics {
    std::vector<float> learned;   // Gram matrix [cols, cols] over the windows that are learned from
    std::vector<float> held_out;  // over those kept apart
};

// A map as both sides see it; null maps: the model as it is.
struct PlaceMap {
    std::string name;
    SharedMap for_makers, for_readers;
};

struct PlaceLoss {
    const Model& model;
    const std::unordered_map<std::string, const PlannedTensor*>& planned;
    const std::function<const InputStatistics*(const std::string& tensor)>& inputs;  // null: unknown
    ThreadPool& pool;

    // Mean over the place's rounded matrices of |(Q(W') - W') X'|^2 / |W X|^2, over rows spread evenly. With `feedback`
    // rounded with error feedback and judged on the windows kept apart; without, by the format's own search and judged
    // on those learned from. 0: nothing here is rounded.
    Result<double> of(const Place& place, const PlaceMap& map, bool feedback) const;
};

}  // namespace quant
