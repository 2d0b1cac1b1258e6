// Pre-tokenizers: how a vocabulary cuts text into words before it merges bytes. Each is a row of a table: a
// name and the patterns that are applied one after the other, each to the pieces that the one before left.
// Knows no vocabulary.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace quant {

// Classes of characters that DeepSeek LLM's expressions spell out: cased letters, and punctuation with what lies between.
inline constexpr std::string_view kDeepSeekLetters =
    "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅ"
    "ὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇ"
    "Ꞌ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃";
inline constexpr std::string_view kDeepSeekMarks = "!-/:-~！-／：-～‘-‟　-。";

struct PreTokenizer {
    const char* names;  // the names that model files use, separated by spaces
    // Bytes that the pattern matches at `at` (0: nothing). Sees only the piece that it cuts.
    using Pattern = size_t (*)(std::string_view piece, size_t at);
    std::vector<Pattern> patterns;
    bool whole_words = false;  // a word that is a token is not merged from its bytes
    bool add_bos = false;      // where the file does not say

    static const PreTokenizer* find(std::string_view name);  // nullptr: unknown
    static std::string known();                              // all names, for messages

    // Calls `take` with each word of `text`, in order; together they are the text.
    void split(std::string_view text, const std::function<void(std::string_view)>& take) const;
};

}  // namespace quant
