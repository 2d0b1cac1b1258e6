// The adapter beside a quantized file: what `quantize --lowrank` adds to its output.
#pragma once

#include "convert/quantize.h"
#include "model/model.h"

namespace quant {

// Where the adapter goes: as asked, or beside the output: dir/model.gguf gives dir/model-lowrank.gguf.
std::string correction_path(const QuantizeOptions& options, const std::string& output);

// Before long work begins. Error "usage": a rank without texts to find it on, or what would be replaced.
Status check_correction(const QuantizeOptions& options, const std::string& output, const std::vector<FileId>& inputs);

// Reads the finished output, writes the adapter, tells the report. Nothing without a rank. `original` is the model that was rounded.
Status correct_output(const QuantizeOptions& options, std::shared_ptr<const Model> original, QuantizeReport& report);

}  // namespace quant
