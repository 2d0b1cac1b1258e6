// `quant tokenize`: text to token ids and back, with nothing but the vocabulary of a model file.
#include <algorithm>

#include "base/file.h"
#include "base/json_writer.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "gguf/gguf.h"
#include "model/model.h"

namespace quant {

namespace {

constexpr uint64_t kMaxText = uint64_t{1} << 30;

struct TokenizeOptions {
    std::string model, file, decode;
    std::vector<std::string> text;
    bool json = false, lines = false, no_bos = false, parse_special = false;
};

// Ids separated by blanks or commas; brackets are skipped, so that a printed JSON array can be pasted.
Result<std::vector<int32_t>> parse_ids(std::string_view text, const Tokenizer& tokenizer) {
    std::vector<int32_t> ids;
    constexpr std::string_view kBetween = " \t\r\n,[]";
    for (size_t at = 0; (at = text.find_first_not_of(kBetween, at)) != std::string_view::npos;) {
        const size_t end = std::min(text.find_first_of(kBetween, at), text.size());
        const std::string_view word = text.substr(at, end - at);
        LET(id, parse_integer(word));
        if (id < 0 || id >= tokenizer.size())
            return usage_error("--decode: expected token ids from 0 to " +
                               std::to_string(tokenizer.size() - 1) + ", found " + std::string(word));
        ids.push_back(static_cast<int32_t>(id));
        at = end;
    }
    return ids;
}

std::string ids_line(const std::vector<int32_t>& ids) {
    std::string out;
    for (const int32_t id : ids) out += (out.empty() ? "" : " ") + std::to_string(id);
    return out + "\n";
}

std::string ids_json(const std::vector<int32_t>& ids, const Tokenizer& tokenizer) {
    std::string out;
    JsonWriter json(out);
    json.begin_array();
    for (const int32_t id : ids) {
        json.begin_object();
        json.member("id", id);
        json.member("piece", tokenizer.piece(id, true));
        json.end_object();
    }
    json.end_array();
    return out + "\n";
}

Result<bool> parse(Arguments arguments, TokenizeOptions& to) {
    Options options("quant tokenize -m MODEL [-f FILE | TEXT] [options]",
                    "Prints the token ids of a text, in one line.",
                    "  quant tokenize -m model.gguf \"Once upon a time\"\n"
                    "  quant tokenize -m model.gguf -f story.txt --json\n"
                    "  echo hello | quant tokenize -m model.gguf -f -\n"
                    "  quant tokenize -m model.gguf --decode \"1 403 407 261 378\"");
    options.text("-m --model", "FILE", "GGUF file; one with only a vocabulary will do", &to.model);
    options.text("-f --file", "FILE", "read the text from FILE, - for standard input", &to.file);
    options.text("--decode", "IDS", "the other way: print the text of these ids", &to.decode);
    options.flag("--json", "print an array of ids with the text each stands for", &to.json);
    options.flag("--lines", "take each line of the text for itself: one line of ids for one line of text",
                 &to.lines);
    options.flag("--no-bos", "leave out the tokens that the model wants before and behind a text",
                 &to.no_bos);
    options.flag("--parse-special", "control tokens written in the text, as <|im_end|>, become their ids",
                 &to.parse_special);
    options.positional(&to.text, 0, 1);
    return options.parse(arguments);
}

Result<Tokenizer> load_tokenizer(const std::string& path) {
    LET(gguf, Gguf::open(path));
    LET(vocabulary, read_vocabulary(gguf.metadata()));
    auto tokenizer = Tokenizer::create(std::move(vocabulary));
    if (!tokenizer) tokenizer.error().text = escaped(path) + ": " + tokenizer.error().text;
    return tokenizer;
}

}  // namespace

Status tokenize_command(Arguments arguments) {
    TokenizeOptions options;
    LET(go_on, parse(arguments, options));
    if (!go_on) return {};
    if (options.model.empty()) return usage_error("tokenize: -m MODEL is missing");
    const bool has_text = !options.text.empty(), decoding = !options.decode.empty();
    if (has_text + decoding + !options.file.empty() != 1)
        return usage_error("tokenize: expected one of TEXT, -f FILE and --decode IDS");
    LET(tokenizer, load_tokenizer(options.model));
    if (decoding) {
        LET(ids, parse_ids(options.decode, tokenizer));
        return write_output(options.json ? ids_json(ids, tokenizer) : tokenizer.decode(ids, true) + "\n");
    }
    std::string text;
    if (has_text) {
        text = options.text[0];
    } else {
        LET(content, read_text_file(options.file, kMaxText));
        text = std::move(content);
    }
    const auto print = [&](std::string_view part) {
        const std::vector<int32_t> ids = tokenizer.encode(part, !options.no_bos, options.parse_special);
        return write_output(options.json ? ids_json(ids, tokenizer) : ids_line(ids));
    };
    if (!options.lines) return print(text);
    for (size_t at = 0; at < text.size();) {
        const size_t end = std::min(text.find('\n', at), text.size());
        TRY(print(std::string_view(text).substr(at, end - at)));
        at = end + 1;
    }
    return {};
}

}  // namespace quant
