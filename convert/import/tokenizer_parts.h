// What the files that import_tokenizer() reads have in common: a vocabulary under construction, and the steps
// that fill it.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "convert/import/json.h"
#include "convert/import/sentencepiece.h"
#include "text/tokenizer.h"

namespace quant {

// A JSON file that stays with its text. `origin` is its path.
struct JsonFile {
    std::string origin;
    Json json;
    JsonValue root() const { return json.root(); }
};
// nullptr: there is no such file.
Result<std::unique_ptr<JsonFile>> read_json_if_there(const std::string& path);

struct AddedToken {
    std::string text;
    bool special = false;
};
using AddedTokens = std::map<int64_t, AddedToken>;  // by id

// The vocabulary to be written. Beyond a Vocabulary: the pieces of files that end up in keys of their own.
struct ImportedVocabulary {
    Vocabulary vocabulary;
    std::string charsmap;                  // of a unigram model
    std::optional<bool> add_space_prefix;  // written when known
    std::optional<bool> remove_extra_whitespaces;
};

// Ids from 0 to `count`: all "[PADn]", unused.
Status start_tokens(int64_t count, size_t known, const std::string& origin, Vocabulary& out);
// A token that the tokenizers match before anything else: control or user-defined. Ids outside are left out,
// with a warning.
void set_added(const AddedTokens& added, float score, Vocabulary& out);

Result<ImportedVocabulary> from_sentencepiece(const SentencePieceModel& model,
                                              std::optional<int64_t> vocab_size, const std::string& origin);
Result<ImportedVocabulary> from_tokenizer_json(const JsonFile& file, const AddedTokens& added,
                                               std::optional<int64_t> vocab_size);
Result<ImportedVocabulary> from_vocab_and_merges(const JsonFile& vocab, const std::string& merges,
                                                 const std::string& pre, const AddedTokens& added,
                                                 std::optional<int64_t> vocab_size);

// "added_tokens" of tokenizer.json (a list), "added_tokens_decoder" of tokenizer_config.json (by id),
// added_tokens.json (id by text).
Status read_added_list(JsonValue list, const std::string& origin, AddedTokens& out);
Status read_added_decoder(JsonValue decoder, const std::string& origin, AddedTokens& out);
Status read_added_file(JsonValue object, const std::string& origin, AddedTokens& out);

// What happens to a text before its pieces are found, in terms of a GGUF's keys.
struct TextRules {
    bool space_prefix = false;     // a space goes before the text
    bool squeezes_spaces = false;  // runs of spaces become one, those at the ends vanish
    bool strips = false;
    std::string charsmap;               // SentencePiece's compiled rules
    std::vector<std::string> left_out;  // names of steps that no key can say
};
Result<TextRules> read_normalizer(JsonValue normalizer, const std::string& origin);
// From "normalizer" and "pre_tokenizer" of a vocabulary with SentencePiece's pieces; an error names an unknown step of the
// latter.
Result<TextRules> read_text_rules(JsonValue root, const std::string& origin);
void tell_left_out(const TextRules& rules, const std::string& origin);

// The name that model files use for the "pre_tokenizer" of a tokenizer.json; an error that shows the unknown
// part.
Result<std::string> pretokenizer_name(JsonValue pre_tokenizer, bool ignore_merges, const std::string& origin);

}  // namespace quant
