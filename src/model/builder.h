// Makes the graph of a forward pass from an architecture's data. The only place that knows how a transformer
// is wired.
#pragma once

#include <map>
#include <span>
#include <string>

#include "model/adapter.h"
#include "model/architecture.h"
#include "model/config.h"
#include "model/kv_cache.h"
#include "model/session.h"
#include "model/weights.h"
#include "tensor/graph.h"

namespace quant {

using LowRankParts = std::map<std::string, Adapter::LowRank, std::less<>>;  // by the name of the weight

struct BuildOptions {
    int64_t context = 0;  // positions of the session: decides between longrope's two sets of factors
    int64_t batch = 1;    // the most tokens of one run
    std::span<const AppliedAdapter> adapters{};  // each checked against the model
    KvMixing mixing{};                           // how keys and values lie in the cache
    ActivationForm activations{};
    const LowRankParts* corrections = nullptr;  // more of what adapters add
    const ActivationRanges* ranges = nullptr;   // of weights' inputs: fixed scales for int8 activations
};

struct ModelGraph {
    Graph graph;
    ValueId tokens = kNoValue;     // external i32 [tokens]
    ValueId positions = kNoValue;  // external i32 [tokens]; kNoValue where no table of positions is used
    ValueId picked = kNoValue;     // external i32 [outputs]: which tokens' logits are wanted
    ValueId logits = kNoValue;     // external f32 [vocab] x outputs
};

ModelGraph build_graph(const Architecture& architecture, const Config& config, const Weights& weights,
                       const BuildOptions& options);

// Parts of a forward pass, for work layer by layer: hidden states in, hidden states (or what a matrix reads)
// out.
struct PartGraph {
    Graph graph;
    ValueId input =
        kNoValue;  // external: tokens (i32) of the first part, hidden states [embedding] x tokens of others
    ValueId positions = kNoValue;  // as in ModelGraph; first part only
    ValueId output =
        kNoValue;  // kept: hidden states; of `head` the normed ones, input of the output matrix; of `logits` these
};
enum class Part : uint8_t { embedding, layer, head, logits };
PartGraph build_part(const Architecture& architecture, const Config& config, const Weights& weights,
                     const BuildOptions& options, Part part, int32_t layer = 0);

// Radians per position of each pair of rotated dimensions, and the factor of cos and sin. `windowed`: for
// layers with a sliding window. Peng et al. 2023 (YaRN), Ding et al. 2024 (LongRoPE); linear scaling divides
// the position.
RopeTableParams rope_frequencies(const Architecture& architecture, const Config& config,
                                 const Weights& weights, int64_t context, bool windowed);

}  // namespace quant
