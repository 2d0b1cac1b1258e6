// A model with maps of channels folded into its weights: rows of another source, changed while they are read.
// Knows tensors and maps; why a map is there is not its concern.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "convert/import/source.h"
#include "convert/transforms/maps.h"

namespace quant {

// One map folded into one tensor. A reader's rows w become w M. What a maker makes becomes inverse(M) x: of a matrix the
// rows [first, first + count) make it (all experts' rows, one expert after the other), of a vector or a table those
// elements of each row. Rows of queries change as readers do, because the keys they meet are made.
struct Fold {
    enum class As : uint8_t { reader, maker_rows, maker_elements, query_rows, query_elements };
    As as = As::reader;
    SharedMap map;
    int64_t first = 0, count = 0;  // count 0: all
    bool per_matrix = false;       // channels go on from one expert's matrix to the next instead of beginning again
};
struct TensorFolds {
    std::string tensor;
    std::vector<Fold> folds;  // in the order in which they are applied; at most one mixes a row with others
};

// A tensor that the model lacks: a copy of another one (an output matrix of its own where the embedding served).
struct AddedTensor {
    std::string name, copy_of;
};

struct Edits {
    std::vector<TensorFolds> tensors;
    std::vector<AddedTensor> added;
    bool empty() const { return tensors.empty() && added.empty(); }
    void add(const std::string& tensor, Fold fold);
    void add(Edits others);
};

// Memory beyond the source's own: where rows are mixed, the matrices at hand as floats, until they are released.
// Error: a tensor that the source lacks.
Result<std::shared_ptr<const Source>> transform_source(std::shared_ptr<const Source> source, const Edits& edits);

}  // namespace quant
