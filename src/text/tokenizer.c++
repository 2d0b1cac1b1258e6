// The tokenizer that callers see: splits off special tokens, hands plain text to the encoder of the
// vocabulary's kind, and turns ids back into bytes. Knows no files.
#include "text/tokenizer.h"

#include <algorithm>
#include <variant>

#include "text/bpe.h"
#include "text/special_tokens.h"
#include "text/spm.h"
#include "text/token_index.h"
#include "text/unigram.h"
#include "text/vocabulary_check.h"

namespace quant {

namespace {

constexpr std::string_view kSpace = "\u2581";

// Texts that end an answer in the model families that do not name them in a key.
constexpr std::string_view kEndings[] = {
    "<|eot_id|>",
    "<|eom_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<end_of_turn>",
    "<end_of_utterance>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<eos>",
    "</s>",
    "<｜end▁of▁sentence｜>",
};

bool is_blank(char byte) { return byte == ' ' || (byte >= '\t' && byte <= '\r'); }

std::string with_spaces(std::string_view text) {
    std::string out;
    for (size_t at = 0; at < text.size();) {
        const bool space = text.substr(at, kSpace.size()) == kSpace;
        out += space ? ' ' : text[at];
        at += space ? kSpace.size() : 1;
    }
    return out;
}

}  // namespace

struct Tokenizer::State {
    Vocabulary vocabulary;
    TokenIndex index;
    SpecialTokens special;
    ByteTokens bytes{};
    std::variant<std::monostate, SpmEncoder, BpeEncoder, UnigramEncoder> encoder;
    std::vector<bool> ends;  // by id

    TokenType type(int32_t id) const {
        const auto i = static_cast<size_t>(id);
        return vocabulary.types.empty() ? TokenType::normal : static_cast<TokenType>(vocabulary.types[i]);
    }
    bool known(int32_t id) const { return id >= 0 && static_cast<size_t>(id) < vocabulary.tokens.size(); }
    Status make_encoder();
    void find_endings();
    void encode_text(std::string_view text, bool first, std::vector<int32_t>& out) const;
    bool eats_space(int32_t id) const;
};

Tokenizer::Tokenizer() : state_(std::make_unique<State>()) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Result<Tokenizer> Tokenizer::create(Vocabulary vocabulary) {
    TRY(check_vocabulary(vocabulary));
    Tokenizer tokenizer;
    State& state = *tokenizer.state_;
    state.vocabulary = std::move(vocabulary);
    const Vocabulary& kept = state.vocabulary;
    state.index = TokenIndex(kept.tokens.size());
    for (size_t i = 0; i < kept.tokens.size(); ++i) state.index.add(kept.tokens[i], static_cast<int32_t>(i));
    state.special = SpecialTokens(kept);
    TRY(state.make_encoder());
    state.find_endings();
    return tokenizer;
}

Status Tokenizer::State::make_encoder() {
    if (vocabulary.model == "gpt2") {
        LET(bpe, BpeEncoder::create(vocabulary, index));
        encoder = std::move(bpe);
        return {};
    }
    LET(found, find_byte_tokens(vocabulary));
    bytes = found;
    if (vocabulary.model == "t5") {
        LET(unigram, UnigramEncoder::create(vocabulary, bytes));
        encoder = std::move(unigram);
    } else {
        LET(spm, SpmEncoder::create(vocabulary, bytes));
        encoder = std::move(spm);
    }
    return {};
}

void Tokenizer::State::find_endings() {
    ends.assign(vocabulary.tokens.size(), false);
    for (const std::string_view text : kEndings) {
        const int32_t id = index.find(text);
        if (id >= 0 && (type(id) != TokenType::normal || vocabulary.types.empty()))
            ends[static_cast<size_t>(id)] = true;
    }
    // Harmony (gpt-oss) closes each message with <|end|> and the whole answer with <|return|> or <|call|>.
    const int32_t end = index.find("<|end|>");
    if (end >= 0 && index.find("<|return|>") >= 0 && index.find("<|call|>") >= 0)
        ends[static_cast<size_t>(end)] = false;
    for (const int32_t id : {vocabulary.eos, vocabulary.eot, vocabulary.eom})
        if (id >= 0) ends[static_cast<size_t>(id)] = true;
}

// `first`: at the start of the whole text or right behind a special token, where SentencePiece models see a
// space.
void Tokenizer::State::encode_text(std::string_view text, bool first, std::vector<int32_t>& out) const {
    if (text.empty()) return;
    if (const auto* bpe = std::get_if<BpeEncoder>(&encoder)) return bpe->encode(text, out);
    if (const auto* unigram = std::get_if<UnigramEncoder>(&encoder)) return unigram->encode(text, out);
    const auto* spm = std::get_if<SpmEncoder>(&encoder);
    if (!spm) return;
    if (first && vocabulary.add_space_prefix)
        spm->encode(" " + std::string(text), out);
    else
        spm->encode(text, out);
}

bool Tokenizer::State::eats_space(int32_t id) const {
    return vocabulary.special_eats_space && id != vocabulary.bos && id != vocabulary.unk &&
           vocabulary.tokens[static_cast<size_t>(id)] != "<|endoftext|>";
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool add_special, bool parse_special) const {
    const State& state = *state_;
    std::vector<int32_t> out;
    if (add_special && state.vocabulary.add_bos && state.vocabulary.bos >= 0)
        out.push_back(state.vocabulary.bos);
    bool first = true;
    for (size_t at = 0; at < text.size();) {
        const SpecialTokens::Match match = state.special.next(text, at, parse_special);
        state.encode_text(text.substr(at, match.begin - at), first, out);
        first = match.id >= 0;
        at = match.begin + match.bytes;
        if (match.id < 0) break;
        out.push_back(match.id);
        if (state.eats_space(match.id))
            while (at < text.size() && is_blank(text[at])) ++at;
    }
    if (add_special && state.vocabulary.add_eos && state.vocabulary.eos >= 0)
        out.push_back(state.vocabulary.eos);
    return out;
}

std::string Tokenizer::piece(int32_t id, bool show_special) const {
    const State& state = *state_;
    if (!state.known(id)) return {};
    const std::string& text = state.vocabulary.tokens[static_cast<size_t>(id)];
    const TokenType type = state.type(id);
    if (type == TokenType::control || type == TokenType::unknown) return show_special ? text : std::string();
    if (type == TokenType::user) return text;
    if (std::holds_alternative<BpeEncoder>(state.encoder)) return BpeEncoder::bytes_of(text);
    const bool bytes = type == TokenType::byte || state.vocabulary.types.empty();
    const auto byte = !bytes ? state.bytes.end() : std::find(state.bytes.begin(), state.bytes.end(), id);
    if (byte != state.bytes.end()) return std::string(1, static_cast<char>(byte - state.bytes.begin()));
    return with_spaces(text);
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool show_special) const {
    const State& state = *state_;
    std::string out;
    bool begin = !std::holds_alternative<BpeEncoder>(state.encoder) && state.vocabulary.add_space_prefix;
    for (const int32_t id : ids) {
        const std::string part = piece(id, show_special);
        const bool space = begin && !part.empty() && part[0] == ' ';
        out.append(part, space ? 1 : 0);
        // Control tokens before the text (BOS) do not use up its leading space.
        if (state.known(id) && state.type(id) != TokenType::control) begin = false;
    }
    return out;
}

bool Tokenizer::ends_generation(int32_t id) const {
    return state_->known(id) && state_->ends[static_cast<size_t>(id)];
}

int32_t Tokenizer::size() const { return static_cast<int32_t>(state_->vocabulary.tokens.size()); }

int32_t Tokenizer::find(std::string_view token_text) const { return state_->index.find(token_text); }

const Vocabulary& Tokenizer::vocabulary() const { return state_->vocabulary; }

}  // namespace quant
