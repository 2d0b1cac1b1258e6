// SentencePiece's unigram model: the text is normalized, then cut into the tokens whose scores have the
// largest sum. Knows plain text only: special tokens are the caller's.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/charsmap.h"
#include "text/merges.h"
#include "text/spm.h"
#include "text/tokenizer.h"

namespace quant {

class UnigramEncoder {
public:
    // Tokens with longer texts are never chosen: the search costs text times longest token.
    static constexpr size_t kLongest = 256;

    // `vocabulary` (checked) must outlive the encoder.
    static Result<UnigramEncoder> create(const Vocabulary& vocabulary, const ByteTokens& bytes);
    void encode(std::string_view text, std::vector<int32_t>& out) const;  // appends

private:
    UnigramEncoder() = default;
    std::string normalized(std::string_view text) const;
    std::string_view replaced(std::string_view& rest) const;
    void append_unknown(std::string_view text, bool follows_unknown, std::vector<int32_t>& out) const;

    const Vocabulary* vocabulary_ = nullptr;
    ByteTokens bytes_{};
    bool byte_fallback_ = false;
    Charsmap charsmap_;
    PairTable edges_;            // (node, byte) -> node
    std::vector<int32_t> ids_;   // token that ends at a node, -1: none
    std::vector<float> scores_;  // of each token, as the search uses them
    float unknown_score_ = 0;
};

}  // namespace quant
