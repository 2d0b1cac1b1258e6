// What stages share, and the one of the scaling methods.
#include "convert/transforms/stages.h"

#include <algorithm>

namespace quant {

Result<PlaceChoices> Stage::search(std::initializer_list<PlaceKind> kinds, const Candidates& candidates) const {
    std::vector<Place> places;
    for (const PlaceKind kind : kinds) {
        std::vector<Place> found = places_of(outline, kind);
        std::move(found.begin(), found.end(), std::back_inserter(places));
    }
    if (text) return search_places(source, *model, *planned, places, candidates, request.gate, *text, check, pool);
    PlaceChoices out;
    for (const Place& place : places) {
        if (place.readers.empty()) continue;
        const ChannelRange inputs = maker_ranges(source, place), weights = reader_ranges(source, place);
        const std::vector<PlaceMap> maps = candidates({place, inputs, weights});
        if (maps.empty()) continue;
        out.edits.add(fold_at(place, maps.front().for_makers, maps.front().for_readers));
        out.gains.push_back({place.layer, place.name, maps.front().name, 0, 0, true});
    }
    return out;
}

Result<PlaceChoices> scale_stage(const Stage& stage, const std::vector<Transform>& methods) {
    const auto wanted = [&](Transform each) { return std::find(methods.begin(), methods.end(), each) != methods.end(); };
    return stage.search({PlaceKind::norm, PlaceKind::value, PlaceKind::up}, [&](const PlaceFacts& facts) {
        std::vector<ScaleCandidate> found;
        const auto take = [&](std::vector<ScaleCandidate> more) { std::move(more.begin(), more.end(), std::back_inserter(found)); };
        if (methods.empty()) take(outlier_scales(facts.inputs, facts.weights));
        if (wanted(Transform::awq)) take(awq_scales(facts.inputs));
        if (wanted(Transform::smoothquant)) take(smoothquant_scales(facts.inputs, facts.weights));
        if (wanted(Transform::aweq)) take(aweq_scales(facts.inputs, facts.weights));
        std::vector<PlaceMap> maps;
        for (ScaleCandidate& each : found) maps.push_back(scale_map_of(facts.place, std::move(each)));
        return maps;
    });
}

}  // namespace quant
