// Byte-level BPE: the text is cut into words by the vocabulary's pre-tokenizer, each word's bytes merge by
// the ranks of the merges. Knows plain text only: special tokens are the caller's.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "text/merges.h"
#include "text/pretokenize.h"
#include "text/token_index.h"
#include "text/tokenizer.h"

namespace quant {

class BpeEncoder {
public:
    // `vocabulary` (checked) and `index` (of its tokens) must outlive the encoder. Errors: a merge that names
    // or makes an unknown token, an unknown pre-tokenizer.
    static Result<BpeEncoder> create(const Vocabulary& vocabulary, const TokenIndex& index);

    void encode(std::string_view text, std::vector<int32_t>& out) const;  // appends

    // The bytes that a token's text spells; a text that is not made of byte characters stands for itself.
    static std::string bytes_of(std::string_view token_text);

private:
    BpeEncoder() = default;
    void encode_word(std::string_view word, Merger& merger, std::vector<int32_t>& out) const;

    const TokenIndex* index_ = nullptr;
    const PreTokenizer* pre_ = nullptr;
    std::array<int32_t, 256> bytes_{};  // token of each byte, -1: none
    PairTable pairs_;
};

}  // namespace quant
