// The plan of a conversion: for every tensor the format it will have and why. A pure function of metadata, shapes and
// options; it can be printed and costs nothing. Never touches tensor data.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "gguf/gguf.h"
#include "convert/plan/patterns.h"
#include "convert/plan/recipe.h"

namespace quant {

struct PlanOptions {
    Recipe recipe;
    bool pure = false;                        // the base format for every matrix, no mix, no fallback
    bool leave_output = false;                // output.weight stays as it is
    bool allow_requantize = false;            // quantized -> another quantized format
    int64_t palette_group = 0;                // rows that share a table, in formats with tables; 0: a table per matrix
    const Format* output_format = nullptr;    // null: by the mix
    const Format* embedding_format = nullptr;
    const TensorPatterns* patterns = nullptr;
    const ImportanceMatrix* importance = nullptr;
    // Formats that mean exactly what the source stores for a tensor, best first; empty function: none.
    std::function<std::vector<const Format*>(size_t tensor)> exact_formats = {};
};

struct PlannedTensor {
    TensorInfo out;                  // name, shape, format and bytes in the new file; shard as in the source
    const Format* from = nullptr;
    std::string reason;              // why not the base format; empty when it is
    bool fallback = false;           // the row did not divide
    bool asked = false;              // the user named the format for this tensor
    bool repacked = false;           // the source's own codes in this format: nothing is rounded
    std::string note;                // what the source says of it, beside the reason
    const std::vector<float>* importance = nullptr;  // of this tensor: cols, or experts * cols
    bool copies() const { return from == out.format; }
};

struct Plan {
    Recipe recipe;
    ModelFacts facts;
    std::vector<PlannedTensor> tensors;  // in the order of the source
    size_t fallbacks = 0;
    size_t without_importance = 0;       // matrices of layers that the importance matrix misses
    std::string first_without_importance;
    std::string first_own;               // tensor of a format that only this program reads; empty: none
    std::vector<std::string> needing_importance;  // refuse to be written without, and have none
};

// Layers, heads and experts from `ARCHITECTURE.block_count` and its relatives, for any architecture.
Result<ModelFacts> model_facts(const Metadata& metadata, const std::vector<TensorInfo>& tensors);

// The importance of the plan's quantized tensors, in place of what they had; `importance` outlives its use through the
// plan. Error: an entry of a wrong length.
Status set_importance(const ImportanceMatrix* importance, Plan& plan);

// Errors: a tensor that no fallback fits, quantizing what is quantized already, importance of a wrong length.
Result<Plan> make_plan(const Metadata& metadata, const std::vector<TensorInfo>& tensors, const PlanOptions& options);

}  // namespace quant
