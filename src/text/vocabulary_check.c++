// Every rule a vocabulary has to keep, one error per rule. Knows nothing of how text is cut.
#include "text/vocabulary_check.h"

#include <cmath>

#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"

namespace quant {

namespace {

// A token's text in a message: whole if short, its beginning if not.
std::string shown(std::string_view text) {
    return text.size() <= 40 ? "'" + escaped(text) + "'" : "'" + escaped(text.substr(0, 40)) + "...'";
}

Status check_tokens(const Vocabulary& vocabulary) {
    const size_t count = vocabulary.tokens.size();
    if (count == 0 || count > limits::kVocab)
        return input_error(
            format_text("tokenizer.ggml.tokens: expected 1 to %u tokens, found %zu", limits::kVocab, count));
    for (size_t i = 0; i < count; ++i)
        if (vocabulary.tokens[i].size() > kTokenBytes)
            return input_error(
                format_text("tokenizer.ggml.tokens[%zu]: expected at most %zu bytes, found %zu", i,
                            kTokenBytes, vocabulary.tokens[i].size()));
    return {};
}

Status check_arrays(const Vocabulary& vocabulary) {
    const size_t count = vocabulary.tokens.size();
    if (!vocabulary.scores.empty() && vocabulary.scores.size() != count)
        return input_error(
            format_text("tokenizer.ggml.scores: expected %zu scores as there are tokens, found %zu", count,
                        vocabulary.scores.size()));
    if (!vocabulary.types.empty() && vocabulary.types.size() != count)
        return input_error(
            format_text("tokenizer.ggml.token_type: expected %zu types as there are tokens, found %zu", count,
                        vocabulary.types.size()));
    for (size_t i = 0; i < vocabulary.scores.size(); ++i)
        if (std::isnan(vocabulary.scores[i]))
            return input_error(format_text("tokenizer.ggml.scores[%zu]: expected a number, found NaN", i));
    for (size_t i = 0; i < vocabulary.types.size(); ++i)
        if (vocabulary.types[i] < 0 || vocabulary.types[i] > 6)
            return input_error(format_text("tokenizer.ggml.token_type[%zu]: expected 0 to 6, found %d", i,
                                           vocabulary.types[i]));
    return {};
}

Status check_ids(const Vocabulary& vocabulary) {
    const struct {
        const char* name;
        int32_t id;
    } rows[] = {{"bos", vocabulary.bos},      {"eos", vocabulary.eos},     {"eot", vocabulary.eot},
                {"eom", vocabulary.eom},      {"unknown", vocabulary.unk}, {"padding", vocabulary.pad},
                {"seperator", vocabulary.sep}};
    const size_t count = vocabulary.tokens.size();
    for (const auto& row : rows)
        if (row.id < -1 || (row.id >= 0 && static_cast<size_t>(row.id) >= count))
            return input_error(format_text("tokenizer.ggml.%s_token_id: expected below %zu tokens, found %d",
                                           row.name, count, row.id));
    return {};
}

// "left right": exactly one space, with something on both sides.
Status check_merges(const Vocabulary& vocabulary) {
    for (size_t i = 0; i < vocabulary.merges.size(); ++i) {
        const std::string& merge = vocabulary.merges[i];
        const size_t space = merge.find(' ');
        if (space == std::string::npos || space == 0 || space + 1 == merge.size() ||
            merge.find(' ', space + 1) != std::string::npos)
            return input_error(
                format_text("tokenizer.ggml.merges[%zu]: expected two tokens and one space between, found %s",
                            i, shown(merge).c_str()));
    }
    return {};
}

// The value of "<0xHH>", -1 for any other text.
int byte_value(std::string_view text) {
    if (text.size() != 6 || text.substr(0, 3) != "<0x" || text[5] != '>') return -1;
    int value = 0;
    for (const char digit : text.substr(3, 2)) {
        const int part = digit >= '0' && digit <= '9'   ? digit - '0'
                         : digit >= 'A' && digit <= 'F' ? digit - 'A' + 10
                         : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
                                                        : -1;
        if (part < 0) return -1;
        value = value * 16 + part;
    }
    return value;
}

}  // namespace

Status check_vocabulary(const Vocabulary& vocabulary) {
    if (vocabulary.model != "llama" && vocabulary.model != "gpt2" && vocabulary.model != "t5")
        return input_error("tokenizer.ggml.model: expected llama, gpt2 or t5, found " +
                           shown(vocabulary.model));
    TRY(check_tokens(vocabulary));
    TRY(check_arrays(vocabulary));
    TRY(check_ids(vocabulary));
    return check_merges(vocabulary);
}

Result<ByteTokens> find_byte_tokens(const Vocabulary& vocabulary) {
    ByteTokens bytes;
    bytes.fill(-1);
    const auto byte_type = static_cast<int32_t>(TokenType::byte);
    for (size_t i = 0; i < vocabulary.tokens.size(); ++i) {
        const bool declared = !vocabulary.types.empty() && vocabulary.types[i] == byte_type;
        if (!declared && !vocabulary.types.empty()) continue;
        const int value = byte_value(vocabulary.tokens[i]);
        if (value < 0) {
            if (!declared) continue;
            return input_error(
                format_text("tokenizer.ggml.tokens[%zu]: expected a byte token <0x00> to <0xFF>, found %s", i,
                            shown(vocabulary.tokens[i]).c_str()));
        }
        int32_t& id = bytes[static_cast<size_t>(value)];
        if (id >= 0)
            return input_error(
                format_text("tokenizer.ggml.tokens[%zu]: expected each byte token once, found %s again", i,
                            shown(vocabulary.tokens[i]).c_str()));
        id = static_cast<int32_t>(i);
    }
    return bytes;
}

}  // namespace quant
