// SentencePiece's precompiled normalization rules: a double-array trie (the layout of Darts-clone) from byte
// sequences to replacements. The blob comes from a model file: every step is checked against its bounds.
// Knows no vocabulary.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace quant {

class Charsmap {
public:
    Charsmap() = default;  // no rules
    // u32 bytes of the trie, the trie's u32 units, then texts that end with NUL. An empty blob: no rules.
    static Result<Charsmap> create(std::string_view blob);

    struct Match {
        size_t bytes = 0;              // of the text; 0: no rule applies
        std::string_view replacement;  // into the map
    };
    // The longest rule at the start of `text`.
    Match find(std::string_view text) const;

private:
    std::vector<uint32_t> units_;
    std::string replacements_;
};

}  // namespace quant
