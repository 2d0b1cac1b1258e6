// Gains of norms move into the matrices behind them: needed by rotations, and one scaling among others for the rounding.
#include <algorithm>

#include "base/file.h"
#include "convert/transforms/stages.h"

namespace quant {

namespace {

std::vector<float> gain_of(const Source& source, const Place& place) {
    const auto& tensors = source.tensors();
    const auto found = std::find_if(tensors.begin(), tensors.end(), [&](const TensorInfo& each) { return each.name == place.makers.front().tensor; });
    std::vector<float> gain(static_cast<size_t>(place.channels));
    source.read_rows(static_cast<size_t>(found - tensors.begin()), 0, 1, gain.data());
    return gain;
}

bool invertible(const std::vector<float>& gain) { return std::find(gain.begin(), gain.end(), 0.0f) == gain.end(); }

}  // namespace

Edits untie(const Outline& outline) {
    Edits edits;
    if (outline.weights.output == outline.weights.embedding) edits.added.push_back({"output.weight", outline.weights.embedding->name});
    return edits;
}

Result<Edits> fold_norms(const Outline& outline, const Source& source) {
    Edits edits;
    for (const Place& place : places_of(outline, PlaceKind::norm)) {
        if (place.makers.empty()) continue;
        const std::vector<float> gain = gain_of(source, place);
        if (!invertible(gain))
            return input_error(escaped(source.metadata().origin) + ": tensor " + escaped(place.makers.front().tensor) +
                               ": expected gains other than 0 to fold into the matrices behind, found one");
        edits.add(scale_at(place, gain));
    }
    return edits;
}

Result<PlaceChoices> fold_norm_stage(const Stage& stage) {
    return stage.search({PlaceKind::norm}, [&](const PlaceFacts& facts) -> std::vector<PlaceMap> {
        const std::vector<float> gain = gain_of(stage.source, facts.place);
        if (!invertible(gain)) return {};
        return {scale_map_of(facts.place, {"fold-norm", gain})};
    });
}

}  // namespace quant
