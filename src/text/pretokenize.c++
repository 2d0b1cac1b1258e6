// The patterns of pre-tokenizers, matched by hand instead of by a regular expression engine. Each function
// names the expression that it stands for, as the families' tokenizer.json files spell it. \s is White_Space,
// matching is greedy with the first alternative that matches, as in Oniguruma. All run in time linear in what
// they match.
#include "text/pretokenize.h"

#include <algorithm>
#include <array>
#include <sstream>

#include "text/unicode.h"

namespace quant {

namespace {

using Text = std::string_view;

// The end of the longest run from `at` whose characters have one of the kinds / none of the kinds.
size_t run_of(Text text, size_t at, int kinds) {
    for (Glyph next = glyph_at(text, at); next.kind & kinds; next = glyph_at(text, at)) at += next.bytes;
    return at;
}
size_t run_without(Text text, size_t at, int kinds) {
    for (Glyph next = glyph_at(text, at); next.bytes && !(next.kind & kinds); next = glyph_at(text, at))
        at += next.bytes;
    return at;
}

bool is_newline(uint32_t code) { return code == '\r' || code == '\n'; }

// 's|'t|'re|'ve|'m|'ll|'d; with `any_case` as (?i:...), where s also stands for U+017F.
size_t contraction(Text text, size_t at, bool any_case) {
    if (at >= text.size() || text[at] != '\'') return 0;
    const auto letter = [&](size_t i) {
        const char byte = i < text.size() ? text[i] : '\0';
        return any_case && byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte + 32) : byte;
    };
    const char first = letter(at + 1), second = letter(at + 2);
    if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
    if ((first == 'r' && second == 'e') || (first == 'v' && second == 'e') || (first == 'l' && second == 'l'))
        return 3;
    return any_case && text.substr(at + 1).starts_with("\u017F") ? 3 : 0;
}

// \s+(?!\S)|\s+ : all but the last space before a word, so that it can join the word.
size_t spaces(Text text, size_t at) {
    size_t last = at, end = at;
    for (Glyph next = glyph_at(text, end); next.kind & kSpace; next = glyph_at(text, end)) {
        last = end;
        end += next.bytes;
    }
    return end == text.size() || last == at ? end - at : last - at;
}

// \s*[\r\n]+ : up to the last line break of a run of spaces.
size_t line_breaks(Text text, size_t at) {
    size_t end = at;
    size_t after = 0;
    for (Glyph next = glyph_at(text, end); next.kind & kSpace; next = glyph_at(text, end)) {
        end += next.bytes;
        if (is_newline(next.code)) after = end;
    }
    return after ? after - at : 0;
}

// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
size_t gpt2(Text text, size_t at) {
    if (const size_t bytes = contraction(text, at, false)) return bytes;
    const size_t begin = text[at] == ' ' ? at + 1 : at;
    const Glyph first = glyph_at(text, begin);
    if (first.bytes == 0 || first.kind & kSpace) return spaces(text, at);
    if (first.kind & kLetter) return run_of(text, begin, kLetter) - at;
    if (first.kind & kNumber) return run_of(text, begin, kNumber) - at;
    return run_without(text, begin, kSpace | kLetter | kNumber) - at;
}

// \p{N}{1,most}
size_t digits(Text text, size_t at, int most) {
    size_t end = at;
    for (Glyph next = glyph_at(text, end); most > 0 && next.kind & kNumber;
         next = glyph_at(text, end), --most)
        end += next.bytes;
    return end - at;
}

//  ?[^\s\p{L}\p{N}]+ and then any of `tail`; `letters` are the kinds that count as \p{L}
size_t punctuation(Text text, size_t at, int letters, Text tail) {
    const size_t begin = text[at] == ' ' ? at + 1 : at;
    size_t end = run_without(text, begin, kSpace | letters | kNumber);
    if (end == begin) return 0;
    while (end < text.size() && tail.find(text[end]) != Text::npos) ++end;
    return end - at;
}

// [^\r\n\p{L}\p{N}]?\p{L}+ ; `letters` are the kinds that count as \p{L} after the first character
size_t word_with_lead(Text text, size_t at, int letters) {
    const Glyph first = glyph_at(text, at);
    if (first.kind & letters) return run_of(text, at, letters) - at;
    if (is_newline(first.code) || first.kind & (kLetter | kNumber)) return 0;
    const size_t begin = at + first.bytes;
    const size_t end = run_of(text, begin, letters);
    return end > begin ? end - at : 0;
}

// \s*[\r\n]+|\s+(?!\S)|\s+
size_t blanks(Text text, size_t at) {
    const size_t bytes = line_breaks(text, at);
    return bytes ? bytes : spaces(text, at);
}

// (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,N}|
// ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+ ; without `kBreaks` line breaks never join punctuation
template <int kDigits, int kLetters, bool kBreaks = true>
size_t cl100k(Text text, size_t at) {
    if (const size_t bytes = contraction(text, at, true)) return bytes;
    if (const size_t bytes = word_with_lead(text, at, kLetters)) return bytes;
    if (const size_t bytes = digits(text, at, kDigits)) return bytes;
    if (const size_t bytes = punctuation(text, at, kLetters, kBreaks ? "\r\n" : "")) return bytes;
    return blanks(text, at);
}

// U*W+ or, failing that, U+W* with U = [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}], W = [\p{Ll}\p{Lm}\p{Lo}\p{M}]; the
// end, `at` if none.
size_t cased_word(Text text, size_t at) {
    constexpr int kU = kUpper | kCaseless | kMark, kW = kLower | kCaseless | kMark;
    size_t end = at, after_last_w = at;  // backing up in U* stops behind the last character that is also W
    for (Glyph next = glyph_at(text, end); next.kind & kU; next = glyph_at(text, end)) {
        end += next.bytes;
        if (next.kind & kW) after_last_w = end;
    }
    const size_t lower = run_of(text, end, kW);
    if (lower > end) return lower;
    return after_last_w > at ? after_last_w : end;
}

// [^\r\n\p{L}\p{N}]?U*W+C?|[^\r\n\p{L}\p{N}]?U+W*C?|\p{N}{1,N}|
// ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+ with C = (?i:'s|'t|'re|'ve|'m|'ll|'d)
template <int kDigits, bool kContractions>
size_t o200k(Text text, size_t at) {
    const Glyph first = glyph_at(text, at);
    const bool lead = !is_newline(first.code) && !(first.kind & (kLetter | kNumber));
    size_t begin = lead ? at + first.bytes : at;
    size_t end = cased_word(text, begin);
    if (end == begin && lead) end = cased_word(text, begin = at);  // a mark can be the word itself
    if (end > begin) return end - at + (kContractions ? contraction(text, end, true) : 0);
    if (const size_t bytes = digits(text, at, kDigits)) return bytes;
    if (const size_t bytes = punctuation(text, at, kLetter, "\r\n/")) return bytes;
    return blanks(text, at);
}

bool is_ascii_punctuation(uint32_t code) {
    return (code >= '!' && code <= '/') || (code >= ':' && code <= '@') || (code >= '[' && code <= '`') ||
           (code >= '{' && code <= '~');
}

// Runs of ASCII punctuation and \p{P}.
size_t punctuation_run(Text text, size_t at) {
    size_t end = at;
    for (Glyph next = glyph_at(text, end); next.kind & kPunctuation || is_ascii_punctuation(next.code);
         next = glyph_at(text, end))
        end += next.bytes;
    return end - at;
}

// \p{N}+ and \p{N}{1,N}
size_t number_run(Text text, size_t at) { return run_of(text, at, kNumber) - at; }
template <int kDigits>
size_t number_group(Text text, size_t at) {
    return digits(text, at, kDigits);
}

// Falcon cuts runs of digits after bytes were renamed to characters, six of which are numeric in their own
// right (the bytes of superscripts and fractions in Latin-1): characters of other scripts are cut there too.
// Matches a run of such bytes or a run of all others.
size_t digit_byte_run(Text text, size_t at) {
    constexpr Text kNumeric = "0123456789\xB2\xB3\xB9\xBC\xBD\xBE";
    const bool numeric = kNumeric.find(text[at]) != Text::npos;
    const size_t end = numeric ? text.find_first_not_of(kNumeric, at) : text.find_first_of(kNumeric, at);
    return std::min(end, text.size()) - at;
}

// [0-9][0-9][0-9]
size_t three_digits(Text text, size_t at) {
    const auto digit = [&](size_t i) { return i < text.size() && text[i] >= '0' && text[i] <= '9'; };
    return digit(at) && digit(at + 1) && digit(at + 2) ? 3 : 0;
}

// [\r\n]
size_t one_line_break(Text text, size_t at) { return is_newline(static_cast<uint8_t>(text[at])) ? 1 : 0; }

// \s? and then a run of the kinds
template <int kKinds>
size_t run_with_space(Text text, size_t at) {
    const Glyph first = glyph_at(text, at);
    const size_t begin = first.kind & kSpace ? at + first.bytes : at;
    const size_t end = run_of(text, begin, kKinds);
    return end > begin ? end - at : 0;
}

// [一-龥ࠀ-一가-퟿]+ : U+0800 to U+9FA5 and U+AC00 to U+D7FF
size_t deepseek_cjk(Text text, size_t at) {
    size_t end = at;
    for (;;) {
        const Glyph next = glyph_at(text, end);
        if (!(next.code >= 0x800 && next.code <= 0x9FA5) && !(next.code >= 0xAC00 && next.code <= 0xD7FF))
            return end - at;
        end += next.bytes;
    }
}

// [一-龥぀-ゟ゠-ヿ]+ : U+4E00 to U+9FA5 and U+3040 to U+30FF
size_t deepseek3_cjk(Text text, size_t at) {
    size_t end = at;
    for (;;) {
        const Glyph next = glyph_at(text, end);
        if (!(next.code >= 0x4E00 && next.code <= 0x9FA5) && !(next.code >= 0x3040 && next.code <= 0x30FF))
            return end - at;
        end += next.bytes;
    }
}

// A class of characters as an expression spells it, without brackets and escapes: "A-Za-z!". The "-" between two
// characters makes them a range.
class CharacterClass {
public:
    explicit CharacterClass(Text members) {
        for (size_t at = 0; at < members.size();) {
            const Glyph first = glyph_at(members, at);
            at += first.bytes;
            Glyph last = first;
            if (at + 1 < members.size() && members[at] == '-') {
                last = glyph_at(members, at + 1);
                at += 1 + last.bytes;
            }
            ranges_.emplace_back(first.code, last.code);
        }
        std::sort(ranges_.begin(), ranges_.end());
        for (uint32_t code = 0; code < ascii_.size(); ++code) ascii_[code] = in_ranges(code);
    }
    bool has(uint32_t code) const { return code < ascii_.size() ? ascii_[code] : in_ranges(code); }
    size_t run(Text text, size_t at) const {  // the end of the run of members from `at`
        for (Glyph next = glyph_at(text, at); next.bytes && has(next.code); next = glyph_at(text, at)) at += next.bytes;
        return at;
    }

private:
    bool in_ranges(uint32_t code) const {
        const auto after = std::upper_bound(ranges_.begin(), ranges_.end(), std::pair(code, UINT32_MAX));
        return after != ranges_.begin() && code <= std::prev(after)->second;
    }
    std::vector<std::pair<uint32_t, uint32_t>> ranges_;
    std::array<bool, 128> ascii_{};
};

// \s?[...]+ ; the blank can be a member itself
size_t class_with_space(const CharacterClass& members, Text text, size_t at) {
    const Glyph first = glyph_at(text, at);
    const size_t begin = first.kind & kSpace ? at + first.bytes : at;
    const size_t end = members.run(text, begin);
    return (end > begin ? end : members.run(text, at)) - at;
}
size_t deepseek_letters(Text text, size_t at) {
    static const CharacterClass members(kDeepSeekLetters);
    return class_with_space(members, text, at);
}
size_t deepseek_marks(Text text, size_t at) {
    static const CharacterClass members(kDeepSeekMarks);
    return class_with_space(members, text, at);
}

// \s+$ ; no line breaks are left inside of a piece
size_t last_spaces(Text text, size_t at) {
    const size_t end = run_of(text, at, kSpace);
    return end == text.size() ? end - at : 0;
}

//  ?[^(\s|[.,!?…。，、।۔،])]+
size_t bloom(Text text, size_t at) {
    static const CharacterClass others("(|).,!?…。，、।۔،");
    const size_t begin = text[at] == ' ' ? at + 1 : at;
    size_t end = begin;
    for (Glyph next = glyph_at(text, end); next.bytes && !(next.kind & kSpace) && !others.has(next.code); next = glyph_at(text, end))
        end += next.bytes;
    return end > begin ? end - at : 0;
}

bool is_ascii_letter(uint32_t code) { return (code >= 'A' && code <= 'Z') || (code >= 'a' && code <= 'z'); }

// [!-/:-~ without letters][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|
// ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
size_t deepseek3(Text text, size_t at) {
    const Glyph first = glyph_at(text, at);
    if (is_ascii_punctuation(first.code) && is_ascii_letter(glyph_at(text, at + 1).code)) {
        size_t end = at + 1;
        while (end < text.size() && is_ascii_letter(static_cast<uint8_t>(text[end]))) ++end;
        return end - at;
    }
    const bool lead = !is_newline(first.code) && !(first.kind & (kLetter | kMark | kPunctuation | kSymbol));
    const size_t begin = lead ? at + first.bytes : at;
    if (const size_t end = run_of(text, begin, kLetter | kMark); end > begin) return end - at;
    const size_t mark = text[at] == ' ' ? at + 1 : at;
    size_t end = run_of(text, mark, kPunctuation | kSymbol);
    if (end > mark) {
        while (end < text.size() && is_newline(static_cast<uint8_t>(text[end]))) ++end;
        return end - at;
    }
    return first.kind & kSpace ? blanks(text, at) : 0;
}

const std::vector<PreTokenizer>& table() {
    static const std::vector<PreTokenizer> rows = {
        {"default", {punctuation_run, gpt2, number_run, three_digits}},
        {"gpt-2 phi-2 mpt olmo jais gigachat mellum exaone4 modern-bert roberta-bpe a.x-4.0 trillion granite-docling", {gpt2}},
        {"starcoder refact command-r smollm codeshell exaone minerva-7b mellum2", {number_group<1>, gpt2}},
        {"llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral lfm2 midm-2.0", {cl100k<3, kLetter>}, true, true},
        {"dbrx smaug-bpe glm4 chatglm-bpe", {cl100k<3, kLetter>}},
        {"minicpm5", {cl100k<3, kLetter>}, true},
        {"qwen2 stablelm2 deepseek-r1-qwen megrez hunyuan grok-2 kormo solar-open bailingmoe bailingmoe2 llada-moe",
         {cl100k<1, kLetter>}},
        {"seed-coder", {cl100k<1, kLetter, false>}},
        {"qwen35", {cl100k<1, kLetter | kMark>}},
        {"gpt-4o llama4 kanana2 minimax-m2", {o200k<3, true>}},
        {"tekken", {o200k<1, false>}, true, true},
        {"falcon", {punctuation_run, gpt2, digit_byte_run, three_digits}},
        {"deepseek-coder",
         {one_line_break, run_with_space<kLetter>, run_with_space<kPunctuation>, deepseek_cjk,
          number_group<1>}},
        {"deepseek-llm",
         {one_line_break, deepseek_letters, deepseek_marks, last_spaces, deepseek_cjk, number_group<1>}},
        {"deepseek-v3 hunyuan-dense joyai-llm", {number_group<3>, deepseek3_cjk, deepseek3}},
        {"bloom poro-chat gpt3-finnish", {bloom}},
        {"viking", {bloom, number_group<1>}},
    };
    return rows;
}

void split_by(const std::vector<PreTokenizer::Pattern>& patterns, size_t level, Text text,
              const std::function<void(Text)>& take) {
    if (level == patterns.size()) return take(text);
    size_t begin = 0;  // of what no match covers yet
    for (size_t at = 0; at < text.size();) {
        const size_t bytes = patterns[level](text, at);
        if (bytes == 0) {
            at += glyph_at(text, at).bytes;
            continue;
        }
        if (at > begin) split_by(patterns, level + 1, text.substr(begin, at - begin), take);
        split_by(patterns, level + 1, text.substr(at, bytes), take);
        begin = at += bytes;
    }
    if (text.size() > begin) split_by(patterns, level + 1, text.substr(begin), take);
}

}  // namespace

const PreTokenizer* PreTokenizer::find(std::string_view name) {
    for (const PreTokenizer& row : table()) {
        std::istringstream names(row.names);
        for (std::string each; names >> each;)
            if (each == name) return &row;
    }
    return nullptr;
}

std::string PreTokenizer::known() {
    std::string all;
    for (const PreTokenizer& row : table()) all += (all.empty() ? "" : " ") + std::string(row.names);
    return all;
}

void PreTokenizer::split(std::string_view text, const std::function<void(std::string_view)>& take) const {
    split_by(patterns, 0, text, take);
}

}  // namespace quant
