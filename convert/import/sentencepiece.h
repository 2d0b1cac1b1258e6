// Reads a SentencePiece model file: the few fields of its protocol buffer that a vocabulary needs.
// Knows nothing of GGUF. Field numbers: sentencepiece_model.proto of SentencePiece 0.2.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/result.h"

namespace quant {

struct SentencePieceModel {
    // Type: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte: the same numbers as GGUF's
    // token types.
    struct Piece {
        std::string text;
        float score = 0;
        int32_t type = 1;
    };
    std::vector<Piece> pieces;
    enum class Kind { unigram = 1, bpe = 2, word = 3, character = 4 };
    Kind kind = Kind::unigram;
    bool add_dummy_prefix = true, remove_extra_whitespaces = true;
    std::string charsmap;  // precompiled normalization rules; empty: none
};

// False for files of the same name that hold something else (lists of base64 tokens).
bool looks_like_sentencepiece(Bytes bytes);
// Errors name `origin` and the byte at which the file breaks a rule.
Result<SentencePieceModel> read_sentencepiece(Bytes bytes, const std::string& origin);

}  // namespace quant
