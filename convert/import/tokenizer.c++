// Which tokenizer files a folder has, the special tokens and the chat template, and the order of the keys.
#include "convert/import/tokenizer.h"

#include <sys/stat.h>

#include "base/file.h"
#include "base/log.h"
#include "convert/import/tokenizer_parts.h"

namespace quant {

namespace {

using Kind = JsonValue::Kind;

constexpr uint64_t kTextBytes = uint64_t{64} << 20;

bool exists(const std::string& path) {
    struct stat info;
    return ::stat(path.c_str(), &info) == 0;
}

std::string text_of(JsonValue value) { return std::string(value.text().value_or("")); }

// The files of the folder, read once.
struct Files {
    std::string folder;
    std::string_view architecture;
    JsonValue config;
    std::unique_ptr<JsonFile> tokenizer, settings,
        added;  // tokenizer.json, tokenizer_config.json, added_tokens.json

    JsonValue tokenizer_root() const { return tokenizer ? tokenizer->root() : JsonValue(); }
    JsonValue settings_root() const { return settings ? settings->root() : JsonValue(); }
    JsonValue config_value(const std::string& key) const {
        const JsonValue own = config[key];
        return own && !own.is(Kind::null) ? own : config["text_config"][key];
    }
    bool is_llama() const { return architecture == "llama"; }
};

Result<AddedTokens> added_tokens(const Files& files) {
    AddedTokens added;
    if (files.added) TRY(read_added_file(files.added->root(), files.added->origin, added));
    if (files.settings)
        TRY(read_added_decoder(files.settings_root()["added_tokens_decoder"], files.settings->origin, added));
    return added;
}

Result<ImportedVocabulary> read_sentencepiece_file(const Files& files, const std::string& path, Bytes bytes,
                                                   std::optional<int64_t> size) {
    LET(model, read_sentencepiece(bytes, path));
    LET(out, from_sentencepiece(model, size, path));
    LET(added, added_tokens(files));
    // Phi-3's added tokens stand only in its tokenizer.json.
    if (files.architecture == "phi3" && files.tokenizer)
        TRY(read_added_list(files.tokenizer_root()["added_tokens"], files.tokenizer->origin, added));
    set_added(added, -1000, out.vocabulary);
    return out;
}

// vocab.json and merges.txt do not say how text is cut: the tokenizer's class does, else the model's family.
Result<std::string> pretokenizer_of(const Files& files) {
    const std::string name = text_of(files.settings_root()["tokenizer_class"]);
    if (name.starts_with("Qwen2Tokenizer")) return std::string("qwen2");
    if (name.starts_with("GPT2Tokenizer")) return std::string("gpt-2");
    if (files.architecture.starts_with("qwen2") || files.architecture.starts_with("qwen3")) return std::string("qwen2");
    if (files.architecture == "gpt2") return std::string("gpt-2");
    return input_error(escaped(files.folder) + ": without a tokenizer.json, expected the tokenizer_class Qwen2Tokenizer or GPT2Tokenizer "
                                               "in tokenizer_config.json, found '" + escaped(name) + "'");
}

Result<ImportedVocabulary> read_vocabulary_files(const Files& files) {
    std::optional<int64_t> size = files.config_value("vocab_size").integer();
    for (const char* name : {"/tokenizer.model", "/spiece.model"}) {
        const std::string path = files.folder + name;
        if (!exists(path)) continue;
        LET(file, MappedFile::open(path));
        if (looks_like_sentencepiece(file.bytes()))
            return read_sentencepiece_file(files, path, file.bytes(), size);
        if (!files.tokenizer)
            return input_error(escaped(path) +
                               ": expected a SentencePiece model, found something else; a tokenizer.json "
                               "beside it would do");
    }
    if (files.tokenizer) {
        AddedTokens added;
        if (files.settings)
            TRY(read_added_decoder(files.settings_root()["added_tokens_decoder"], files.settings->origin,
                                   added));
        TRY(read_added_list(files.tokenizer_root()["added_tokens"], files.tokenizer->origin, added));
        return from_tokenizer_json(*files.tokenizer, added, size);
    }
    LET(vocab, read_json_if_there(files.folder + "/vocab.json"));
    if (!vocab || !exists(files.folder + "/merges.txt"))
        return input_error(
            escaped(files.folder) +
            ": expected tokenizer.model, tokenizer.json, or vocab.json with merges.txt; found none");
    LET(merges, read_text_file(files.folder + "/merges.txt", kTextBytes));
    LET(added, added_tokens(files));
    LET(pre, pretokenizer_of(files));
    return from_vocab_and_merges(*vocab, merges, pre, added, size);
}

// Special tokens in the order in which they are found: that is the order of their keys.
struct Specials {
    std::vector<std::pair<std::string, int64_t>> ids;
    std::vector<std::pair<std::string, bool>> add;

    void set_id(const std::string& name, std::optional<int64_t> id, size_t tokens) {
        for (const auto& known : ids)
            if (known.first == name) return;
        if (!id || *id < 0) return;
        if (static_cast<uint64_t>(*id) >= tokens) {
            log_warning(name + "_token_id " + std::to_string(*id) +
                        " lies outside of the vocabulary and is left out");
            return;
        }
        ids.emplace_back(name, *id);
    }
    void set_add(const std::string& name, bool value) {
        for (auto& known : add)
            if (known.first == name) {
                known.second = value;
                return;
            }
        add.emplace_back(name, value);
    }
};

// A special token in tokenizer_config.json: its text, or an object with it.
std::string special_text(JsonValue entry) {
    return text_of(entry.is(Kind::object) ? entry["content"] : entry);
}

// Texts of tokens by name ("bos"), as tokenizer_config.json gives them and a post processor changes them.
struct SpecialTexts {
    std::map<std::string, std::string> texts;
    std::vector<std::string> names = {"bos", "eos", "unk", "sep", "pad", "cls", "mask"};
};

// A template "BOS $A EOS" in tokenizer.json says which tokens go around a text.
void apply_post_processor(JsonValue processor, SpecialTexts& special, Specials& out) {
    if (processor["processors"])
        for (const JsonValue inner : processor["processors"].items())
            apply_post_processor(inner, special, out);
    if (processor["type"].text() != "TemplateProcessing" || processor["single"].size() < 2) return;
    std::string first, last;
    size_t index = 0;
    for (const JsonValue item : processor["single"].items()) {
        const std::string id = text_of(item["SpecialToken"]["id"]);
        if (index++ == 0) first = id;
        last = id;
    }
    auto& texts = special.texts;
    if (!first.empty()) {
        if (texts["bos"].empty()) texts["bos"] = first;
        if (texts["cls"].empty() && first != texts["bos"]) texts["cls"] = first;
        out.set_add("bos", first == texts["bos"] || first == texts["cls"]);
    }
    if (!last.empty()) {
        if (last != texts["eos"]) {  // what ended an answer so far becomes the end of a turn
            special.names.push_back("eot");
            texts["eot"] = texts["eos"];
            texts["eos"] = last;
        }
        out.set_add("eos", true);
    }
}

// The id of an added token: tokenizer.json knows, and where there is none, the files beside it.
std::optional<int64_t> added_id(const Files& files, std::string_view text) {
    for (const JsonValue token : files.tokenizer_root()["added_tokens"].items())
        if (token["content"].text() == text) return token["id"].integer();
    if (files.tokenizer || exists(files.folder + "/tokenizer.model")) return {};
    const auto added = added_tokens(files);
    if (!added) return {};
    for (const auto& [id, token] : *added)
        if (token.text == text) return id;
    return {};
}

Specials find_specials(const Files& files, size_t tokens) {
    Specials out;
    SpecialTexts special;
    const JsonValue settings = files.settings_root();
    for (const std::string& name : special.names)
        special.texts[name] = special_text(settings[name + "_token"]);
    if (files.tokenizer) {
        if (special.texts["bos"].empty()) special.texts["bos"] = special.texts["cls"];
        if (special.texts["eos"].empty()) special.texts["eos"] = special.texts["sep"];
        apply_post_processor(files.tokenizer_root()["post_processor"], special, out);
    }
    for (const std::string& name : special.names) {
        if (const auto add = settings["add_" + name + "_token"].boolean()) out.set_add(name, *add);
        if (!special.texts[name].empty()) out.set_id(name, added_id(files, special.texts[name]), tokens);
    }
    for (const std::string& name : special.names)
        out.set_id(name, files.config_value(name + "_token_id").integer(), tokens);
    return out;
}

void write_specials(const Specials& specials, Metadata& out) {
    const std::map<std::string, std::string> keys = {
        {"bos", "bos"},     {"eos", "eos"}, {"unk", "unknown"}, {"sep", "seperator"},
        {"pad", "padding"}, {"cls", "cls"}, {"mask", "mask"},   {"eot", "eot"}};
    for (const auto& [name, id] : specials.ids)
        out.set("tokenizer.ggml." + keys.at(name) + "_token_id", Value::of_u32(static_cast<uint32_t>(id)));
    for (const auto& [name, add] : specials.add)
        if (name == "bos" || name == "eos" || name == "sep")
            out.set("tokenizer.ggml.add_" + name + "_token", Value::of_bool(add));
}

// Several templates by name: "default" is the template, the others go into keys of their own.
void write_named_templates(JsonValue list, Metadata& out) {
    std::vector<std::string> names;
    std::string standard;
    for (const JsonValue item : list.items()) {
        std::string name = text_of(item["name"]);
        const auto text = item["template"].text();
        for (char& byte : name)
            if (!((byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
                  (byte >= '0' && byte <= '9')))
                byte = '_';
        if (name.empty() || !text) continue;
        if (name == "default") {
            standard = *text;
            continue;
        }
        names.push_back(name);
        out.set("tokenizer.chat_template." + name, Value::of_string(*text));
    }
    if (!names.empty()) out.set("tokenizer.chat_templates", Value::of_strings(names));
    if (!standard.empty()) out.set("tokenizer.chat_template", Value::of_string(standard));
}

Status write_chat_template(const Files& files, Metadata& out) {
    const JsonValue own = files.settings_root()["chat_template"];
    if (own.is(Kind::array)) {
        write_named_templates(own, out);
        return {};
    }
    std::string text = text_of(own);
    if (!own && exists(files.folder + "/chat_template.jinja")) {
        LET(content, read_text_file(files.folder + "/chat_template.jinja", kTextBytes));
        text = std::move(content);
    } else if (!own) {
        LET(file, read_json_if_there(files.folder + "/chat_template.json"));
        if (file) text = text_of(file->root()["chat_template"]);
    }
    if (!text.empty()) out.set("tokenizer.chat_template", Value::of_string(text));
    return {};
}

Value bytes_value(const std::string& bytes) {
    Value value;
    value.type = ValueType::array;
    value.element = ValueType::u8;
    value.raw.assign(bytes.begin(), bytes.end());
    return value;
}

void write_vocabulary(ImportedVocabulary imported, Metadata& out) {
    Vocabulary& vocabulary = imported.vocabulary;
    out.set("tokenizer.ggml.model", Value::of_string(vocabulary.model));
    out.set("tokenizer.ggml.pre", Value::of_string(vocabulary.pre));
    out.set("tokenizer.ggml.tokens", Value::of_strings(std::move(vocabulary.tokens)));
    if (!vocabulary.scores.empty()) out.set("tokenizer.ggml.scores", Value::of_f32s(vocabulary.scores));
    out.set("tokenizer.ggml.token_type", Value::of_i32s(vocabulary.types));
    if (imported.remove_extra_whitespaces) {
        out.set("tokenizer.ggml.add_space_prefix", Value::of_bool(imported.add_space_prefix.value_or(true)));
        out.set("tokenizer.ggml.remove_extra_whitespaces",
                Value::of_bool(*imported.remove_extra_whitespaces));
    }
    if (!imported.charsmap.empty())
        out.set("tokenizer.ggml.precompiled_charsmap", bytes_value(imported.charsmap));
    if (!vocabulary.merges.empty())
        out.set("tokenizer.ggml.merges", Value::of_strings(std::move(vocabulary.merges)));
}

}  // namespace

Status import_tokenizer(const std::string& folder, std::string_view architecture, JsonValue config,
                        Metadata& out) {
    Files files{folder, architecture, config, nullptr, nullptr, nullptr};
    LET(tokenizer, read_json_if_there(folder + "/tokenizer.json"));
    LET(settings, read_json_if_there(folder + "/tokenizer_config.json"));
    LET(added, read_json_if_there(folder + "/added_tokens.json"));
    files.tokenizer = std::move(tokenizer);
    files.settings = std::move(settings);
    files.added = std::move(added);
    LET(imported, read_vocabulary_files(files));
    const size_t tokens = imported.vocabulary.tokens.size();
    Specials specials = find_specials(files, tokens);
    // Unigram models have their unknown token at any place; readers assume 2.
    if (imported.vocabulary.model == "t5" && imported.vocabulary.unk >= 0)
        specials.set_id("unk", imported.vocabulary.unk, tokens);
    const auto prefix = files.settings_root()["add_prefix_space"].boolean();
    if (files.is_llama() && prefix) out.set("tokenizer.ggml.add_space_prefix", Value::of_bool(*prefix));
    const auto no_prefix = imported.add_space_prefix;
    write_vocabulary(std::move(imported), out);
    write_specials(specials, out);
    TRY(write_chat_template(files, out));
    // Rules of single families, by the ecosystem's converter.
    const bool gemma = architecture.starts_with("gemma");
    if (gemma || (no_prefix == false && !out.find("tokenizer.ggml.add_space_prefix")))
        out.set("tokenizer.ggml.add_space_prefix", Value::of_bool(false));
    if (files.is_llama() && tokens == 49152) out.set("tokenizer.ggml.add_bos_token", Value::of_bool(false));
    return {};
}

}  // namespace quant
