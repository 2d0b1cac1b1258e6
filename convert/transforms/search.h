// Finds a map for each place of a model, layer by layer: candidates are compared on windows that are learned from, the
// best one is kept where the loss falls on windows kept apart. Knows the candidates' methods by name only.
#pragma once

#include <functional>
#include <vector>

#include "convert/transforms/gains.h"
#include "convert/transforms/place_loss.h"
#include "convert/transforms/scales.h"
#include "convert/transforms/whole_check.h"

namespace quant {

// What a method sees of a place.
struct PlaceFacts {
    const Place& place;
    const ChannelRange& inputs;   // what passes through the channels
    const ChannelRange& weights;  // of the readers, by channel
};
using Candidates = std::function<std::vector<PlaceMap>(const PlaceFacts&)>;

struct PlaceChoices {
    Edits edits;  // of all places that are kept
    TransformGains gains;
};

// `source`: the model, as rows. `places`: of its layers. Places whose inputs are not seen (each expert's own channels) are left as they are.
// Without `gate` the best candidate is kept wherever there is one.
Result<PlaceChoices> search_places(const Source& source, const Model& model, const PlannedTensors& planned, const std::vector<Place>& places,
                                   const Candidates& candidates, bool gate, const SplitWindows& text,
                                   const CheckOptions& options, ThreadPool& pool);

// Ranges of the readers' weights by channel, and, of data-free methods, what the makers' rows or gains let expect of the
// inputs: root mean square 1 behind a norm's gain.
ChannelRange reader_ranges(const Source& source, const Place& place);
ChannelRange maker_ranges(const Source& source, const Place& place);

PlaceMap scale_map_of(const Place& place, ScaleCandidate candidate);

}  // namespace quant
