// The adapter beside a quantized file: what `quantize --lowrank` adds to its output.
#pragma once

#include "convert/quantize.h"

namespace quant {

// Where the adapter goes: as asked, or beside the output: dir/model.gguf gives dir/model-lowrank.gguf.
std::string correction_path(const QuantizeOptions& options, const std::string& output);

// Before long work begins. Error "usage": a rank without texts to find it on, or what would be replaced.
Status check_correction(const QuantizeOptions& options, const std::string& output, const std::vector<FileId>& inputs);

// Reads the finished output, writes the adapter, tells the report. Nothing without a rank.
Status correct_output(const QuantizeOptions& options, QuantizeReport& report);

}  // namespace quant
