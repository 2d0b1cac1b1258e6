// Text to ids and back: vectors of programs that nobody here wrote, round trips, limits.
#include "text/tokenizer.h"

#include <filesystem>
#include <fstream>
#include <iterator>

#include "gguf/gguf.h"
#include "model/model.h"
#include "tests/check.h"
#include "tests/full.h"
#include "text/pretokenize.h"
#include "text/unicode.h"

using namespace quant;

namespace {

const std::string kGolden = "tests/golden/tokenizer/";

std::string read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::string> lines_of(const std::string& text, const std::string& separator = "\n") {
    std::vector<std::string> lines;
    for (size_t at = 0; at < text.size();) {
        const size_t end = std::min(text.find(separator, at), text.size());
        lines.push_back(text.substr(at, end - at));
        at = end + separator.size();
    }
    return lines;
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

std::vector<std::string> golden_texts() {
    std::vector<std::string> texts = lines_of(read(kGolden + "texts.txt"));
    for (std::string& text : texts) text = unescaped(text);
    return texts;
}

std::string joined(const std::vector<int32_t>& ids) {
    std::string out;
    for (const int32_t id : ids) out += (out.empty() ? "" : " ") + std::to_string(id);
    return out;
}

std::string trimmed(std::string text) {
    while (!text.empty() && text.back() == ' ') text.pop_back();
    while (!text.empty() && text.front() == ' ') text.erase(0, 1);
    return text;
}

Result<Tokenizer> load(const std::string& path) {
    LET(gguf, Gguf::open(path));
    LET(vocabulary, read_vocabulary(gguf.metadata()));
    return Tokenizer::create(std::move(vocabulary));
}

// Ids of each text against a line each.
void check_ids(const Tokenizer& tokenizer, const std::vector<std::string>& texts,
               const std::vector<std::string>& expected, const std::string& name) {
    CHECK_MSG(texts.size() == expected.size() && !texts.empty(), name);
    for (size_t i = 0; i < std::min(texts.size(), expected.size()); ++i) {
        const std::string found = joined(tokenizer.encode(texts[i], false, true));
        CHECK_MSG(found == trimmed(expected[i]),
                  name + " text " + std::to_string(i) + " expected " + expected[i] + ", found " + found);
    }
}

void check_round_trip(const Tokenizer& tokenizer, const std::string& text, const std::string& name) {
    const std::string back = tokenizer.decode(tokenizer.encode(text, true, false));
    CHECK_MSG(back == text,
              name + ": '" + text.substr(0, 60) + "' came back as '" + back.substr(0, 60) + "'");
}

Vocabulary byte_vocabulary(const std::string& pre) {
    Vocabulary vocabulary;
    vocabulary.model = "gpt2";
    vocabulary.pre = pre;
    bool merges = false;
    for (const std::string& line : lines_of(read(kGolden + "bytes.vocab"))) {
        if (line.empty())
            merges = true;
        else
            (merges ? vocabulary.merges : vocabulary.tokens).push_back(line);
    }
    return vocabulary;
}

std::vector<std::string> vocabulary_files(const std::string& shared) {
    std::vector<std::string> files;
    for (const auto& entry : std::filesystem::directory_iterator(shared + "/vocab/gguf"))
        if (entry.path().extension() == ".gguf") files.push_back(entry.path().string());
    std::sort(files.begin(), files.end());
    return files;
}

// The string behind "key": in a JSON text that was written by a program; \n and \" are all it escapes there.
std::string json_text(const std::string& json, const std::string& key) {
    size_t at = json.find("\"" + key + "\": \"");
    std::string out;
    if (at == std::string::npos) return out;
    for (at += key.size() + 5; json[at] != '"'; ++at)
        out += json[at] != '\\' ? json[at] : json[++at] == 'n' ? '\n' : json[at];
    return out;
}

std::string json_ids(const std::string& json, const std::string& key) {
    const size_t at = json.find("[", json.find("\"" + key + "\":"));
    std::string ids = json.substr(at + 1, json.find(']', at) - at - 1);
    std::erase(ids, ',');
    return ids;
}

}  // namespace

TEST(kinds_of_ascii_are_those_of_the_table) {
    for (uint32_t code = 0; code < 128; ++code) CHECK_MSG(kAsciiKinds[code] == unicode_kind(code), std::to_string(code));
}

TEST(words_of_every_pretokenizer) {
    const std::vector<std::string> texts = golden_texts();
    for (const std::string name : {"gpt-2", "default", "starcoder", "llama-bpe", "qwen2", "qwen35", "gpt-4o",
                                   "tekken", "falcon", "deepseek-coder", "deepseek-v3", "deepseek-llm", "bloom",
                                   "viking", "seed-coder", "bailingmoe", "minicpm5"}) {
        const std::vector<std::string> expected = lines_of(read(kGolden + "words-" + name + ".txt"));
        const PreTokenizer* pre = PreTokenizer::find(name);
        CHECK_MSG(pre && expected.size() == texts.size(), name);
        for (size_t i = 0; pre && i < expected.size(); ++i) {
            std::vector<int32_t> sizes;
            std::string all;
            pre->split(texts[i], [&](std::string_view word) {
                sizes.push_back(static_cast<int32_t>(word.size()));
                all += word;
            });
            CHECK_MSG(all == texts[i], name + " lost text of line " + std::to_string(i + 1));
            CHECK_MSG(joined(sizes) == expected[i], name + " line " + std::to_string(i + 1) + " expected " +
                                                        expected[i] + ", found " + joined(sizes));
        }
    }
}

TEST(every_name_of_a_pretokenizer_is_found) {
    for (const std::string& name : lines_of(PreTokenizer::known(), " "))
        CHECK_MSG(PreTokenizer::find(name) != nullptr, name);
    for (const std::string name :
         {"llama3", "llama-v3", "smollm", "smaug-bpe", "command-r", "refact", "jais", "stablelm2"})
        CHECK_MSG(PreTokenizer::find(name) != nullptr, name);
    for (const std::string name : {"", " ", "gpt", "llama-bpe llama3", "GPT-2"})
        CHECK_MSG(PreTokenizer::find(name) == nullptr, name);
}

TEST(ids_of_byte_level_bpe) {
    for (const std::string name : {"gpt-2", "llama-bpe", "deepseek-coder"}) {
        auto tokenizer = Tokenizer::create(byte_vocabulary(name));
        CHECK_MSG(tokenizer.ok(), tokenizer.ok() ? "" : tokenizer.error().text);
        if (!tokenizer) return;
        check_ids(*tokenizer, golden_texts(), lines_of(read(kGolden + "ids-" + name + ".txt")), name);
        for (const std::string& text : golden_texts()) check_round_trip(*tokenizer, text, name);
    }
}

TEST(ids_of_sentencepiece_bpe) {
    const std::pair<std::string, std::string> models[] = {
        {"tiny", "models/tiny/tiny-f16.gguf"}, {"stories260K", "tests/golden/stories260K/stories260K.gguf"}};
    for (const auto& [name, path] : models) {
        auto tokenizer = load(path);
        CHECK_MSG(tokenizer.ok(), tokenizer.ok() ? "" : tokenizer.error().text);
        if (!tokenizer) return;
        check_ids(*tokenizer, golden_texts(), lines_of(read(kGolden + "spm-" + name + ".txt")), name);
        for (const std::string& text : golden_texts()) check_round_trip(*tokenizer, text, name);
    }
}

TEST(public_vocabularies) {
    SHARED_OR_SKIP(shared);
    for (const std::string& path : vocabulary_files(shared)) {
        auto tokenizer = load(path);
        CHECK_MSG(tokenizer.ok(), tokenizer.ok() ? "" : tokenizer.error().text);
        if (!tokenizer) continue;
        check_ids(*tokenizer, lines_of(read(path + ".inp"), "\n__ggml_vocab_test__\n"),
                  lines_of(read(path + ".out")), std::filesystem::path(path).stem());
    }
}

TEST(texts_of_reference_models) {
    SHARED_OR_SKIP(shared);
    std::vector<std::string> folders = {shared + "/models/tiny", shared + "/models/stories260K"};
    for (const auto& entry : std::filesystem::directory_iterator(shared + "/models/arch"))
        folders.push_back(entry.path().string());
    int compared = 0;
    for (const std::string& folder : folders) {
        const std::string name = std::filesystem::path(folder).filename();
        std::string model = folder + "/" + name + ".gguf";
        if (!std::filesystem::exists(model)) model = folder + "/" + name + "-f16.gguf";
        if (!std::filesystem::exists(model)) continue;  // published as checkpoints only
        auto tokenizer = load(model);
        CHECK_MSG(tokenizer.ok(), name);
        if (!tokenizer) continue;
        const std::string json = read(folder + "/logits.json");
        // The reference's tokenizer put a space before the text; the file of every Gemma says that there is
        // none.
        const std::string text = (name.starts_with("gemma") ? " " : "") + json_text(json, "text");
        std::string found = joined(tokenizer->encode(text, true, false)),
                    expected = trimmed(json_ids(json, "tokens"));
        // The references keep the first 96 tokens of their text.
        CHECK_MSG((found + " ").starts_with(expected + " ") && expected.size() > 50,
                  name + " expected " + expected + ", found " + found);
        ++compared;
    }
    CHECK_MSG(compared >= 19, std::to_string(compared));
}

TEST(round_trips_of_books) {
    SHARED_OR_SKIP(shared);
    const size_t every = check::full() ? 1 : 97;
    std::vector<std::string> lines;
    for (const std::string file : {"books-test.txt", "books-valid.txt", "wiki.test.raw", "tinyshakespeare.txt"}) {
        const std::vector<std::string> all = lines_of(read(shared + "/text/" + file));
        for (size_t i = 0; i < all.size(); i += every) lines.push_back(all[i]);
    }
    std::vector<std::string> files = vocabulary_files(shared);
    for (const std::string model : {"gemma2", "gpt-oss", "gpt2", "llama", "llama3", "qwen2"})
        files.push_back(shared + "/models/arch/" + model + "/" + model + ".gguf");
    files.push_back("models/tiny/tiny-f16.gguf");
    std::printf("# lines: %zu, vocabularies: %zu\n", lines.size(), files.size());
    for (const std::string& path : files) {
        auto tokenizer = load(path);
        CHECK_MSG(tokenizer.ok(), path);
        if (!tokenizer) continue;
        for (const std::string& line : lines)
            check_round_trip(*tokenizer, line, std::filesystem::path(path).stem());
    }
}

// The cache and the cuts between words change nothing: a text in one piece has the ids of its words.
TEST(repeated_words_get_the_same_ids) {
    auto tokenizer = load("models/tiny/tiny-f16.gguf");
    CHECK(tokenizer.ok());
    if (!tokenizer) return;
    for (const std::string word : {" morning", " the", " x\xFFy", " 我", " antidisestablishmentarianism"}) {
        const std::vector<int32_t> one = tokenizer->encode("a" + word, false, false);
        std::string text = "a";
        std::vector<int32_t> expected(one.begin(), one.begin() + 1);
        for (int i = 0; i < 300; ++i) {
            text += word;
            expected.insert(expected.end(), one.begin() + 1, one.end());
        }
        CHECK_MSG(tokenizer->encode(text, false, false) == expected, word);
    }
}

TEST(special_tokens_in_text) {
    Vocabulary vocabulary = byte_vocabulary("gpt-2");
    const auto first = static_cast<int32_t>(vocabulary.tokens.size());
    vocabulary.types.assign(vocabulary.tokens.size(), 1);
    for (const auto& [text, type] :
         {std::pair{"<|im_end|>", 3}, {"<tool>", 4}, {"<tool>>", 4}, {"<|im_end|><tool>", 3}}) {
        vocabulary.tokens.push_back(text);
        vocabulary.types.push_back(type);
    }
    vocabulary.bos = first;
    vocabulary.add_bos = true;
    auto tokenizer = Tokenizer::create(vocabulary);
    CHECK(tokenizer.ok());
    if (!tokenizer) return;
    const auto has = [&](const std::vector<int32_t>& ids, int32_t id) {
        return std::count(ids.begin(), ids.end(), id);
    };
    const std::vector<int32_t> plain = tokenizer->encode("a<|im_end|>b<tool>>c", true, false);
    CHECK(plain.front() == first && has(plain, first) == 1 && has(plain, first + 2) == 1 &&
          has(plain, first + 1) == 0);
    const std::vector<int32_t> parsed = tokenizer->encode("a<|im_end|>b<|im_end|><tool>c<tool>", false, true);
    CHECK(has(parsed, first) == 1 && has(parsed, first + 3) == 1 && has(parsed, first + 1) == 1);
    CHECK(parsed.size() == 6);
    CHECK(tokenizer->decode(parsed) == "abc<tool>");
    CHECK(tokenizer->decode(parsed, true) == "a<|im_end|>b<|im_end|><tool>c<tool>");
    CHECK(tokenizer->piece(first).empty() && tokenizer->piece(first, true) == "<|im_end|>");
    CHECK(tokenizer->ends_generation(first) && !tokenizer->ends_generation(first + 1));
    CHECK(tokenizer->find("<tool>") == first + 1 && tokenizer->find("<none>") == -1);
    CHECK(tokenizer->piece(-1).empty() && tokenizer->piece(first + 4).empty() &&
          !tokenizer->ends_generation(first + 4));
}

// A word that is a token wins over its merges where the family says so.
TEST(whole_words) {
    for (const std::string pre : {"llama-bpe", "gpt-2"}) {
        Vocabulary vocabulary = byte_vocabulary(pre);
        const auto word = static_cast<int32_t>(vocabulary.tokens.size());
        vocabulary.tokens.push_back("ĠQuaquaversal");
        auto tokenizer = Tokenizer::create(std::move(vocabulary));
        CHECK(tokenizer.ok());
        if (!tokenizer) return;
        const std::vector<int32_t> ids = tokenizer->encode(" Quaquaversal", false, false);
        CHECK_MSG((ids == std::vector<int32_t>{word}) == (pre == "llama-bpe"), pre);
        CHECK(tokenizer->decode(ids) == " Quaquaversal");
    }
}

// A byte without a token vanishes, and its neighbours merge.
TEST(bytes_without_a_token) {
    Vocabulary vocabulary;
    vocabulary.model = "gpt2";
    vocabulary.tokens = {"a", "b", "ab"};
    vocabulary.merges = {"a b"};
    auto tokenizer = Tokenizer::create(std::move(vocabulary));
    CHECK(tokenizer.ok());
    if (tokenizer) CHECK(joined(tokenizer->encode("axb", false, false)) == "2");
}

// Which of two ways of equal sum wins, and what an unknown character costs: as the Python package decides for
// these pieces.
TEST(choices_of_the_unigram_model) {
    const auto ids = [](std::vector<std::pair<std::string, float>> pieces, const std::string& text) {
        Vocabulary vocabulary;
        vocabulary.model = "t5";
        vocabulary.tokens = {"<unk>", "<s>", "</s>"};
        vocabulary.scores = {0, 0, 0};
        vocabulary.types = {2, 3, 3};
        vocabulary.unk = 0;
        vocabulary.add_space_prefix = false;
        for (const auto& [piece, score] : pieces) {
            vocabulary.tokens.push_back(piece);
            vocabulary.scores.push_back(score);
            vocabulary.types.push_back(1);
        }
        auto tokenizer = Tokenizer::create(std::move(vocabulary));
        return tokenizer ? joined(tokenizer->encode(text, false, false)) : tokenizer.error().text;
    };
    CHECK(ids({{"a", -1}, {"c", -1}, {"ab", -2}, {"bc", -2}, {"b", -9}}, "abc") == "3 6");
    CHECK(ids({{"p", 3}, {"q", -1}, {"px", -5}}, "pxq") == "5 4");
    CHECK(ids({{"p", 3}, {"q", -1}, {"px", -5}}, "xxpxyq") == "0 5 0 4");
}

// Long words without a cut: the time grows with the length, or this test takes hours.
TEST(one_mebibyte_of_one_character) {
    std::vector<std::string> models = {"models/tiny/tiny-f16.gguf"};
    if (const std::string shared = check::shared(); !shared.empty())
        models.push_back(shared + "/vocab/gguf/ggml-vocab-llama-bpe.gguf");
    for (const std::string& model : models) {
        auto tokenizer = load(model);
        CHECK(tokenizer.ok());
        if (!tokenizer) continue;
        for (const char character : {'a', ' ', '\'', '\n', '1', '\0', '\xFF'}) {
            const std::string text(size_t{1} << (check::full() ? 20 : 17), character);
            CHECK_MSG(tokenizer->decode(tokenizer->encode(text, false, true)) == text,
                      model + " " + std::to_string(character));
        }
        for (const std::string part : {"ab", "aбв我", "我想在", "\u0301", " \t", "x1", "我 "}) {
            std::string text;
            while (text.size() < size_t{1} << (check::full() ? 20 : 17)) text += part;
            CHECK_MSG(tokenizer->decode(tokenizer->encode(text, false, true)) == text, model + " " + part);
        }
    }
}

TEST(any_bytes_come_back) {
    auto tokenizer = load("models/tiny/tiny-f16.gguf");
    CHECK(tokenizer.ok());
    if (!tokenizer) return;
    for (const std::string& text :
         {std::string("\0a\0", 3), std::string("\xED\xA0\x80"), std::string("\xC3"),
          std::string("a\xF0\x9F\x98"), std::string("\x80\x80\xC0\xAF\xFE"), std::string(" \xE2\x96\x81")})
        CHECK_MSG(
            tokenizer->decode(tokenizer->encode(text, true, true)) == (text == " \xE2\x96\x81" ? "  " : text),
            text);
}

TEST(stream_passes_whole_characters) {
    const std::string text = "aä€😀b";
    for (size_t step = 1; step <= text.size(); ++step) {
        Utf8Stream stream;
        std::string out;
        for (size_t at = 0; at < text.size(); at += step) out += stream.push(text.substr(at, step));
        CHECK(out == text);
        CHECK(stream.flush().empty());
    }
    Utf8Stream stream;
    CHECK(stream.push("\xF0\x9F") == "" && stream.push("\x98") == "" && stream.push("\x80") == "😀");
    CHECK(stream.push("\xE2\x82") == "" && stream.push("x") == "\uFFFDx");
    CHECK(stream.push("\xFF\xC0\x80") == "\uFFFD\uFFFD\uFFFD");
    CHECK(stream.push("\xED\xA0\x80") ==
          "\uFFFD\uFFFD\uFFFD");  // a surrogate: no byte of it could begin a character but the first
    CHECK(stream.push("\xF4\x90\x80\x80") == "\uFFFD\uFFFD\uFFFD\uFFFD");
    CHECK(stream.push("ok\xE2\x82") == "ok" && stream.flush() == "\uFFFD" && stream.flush().empty());
}

TEST_MAIN
