// Gram matrices kept in a file: what error feedback needs of a text, so that a model can be rounded from it any number of
// times and on any machine alike. A GGUF of this program: for each value that matrices read, the lower triangle of the mean of
// x xT over all tokens, row by row in F32, as the tensor `FIRST_MATRIX.gram`; `gram.weights` and `gram.sites` say which matrix
// belongs to which. Matrices of experts have none.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "gguf/gguf.h"

namespace quant {

// A value that `weights` read, [cols].
struct GramSite {
    std::vector<std::string> weights;
    int64_t cols = 0;
    int32_t layer = 0;  // that of the output matrix: the number of layers
    uint64_t bytes() const { return sizeof(float) * static_cast<uint64_t>(cols) * static_cast<uint64_t>(cols + 1) / 2; }
};

struct GramFacts {
    std::string model, architecture, dataset;
    int64_t windows = 0, window = 0;  // of the text, and tokens of each
    float lookup_share = 0;  // of a table that is embedding and output: see tied_table.h; 0: it is not
};

// Writes the triangles that lie in the file `triangles`, in the order of `sites`.
Status write_grams(const std::string& path, const std::string& triangles, const std::vector<GramSite>& sites, const GramFacts& facts, bool force);
// Bytes that this will write.
uint64_t gram_file_bytes(const std::vector<GramSite>& sites);

class GramFile {
public:
    // Errors: not such a file; matrices of no square shape.
    static Result<GramFile> open(const std::string& path);
    const GramFacts& facts() const { return facts_; }
    const std::string& path() const { return file_.path(); }

    // The tensor that holds what `weight` reads; null: there is none.
    const TensorInfo* find(const std::string& weight) const;
    // Columns of a matrix that reads it.
    static int64_t cols(const TensorInfo& site);
    // The whole matrix [cols, cols]. A table that rows are looked up in as well has them counted. Error: a value that is not finite.
    Result<std::vector<float>> read(const TensorInfo& site) const;

private:
    Gguf file_;
    GramFacts facts_;
    std::map<std::string, const TensorInfo*, std::less<>> sites_;  // by weight
};

}  // namespace quant
