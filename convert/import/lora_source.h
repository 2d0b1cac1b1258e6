// A PEFT adapter's folder (adapter_config.json, adapter_model.safetensors) as the GGUF adapter it becomes.
#pragma once

#include <memory>
#include <string>

#include "convert/import/source.h"

namespace quant {

bool is_lora_folder(const std::string& folder);

// `base`: the model that it adapts, a GGUF or a Hugging Face folder: its architecture, heads and shapes decide names
// and rows. Empty: the folder that adapter_config.json names, if it is there. Errors name the file, key or tensor:
// other kinds of adapters, weights with no place, shapes that do not fit the base.
Result<std::unique_ptr<Source>> open_lora_source(const std::string& folder, const std::string& base);

}  // namespace quant
