// What a tokenizer.json does to a text before its tokens are found, where a GGUF says it with keys: the space before the
// text, squeezed spaces, SentencePiece's precompiled rules. Knows the JSON, not the vocabulary.
#include <algorithm>

#include "base/file.h"
#include "base/log.h"
#include "convert/import/tokenizer_parts.h"

namespace quant {

namespace {

constexpr std::string_view kSpace = "\u2581";

std::string text_of(JsonValue value) { return std::string(value.text().value_or("")); }

Result<std::string> from_base64(std::string_view text, const std::string& origin) {
    constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    while (text.ends_with('=')) text.remove_suffix(1);
    std::string out;
    uint32_t held = 0;
    int bits = 0;
    for (const char letter : text) {
        const size_t digit = kDigits.find(letter);
        if (digit == std::string_view::npos) return input_error(escaped(origin) + ": normalizer: expected base64 in precompiled_charsmap");
        held = held << 6 | static_cast<uint32_t>(digit);
        if ((bits += 6) >= 8) out += static_cast<char>(held >> (bits -= 8) & 0xff);
    }
    return out;
}

Status read_changes(JsonValue step, const std::string& origin, TextRules& out) {
    const std::string type = text_of(step["type"]);
    const JsonValue pattern = step["pattern"];
    if (type == "Sequence") {
        for (const JsonValue inner : step["normalizers"].items()) TRY(read_changes(inner, origin, out));
    } else if (type == "Prepend" && step["prepend"].text() == kSpace) {
        out.space_prefix = true;
    } else if (type == "Replace" && pattern["Regex"].text() == " {2,}") {
        out.squeezes_spaces = true;
    } else if (type == "Precompiled") {
        LET(rules, from_base64(text_of(step["precompiled_charsmap"]), origin));
        out.charsmap = std::move(rules);
    } else if (type == "Strip") {
        out.strips = true;
    } else if (!type.empty() && !(type == "Replace" && pattern["String"].text() == " " && step["content"].text() == kSpace)) {
        out.left_out.push_back(type);
    }
    return {};
}

Status read_spaces(JsonValue step, const std::string& origin, TextRules& out) {
    const std::string type = text_of(step["type"]);
    if (type == "Sequence") {
        for (const JsonValue inner : step["pretokenizers"].items()) TRY(read_spaces(inner, origin, out));
    } else if (type == "Metaspace") {
        const JsonValue scheme = step["prepend_scheme"];
        out.space_prefix |= scheme ? scheme.text() != "never" : step["add_prefix_space"].boolean().value_or(true);
    } else if (type == "WhitespaceSplit") {
        out.squeezes_spaces = true;
    } else if (!type.empty() && !(type == "Split" && step["pattern"]["String"].text() == " ")) {
        return input_error(escaped(origin) + ": pre_tokenizer: a vocabulary with pieces of SentencePiece has no place for '" +
                           escaped(type) + "'");
    }
    return {};
}

}  // namespace

Result<TextRules> read_normalizer(JsonValue normalizer, const std::string& origin) {
    TextRules out;
    TRY(read_changes(normalizer, origin, out));
    if (out.strips && !out.squeezes_spaces) out.left_out.push_back("Strip");
    return out;
}

Result<TextRules> read_text_rules(JsonValue root, const std::string& origin) {
    LET(out, read_normalizer(root["normalizer"], origin));
    TRY(read_spaces(root["pre_tokenizer"], origin, out));
    return out;
}

void tell_left_out(const TextRules& rules, const std::string& origin) {
    for (const std::string& step : rules.left_out) {
        const std::string text = escaped(origin) + ": normalizer: a GGUF has no place for '" + escaped(step) + "': texts are taken as they are";
        // Most texts are in NFC as they come.
        if (step == "NFC")
            log_verbose(text);
        else
            log_warning(text);
    }
}

}  // namespace quant
