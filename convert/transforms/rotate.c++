// Rotations of the hidden states (R1) and of the values of each head (R2) that fold into the weights (SpinQuant, Liu et
// al. 2024; QuaRot, Ashkboos et al. 2024).
#include "convert/transforms/stages.h"

namespace quant {

Edits rotate_residual(const Outline& outline, uint64_t seed) {
    Edits edits;
    Rng rng(seed);
    for (const Place& place : places_of(outline, PlaceKind::residual)) {
        const SharedMap map = rotation_map(place.block, rng);
        edits.add(fold_at(place, map, map));
    }
    return edits;
}

Result<PlaceChoices> rotate_heads_stage(const Stage& stage) {
    return stage.search({PlaceKind::value}, [&](const PlaceFacts& facts) {
        Rng rng(stage.request.seed + 1 + static_cast<uint64_t>(facts.place.layer));
        const SharedMap map = rotation_map(facts.place.block, rng);
        return std::vector<PlaceMap>{{"rotate heads", map, map}};
    });
}

}  // namespace quant
