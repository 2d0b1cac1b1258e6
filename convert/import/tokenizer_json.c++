// Vocabularies from tokenizer.json and from vocab.json with merges.txt: byte-level BPE, and BPE with byte
// fallback and unigram models, which are SentencePiece's. Knows the JSON, not the keys of a GGUF.
#include <sys/stat.h>

#include <algorithm>
#include <charconv>

#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "convert/import/tokenizer_parts.h"

namespace quant {

namespace {

using Kind = JsonValue::Kind;

constexpr uint64_t kJsonBytes = uint64_t{128} << 20;  // the largest tokenizer.json known has 33 MB
constexpr int64_t kPadding = 65536;  // rows that real models add beyond their tokens: some hundreds

Error wrong(const std::string& origin, const std::string& what, JsonValue found) {
    return input_error(escaped(origin) + ": expected " + what + ", found " + found.kind_name());
}

std::string replaced(std::string_view text, std::string_view from, std::string_view to) {
    std::string out;
    for (size_t at = 0;;) {
        const size_t next = text.find(from, at);
        out += text.substr(at, next - at);
        if (next == std::string_view::npos) return out;
        out += to;
        at = next + from.size();
    }
}

// Some models mark tokens as ordinary that steer the model all the same; the ecosystem's converter knows them
// by their shape.
bool looks_special(std::string_view text) {
    return (text.starts_with("<|") && text.ends_with("|>")) ||
           (text.starts_with("<｜") && text.ends_with("｜>")) ||
           (text.starts_with("<unused") && text.ends_with(">")) || text == "<pad>" || text == "<mask>" ||
           text == "<2mass>" || text == "[@BOS@]";
}

Status check_id(int64_t id, const std::string& origin) {
    if (id >= 0 && id < static_cast<int64_t>(limits::kVocab)) return {};
    return input_error(escaped(origin) + ": expected token ids from 0 to " +
                       std::to_string(limits::kVocab - 1) + ", found " + std::to_string(id));
}

Result<int64_t> parse_id(std::string_view text, const std::string& origin) {
    int64_t id = -1;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
    if (error != std::errc{} || end != text.data() + text.size())
        return input_error(escaped(origin) + ": expected token ids as keys, found '" +
                           escaped(text.substr(0, 40)) + "'");
    TRY(check_id(id, origin));
    return id;
}

Result<std::string> merge_text(JsonValue merge, const std::string& origin) {
    if (const auto text = merge.text()) return std::string(*text);
    std::string out;
    if (merge.is(Kind::array) && merge.size() == 2)
        for (const JsonValue part : merge.items()) {
            const auto text = part.text();
            if (!text) return wrong(origin, "two texts in each of model.merges", part);
            // A space inside a token is spelled as byte-level BPE spells it, so that one space separates the
            // two.
            out += (out.empty() ? "" : " ") + replaced(*text, " ", "\u0120");
        }
    if (out.empty()) return wrong(origin, "texts or pairs of texts in model.merges", merge);
    return out;
}

// Fills `out` with a vocabulary given as {"text": id}.
Status fill_from_object(JsonValue vocab, const AddedTokens& added, std::optional<int64_t> vocab_size,
                        const std::string& origin, Vocabulary& out) {
    if (!vocab.is(Kind::object)) return wrong(origin, "an object of tokens", vocab);
    int64_t last = -1;
    for (const JsonValue token : vocab.items()) {
        const auto id = token.integer();
        if (!id) return wrong(origin, "whole numbers as token ids", token);
        TRY(check_id(*id, origin));
        last = std::max(last, *id);
    }
    for (const auto& [id, token] : added) last = std::max(last, id);
    TRY(start_tokens(vocab_size.value_or(last + 1), vocab.size() + added.size(), origin, out));
    for (const JsonValue token : vocab.items()) {
        const auto id = static_cast<size_t>(*token.integer());
        if (id >= out.tokens.size()) continue;  // no row of the embedding belongs to it
        out.tokens[id] = token.key();
        out.types[id] = static_cast<int32_t>(TokenType::normal);
    }
    return {};
}

// SentencePiece orders merges by the score of what they make: the score of a token is minus the place of its
// first merge.
Status score_by_merges(const std::vector<std::string>& merges, Vocabulary& out) {
    std::map<std::string, size_t, std::less<>> places;
    for (size_t i = 0; i < merges.size(); ++i) {
        std::string whole = merges[i];
        std::erase(whole, ' ');
        places.emplace(std::move(whole), i);
    }
    for (size_t i = 0; i < out.tokens.size(); ++i)
        if (const auto place = places.find(out.tokens[i]); place != places.end())
            out.scores[i] = -1 - static_cast<float>(place->second);
    return {};
}

void mark_byte_types(Vocabulary& out) {
    for (size_t i = 0; i < out.tokens.size(); ++i) {
        const std::string& text = out.tokens[i];
        if (text.size() == 6 && text.starts_with("<0x") && text.ends_with(">"))
            out.types[i] = static_cast<int32_t>(TokenType::byte);
    }
}

// Pieces with scores, in order of their ids: [["text", -1.5], ...].
Result<ImportedVocabulary> from_unigram_json(const JsonFile& file, const AddedTokens& added, std::optional<int64_t> vocab_size) {
    const JsonValue model = file.root()["model"], pieces = model["vocab"];
    if (!pieces.is(Kind::array)) return wrong(file.origin, "a list of tokens with their scores", pieces);
    ImportedVocabulary out;
    Vocabulary& vocabulary = out.vocabulary;
    vocabulary.model = "t5";
    vocabulary.pre = "default";
    auto last = static_cast<int64_t>(pieces.size()) - 1;
    for (const auto& [id, token] : added) last = std::max(last, id);
    TRY(start_tokens(vocab_size.value_or(last + 1), pieces.size() + added.size(), file.origin, vocabulary));
    vocabulary.scores.assign(vocabulary.tokens.size(), -10000);
    size_t id = 0;
    for (const JsonValue piece : pieces.items()) {
        std::optional<std::string_view> text;
        std::optional<double> score;
        for (const JsonValue part : piece.items())
            if (text)
                score = part.real();
            else
                text = part.text();
        if (!text || !score || piece.size() != 2) return wrong(file.origin, "a text and a score in each of model.vocab", piece);
        if (id >= vocabulary.tokens.size()) break;  // no row of the embedding belongs to it
        vocabulary.tokens[id] = *text;
        vocabulary.scores[id] = static_cast<float>(*score);
        vocabulary.types[id++] = static_cast<int32_t>(TokenType::normal);
    }
    set_added(added, -1000, vocabulary);
    if (const auto unknown = model["unk_id"].integer(); unknown && *unknown >= 0 && static_cast<uint64_t>(*unknown) < id) {
        vocabulary.unk = static_cast<int32_t>(*unknown);
        vocabulary.types[static_cast<size_t>(*unknown)] = static_cast<int32_t>(TokenType::unknown);
    }
    if (model["byte_fallback"].boolean().value_or(false)) mark_byte_types(vocabulary);
    LET(rules, read_text_rules(file.root(), file.origin));
    tell_left_out(rules, file.origin);
    out.add_space_prefix = rules.space_prefix;
    out.remove_extra_whitespaces = rules.squeezes_spaces;
    out.charsmap = std::move(rules.charsmap);
    return out;
}

}  // namespace

Result<std::unique_ptr<JsonFile>> read_json_if_there(const std::string& path) {
    struct stat info;
    if (::stat(path.c_str(), &info) != 0) return std::unique_ptr<JsonFile>();
    LET(text, read_text_file(path, kJsonBytes));
    LET(json, Json::parse(text, path));
    auto file = std::make_unique<JsonFile>();
    file->origin = path;
    file->json = std::move(json);
    return file;
}

Status start_tokens(int64_t count, size_t known, const std::string& origin, Vocabulary& out) {
    if (count < 1 || count > static_cast<int64_t>(known) + kPadding ||
        count > static_cast<int64_t>(limits::kVocab))
        return input_error(escaped(origin) + ": expected a vocabulary of about " + std::to_string(known) +
                           " tokens, found a size of " + std::to_string(count));
    for (int64_t i = 0; i < count; ++i) out.tokens.push_back("[PAD" + std::to_string(i) + "]");
    out.types.assign(static_cast<size_t>(count), static_cast<int32_t>(TokenType::unused));
    return {};
}

void set_added(const AddedTokens& added, float score, Vocabulary& out) {
    size_t outside = 0;
    for (const auto& [id, token] : added) {
        const auto i = static_cast<size_t>(id);
        if (i >= out.tokens.size()) {
            ++outside;
            continue;
        }
        const bool control = token.special || looks_special(token.text);
        out.tokens[i] = control ? token.text : replaced(token.text, "\u2581", " ");
        out.types[i] = static_cast<int32_t>(control ? TokenType::control : TokenType::user);
        if (!out.scores.empty()) out.scores[i] = score;
    }
    if (outside)
        log_warning(format_text("%zu added tokens lie outside of the vocabulary of %zu and are left out",
                                outside, out.tokens.size()));
}

Status read_added_list(JsonValue list, const std::string& origin, AddedTokens& out) {
    size_t greedy = 0;
    for (const JsonValue token : list.items()) {
        for (const char* flag : {"lstrip", "rstrip", "single_word"}) greedy += token[flag].boolean().value_or(false);
        const auto id = token["id"].integer();
        const auto text = token["content"].text();
        if (!id || !text) return wrong(origin, "id and content in each of added_tokens", token);
        TRY(check_id(*id, origin));
        out[*id] = {std::string(*text), token["special"].boolean().value_or(false)};
    }
    if (greedy)
        log_verbose(escaped(origin) + ": added_tokens: a GGUF has no place for lstrip, rstrip and single_word (" + std::to_string(greedy) +
                    " of them): blanks beside such a token stay");
    return {};
}

Status read_added_decoder(JsonValue decoder, const std::string& origin, AddedTokens& out) {
    for (const JsonValue token : decoder.items()) {
        LET(id, parse_id(token.key(), origin));
        const auto text = token["content"].text();
        if (!text) return wrong(origin, "content in each of added_tokens_decoder", token["content"]);
        out[id] = {std::string(*text), token["special"].boolean().value_or(false)};
    }
    return {};
}

Status read_added_file(JsonValue object, const std::string& origin, AddedTokens& out) {
    for (const JsonValue token : object.items()) {
        const auto id = token.integer();
        if (!id) return wrong(origin, "a whole number behind each token", token);
        TRY(check_id(*id, origin));
        out[*id] = {std::string(token.key()), false};
    }
    return {};
}

Result<ImportedVocabulary> from_tokenizer_json(const JsonFile& file, const AddedTokens& added,
                                               std::optional<int64_t> vocab_size) {
    const JsonValue model = file.root()["model"];
    // Files of older versions name no type.
    const std::string type(model["type"].text().value_or(model["vocab"].is(Kind::array) ? "Unigram" : "BPE"));
    if (type == "Unigram") return from_unigram_json(file, added, vocab_size);
    if (type != "BPE")
        return input_error(escaped(file.origin) + ": expected model.type BPE or Unigram, found '" + escaped(type) + "'");
    ImportedVocabulary out;
    Vocabulary& vocabulary = out.vocabulary;
    TRY(fill_from_object(model["vocab"], added, vocab_size, file.origin, vocabulary));
    for (const JsonValue merge : model["merges"].items()) {
        LET(text, merge_text(merge, file.origin));
        vocabulary.merges.push_back(std::move(text));
    }
    vocabulary.pre = "default";
    if (model["byte_fallback"].boolean().value_or(false)) {
        vocabulary.model = "llama";
        vocabulary.scores.assign(vocabulary.tokens.size(), 0);
        TRY(score_by_merges(vocabulary.merges, vocabulary));
        vocabulary.merges.clear();
        set_added(added, -1000, vocabulary);
        mark_byte_types(vocabulary);
        for (size_t i = 0; i < vocabulary.tokens.size(); ++i)
            if (vocabulary.tokens[i] == model["unk_token"].text()) vocabulary.types[i] = static_cast<int32_t>(TokenType::unknown);
        LET(rules, read_text_rules(file.root(), file.origin));
        if (!rules.charsmap.empty()) rules.left_out.push_back("Precompiled");
        if (rules.squeezes_spaces) rules.left_out.push_back("Replace");
        tell_left_out(rules, file.origin);
        if (!rules.space_prefix) out.add_space_prefix = false;
        return out;
    }
    vocabulary.model = "gpt2";
    set_added(added, 0, vocabulary);
    LET(pre, pretokenizer_name(file.root()["pre_tokenizer"], model["ignore_merges"].boolean().value_or(false),
                               file.origin));
    vocabulary.pre = std::move(pre);
    LET(rules, read_normalizer(file.root()["normalizer"], file.origin));
    tell_left_out(rules, file.origin);
    return out;
}

Result<ImportedVocabulary> from_vocab_and_merges(const JsonFile& vocab, const std::string& merges,
                                                 const std::string& pre, const AddedTokens& added,
                                                 std::optional<int64_t> vocab_size) {
    ImportedVocabulary out;
    Vocabulary& vocabulary = out.vocabulary;
    vocabulary.model = "gpt2";
    vocabulary.pre = pre;
    TRY(fill_from_object(vocab.root(), added, vocab_size, vocab.origin, vocabulary));
    for (size_t at = 0; at < merges.size();) {
        const size_t end = std::min(merges.find('\n', at), merges.size());
        std::string line = merges.substr(at, end - at);
        if (line.ends_with('\r')) line.pop_back();
        if (!line.empty() && !(at == 0 && line[0] == '#')) vocabulary.merges.push_back(std::move(line));
        at = end + 1;
    }
    set_added(added, 0, vocabulary);
    return out;
}

Result<ImportedVocabulary> from_sentencepiece(const SentencePieceModel& model,
                                              std::optional<int64_t> vocab_size, const std::string& origin) {
    ImportedVocabulary out;
    Vocabulary& vocabulary = out.vocabulary;
    vocabulary.model = model.kind == SentencePieceModel::Kind::unigram ? "t5" : "llama";
    vocabulary.pre = "default";
    if (model.kind != SentencePieceModel::Kind::unigram && model.kind != SentencePieceModel::Kind::bpe)
        return input_error(escaped(origin) +
                           ": expected a BPE or unigram model, found one of words or characters");
    TRY(start_tokens(vocab_size.value_or(static_cast<int64_t>(model.pieces.size())), model.pieces.size(),
                     origin, vocabulary));
    vocabulary.scores.assign(vocabulary.tokens.size(), -10000);
    for (size_t i = 0; i < std::min(model.pieces.size(), vocabulary.tokens.size()); ++i) {
        const SentencePieceModel::Piece& piece = model.pieces[i];
        const bool user = piece.type == static_cast<int32_t>(TokenType::user);
        vocabulary.tokens[i] = user ? replaced(piece.text, "\u2581", " ") : piece.text;
        vocabulary.scores[i] = piece.score;
        vocabulary.types[i] = piece.type;
        if (piece.type == static_cast<int32_t>(TokenType::unknown)) vocabulary.unk = static_cast<int32_t>(i);
    }
    if (vocabulary.model == "t5") {
        out.add_space_prefix = model.add_dummy_prefix;
        out.remove_extra_whitespaces = model.remove_extra_whitespaces;
        out.charsmap = model.charsmap;
    } else if (!model.add_dummy_prefix) {
        out.add_space_prefix = false;
    }
    return out;
}

}  // namespace quant
