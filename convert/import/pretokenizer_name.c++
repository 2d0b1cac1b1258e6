// Recognises the pre-tokenizer of a tokenizer.json by its patterns: the steps are written down in one text, spelled in
// one way, and looked up.
#include "base/file.h"
#include "base/log.h"
#include "convert/import/tokenizer_parts.h"
#include "text/pretokenize.h"

namespace quant {

namespace {

// The expressions, as the families' files spell them.
constexpr std::string_view kCl100k =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen35 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kO200k =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kTekken =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|)"
    R"(\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kSeedCoder =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kMiniCpm5 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kBloom = R"( ?[^(\s|[.,!?…。，、।۔،])]+)";
constexpr std::string_view kGpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kDeepseek3 =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";

std::string split(std::string_view expression) { return "split " + std::string(expression) + "\n"; }

struct Row {
    std::string steps;
    const char* name;
    const char* name_ignoring_merges;  // with "ignore_merges"
};

const std::vector<Row>& rows() {
    static const std::string kBytes = "bytes\n", kGptWords = "gpt-2 words\n";
    static const std::vector<Row> all = {
        {kGptWords, "gpt-2", "gpt-2"},
        {split(kGpt2) + kBytes, "gpt-2", "gpt-2"},
        {"digit\n" + kGptWords, "starcoder", "starcoder"},
        {split(kCl100k) + kBytes, "smaug-bpe", "llama-bpe"},
        {split(kQwen2) + kBytes, "qwen2", "qwen2"},
        {split(kQwen35) + kBytes, "qwen35", "qwen35"},
        {split(kO200k) + kBytes, "gpt-4o", "gpt-4o"},
        {split(kTekken) + kBytes, "tekken", "tekken"},
        {"punctuation contiguous\n" + kGptWords + "digits\n" + split("[0-9][0-9][0-9]"), "falcon", "falcon"},
        {split(R"([\r\n])") + split(R"(\s?\p{L}+)") + split(R"(\s?\p{P}+)") +
             split("[一-龥ࠀ-一가-\xED\x9F\xBF]+") + "digit\n" + kBytes,
         "deepseek-coder", "deepseek-coder"},
        {split(R"([\r\n])") + split(R"(\s?[)" + std::string(kDeepSeekLetters) + "]+") +
             split(R"(\s?[)" + std::string(kDeepSeekMarks) + "]+") + split(R"(\s+$)") +
             split("[一-龥ࠀ-一가-\xED\x9F\xBF]+") + "digit\n" + kBytes,
         "deepseek-llm", "deepseek-llm"},
        {split(R"(\p{N}{1,3})") + split("[一-龥぀-ゟ゠-ヿ]+") + split(kDeepseek3) + kBytes,
         "deepseek-v3", "deepseek-v3"},
        {split(kBloom) + kBytes, "bloom", "bloom"},
        {split(kBloom) + "digit\n" + kBytes, "viking", "viking"},
        {split(kSeedCoder) + kBytes, "seed-coder", "seed-coder"},
        {split(R"(\p{N}{1,3})") + split(kMiniCpm5) + kBytes, "smaug-bpe", "minicpm5"},
    };
    return all;
}

// One spelling for expressions that match the same text: line ends as escapes, and the forms that other programs write.
std::string plain_expression(std::string_view expression) {
    struct Spelling {
        std::string_view from, to;
    };
    // Possessive loops: what follows in these expressions can never match what the loop took.
    static constexpr Spelling spellings[] = {
        {"\r", "\\r"},
        {"\n", "\\n"},
        {"'(?i:[sdmt]|ll|ve|re)", "(?i:'s|'t|'re|'ve|'m|'ll|'d)"},
        {"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])", "(?i:'s|'t|'re|'ve|'m|'ll|'d)"},
        {R"([^\r\n\p{L}\p{N}]?+)", R"([^\r\n\p{L}\p{N}]?)"},
        {R"( ?[^\s\p{L}\p{N}]++)", R"( ?[^\s\p{L}\p{N}]+)"},
        {R"(|\s*[\r\n]|)", R"(|\s*[\r\n]+|)"},
        {R"(|\p{N}{1}|)", R"(|\p{N}|)"},
    };
    std::string out(expression);
    for (const Spelling& spelling : spellings)
        for (size_t at = 0; (at = out.find(spelling.from, at)) != std::string::npos; at += spelling.to.size())
            out.replace(at, spelling.from.size(), spelling.to);
    return out;
}

std::string text_of(JsonValue value) { return std::string(value.text().value_or("")); }

Status write_steps(JsonValue step, const std::string& origin, std::string& out) {
    const std::string type = text_of(step["type"]);
    if (type == "Sequence") {
        for (const JsonValue inner : step["pretokenizers"].items()) TRY(write_steps(inner, origin, out));
        return {};
    }
    if (type == "ByteLevel") {
        out += step["use_regex"].boolean().value_or(true) ? "gpt-2 words\n" : "bytes\n";
        if (step["add_prefix_space"].boolean().value_or(false))
            log_warning(escaped(origin) + ": pre_tokenizer: add_prefix_space has no place in a GGUF of this kind: "
                                          "no space is put before a text");
    } else if (type == "Digits") {
        out += step["individual_digits"].boolean().value_or(false) ? "digit\n" : "digits\n";
    } else if (type == "Punctuation") {
        std::string behavior = text_of(step["behavior"]);
        for (char& byte : behavior) byte = byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte + 32) : byte;
        out += "punctuation " + behavior + "\n";
    } else if (type == "Split" && step["pattern"]["Regex"]) {
        const std::string behavior = text_of(step["behavior"]);
        const std::string expression = plain_expression(text_of(step["pattern"]["Regex"]));
        // To keep only what matches is to cut around it where everything matches, as behind a last "|\s+".
        const bool keeps_matches = behavior == "Removed" && step["invert"].boolean().value_or(false) && expression.ends_with("|\\s+");
        if (behavior != "Isolated" && !keeps_matches)
            return input_error(escaped(origin) + ": pre_tokenizer: unknown behavior '" + escaped(behavior) +
                               "' of a Split");
        out += split(expression);
    } else {
        return input_error(escaped(origin) + ": pre_tokenizer: unknown step '" + escaped(type) + "'");
    }
    return {};
}

}  // namespace

Result<std::string> pretokenizer_name(JsonValue pre_tokenizer, bool ignore_merges,
                                      const std::string& origin) {
    std::string steps;
    TRY(write_steps(pre_tokenizer, origin, steps));
    for (const Row& row : rows())
        if (steps == row.steps) return std::string(ignore_merges ? row.name_ignoring_merges : row.name);
    return input_error(escaped(origin) +
                       ": pre_tokenizer: none of the known ones: " + escaped(steps.substr(0, 400)));
}

}  // namespace quant
