// Tokenizer files of Hugging Face folders: the same keys as the ecosystem's converter wrote, the same ids as
// public vectors.
#include "convert/import/tokenizer.h"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "convert/import/sentencepiece.h"
#include "convert/import/tokenizer_parts.h"
#include "model/model.h"
#include "tests/check.h"
#include "tests/temporary_folder.h"
#include "text/pretokenize.h"
#include "text/tokenizer.h"

using namespace quant;

namespace {

std::string read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

void write(const std::string& path, const std::string& text) {
    std::ofstream(path, std::ios::binary) << text;
}

Result<Metadata> imported(const std::string& folder, const std::string& architecture,
                          const std::string& config_text) {
    LET(config, Json::parse(config_text, folder + "/config.json"));
    Metadata out;
    out.origin = folder;
    TRY(import_tokenizer(folder, architecture, config.root(), out));
    return out;
}

std::vector<std::pair<std::string, Value>> tokenizer_entries(const Metadata& metadata) {
    std::vector<std::pair<std::string, Value>> entries;
    for (const auto& entry : metadata.entries())
        if (entry.first.starts_with("tokenizer.")) entries.push_back(entry);
    return entries;
}

bool equal(const Value& a, const Value& b) {
    return a.type == b.type && a.bits == b.bits && a.real == b.real && a.text == b.text &&
           a.element == b.element && a.raw == b.raw && a.texts == b.texts;
}

std::string joined(const std::vector<int32_t>& ids) {
    std::string out;
    for (const int32_t id : ids) out += (out.empty() ? "" : " ") + std::to_string(id);
    return out;
}

std::vector<std::string> parts(const std::string& text, const std::string& separator) {
    std::vector<std::string> out;
    for (size_t at = 0; at <= text.size();) {
        const size_t end = std::min(text.find(separator, at), text.size());
        out.push_back(text.substr(at, end - at));
        at = end + separator.size();
    }
    return out;
}

std::string trimmed(const std::string& text) {
    const size_t begin = text.find_first_not_of(' ');
    return begin == std::string::npos ? "" : text.substr(begin, text.find_last_not_of(' ') + 1 - begin);
}

std::string unescaped(const std::string& line) {
    std::string out;
    for (size_t i = 0; i < line.size(); ++i) {
        if (line[i] != '\\')
            out += line[i];
        else if (++i < line.size())
            out += line[i] == 'n' ? '\n' : line[i] == 'r' ? '\r' : line[i] == 't' ? '\t' : line[i];
    }
    return out;
}

std::string replaced_text(std::string text, const std::string& from, const std::string& to) {
    for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) text.replace(at, from.size(), to);
    return text;
}

std::string base64(const std::string& bytes) {
    const char* digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    for (size_t i = 0; i < bytes.size(); i += 3) {
        uint32_t three = 0;
        const size_t count = std::min<size_t>(3, bytes.size() - i);
        for (size_t j = 0; j < 3; ++j) three = three << 8 | (j < count ? static_cast<uint8_t>(bytes[i + j]) : 0u);
        for (size_t j = 0; j < 4; ++j) out += j <= count ? digits[three >> (18 - 6 * j) & 63] : '=';
    }
    return out;
}

// A small SentencePiece file: fields are written by hand.
std::string field(int number, const std::string& bytes) {
    return std::string(1, static_cast<char>(number << 3 | 2)) + static_cast<char>(bytes.size()) + bytes;
}
std::string piece(const std::string& text, char type) {
    return field(
        1, field(1, text) + std::string("\x15\x00\x00\x80\xBF", 5) + std::string("\x18") + type);  // score -1
}
std::string small_model() {
    return piece("<unk>", 2) + piece("<s>", 3) + piece("</s>", 3) + piece("a", 1) +
           field(2, std::string("\x18\x02", 2));
}

}  // namespace

TEST(same_keys_as_the_converter) {
    SHARED_OR_SKIP(shared);
    int compared = 0;
    std::vector<std::string> folders = {shared + "/models/tiny", shared + "/models/stories260K"};
    for (const auto& entry : std::filesystem::directory_iterator(shared + "/models/arch"))
        folders.push_back(entry.path().string());
    for (const std::string& folder : folders) {
        const std::string name = std::filesystem::path(folder).filename();
        std::string model = folder + "/" + name + ".gguf";
        if (!std::filesystem::exists(model)) model = folder + "/" + name + "-f16.gguf";
        if (!std::filesystem::exists(model)) continue;
        auto gguf = Gguf::open(model);
        CHECK_MSG(gguf.ok(), name);
        if (!gguf) continue;
        auto found = imported(folder + "/hf", gguf->metadata().find("general.architecture")->text,
                              read(folder + "/hf/config.json"));
        CHECK_MSG(found.ok(), name + (found.ok() ? "" : ": " + found.error().text));
        if (!found) continue;
        const auto expected = tokenizer_entries(gguf->metadata()), ours = tokenizer_entries(*found);
        CHECK_MSG(expected.size() == ours.size(), name + " has another number of keys");
        for (size_t i = 0; i < std::min(expected.size(), ours.size()); ++i)
            CHECK_MSG(expected[i].first == ours[i].first && equal(expected[i].second, ours[i].second),
                      name + ": expected " + expected[i].first + ", found " + ours[i].first);
        ++compared;
    }
    CHECK_MSG(compared >= 20, std::to_string(compared));
}

// Public tokenizer files and the vectors of the vocabulary files of the same models.
TEST(ids_of_public_tokenizers) {
    SHARED_OR_SKIP(shared);
    const struct {
        const char *folder, *architecture, *vectors;
    } rows[] = {{"gpt2", "gpt2", "gpt-2"},
                {"falcon", "falcon", "falcon"},
                {"llama2", "llama", "llama-spm"},
                {"qwen2", "qwen2", "qwen2"},
                {"phi-3", "phi3", "phi-3"}};
    for (const auto& row : rows) {
        auto metadata = imported(shared + "/vocab/" + row.folder, row.architecture, "{}");
        CHECK_MSG(metadata.ok(),
                  std::string(row.folder) + (metadata.ok() ? "" : ": " + metadata.error().text));
        if (!metadata) continue;
        auto vocabulary = read_vocabulary(*metadata);
        CHECK_MSG(vocabulary.ok(), row.folder);
        if (!vocabulary) continue;
        auto tokenizer = Tokenizer::create(std::move(*vocabulary));
        CHECK_MSG(tokenizer.ok(),
                  std::string(row.folder) + (tokenizer.ok() ? "" : ": " + tokenizer.error().text));
        if (!tokenizer) continue;
        const std::string base = shared + "/vocab/gguf/ggml-vocab-" + row.vectors + ".gguf";
        const auto texts = parts(read(base + ".inp"), "\n__ggml_vocab_test__\n"),
                   ids = parts(read(base + ".out"), "\n");
        // The qwen2 files here are of a model whose words end up the same; gpt2's added tokens of spaces came
        // later than the vectors.
        for (size_t i = 0; i < std::min(texts.size(), ids.size()); ++i) {
            if (std::string(row.folder) == "gpt2" && texts[i].find("  ") != std::string::npos) continue;
            const std::string found = joined(tokenizer->encode(texts[i], false, true));
            CHECK_MSG(found == trimmed(ids[i]), std::string(row.folder) + " text " + std::to_string(i) +
                                                    ": expected " + ids[i] + ", found " + found);
        }
    }
}

TEST(every_prefix_of_a_sentencepiece_file) {
    const std::string whole = small_model();
    const auto bytes_of = [](const std::string& text) {
        return Bytes(reinterpret_cast<const uint8_t*>(text.data()), text.size());
    };
    auto model = read_sentencepiece(bytes_of(whole), "m");
    CHECK_MSG(model.ok(), model.ok() ? "" : model.error().text);
    if (model)
        CHECK(model->pieces.size() == 4 && model->kind == SentencePieceModel::Kind::bpe &&
              model->pieces[3].score == -1.0f);
    for (size_t size = 0; size < whole.size(); ++size) {
        auto part = read_sentencepiece(bytes_of(whole.substr(0, size)), "m");
        if (!part) CHECK(part.error().text.starts_with("m: expected"));
    }
    for (size_t at = 0; at < whole.size(); ++at)
        for (const int value : {0, 1, 0x7F, 0x80, 0xFF}) {
            std::string damaged = whole;
            damaged[at] = static_cast<char>(value);
            (void)read_sentencepiece(bytes_of(damaged), "m").ok();  // either answer, no harm
        }
    CHECK(!read_sentencepiece(bytes_of(piece("\xFF", 1)), "m").ok());
    CHECK(!read_sentencepiece(bytes_of(piece("a", 7)), "m").ok());
    CHECK(!read_sentencepiece(bytes_of(std::string("\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F", 11)), "m")
               .ok());
}

TEST(folders_with_faults) {
    const std::string json_start = R"({"model": {"type": "BPE", "vocab": )",
                      json_end = R"(, "merges": ["a b"]}, "pre_tokenizer": {"type": "ByteLevel"}})";
    const struct {
        const char *file, *text, *part;
    } rows[] = {
        {"none", "", "found none"},
        {"tokenizer.json", "{", "tokenizer.json:1:2"},
        {"tokenizer.json", R"({"model": {"type": "WordPiece"}})", "model.type BPE or Unigram, found 'WordPiece'"},
        {"tokenizer.json", R"({"model": {"type": "Unigram", "vocab": {}}})", "a list of tokens"},
        {"tokenizer.json", R"({"model": {"vocab": [["a"]]}})", "a text and a score"},
        {"tokenizer.json", R"({"model": {"vocab": [[1, 2]]}})", "a text and a score"},
        {"tokenizer.json", R"({"model": {"vocab": [["a", 1]]}, "normalizer": {"type": "Precompiled", "precompiled_charsmap": "A-"}})",
         "base64"},
        {"tokenizer.json", R"({"model": {"vocab": [["a", 1]]}, "pre_tokenizer": {"type": "Digits"}})", "no place for 'Digits'"},
        {"tokenizer.json", R"({"model": {"byte_fallback": true, "vocab": {"a": 0}}, "pre_tokenizer": {"type": "Magic"}})",
         "no place for 'Magic'"},
        {"tokenizer.json", R"({"model": {"vocab": {"a": 0}}, "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "x|\\s+"}, "behavior": "Removed"}})",
         "behavior 'Removed'"},
        {"tokenizer.json", R"({"model": {"type": "BPE", "vocab": []}})", "an object of tokens"},
        {"tokenizer.json", R"({"model": {"type": "BPE", "vocab": {"a": "x"}}})", "whole numbers"},
        {"tokenizer.json", R"({"model": {"type": "BPE", "vocab": {"a": -1}}})", "token ids from 0"},
        {"tokenizer.json", R"({"model": {"type": "BPE", "vocab": {"a": 16777216}}})", "token ids from 0"},
        {"tokenizer.json", R"({"model": {"type": "BPE", "vocab": {"a": 9000000}}})", "about 1 tokens"},
        {"tokenizer.json", R"({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [1]}})", "model.merges"},
        {"tokenizer.json", R"({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["a"]]}})",
         "model.merges"},
        {"tokenizer.json",
         R"({"model": {"type": "BPE", "vocab": {"a": 0}}, "pre_tokenizer": {"type": "Magic"}})",
         "unknown step 'Magic'"},
        {"tokenizer.json",
         R"({"model": {"type": "BPE", "vocab": {"a": 0}}, "pre_tokenizer": {"type": "Digits"}})",
         "none of the known"},
        {"tokenizer.json", R"({"model": {"type": "BPE", "vocab": {"a": 0}}, "added_tokens": [{"id": 1}]})",
         "added_tokens"},
        {"tokenizer_config.json", R"({"added_tokens_decoder": {"x": {"content": "y"}}})", "ids as keys"},
        {"tokenizer.model", "IQ== 0\n", "expected a SentencePiece model"},
        {"tokenizer.model", "\x0A\x05", "tokenizer.model: expected"},
        {"vocab.json", R"({"a": 0})", "found none"},
    };
    for (const auto& row : rows) {
        const TemporaryFolder folder;
        if (std::string(row.file) == "tokenizer_config.json")
            write(folder.at("tokenizer.json"), json_start + R"({"a": 0, "b": 1, "ab": 2})" + json_end);
        write(folder.at(row.file), row.text);
        auto found = imported(folder.path, "llama", "{}");
        CHECK_MSG(!found.ok() && found.error().text.find(row.part) != std::string::npos,
                  std::string(row.text) + ": " + (found.ok() ? "accepted" : found.error().text));
    }
}

TEST(added_tokens_templates_and_sizes) {
    const TemporaryFolder folder;
    write(folder.at("tokenizer.json"),
          R"({"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]},
        "added_tokens": [{"id": 3, "content": "<s>", "special": true}, {"id": 4, "content": "x▁y", "special": false},
                         {"id": 5, "content": "<|tool|>", "special": false}, {"id": 99, "content": "far", "special": true}],
        "pre_tokenizer": {"type": "ByteLevel"},
        "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}]}})");
    write(folder.at("tokenizer_config.json"), R"({"eos_token": {"content": "<|tool|>"}, "chat_template": [
        {"name": "default", "template": "T"}, {"name": "tool use", "template": "U"}]})");
    auto found =
        imported(folder.path, "qwen2", R"({"vocab_size": 7, "pad_token_id": 70, "eos_token_id": [1, 2]})");
    CHECK_MSG(found.ok(), found.ok() ? "" : found.error().text);
    if (!found) return;
    const auto tokens = *found->find("tokenizer.ggml.tokens");
    CHECK(tokens.texts == Value::of_strings({"a", "b", "ab", "<s>", "x y", "<|tool|>", "[PAD6]"}).texts);
    CHECK(*found->get_i32s("tokenizer.ggml.token_type").value() ==
          (std::vector<int32_t>{1, 1, 1, 3, 4, 3, 5}));
    CHECK(*found->get_u32("tokenizer.ggml.bos_token_id").value() == 3 &&
          *found->get_u32("tokenizer.ggml.eos_token_id").value() == 5);
    CHECK(*found->get_bool("tokenizer.ggml.add_bos_token").value() &&
          !found->find("tokenizer.ggml.padding_token_id"));
    CHECK(found->find("tokenizer.chat_template")->text == "T" &&
          found->find("tokenizer.chat_template.tool_use")->text == "U");
    CHECK(found->find("tokenizer.ggml.pre")->text == "gpt-2");
}

// BPE with byte fallback is SentencePiece's: the order of merges becomes scores. Whether a space goes before the text is
// said by a normalizer or a pre-tokenizer.
TEST(byte_fallback_without_a_model_file) {
    const struct {
        const char *rules, *ids;
    } rows[] = {
        {R"("normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}, "pre_tokenizer": null)", "4 5 8 3"},
        {R"("normalizer": null, "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false})",
         "4 5 8 3"},
        {R"("pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "add_prefix_space": true})", "4 5 8 3"},
        {R"("pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never"})", "5 8 3"},
        {R"("normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            "pre_tokenizer": {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious"})", "5 8 3"},
        {R"("normalizer": {"type": "NFC"})", "5 8 3"}};
    for (const auto& row : rows) {
        const TemporaryFolder folder;
        write(folder.at("tokenizer.json"), std::string(R"({"model": {"type": "BPE", "byte_fallback": true, "unk_token": "<unk>",
        "vocab": {"<unk>": 0, "<s>": 1, "</s>": 2, "<0x41>": 3, "▁": 4, "a": 5, "b": 6, "c": 7, "bc": 8, "ab": 9},
        "merges": ["b c", "a b"]}, "added_tokens": [{"id": 1, "content": "<s>", "special": true}], )") + row.rules + "}");
        auto found = imported(folder.path, "llama", "{}");
        CHECK_MSG(found.ok(), found.ok() ? "" : found.error().text);
        if (!found) return;
        auto tokenizer = Tokenizer::create(std::move(*read_vocabulary(*found)));
        CHECK_MSG(tokenizer.ok(), tokenizer.ok() ? "" : tokenizer.error().text);
        const std::string ids = tokenizer ? joined(tokenizer->encode("abcA", false, false)) : "";
        CHECK_MSG(ids == row.ids, std::string(row.rules) + ": " + ids);
    }
}

// Published expressions and other spellings of them.
TEST(pretokenizers_by_their_patterns) {
    const std::string words = R"([^\\r\\n\\p{L}\\p{N}]?\\p{L}+)", rest = R"(\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+)",
                      marks = R"( ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*)", few = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
    const auto split = [](const std::string& expression, const std::string& behavior = R"("Isolated")") {
        return R"({"type": "Split", "pattern": {"Regex": ")" + expression + R"("}, "behavior": )" + behavior + "}, ";
    };
    const std::string bytes = R"({"type": "ByteLevel", "use_regex": false})", gpt2 = R"({"type": "ByteLevel"})",
                      digit = R"({"type": "Digits", "individual_digits": true}, )", three = R"(\\p{N}{1,3})";
    const std::string bloom = split(R"( ?[^(\\s|[.,!?…。，、।۔،])]+)");
    const std::string cl100k = few + "|" + words + "|" + three + "|" + marks + "|" + rest;
    const struct {
        std::string steps;
        const char *name, *whole;
    } rows[] = {
        {gpt2, "gpt-2", "gpt-2"},
        {digit + gpt2, "starcoder", "starcoder"},
        {split(cl100k) + bytes, "smaug-bpe", "llama-bpe"},
        {split(cl100k, R"("Removed", "invert": true)") + bytes, "smaug-bpe", "llama-bpe"},
        {split(few + "|" + words + R"(|\\p{N}|)" + marks + "|" + rest) + bytes, "qwen2", "qwen2"},
        {split(R"('(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+)") + bytes,
         "qwen2", "qwen2"},
        {split(few + R"(|[^\r\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\r\n]+|\\s*[\r\n]+|\\s+(?!\\S)|\\s+)") + bytes,
         "seed-coder", "seed-coder"},
        {split(three) + split(few + "|" + words + R"(|\\p{N}+|)" + marks + "|" + rest) + bytes, "smaug-bpe", "minicpm5"},
        {bloom + bytes, "bloom", "bloom"},
        {bloom + digit + bytes, "viking", "viking"},
        {split(R"([\\r\\n])") + split(R"(\\s?[)" + std::string(kDeepSeekLetters) + "]+") + split(R"(\\s?[)" + std::string(kDeepSeekMarks) + "]+") +
             split(R"(\\s+$)") + split("[一-龥ࠀ-一가-\xED\x9F\xBF]+") + digit + bytes,
         "deepseek-llm", "deepseek-llm"},
    };
    for (const auto& row : rows)
        for (const bool whole : {false, true}) {
            const std::string expected = whole ? row.whole : row.name;
            auto json = Json::parse(R"({"type": "Sequence", "pretokenizers": [)" + row.steps + "]}", "here");
            CHECK_MSG(json.ok(), json.ok() ? "" : json.error().text);
            if (!json) return;
            auto found = pretokenizer_name(json->root(), whole, "here");
            CHECK_MSG(found.ok() && *found == expected, expected + ": " + (found.ok() ? *found : found.error().text));
            CHECK(PreTokenizer::find(expected) != nullptr);
        }
}

// Our own small unigram models, with and without normalization rules and bytes: ids as the Python package
// gives them.
TEST(ids_of_unigram_models) {
    const std::string golden = "tests/golden/tokenizer/";
    std::vector<std::string> texts = parts(read(golden + "texts.txt"), "\n");
    texts.pop_back();
    for (const std::string name : {"unigram", "unigram-bytes"}) {
        const TemporaryFolder folder;
        write(folder.at("tokenizer.model"), read(golden + name + ".model"));
        auto metadata = imported(folder.path, "llama", "{}");
        CHECK_MSG(metadata.ok(), name + (metadata.ok() ? "" : metadata.error().text));
        if (!metadata) continue;
        CHECK(metadata->find("tokenizer.ggml.model")->text == "t5");
        auto tokenizer = Tokenizer::create(std::move(*read_vocabulary(*metadata)));
        CHECK_MSG(tokenizer.ok(), name + (tokenizer.ok() ? "" : tokenizer.error().text));
        if (!tokenizer) continue;
        const std::vector<std::string> expected = parts(read(golden + name + ".txt"), "\n");
        CHECK(expected.size() == texts.size() + 1);
        for (size_t i = 0; i < texts.size(); ++i) {
            const std::string text = unescaped(texts[i]),
                              found = joined(tokenizer->encode(text, false, false));
            CHECK_MSG(found == expected[i], name + " line " + std::to_string(i + 1) + ": expected " +
                                                expected[i] + ", found " + found);
            if (name == "unigram-bytes")
                CHECK_MSG(tokenizer->decode(tokenizer->encode(text, true, false)) == text,
                          name + " '" + text + "'");
        }
    }
}

// The same pieces and rules as a tokenizer.json.
TEST(unigram_models_as_json) {
    const std::string golden = "tests/golden/tokenizer/";
    std::vector<std::string> texts = parts(read(golden + "texts.txt"), "\n");
    texts.pop_back();
    for (const std::string name : {"unigram", "unigram-bytes"}) {
        const std::string file = read(golden + name + ".model");
        auto model = read_sentencepiece(Bytes(reinterpret_cast<const uint8_t*>(file.data()), file.size()), name);
        CHECK(model.ok());
        if (!model) return;
        std::string vocab, added;
        for (size_t i = 0; i < model->pieces.size(); ++i) {
            const SentencePieceModel::Piece& piece = model->pieces[i];
            const std::string text = "\"" + replaced_text(replaced_text(piece.text, "\\", "\\\\"), "\"", "\\\"") + "\"";
            char score[32];
            std::snprintf(score, sizeof score, "%.9g", static_cast<double>(piece.score));
            vocab += (i ? ", [" : "[") + text + ", " + score + "]";
            if (piece.type == 3 || piece.type == 4)
                added += (added.empty() ? "" : ", ") + std::string("{\"id\": ") + std::to_string(i) + ", \"content\": " + text +
                         ", \"special\": " + (piece.type == 3 ? "true" : "false") + "}";
        }
        const std::string squeeze = R"({"type": "Strip", "strip_left": true, "strip_right": true},
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "})";
        const TemporaryFolder folder;
        write(folder.at("tokenizer.json"),
              R"({"added_tokens": [)" + added + R"(], "normalizer": {"type": "Sequence", "normalizers": [)" +
                  (model->charsmap.empty() ? "" : R"({"type": "Precompiled", "precompiled_charsmap": ")" + base64(model->charsmap) + "\"}") +
                  (!model->charsmap.empty() && model->remove_extra_whitespaces ? ", " : "") + (model->remove_extra_whitespaces ? squeeze : "") +
                  R"(]}, "pre_tokenizer": {"type": "Metaspace", "prepend_scheme": "always"}, "model": {"type": "Unigram", "unk_id": 0, )" +
                  (name == "unigram-bytes" ? R"("byte_fallback": true, )" : "") + R"("vocab": [)" + vocab + "]}}");
        auto metadata = imported(folder.path, "llama", "{}");
        CHECK_MSG(metadata.ok(), name + (metadata.ok() ? "" : metadata.error().text));
        if (!metadata) return;
        auto tokenizer = Tokenizer::create(std::move(*read_vocabulary(*metadata)));
        CHECK_MSG(tokenizer.ok(), name + (tokenizer.ok() ? "" : tokenizer.error().text));
        if (!tokenizer) return;
        const std::vector<std::string> expected = parts(read(golden + name + ".txt"), "\n");
        for (size_t i = 0; i < texts.size(); ++i) {
            const std::string found = joined(tokenizer->encode(unescaped(texts[i]), false, false));
            CHECK_MSG(found == expected[i], name + " line " + std::to_string(i + 1) + ": expected " + expected[i] + ", found " + found);
        }
    }
}

// A charsmap of any bytes: an answer, no harm.
TEST(damaged_charsmaps) {
    auto model = read_sentencepiece(Bytes(), "m");
    CHECK(!model.ok());
    const std::string file = read("tests/golden/tokenizer/unigram.model");
    model = read_sentencepiece(Bytes(reinterpret_cast<const uint8_t*>(file.data()), file.size()), "m");
    CHECK(model.ok() && model->charsmap.size() > 100);
    if (!model) return;
    auto base = from_sentencepiece(*model, std::nullopt, "m");
    CHECK(base.ok());
    const std::string whole = model->charsmap;
    const auto use = [&](const std::string& charsmap) {
        Vocabulary vocabulary = base->vocabulary;
        vocabulary.charsmap = charsmap;
        auto tokenizer = Tokenizer::create(std::move(vocabulary));
        if (tokenizer)
            tokenizer->encode("½ ﬁve \t e\u0301\xFF²", false, false);
        else
            CHECK_MSG(tokenizer.error().text.find("precompiled_charsmap") != std::string::npos,
                      tokenizer.error().text);
    };
    for (size_t size = 1; size < whole.size(); size += 7) use(whole.substr(0, size));
    for (size_t at = 0; at < whole.size(); ++at) {
        std::string damaged = whole;
        damaged[at] = static_cast<char>(damaged[at] ^ (1 << (at % 8)));
        use(damaged);
    }
}

TEST_MAIN
