// GGUF metadata -> Vocabulary, with the defaults that stock readers assume for absent keys. Knows keys, not
// how text is cut.
#include "base/file.h"
#include "base/log.h"
#include "model/model.h"
#include "text/pretokenize.h"

namespace quant {

namespace {

std::string key_of(const char* name) { return std::string("tokenizer.ggml.") + name; }

bool within(int64_t id, const Vocabulary& vocabulary) {
    return id >= 0 && static_cast<uint64_t>(id) < vocabulary.tokens.size();
}

Status read_arrays(const Metadata& metadata, Vocabulary& out) {
    LET(tokens, metadata.get_strings(key_of("tokens")));
    if (!tokens)
        return input_error(escaped(metadata.origin) +
                           ": tokenizer.ggml.tokens is missing: the file has no vocabulary");
    out.tokens = std::move(*tokens);
    LET(scores, metadata.get_f32s(key_of("scores")));
    if (scores) out.scores = std::move(*scores);
    LET(types, metadata.get_i32s(key_of("token_type")));
    if (types) out.types = std::move(*types);
    LET(merges, metadata.get_strings(key_of("merges")));
    if (merges) out.merges = std::move(*merges);
    return {};
}

// An id outside of the vocabulary is an error where text depends on it. Published files carry such padding
// ids and the like: there it means "none", as stock readers take it.
Status read_id(const Metadata& metadata, const Vocabulary& vocabulary, const char* name, int32_t default_id,
               bool strict, int32_t& id) {
    const std::string key = key_of(name);
    id = within(default_id, vocabulary) ? default_id : -1;
    LET(given, metadata.get_i64(key));
    if (!given) return {};
    if (within(*given, vocabulary)) {
        id = static_cast<int32_t>(*given);
        return {};
    }
    const std::string what = escaped(metadata.origin) + ": " + key + ": expected below " +
                             std::to_string(vocabulary.tokens.size()) + ", found " + std::to_string(*given);
    if (strict) return input_error(what);
    log_warning(what + "; taken as absent");
    return {};
}

Status read_ids(const Metadata& metadata, Vocabulary& out) {
    struct Defaults {
        const char* model;
        int32_t bos, eos, unk, pad;
    };
    constexpr Defaults kDefaults[] = {{"llama", 1, 2, 0, -1}, {"gpt2", 11, 11, -1, -1}, {"t5", -1, 1, 2, 0}};
    Defaults given{"", -1, -1, -1, -1};
    for (const Defaults& row : kDefaults)
        if (out.model == row.model) given = row;
    TRY(read_id(metadata, out, "bos_token_id", given.bos, true, out.bos));
    TRY(read_id(metadata, out, "eos_token_id", given.eos, true, out.eos));
    TRY(read_id(metadata, out, "unknown_token_id", given.unk, false, out.unk));
    TRY(read_id(metadata, out, "eot_token_id", -1, false, out.eot));
    TRY(read_id(metadata, out, "eom_token_id", -1, false, out.eom));
    TRY(read_id(metadata, out, "padding_token_id", given.pad, false, out.pad));
    return read_id(metadata, out, "seperator_token_id", -1, false, out.sep);  // the key's own spelling
}

Status read_flag(const Metadata& metadata, const char* name, bool& flag) {
    LET(given, metadata.get_bool(key_of(name)));
    if (given) flag = *given;
    return {};
}

// The files do not store which special tokens take the blanks behind them; stock readers go by the model's
// name.
Status read_name(const Metadata& metadata, Vocabulary& out) {
    LET(name, metadata.get_string("general.name"));
    if (!name) return {};
    for (char& byte : *name)
        if (byte >= 'A' && byte <= 'Z') byte = static_cast<char>(byte + 32);
    out.special_eats_space =
        name->find("phi-3") != std::string::npos || name->find("phi3") != std::string::npos;
    return {};
}

Status read_charsmap(const Metadata& metadata, Vocabulary& out) {
    const std::string key = key_of("precompiled_charsmap");
    const Value* value = metadata.find(key);
    if (!value) return {};
    if (value->type != ValueType::array ||
        (value->element != ValueType::u8 && value->element != ValueType::i8))
        return input_error(escaped(metadata.origin) + ": " + key + ": expected an array of bytes, found " +
                           value_type_name(value->type == ValueType::array ? value->element : value->type));
    out.charsmap.assign(value->raw.begin(), value->raw.end());
    return {};
}

}  // namespace

Result<Vocabulary> read_vocabulary(const Metadata& metadata) {
    Vocabulary out;
    LET(model, metadata.get_string(key_of("model")));
    if (!model)
        return input_error(escaped(metadata.origin) +
                           ": tokenizer.ggml.model is missing: the file has no vocabulary");
    out.model = *model;
    LET(pre, metadata.get_string(key_of("pre")));
    out.pre = pre ? *pre : "default";
    TRY(read_arrays(metadata, out));
    TRY(read_ids(metadata, out));
    const bool spm = out.model == "llama", unigram = out.model == "t5";
    const PreTokenizer* row = out.model == "gpt2" ? PreTokenizer::find(out.pre) : nullptr;
    out.add_bos = spm || (row && row->add_bos);
    out.add_eos = unigram;
    out.add_space_prefix = spm || unigram;
    TRY(read_flag(metadata, "add_bos_token", out.add_bos));
    TRY(read_flag(metadata, "add_eos_token", out.add_eos));
    TRY(read_flag(metadata, "add_space_prefix", out.add_space_prefix));
    TRY(read_flag(metadata, "remove_extra_whitespaces", out.remove_extra_whitespaces));
    if (spm) TRY(read_name(metadata, out));
    if (unigram) TRY(read_charsmap(metadata, out));
    return out;
}

}  // namespace quant
