// Text <-> token ids. Knows vocabularies, not files: src/model fills the Vocabulary from GGUF metadata.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace quant {

enum class TokenType : int32_t {
    undefined = 0,
    normal = 1,
    unknown = 2,
    control = 3,
    user = 4,
    unused = 5,
    byte = 6
};

// What a model file says about its vocabulary; -1 = no such token.
struct Vocabulary {
    std::string model;  // "llama" (SentencePiece BPE), "gpt2" (byte-level BPE), "t5" (SentencePiece unigram)
    std::string pre;    // pre-tokenizer of "gpt2" models: "default", "llama-bpe", "qwen2" ...
    std::vector<std::string> tokens;
    std::vector<float> scores;        // empty: all 0
    std::vector<int32_t> types;       // empty: all normal
    std::vector<std::string> merges;  // "left right"
    std::string charsmap;             // normalization rules of "t5" models, as SentencePiece compiles them
    int32_t bos = -1, eos = -1, eot = -1, eom = -1, unk = -1, pad = -1, sep = -1;
    bool add_bos = false, add_eos = false;
    bool add_space_prefix = true, remove_extra_whitespaces = false;
    bool special_eats_space = false;  // blanks behind a special token belong to it (phi-3)
};

class Tokenizer {
public:
    // Checks everything (ids in range, byte tokens well formed, merges with one space ...): errors name the
    // key.
    static Result<Tokenizer> create(Vocabulary vocabulary);
    Tokenizer();
    Tokenizer(Tokenizer&&) noexcept;
    Tokenizer& operator=(Tokenizer&&) noexcept;
    ~Tokenizer();

    // add_special: BOS/EOS as the vocabulary asks. parse_special: control tokens written in the text
    // ("<|im_end|>") become their ids. Takes any bytes (invalid UTF-8 included); n log n in the length.
    std::vector<int32_t> encode(std::string_view text, bool add_special, bool parse_special) const;
    // The bytes a token stands for; control tokens give "" unless show_special. May be a part of a UTF-8
    // character.
    std::string piece(int32_t id, bool show_special = false) const;
    // Bytes of a sequence: the leading space of SentencePiece removed.
    std::string decode(std::span<const int32_t> ids, bool show_special = false) const;

    bool ends_generation(int32_t id) const;  // eos, eot, eom and the known end-of-turn texts
    int32_t size() const;
    int32_t find(std::string_view token_text) const;  // -1: none
    const Vocabulary& vocabulary() const;

private:
    struct State;
    std::unique_ptr<State> state_;
};

// Passes on only whole UTF-8 characters: holds back the bytes of an unfinished one until they are complete;
// bytes that can never become one turn into U+FFFD.
class Utf8Stream {
public:
    std::string push(std::string_view bytes);
    std::string flush();  // what is held back, as U+FFFD

private:
    std::string held_;
};

}  // namespace quant
