// One transform at a time, on the model that the ones before it made. Each stage proposes edits; whether the whole model
// gains by them is decided elsewhere.
#pragma once

#include "convert/transforms/search.h"
#include "convert/transforms/transforms.h"

namespace quant {

struct Stage {
    const Source& source;
    const Outline& outline;
    const TransformRequest& request;
    ThreadPool& pool;
    // Null without calibration text: then every map is applied unmeasured.
    const SplitWindows* text = nullptr;
    const Model* model = nullptr;
    const PlannedTensors* planned = nullptr;
    CheckOptions check = {};

    // The best of the candidates at each place of the kinds that the family allows; without text the first of them.
    Result<PlaceChoices> search(std::initializer_list<PlaceKind> kinds, const Candidates& candidates) const;
};

// Scales between makers and readers, by all of `methods` at once.
Result<PlaceChoices> scale_stage(const Stage& stage, const std::vector<Transform>& methods);
// T_k, T_v and T_u.
Result<PlaceChoices> fptquant_stage(const Stage& stage);
// R2, by layer.
Result<PlaceChoices> rotate_heads_stage(const Stage& stage);
// fold-norm by itself: where the rounding gains.
Result<PlaceChoices> fold_norm_stage(const Stage& stage);
// An output matrix of its own, where the embedding served; empty where it has one.
Edits untie(const Outline& outline);
// Gains of all norms into their readers. Error: a gain of 0.
Result<Edits> fold_norms(const Outline& outline, const Source& source);
// R1; of a model with folded norms and an output matrix of its own.
Edits rotate_residual(const Outline& outline, uint64_t seed);

}  // namespace quant
