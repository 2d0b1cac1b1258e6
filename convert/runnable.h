// What a conversion reads, as a model that can be run: calibration needs one whatever the source is.
#pragma once

#include <memory>

#include "base/result.h"
#include "convert/quantize.h"
#include "model/model.h"

namespace quant {

// True where the source cannot be run as it lies (a Hugging Face folder, adapters to merge): it is converted to a
// temporary GGUF beside the output first.
bool needs_conversion_to_run(const QuantizeOptions& options);

// Loads it. The temporary file has no name any more when this returns: whatever ends the program, nothing is left behind.
// `output` is the final output's path. Errors: those of conversion and of loading.
Result<std::shared_ptr<const Model>> load_runnable(const QuantizeOptions& options, const std::string& output);

}  // namespace quant
