// What the weight matrices of a model read: sums of squares of every input column over calibration windows, the
// ecosystem's importance matrix. Computed layer by layer in full precision; can be continued after a kill.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/threads.h"
#include "convert/calibrate/gram_file.h"
#include "model/model.h"

namespace quant {

struct InputSums {
    std::vector<double> squares;  // [matrices * cols]: sums of x^2; several matrices where the tensor holds experts
    std::vector<double> tokens;   // [matrices]: how many each has seen
};
using Statistics = std::map<std::string, InputSums, std::less<>>;  // by tensor name

struct StatisticsOptions {
    int64_t window = 512;
    uint64_t memory = uint64_t{2} << 30;  // bytes that hidden states may take; more goes to disk
    bool output = false;                  // of the output matrix too
    std::string checkpoint;               // file that work is continued from and saved to between layers; empty: none
    double checkpoint_seconds = 30;       // at least so long between two of them
    std::string grams;                    // a spool for the Gram matrices of what matrices read; empty: none are gathered
};

struct CollectedStatistics {
    Statistics sums;
    int32_t continued_from = 0;  // layers that a checkpoint had done
    std::vector<GramSite> gram_sites;  // what lies in the spool
    double lookup_share = 0;           // with Gram matrices: of a table that is embedding and output (tied_table.h)
};

// `tokens`: whole windows. Same result for any number of threads. `progress` gets done and total windows through a layer;
// false stops. A checkpoint of other work (another model, text or window) is ignored and replaced.
Result<CollectedStatistics> collect_statistics(
    const Model& model, const std::vector<int32_t>& tokens, const StatisticsOptions& options, ThreadPool& pool,
    const std::function<bool(int64_t done, int64_t total, const std::string& what)>& progress);

// The sums as means per token, what encoders weigh errors with. An expert that has seen fewer than kFewTokens tokens gets the
// mean over all experts.
inline constexpr double kFewTokens = 32;
ImportanceMatrix importance_of(const Statistics& sums);

// Writes the ecosystem's GGUF form, or the older stream of records where `path` ends in .dat.
Status write_importance_matrix(const std::string& path, const Statistics& sums, const std::string& dataset,
                               int64_t windows, int64_t window, bool force);

}  // namespace quant
