// Where a model's channels may be changed without changing the model: which tensors make a vector, which read it, and
// which families forbid it and why. The one table of transforms by architecture. Knows no method that chooses a map.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "convert/transforms/transformed_source.h"
#include "model/config.h"
#include "model/weights.h"

namespace quant {

enum class PlaceKind : uint8_t {
    norm,      // gain -> matrices behind a norm, and the output norm's where the output matrix is its own
    value,     // v -> attention output, by kv head
    up,        // up -> down, by expert where there are such
    residual,  // the hidden states: who writes them -> who reads them; needs folded norms and an untied output
    keys,      // q and k of a head, before their positions are added
};
inline constexpr size_t kPlaceKinds = 5;

// Null: allowed. Otherwise why not, as the end of "ARCHITECTURE: ...".
const char* refusal(const Architecture& architecture, PlaceKind kind);

struct Place {
    PlaceKind kind = PlaceKind::norm;
    int32_t layer = -1;    // -1: behind all layers, or all of them
    std::string name;      // "attn_norm", "ffn_norm", "output_norm", "attn_v", "ffn_up", "residual", "attn_k"
    int64_t channels = 0;  // of all experts together
    int64_t block = 1;     // channels that a map may mix: a head, the whole vector; 1: none
    struct Side {
        std::string tensor;
        Fold::As as = Fold::As::reader;
        int64_t first = 0, count = 0;
        bool per_matrix = false;
    };
    std::vector<Side> makers, readers;
    std::vector<int32_t> channel_of;  // by column of the readers, or row of the queries; empty: the same number
};

// A model's data, as far as its tensors' values are not needed.
struct Outline {
    const Architecture* architecture = nullptr;
    Config config;
    Weights weights;  // tensors without data but for vectors
    Gguf gguf;
    std::vector<std::vector<float>> vectors;
};
Result<std::unique_ptr<Outline>> outline_of(const Source& source);

// In order of the forward pass; empty where the model has none (or the family refuses them).
std::vector<Place> places_of(const Outline& model, PlaceKind kind);

// The folds of a map for the makers, and of the same one as the readers' columns see it.
Edits fold_at(const Place& place, const SharedMap& for_makers, const SharedMap& for_readers);
// The same with a factor for each channel.
Edits scale_at(const Place& place, const std::vector<float>& s);
// By channel -> by column of a reader (or row of the queries).
std::vector<float> by_column(const Place& place, const std::vector<float>& s);

}  // namespace quant
