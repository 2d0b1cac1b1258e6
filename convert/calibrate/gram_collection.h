// Gathers Gram matrices while a text goes through the layers: in memory those of a few values at a time, finished ones in a
// spool, from which work goes on after a kill.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/spool.h"
#include "base/threads.h"
#include "convert/calibrate/gram.h"
#include "convert/calibrate/gram_file.h"
#include "convert/calibrate/layers.h"
#include "model/model.h"

namespace quant {

class GramCollection {
public:
    // `memory`: bytes that the sums of one pass may take; a layer that needs more is read in several passes.
    // Errors: of the file system; too little room for the spool and the file made of it.
    static Result<GramCollection> begin(const Model& model, PartRunner& runner, const std::string& spool, uint64_t memory);

    const std::vector<GramSite>& sites() const { return sites_; }
    int64_t passes(int32_t layer) const { return static_cast<int64_t>(groups(layer).size()); }
    int64_t all_passes() const;

    // Whether the spool holds all that the layers before `layer` made; it is cut behind them. 0 always succeeds.
    Result<bool> go_on_from(int32_t layer);
    // Loads a layer so that the values of this pass can be added after each window; then writes what they came to.
    Status load(PartRunner& runner, int32_t layer, int64_t pass);
    void add(const PartRunner& runner, ThreadPool& pool);
    // What the output matrix reads, window by window. It is the last site.
    void add_output(const Tensor& x, ThreadPool& pool);
    Status write();
    Status sync() { return spool_.sync(); }

private:
    struct Group {
        size_t begin = 0, end = 0;  // sites
    };
    std::vector<Group> groups(int32_t layer) const;
    size_t first_site(int32_t layer) const;

    std::vector<GramSite> sites_;  // of all layers in their order, then that of the output
    uint64_t memory_ = 0;
    Spool spool_;
    std::vector<ProductSum> sums_;
    std::vector<ValueId> inputs_;  // of sums_, in the graph at hand
};

}  // namespace quant
