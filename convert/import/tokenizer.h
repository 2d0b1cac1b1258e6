// Tokenizer files of a Hugging Face folder -> `tokenizer.*` keys of a GGUF, as the ecosystem's own converter
// writes them. Knows no tensors.
#pragma once

#include <string>
#include <string_view>

#include "convert/import/json.h"
#include "gguf/gguf.h"

namespace quant {

// Reads what is there of tokenizer.model (SentencePiece), tokenizer.json, vocab.json with merges.txt,
// tokenizer_config.json, added_tokens.json, chat_template.jinja and chat_template.json, and appends the keys
// to `out`. `architecture`: the GGUF name ("llama", "gemma2"), for the few rules that depend on it; `config`:
// the root of config.json. Errors name the file and what in it is not understood.
Status import_tokenizer(const std::string& folder, std::string_view architecture, JsonValue config,
                        Metadata& out);

}  // namespace quant
