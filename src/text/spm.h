// SentencePiece BPE: characters merge by the scores of the tokens they would become; what is no token falls
// back to bytes. Knows plain text only: special tokens and the space prefix are the caller's.
#pragma once

#include <array>
#include <string_view>
#include <vector>

#include "text/merges.h"
#include "text/token_index.h"
#include "text/tokenizer.h"

namespace quant {

using ByteTokens = std::array<int32_t, 256>;  // the token of each byte, -1: none

class SpmEncoder {
public:
    // `vocabulary` must outlive the encoder and be checked. An error if its tokens overlap beyond reason.
    static Result<SpmEncoder> create(const Vocabulary& vocabulary, const ByteTokens& bytes);

    // Appends the tokens of `text`; a space stands for U+2581.
    void encode(std::string_view text, std::vector<int32_t>& out) const;

private:
    explicit SpmEncoder(const Vocabulary& vocabulary, const ByteTokens& bytes);
    void add_characters(std::string_view token);
    Status add_pairs(int32_t id, PrefixHashes& hashes, const std::vector<uint32_t>& ranks);
    int32_t symbol_of(std::string_view character) const;
    bool splits(int32_t left, int32_t right) const { return !adjacent_.find(left, right); }
    void merge_word(std::string_view word, Merger& merger, std::vector<int32_t>& out) const;
    void append_token(int32_t id, std::vector<int32_t>& out) const;
    void append_bytes(std::string_view bytes, std::vector<int32_t>& out) const;

    const Vocabulary* vocabulary_;
    ByteTokens bytes_;
    TokenIndex index_;  // tokens that text may become, and characters that only occur inside of them (ids
                        // from tokens.size() on)
    int32_t symbols_;   // ids given so far
    std::array<int32_t, 128> ascii_{};  // symbol of each ASCII character
    PairTable pairs_;
    PairTable
        adjacent_;  // characters that stand side by side in some token: text may be cut between all others
    PairTable unused_;  // (unused token, 0) -> left, (unused token, 1) -> right part
};

}  // namespace quant
