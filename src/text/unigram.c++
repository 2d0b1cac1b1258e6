// Viterbi search over a trie of tokens (Kudo 2018), in float and with the tie rules of SentencePiece 0.2, so
// that ids agree.
#include "text/unigram.h"

#include <algorithm>
#include <limits>

#include "base/utf8.h"

namespace quant {

namespace {

constexpr std::string_view kSpace = "\u2581";
constexpr float kUnknownPenalty = 10;  // below the lowest score of a token

TokenType type_of(const Vocabulary& vocabulary, size_t id) {
    return vocabulary.types.empty() ? TokenType::normal : static_cast<TokenType>(vocabulary.types[id]);
}

size_t character_bytes(std::string_view text) { return std::max<size_t>(1, utf8_length(text)); }

}  // namespace

Result<UnigramEncoder> UnigramEncoder::create(const Vocabulary& vocabulary, const ByteTokens& bytes) {
    UnigramEncoder encoder;
    encoder.vocabulary_ = &vocabulary;
    encoder.bytes_ = bytes;
    encoder.byte_fallback_ = std::all_of(bytes.begin(), bytes.end(), [](int32_t id) { return id >= 0; });
    LET(charsmap, Charsmap::create(vocabulary.charsmap));
    encoder.charsmap_ = std::move(charsmap);
    encoder.ids_ = {-1};
    encoder.scores_ = vocabulary.scores;
    encoder.scores_.resize(vocabulary.tokens.size(), 0);
    float low = std::numeric_limits<float>::max(), high = std::numeric_limits<float>::min();
    for (size_t i = 0; i < vocabulary.tokens.size(); ++i)
        if (type_of(vocabulary, i) == TokenType::normal)
            low = std::min(low, encoder.scores_[i]), high = std::max(high, encoder.scores_[i]);
    encoder.unknown_score_ = low - kUnknownPenalty;
    for (size_t i = 0; i < vocabulary.tokens.size(); ++i) {
        const std::string& text = vocabulary.tokens[i];
        const TokenType type = type_of(vocabulary, i);
        if (text.empty() || text.size() > kLongest || (type != TokenType::normal && type != TokenType::user))
            continue;
        // A user's token beats every way to cut its text into others.
        if (type == TokenType::user) encoder.scores_[i] = static_cast<float>(text.size()) * high - 0.1f;
        int32_t node = 0;
        for (const char byte : text) {
            const auto child = static_cast<int32_t>(encoder.ids_.size());
            if (encoder.edges_.add(node, static_cast<uint8_t>(byte), {0, child})) encoder.ids_.push_back(-1);
            node = encoder.edges_.find(node, static_cast<uint8_t>(byte))->merged;
        }
        int32_t& id = encoder.ids_[static_cast<size_t>(node)];
        if (id < 0) id = static_cast<int32_t>(i);
    }
    return encoder;
}

// Takes one character, or what a rule replaces, from the front of `rest`.
std::string_view UnigramEncoder::replaced(std::string_view& rest) const {
    if (const Charsmap::Match match = charsmap_.find(rest); match.bytes > 0) {
        rest.remove_prefix(match.bytes);
        return match.replacement;
    }
    const size_t bytes = utf8_length(rest);
    const std::string_view own = bytes ? rest.substr(0, bytes) : std::string_view("\uFFFD");
    rest.remove_prefix(std::max<size_t>(1, bytes));
    return own;
}

std::string UnigramEncoder::normalized(std::string_view text) const {
    const bool squeeze = vocabulary_->remove_extra_whitespaces;
    std::string out;
    bool after_space = squeeze, any = false;
    while (!text.empty()) {
        std::string_view part = replaced(text);
        if (after_space) part.remove_prefix(std::min(part.find_first_not_of(' '), part.size()));
        if (part.empty()) continue;
        if (!any && vocabulary_->add_space_prefix) out += kSpace;
        any = true;
        for (const char byte : part)
            if (byte == ' ')
                out += kSpace;
            else
                out += byte;
        after_space = squeeze && part.ends_with(' ');
    }
    if (squeeze)
        while (out.ends_with(kSpace)) out.resize(out.size() - kSpace.size());
    return out;
}

void UnigramEncoder::encode(std::string_view raw, std::vector<int32_t>& out) const {
    const std::string text = normalized(raw);
    struct Best {
        int32_t id = -1;  // of the token that ends here, -1: an unknown character
        size_t begin = 0;
        float score = 0;
        bool reached = false;
    };
    std::vector<Best> ends(text.size() + 1);
    const auto offer = [&](size_t begin, size_t end, int32_t id, float score) {
        Best& best = ends[end];
        const float sum = score + ends[begin].score;
        if (!best.reached || sum > best.score) best = {id, begin, sum, true};
    };
    for (size_t begin = 0; begin < text.size();) {
        const size_t one = character_bytes(std::string_view(text).substr(begin));
        bool single = false;
        int32_t node = 0;
        for (size_t at = begin; at < text.size(); ++at) {
            const PairTable::Entry* edge = edges_.find(node, static_cast<uint8_t>(text[at]));
            if (!edge) break;
            node = edge->merged;
            const int32_t id = ids_[static_cast<size_t>(node)];
            if (id < 0) continue;
            offer(begin, at + 1, id, scores_[static_cast<size_t>(id)]);
            single |= at + 1 - begin == one;
        }
        if (!single) offer(begin, begin + one, -1, unknown_score_);
        begin += one;
    }
    std::vector<size_t> cuts;  // ends of the chosen tokens, last first
    for (size_t end = text.size(); end > 0; end = ends[end].begin) cuts.push_back(end);
    bool unknown = false;
    for (auto cut = cuts.rbegin(); cut != cuts.rend(); ++cut) {
        const Best& best = ends[*cut];
        if (best.id >= 0)
            out.push_back(best.id);
        else
            append_unknown(std::string_view(text).substr(best.begin, *cut - best.begin), unknown, out);
        unknown = best.id < 0;
    }
}

// Bytes where the vocabulary has them; else one unknown token for a run of unknown characters.
void UnigramEncoder::append_unknown(std::string_view text, bool follows_unknown,
                                    std::vector<int32_t>& out) const {
    if (byte_fallback_)
        for (const char byte : text) out.push_back(bytes_[static_cast<uint8_t>(byte)]);
    else if (vocabulary_->unk >= 0 && !follows_unknown)
        out.push_back(vocabulary_->unk);
}

}  // namespace quant
