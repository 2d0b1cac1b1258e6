// The one validate step of a vocabulary: after it, ids index and arrays match. Knows no files; errors name
// GGUF keys.
#pragma once

#include "text/spm.h"
#include "text/tokenizer.h"

namespace quant {

inline constexpr size_t kTokenBytes =
    size_t{1} << 16;  // the longest tokens of real vocabularies have a few hundred bytes

Status check_vocabulary(const Vocabulary& vocabulary);
// The byte tokens "<0x00>" ... "<0xFF>" of a SentencePiece vocabulary; an error for one that is ill-formed or
// there twice.
Result<ByteTokens> find_byte_tokens(const Vocabulary& vocabulary);

}  // namespace quant
