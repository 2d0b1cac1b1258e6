// The trie of special tokens. Knows nothing of merges and scores.
#include "text/special_tokens.h"

namespace quant {

SpecialTokens::SpecialTokens(const Vocabulary& vocabulary) : nodes_(1) {
    for (size_t i = 0; i < vocabulary.types.size(); ++i) {
        const auto type = static_cast<TokenType>(vocabulary.types[i]);
        const std::string& text = vocabulary.tokens[i];
        if (type != TokenType::user && type != TokenType::control && type != TokenType::unknown) continue;
        if (text.empty() || text.size() > kLongest) continue;
        int32_t node = 0;
        for (const char byte : text) {
            const auto child = static_cast<int32_t>(nodes_.size());
            if (edges_.add(node, static_cast<uint8_t>(byte), {0, child})) nodes_.emplace_back();
            node = edges_.find(node, static_cast<uint8_t>(byte))->merged;
        }
        Node& last = nodes_[static_cast<size_t>(node)];
        int32_t& id = type == TokenType::user ? last.user : last.control;
        if (id < 0) id = static_cast<int32_t>(i);
        first_[static_cast<uint8_t>(text[0])] = true;
    }
}

SpecialTokens::Match SpecialTokens::at(std::string_view text, size_t begin, bool control) const {
    Match best;
    int32_t node = 0;
    for (size_t i = begin; i < text.size(); ++i) {
        const PairTable::Entry* edge = edges_.find(node, static_cast<uint8_t>(text[i]));
        if (!edge) break;
        node = edge->merged;
        const Node& here = nodes_[static_cast<size_t>(node)];
        const int32_t id = here.user >= 0 || !control ? here.user : here.control;
        if (id >= 0) best = {begin, i + 1 - begin, id};
    }
    return best;
}

SpecialTokens::Match SpecialTokens::next(std::string_view text, size_t from, bool control) const {
    for (size_t i = from; i < text.size(); ++i) {
        if (!first_[static_cast<uint8_t>(text[i])]) continue;
        if (const Match match = at(text, i, control); match.id >= 0) return match;
    }
    return {text.size(), 0, -1};
}

}  // namespace quant
