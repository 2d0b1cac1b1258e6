// Vocabularies that break a rule: each an error that names the key; and what files leave out.
#include <cmath>
#include <limits>

#include "model/model.h"
#include "tests/check.h"
#include "tests/full.h"
#include "text/tokenizer.h"
#include "text/vocabulary_check.h"

using namespace quant;

namespace {

// Four characters, one pair, all bytes.
Vocabulary spm() {
    Vocabulary vocabulary;
    vocabulary.model = "llama";
    vocabulary.tokens = {"<unk>", "<s>", "</s>", "\u2581", "a", "b", "ab"};
    vocabulary.types = {2, 3, 3, 1, 1, 1, 1};
    vocabulary.scores = {0, 0, 0, -1, -2, -3, -4};
    for (int byte = 0; byte < 256; ++byte) {
        char text[8];
        std::snprintf(text, sizeof text, "<0x%02X>", static_cast<unsigned>(byte));
        vocabulary.tokens.push_back(text);
        vocabulary.types.push_back(6);
        vocabulary.scores.push_back(0);
    }
    vocabulary.bos = 1, vocabulary.eos = 2, vocabulary.unk = 0;
    vocabulary.add_bos = true;
    return vocabulary;
}

Vocabulary bpe() {
    Vocabulary vocabulary;
    vocabulary.model = "gpt2";
    vocabulary.pre = "gpt-2";
    vocabulary.tokens = {"a", "b", "ab", "Ġ"};
    vocabulary.merges = {"a b"};
    return vocabulary;
}

void refused(const Vocabulary& vocabulary, const std::string& part) {
    auto tokenizer = Tokenizer::create(vocabulary);
    CHECK_MSG(!tokenizer.ok(), "accepted what should say: " + part);
    if (tokenizer) return;
    CHECK_MSG(tokenizer.error().text.find(part) != std::string::npos, part + " in " + tokenizer.error().text);
    CHECK_MSG(tokenizer.error().text.find('\n') == std::string::npos && tokenizer.error().text.size() < 1000,
              part);
    CHECK(tokenizer.error().code == Code::input);
}

// What is accepted must work on any text.
void accepted(Vocabulary vocabulary, const std::string& name) {
    auto tokenizer = Tokenizer::create(std::move(vocabulary));
    CHECK_MSG(tokenizer.ok(), name + (tokenizer.ok() ? "" : ": " + tokenizer.error().text));
    if (!tokenizer) return;
    for (const char* text : {"", " ", "ab ba", "x\xFF\xC3\xA4\n", "<s></s><0x41>"})
        for (const bool special : {false, true})
            for (const int32_t id : tokenizer->encode(text, special, special)) {
                CHECK_MSG(id >= 0 && id < tokenizer->size(), name);
                tokenizer->piece(id, special);
            }
}

// The first `count` tokens and nothing else.
Vocabulary cut(const Vocabulary& from, size_t count) {
    Vocabulary few;
    few.model = from.model;
    few.pre = from.pre;
    few.tokens.assign(from.tokens.begin(), from.tokens.begin() + static_cast<std::ptrdiff_t>(count));
    return few;
}

template <class Change>
Vocabulary changed(Vocabulary vocabulary, Change change) {
    change(vocabulary);
    return vocabulary;
}

Metadata metadata_of(const Vocabulary& vocabulary) {
    Metadata metadata;
    metadata.origin = "test.gguf";
    metadata.set("tokenizer.ggml.model", Value::of_string(vocabulary.model));
    metadata.set("tokenizer.ggml.tokens", Value::of_strings(vocabulary.tokens));
    return metadata;
}

}  // namespace

TEST(sizes) {
    accepted(spm(), "spm");
    accepted(bpe(), "bpe");
    for (const Vocabulary& base : {spm(), bpe()}) {
        refused(cut(base, 0), "tokenizer.ggml.tokens");
        for (const size_t count : {1u, 2u, 3u}) accepted(cut(base, count), "few tokens");
    }
    refused(changed(spm(), [](Vocabulary& v) { v.scores.pop_back(); }), "tokenizer.ggml.scores");
    refused(changed(spm(), [](Vocabulary& v) { v.scores.push_back(0); }), "tokenizer.ggml.scores");
    refused(changed(spm(), [](Vocabulary& v) { v.types.pop_back(); }), "tokenizer.ggml.token_type");
    refused(changed(bpe(), [](Vocabulary& v) { v.types = {1}; }), "tokenizer.ggml.token_type");
    accepted(changed(spm(), [](Vocabulary& v) { v.scores.clear(), v.types.clear(); }),
             "neither scores nor types");
}

TEST(values) {
    refused(changed(spm(), [](Vocabulary& v) { v.types[4] = 7; }), "tokenizer.ggml.token_type[4]");
    refused(changed(spm(), [](Vocabulary& v) { v.types[4] = -1; }), "tokenizer.ggml.token_type[4]");
    refused(changed(spm(), [](Vocabulary& v) { v.scores[4] = std::nanf(""); }), "tokenizer.ggml.scores[4]");
    accepted(changed(spm(), [](Vocabulary& v) { v.scores[4] = -std::numeric_limits<float>::infinity(); }),
             "infinite score");
    refused(changed(spm(), [](Vocabulary& v) { v.model = "bert"; }), "tokenizer.ggml.model");
    refused(changed(spm(), [](Vocabulary& v) { v.model = ""; }), "tokenizer.ggml.model");
    refused(changed(bpe(), [](Vocabulary& v) { v.pre = "no-such"; }), "llama-bpe");
    refused(changed(bpe(), [](Vocabulary& v) { v.pre = std::string(100000, '\x1b'); }), "tokenizer.ggml.pre");
    accepted(changed(bpe(), [](Vocabulary& v) { v.pre = ""; }), "no pre-tokenizer named");
}

TEST(special_ids) {
    const std::pair<const char*, int32_t Vocabulary::*> ids[] = {
        {"bos", &Vocabulary::bos},      {"eos", &Vocabulary::eos},     {"eot", &Vocabulary::eot},
        {"eom", &Vocabulary::eom},      {"unknown", &Vocabulary::unk}, {"padding", &Vocabulary::pad},
        {"seperator", &Vocabulary::sep}};
    for (const auto& [name, member] : ids)
        for (const Vocabulary& base : {spm(), bpe()}) {
            const auto count = static_cast<int32_t>(base.tokens.size());
            for (const int32_t id :
                 {-2, count, std::numeric_limits<int32_t>::max(), std::numeric_limits<int32_t>::min()})
                refused(changed(base, [&, m = member](Vocabulary& v) { v.*m = id; }),
                        std::string("tokenizer.ggml.") + name + "_token_id");
            for (const int32_t id : {-1, 0, count - 1})
                accepted(changed(base, [&, m = member](Vocabulary& v) { v.*m = id; }), name);
        }
    accepted(changed(spm(), [](Vocabulary& v) { v.bos = v.eos = v.unk = -1, v.add_bos = v.add_eos = true; }),
             "flags without ids");
}

TEST(byte_tokens) {
    for (const std::string text :
         {"<0x-1>", "<0xGG>", "<0x1>", "<0x100>", "0x41", "<0x+1>", "<0x 1>", "", "<0X41>", "<0x4 >"})
        refused(changed(spm(), [&](Vocabulary& v) { v.tokens[10] = text; }), "tokenizer.ggml.tokens[10]");
    refused(changed(spm(), [](Vocabulary& v) { v.tokens[10] = v.tokens[11]; }), "each byte token once");
    accepted(changed(spm(), [](Vocabulary& v) { v.types[10] = 1; }), "a byte missing");
    accepted(changed(spm(), [](Vocabulary& v) { v.types.assign(v.types.size(), 1); }), "no byte token");
    accepted(changed(spm(), [](Vocabulary& v) { v.types.assign(v.types.size(), 1), v.unk = -1; }),
             "no byte token, no unknown");
    auto tokenizer = Tokenizer::create(changed(spm(), [](Vocabulary& v) { v.types['x' + 7] = 1; }));
    CHECK(tokenizer.ok());
    if (tokenizer)
        CHECK(tokenizer->encode("ax", false, false) == (std::vector<int32_t>{3, 4, 0}));  // unknown
}

TEST(merges) {
    for (const std::string merge : {"ab", "", " ", "a", "a ", " b", "a  b", "a b a", " a b"})
        refused(changed(bpe(), [&](Vocabulary& v) { v.merges.push_back(merge); }),
                "tokenizer.ggml.merges[1]");
    refused(changed(bpe(), [](Vocabulary& v) { v.merges.push_back("b a"); }), "needs the token 'ba'");
    refused(changed(bpe(), [](Vocabulary& v) { v.merges.push_back("c a"); }), "needs the token 'c'");
    refused(changed(bpe(), [](Vocabulary& v) { v.merges.push_back("a " + std::string(60000, 'c')); }),
            "tokenizer.ggml.merges[1]");
    accepted(changed(bpe(), [](Vocabulary& v) { v.merges.clear(); }), "no merges");
    accepted(changed(bpe(), [](Vocabulary& v) { v.merges.push_back("a b"); }), "a merge twice");
}

TEST(odd_tokens) {
    refused(changed(spm(), [](Vocabulary& v) { v.tokens[6] = std::string(size_t{1} << 20, 'a'); }),
            "tokenizer.ggml.tokens[6]");
    refused(changed(bpe(), [](Vocabulary& v) { v.tokens[3] = std::string(kTokenBytes + 1, 'a'); }),
            "tokenizer.ggml.tokens[3]");
    accepted(changed(spm(), [](Vocabulary& v) { v.tokens[6] = std::string(kTokenBytes, 'a'); }),
             "longest token");
    for (const TokenType type :
         {TokenType::user, TokenType::control, TokenType::unused, TokenType::undefined})
        for (const std::string text : {"", "a", "ab", "\xFF", " ", "\u2581", "x"})
            for (const Vocabulary& base : {spm(), bpe()})
                accepted(changed(base,
                                 [&](Vocabulary& v) {
                                     if (v.types.empty()) v.types.assign(v.tokens.size(), 1);
                                     v.tokens.push_back(text);
                                     v.types.push_back(static_cast<int32_t>(type));
                                     if (!v.scores.empty()) v.scores.push_back(-5);
                                 }),
                         "a further token '" + text + "'");
}

// An unused token may be merged through but is never a result.
TEST(unused_tokens_fall_apart) {
    auto tokenizer = Tokenizer::create(changed(spm(), [](Vocabulary& v) {
        v.types[6] = static_cast<int32_t>(TokenType::unused);
        v.tokens.push_back("aba"), v.types.push_back(1), v.scores.push_back(-9);
    }));
    CHECK(tokenizer.ok());
    if (!tokenizer) return;
    CHECK(tokenizer->encode("ab", false, false) == (std::vector<int32_t>{3, 4, 5}));
    CHECK(tokenizer->encode("aba", false, false) == (std::vector<int32_t>{3, tokenizer->size() - 1}));
}

// Tokens that are all prefixes of each other, a million merges: time and memory stay near the size of the
// input.
TEST(no_quadratic_vocabulary) {
    Vocabulary nested = spm();
    for (size_t length = 3; length < 3000; ++length) {
        nested.tokens.push_back(std::string(length, 'a'));
        nested.types.push_back(1);
        nested.scores.push_back(-static_cast<float>(length));
    }
    refused(nested, "ways to merge a token");

    Vocabulary wide = bpe();
    const int side = check::full() ? 1000 : 200;
    const auto name = [](int i) { return "(" + std::to_string(i) + ")"; };
    for (int i = 0; i < side; ++i) wide.tokens.push_back(name(i));
    for (int i = 0; i < side; ++i)
        for (int j = 0; j < side; ++j) {
            wide.tokens.push_back(name(i) + name(j));
            wide.merges.push_back(name(i) + " " + name(j));
        }
    std::printf("# merges: %zu\n", wide.merges.size());
    accepted(std::move(wide), "all pairs");
}

// A special token searched for at every place of a text made of its beginning.
TEST(no_quadratic_special_token) {
    Vocabulary vocabulary = spm();
    vocabulary.tokens.push_back(std::string(5000, 'a') + "b");
    vocabulary.types.push_back(4);
    vocabulary.scores.push_back(0);
    auto tokenizer = Tokenizer::create(std::move(vocabulary));
    CHECK(tokenizer.ok());
    const std::string text(size_t{1} << (check::full() ? 20 : 15), 'a');
    if (tokenizer) CHECK(tokenizer->decode(tokenizer->encode(text, false, false)) == text);
}

TEST(defaults_of_absent_keys) {
    auto read = read_vocabulary(metadata_of(spm()));
    CHECK(read.ok());
    if (!read) return;
    CHECK(read->bos == 1 && read->eos == 2 && read->unk == 0 && read->pad == -1 && read->eot == -1);
    CHECK(read->add_bos && !read->add_eos && read->add_space_prefix);
    Vocabulary twelve = bpe();
    twelve.tokens = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "a", "b"};
    for (const std::string pre : {"", "gpt-2", "llama-bpe", "tekken"}) {
        Metadata metadata = metadata_of(twelve);
        if (!pre.empty()) metadata.set("tokenizer.ggml.pre", Value::of_string(pre));
        auto given = read_vocabulary(metadata);
        CHECK_MSG(given.ok(), pre);
        if (!given) continue;
        CHECK_MSG(given->bos == 11 && given->eos == 11 && given->unk == -1 && !given->add_space_prefix, pre);
        CHECK_MSG(given->add_bos == (pre == "llama-bpe" || pre == "tekken"), pre);
        CHECK(given->pre == (pre.empty() ? "default" : pre));
    }
}

// The defaults lie outside of small vocabularies: then there is no such token.
TEST(defaults_outside_of_the_vocabulary) {
    for (const size_t count : {1u, 2u, 3u})
        for (Vocabulary base : {spm(), bpe()}) {
            base.tokens.resize(count);
            auto read = read_vocabulary(metadata_of(base));
            CHECK(read.ok());
            if (!read) continue;
            for (const int32_t id : {read->bos, read->eos, read->unk})
                CHECK(id < static_cast<int32_t>(count));
            accepted(std::move(*read), "defaults");
        }
}

TEST(explicit_ids_outside_of_the_vocabulary) {
    for (const char* key : {"bos", "eos", "unknown", "eot", "eom", "padding", "seperator"})
        for (const int64_t id : {int64_t{263}, int64_t{0xffffffff}, int64_t{-1}}) {
            Metadata metadata = metadata_of(spm());
            const std::string name = std::string("tokenizer.ggml.") + key + "_token_id";
            metadata.set(name, id < 0 ? Value::of_i32(-1) : Value::of_u32(static_cast<uint32_t>(id)));
            auto read = read_vocabulary(metadata);
            const bool strict = key == std::string("bos") || key == std::string("eos");
            CHECK_MSG(read.ok() != strict, name);
            if (!read)
                CHECK_MSG(read.error().text.find(name) != std::string::npos, read.error().text);
            else
                CHECK(read->pad == -1 && read->eot == -1 && read->unk == 0);  // the defaults
        }
}

TEST(metadata_of_wrong_types) {
    for (const char* key : {"model", "pre", "tokens", "scores", "token_type", "merges", "bos_token_id",
                            "eos_token_id", "add_bos_token", "add_space_prefix"}) {
        const std::string name = std::string("tokenizer.ggml.") + key;
        const std::pair<const char*, Value> values[] = {{"f32", Value::of_f32(1)},
                                                        {"strings", Value::of_strings({"a"})},
                                                        {"string", Value::of_string("x")},
                                                        {"floats", Value::of_f32s(std::vector<float>{1})}};
        for (const auto& [kind, value] : values) {
            const std::string right = key == std::string("model") || key == std::string("pre") ? "string"
                                      : key == std::string("tokens") || key == std::string("merges")
                                          ? "strings"
                                      : key == std::string("scores") ? "floats"
                                                                     : "";
            if (kind == right) continue;
            Metadata metadata = metadata_of(spm());
            metadata.set(name, value);
            auto read = read_vocabulary(metadata);
            CHECK_MSG(!read.ok() && read.error().text.find(name) != std::string::npos, name + " as " + kind);
        }
    }
    for (const char* key : {"tokenizer.ggml.model", "tokenizer.ggml.tokens"}) {
        Metadata metadata = metadata_of(spm());
        metadata.erase(key);
        auto read = read_vocabulary(metadata);
        CHECK_MSG(!read.ok() && read.error().text.find(key) != std::string::npos, key);
    }
}

TEST(ends_of_generation) {
    Vocabulary vocabulary = bpe();
    vocabulary.types.assign(vocabulary.tokens.size(), 1);
    const auto add = [&](const std::string& text, TokenType type) {
        vocabulary.tokens.push_back(text);
        vocabulary.types.push_back(static_cast<int32_t>(type));
        return static_cast<int32_t>(vocabulary.tokens.size()) - 1;
    };
    const int32_t named = add("[stop]", TokenType::control), turn = add("<end_of_turn>", TokenType::control);
    const int32_t end = add("<|end|>", TokenType::user), text = add("</s>", TokenType::normal),
                  other = add("<|start|>", TokenType::control);
    vocabulary.eot = named;
    auto tokenizer = Tokenizer::create(vocabulary);
    CHECK(tokenizer.ok());
    if (!tokenizer) return;
    CHECK(tokenizer->ends_generation(named) && tokenizer->ends_generation(turn) &&
          tokenizer->ends_generation(end));
    CHECK(!tokenizer->ends_generation(text) && !tokenizer->ends_generation(other) &&
          !tokenizer->ends_generation(0));
    const int32_t last = add("<|return|>", TokenType::control);
    add("<|call|>", TokenType::control);
    auto harmony = Tokenizer::create(vocabulary);
    CHECK(harmony.ok() && harmony->ends_generation(last) && !harmony->ends_generation(end));
}

TEST_MAIN
