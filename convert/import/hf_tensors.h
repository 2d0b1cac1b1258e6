// From a checkpoint's tensors to a GGUF's: names, shapes, and how each one's rows are made. Knows no files.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "convert/import/hf_architecture.h"
#include "convert/import/hf_rows.h"
#include "convert/import/packed.h"
#include "convert/import/safetensors.h"
#include "gguf/gguf.h"

namespace quant {

struct ImportedTensor {
    TensorInfo info;  // without data; format: what a conversion to the checkpoint's own type writes
    RowStream rows;
    // Rows in info.format without a detour over floats, for checkpoints that store such blocks; else empty.
    std::function<void(int64_t row, int64_t count, uint8_t* out)> stored;
};

struct HfShape {
    int64_t heads = 0, kv_heads = 0;  // for permuted rows
    int64_t tokens = 0;               // of the tokenizer
};

// The type of the checkpoint: that of its first matrix; of a packed one, what config.json says it is computed in.
FormatSlot checkpoint_type(const HfConfig& config, const SafeTensors& tensors, const PackedTensors& packed);

// Every tensor of the checkpoint becomes one of the result or part of one, or is known to be left out. Errors name a
// tensor without a place, missing experts, shapes that do not fit together. The result refers to `tensors`,
// not to `packed`.
Result<std::vector<ImportedTensor>> import_tensors(const HfArchitecture& architecture, const HfConfig& config,
                                                   const HfShape& shape, const SafeTensors& tensors,
                                                   const PackedTensors& packed);

}  // namespace quant
