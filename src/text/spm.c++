// Score-driven merges as in SentencePiece (Kudo & Richardson 2018), turned into a table of symbol pairs when
// the vocabulary is read. The text is cut wherever no token can lie across, so that words merge alone and
// repeat from a cache: the tokens are the same.
#include "text/spm.h"

#include <algorithm>

#include "base/utf8.h"
#include "text/word_cache.h"

namespace quant {

namespace {

constexpr std::string_view kSpace = "\u2581";

// What SentencePiece lets text become; control, unknown and byte tokens are never merged into.
bool mergeable(const Vocabulary& vocabulary, size_t id) {
    if (vocabulary.types.empty()) return true;
    const auto type = static_cast<TokenType>(vocabulary.types[id]);
    return type == TokenType::normal || type == TokenType::user || type == TokenType::unused ||
           type == TokenType::undefined;
}

// The character at the start of `text`; a byte that is none stands alone.
std::string_view character(std::string_view text) {
    return text.substr(0, static_cast<uint8_t>(text[0]) < 0x80 ? 1 : std::max<size_t>(1, utf8_length(text)));
}

// Equal scores get equal ranks; the best score gets 0.
std::vector<uint32_t> rank_by_score(const std::vector<float>& scores, size_t count) {
    std::vector<uint32_t> ranks(count, 0);
    if (scores.empty()) return ranks;
    std::vector<float> sorted(scores);
    std::sort(sorted.begin(), sorted.end(), std::greater<>());
    sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
    for (size_t i = 0; i < count; ++i)
        ranks[i] = static_cast<uint32_t>(
            std::lower_bound(sorted.begin(), sorted.end(), scores[i], std::greater<>()) - sorted.begin());
    return ranks;
}

}  // namespace

SpmEncoder::SpmEncoder(const Vocabulary& vocabulary, const ByteTokens& bytes)
    : vocabulary_(&vocabulary), bytes_(bytes), symbols_(static_cast<int32_t>(vocabulary.tokens.size())) {
    std::vector<int32_t> ids;
    size_t characters = 0;
    for (size_t i = 0; i < vocabulary.tokens.size(); ++i) {
        if (!mergeable(vocabulary, i)) continue;
        ids.push_back(static_cast<int32_t>(i));
        for (std::string_view rest = vocabulary.tokens[i]; !rest.empty();
             rest.remove_prefix(character(rest).size()))
            ++characters;
    }
    index_ = TokenIndex(ids.size() + std::min<size_t>(characters, 0x110000 + 256));
    for (const int32_t id : ids) index_.add(vocabulary.tokens[static_cast<size_t>(id)], id);
    for (const int32_t id : ids) add_characters(vocabulary.tokens[static_cast<size_t>(id)]);
    for (size_t i = 0; i < ascii_.size(); ++i) {
        const char byte = static_cast<char>(i);
        ascii_[i] = index_.find(byte == ' ' ? kSpace : std::string_view(&byte, 1));
    }
}

void SpmEncoder::add_characters(std::string_view token) {
    int32_t before = -1;
    while (!token.empty()) {
        const std::string_view one = character(token);
        int32_t symbol = index_.find(one);
        if (symbol < 0) index_.add(one, symbol = symbols_++);
        if (before >= 0) adjacent_.add(before, symbol, {});
        before = symbol;
        token.remove_prefix(one.size());
    }
}

Status SpmEncoder::add_pairs(int32_t id, PrefixHashes& hashes, const std::vector<uint32_t>& ranks) {
    const std::string_view text = vocabulary_->tokens[static_cast<size_t>(id)];
    const bool unused = !vocabulary_->types.empty() && vocabulary_->types[static_cast<size_t>(id)] ==
                                                           static_cast<int32_t>(TokenType::unused);
    const auto tokens = static_cast<int32_t>(vocabulary_->tokens.size());
    hashes.assign(text);
    for (size_t cut = character(text).size(); cut < text.size(); cut += character(text.substr(cut)).size()) {
        const int32_t left = index_.find(text.substr(0, cut), hashes.part(0, cut));
        if (left < 0) continue;
        const int32_t right = index_.find(text.substr(cut), hashes.part(cut, text.size()));
        if (right < 0) continue;
        pairs_.add(left, right, {ranks[static_cast<size_t>(id)], id});
        if (unused && std::max(left, right) < tokens && unused_.add(id, 0, {0, left}))
            unused_.add(id, 1, {0, right});
    }
    // Natural vocabularies have fewer than 8 pairs a token; only tokens made to overlap in every way have
    // more.
    if (pairs_.size() > 32 * vocabulary_->tokens.size() + 65536)
        return input_error(
            "tokenizer.ggml.tokens: expected at most 32 ways to merge a token, on average; found more");
    return {};
}

Result<SpmEncoder> SpmEncoder::create(const Vocabulary& vocabulary, const ByteTokens& bytes) {
    SpmEncoder encoder(vocabulary, bytes);
    const std::vector<uint32_t> ranks = rank_by_score(vocabulary.scores, vocabulary.tokens.size());
    PrefixHashes hashes;
    for (size_t i = 0; i < vocabulary.tokens.size(); ++i)
        if (const std::string& text = vocabulary.tokens[i];
            mergeable(vocabulary, i) && !text.empty() && encoder.index_.find(text) == static_cast<int32_t>(i))
            TRY(encoder.add_pairs(static_cast<int32_t>(i), hashes, ranks));
    return encoder;
}

int32_t SpmEncoder::symbol_of(std::string_view character) const {
    const auto first = static_cast<uint8_t>(character[0]);
    return first < 128 ? ascii_[first] : index_.find(character);
}

void SpmEncoder::encode(std::string_view text, std::vector<int32_t>& out) const {
    WordCache cache(text.size());
    Merger merger;
    size_t word = 0;  // begin of the current word
    const auto finish_word = [&](size_t end) {
        const std::string_view bytes = text.substr(word, end - word);
        const size_t begin = out.size();
        if (!bytes.empty() && !cache.repeat(bytes, out)) {
            merge_word(bytes, merger, out);
            cache.remember(bytes, begin, out);
        }
        merger.symbols.clear();
        word = end;
    };
    for (size_t at = 0; at < text.size();) {
        const std::string_view one = character(text.substr(at));
        const int32_t symbol = symbol_of(one);
        if (at > word && splits(merger.symbols.back().id, symbol)) finish_word(at);
        merger.symbols.push_back({symbol, static_cast<uint32_t>(one.size()), -1, -1});
        at += one.size();
    }
    finish_word(text.size());
}

void SpmEncoder::merge_word(std::string_view word, Merger& merger, std::vector<int32_t>& out) const {
    merger.run(pairs_);
    size_t at = 0;
    for (const Merger::Symbol& symbol : merger.symbols) {
        if (symbol.bytes == 0) continue;
        if (symbol.id >= 0 && static_cast<size_t>(symbol.id) < vocabulary_->tokens.size())
            append_token(symbol.id, out);
        else
            append_bytes(word.substr(at, symbol.bytes), out);
        at += symbol.bytes;
    }
}

// An unused token may be a step on the way to a longer one, but is never a result: it falls apart again.
void SpmEncoder::append_token(int32_t id, std::vector<int32_t>& out) const {
    if (unused_.size() == 0) return out.push_back(id);
    std::vector<int32_t> pending{id};
    while (!pending.empty()) {
        const int32_t next = pending.back();
        pending.pop_back();
        const PairTable::Entry* left = unused_.find(next, 0);
        if (!left) {
            out.push_back(next);
            continue;
        }
        pending.push_back(unused_.find(next, 1)->merged);
        pending.push_back(left->merged);
    }
}

void SpmEncoder::append_bytes(std::string_view bytes, std::vector<int32_t>& out) const {
    if (bytes == " ") bytes = kSpace;
    for (const char byte : bytes) {
        const int32_t id = bytes_[static_cast<uint8_t>(byte)];
        if (id >= 0)
            out.push_back(id);
        else if (vocabulary_->unk >= 0)
            out.push_back(vocabulary_->unk);
    }
}

}  // namespace quant
