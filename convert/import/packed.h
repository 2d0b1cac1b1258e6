// Checkpoints that other programs have quantized: which of their tensors together stand for a matrix, and
// that matrix as rows of floats. One table row per scheme; knows neither architectures nor GGUF names.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/result.h"
#include "convert/import/hf_config.h"
#include "convert/import/hf_rows.h"
#include "convert/import/safetensors.h"

namespace quant {

// A matrix that several tensors of the checkpoint stand for.
struct PackedTensor {
    SafeTensor stands_for;  // "x.weight", [rows, cols], F32; no data
    RowStream rows;              // f32: what the codes stand for
};

class PackedTensors {
public:
    // Validates every packed matrix: names, dtypes, shapes, group numbers. Empty for a checkpoint that is not
    // packed. Refused by name: a quantization that is not known. The result refers to `tensors`.
    static Result<PackedTensors> open(const HfConfig& config, const SafeTensors& tensors);

    bool empty() const { return by_lead_.empty(); }
    // The matrix that begins with this tensor of the checkpoint; null for all others.
    const PackedTensor* led_by(const SafeTensor& tensor) const;
    // True for tensors that are read with another one.
    bool is_part(const SafeTensor& tensor) const { return parts_.contains(&tensor); }

private:
    std::unordered_map<const SafeTensor*, std::unique_ptr<PackedTensor>> by_lead_;
    std::unordered_set<const SafeTensor*> parts_;
};

}  // namespace quant
