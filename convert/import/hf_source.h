// A Hugging Face folder as a model to convert.
#pragma once

#include <memory>
#include <string>

#include "convert/import/source.h"

namespace quant {

// Reads config.json, the tokenizer's files and the safetensors. Errors name the file and what in it does not fit.
Result<std::unique_ptr<Source>> open_hf_source(const std::string& folder);

}  // namespace quant
