// Finds tokens that are written out in a text and must not be cut ("<|im_end|>"): a trie over their texts.
// Knows token types, not how the text around them is cut.
#pragma once

#include <array>
#include <string_view>
#include <vector>

#include "text/merges.h"
#include "text/tokenizer.h"

namespace quant {

class SpecialTokens {
public:
    // User-defined tokens always count, control and unknown ones only where `control` is asked for.
    // Texts above kLongest bytes are not looked for: the search costs text times longest token.
    static constexpr size_t kLongest = 512;

    SpecialTokens() = default;
    explicit SpecialTokens(const Vocabulary& vocabulary);

    struct Match {
        size_t begin = 0, bytes = 0;
        int32_t id = -1;  // -1: none
    };
    // The leftmost match at or after `from`, the longest of those that begin there.
    Match next(std::string_view text, size_t from, bool control) const;

private:
    Match at(std::string_view text, size_t begin, bool control) const;
    struct Node {
        int32_t user = -1, control = -1;  // tokens that end here
    };
    std::array<bool, 256> first_{};  // bytes that begin a token
    PairTable edges_;                // (node, byte) -> node
    std::vector<Node> nodes_;
};

}  // namespace quant
