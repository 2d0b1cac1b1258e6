// What stages share, and the one of the scaling methods.
#include "convert/transforms/stages.h"

#include <algorithm>

namespace quant {

Result<SearchResult> Stage::search(std::initializer_list<PlaceKind> kinds, const Candidates& candidates) const {
    std::vector<Place> places;
    for (const PlaceKind kind : kinds) {
        std::vector<Place> found = places_of(outline, kind);
        std::move(found.begin(), found.end(), std::back_inserter(places));
    }
    if (text) return search_places(source, *model, *planned, places, candidates, request.gate, *text, check, pool);
    SearchResult out;
    for (const Place& place : places) {
        if (place.readers.empty()) continue;
        const ChannelRange inputs = maker_ranges(source, place), weights = reader_ranges(source, place);
        const std::vector<PlaceMap> maps = candidates({place, inputs, weights});
        if (maps.empty()) continue;
        out.best.edits.add(fold_at(place, maps.front().for_makers, maps.front().for_readers));
        out.best.gains.push_back({place.layer, place.name, maps.front().name, 0, 0, true});
    }
    return out;
}

Result<SearchResult> scale_stage(const Stage& stage, const std::vector<Transform>& methods) {
    const auto wanted = [&](Transform each) { return std::find(methods.begin(), methods.end(), each) != methods.end(); };
    return stage.search({PlaceKind::norm, PlaceKind::value, PlaceKind::up}, [&](const PlaceFacts& facts) {
        std::vector<ScaleCandidate> found;
        ChannelRange inputs = facts.inputs, weights = facts.weights;
        // By default outliers are undone first; the methods then see channels that none of them dominates.
        std::vector<float> undone;
        if (stage.request.automatic) {
            found = outlier_scales(inputs, weights);
            if (!found.empty()) undone = found.front().s;
            for (size_t j = 0; j < undone.size(); ++j) {
                inputs.scale(j, 1 / static_cast<double>(undone[j]));
                weights.scale(j, static_cast<double>(undone[j]));
            }
        }
        const auto take = [&](std::vector<ScaleCandidate> more) {
            for (ScaleCandidate& each : more) {
                for (size_t j = 0; j < undone.size(); ++j) each.s[j] *= undone[j];
                if (!undone.empty()) each.name = "outliers, " + each.name;
                found.push_back(std::move(each));
            }
        };
        if (wanted(Transform::awq)) take(awq_scales(inputs));
        if (wanted(Transform::smoothquant)) take(smoothquant_scales(inputs, weights));
        if (wanted(Transform::aweq)) take(aweq_scales(inputs, weights));
        std::vector<PlaceMap> maps;
        for (ScaleCandidate& each : found) maps.push_back(scale_map_of(facts.place, std::move(each)));
        if (!undone.empty()) maps.front().mends = true;
        return maps;
    });
}

}  // namespace quant
