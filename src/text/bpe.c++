// Rank-driven merges over bytes, as in GPT-2. Token texts spell bytes as characters: printable Latin-1 bytes
// as themselves, the 68 others as U+0100 and up, in order. The merges become a table of token pairs when the
// vocabulary is read.
#include "text/bpe.h"

#include "base/file.h"
#include "base/log.h"
#include "base/utf8.h"
#include "text/unicode.h"
#include "text/word_cache.h"

namespace quant {

namespace {

bool spells_itself(int byte) {
    return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

struct ByteSpelling {
    std::array<std::string, 256> characters;  // of each byte
    std::array<int16_t, 0x144> bytes;         // of each character, -1: none

    ByteSpelling() {
        bytes.fill(-1);
        uint32_t other = 0x100;
        for (int byte = 0; byte < 256; ++byte) {
            const uint32_t code = spells_itself(byte) ? static_cast<uint32_t>(byte) : other++;
            bytes[code] = static_cast<int16_t>(byte);
            std::string& text = characters[static_cast<size_t>(byte)];
            if (code >= 0x80)
                text += static_cast<char>(0xC0 | (code >> 6)),
                    text += static_cast<char>(0x80 | (code & 0x3F));
            else
                text += static_cast<char>(code);
        }
    }
};

const ByteSpelling& spelling() {
    static const ByteSpelling table;
    return table;
}

Error merge_error(const Vocabulary& vocabulary, size_t i, std::string_view unknown) {
    return input_error(format_text(
        "tokenizer.ggml.merges[%zu]: '%s' needs the token '%s', which is not in tokenizer.ggml.tokens", i,
        escaped(std::string_view(vocabulary.merges[i]).substr(0, 80)).c_str(),
        escaped(unknown.substr(0, 80)).c_str()));
}

}  // namespace

Result<BpeEncoder> BpeEncoder::create(const Vocabulary& vocabulary, const TokenIndex& index) {
    BpeEncoder encoder;
    encoder.index_ = &index;
    encoder.pre_ = PreTokenizer::find(vocabulary.pre.empty() ? "default" : vocabulary.pre);
    if (!encoder.pre_)
        return input_error("tokenizer.ggml.pre: unknown pre-tokenizer '" +
                           escaped(std::string_view(vocabulary.pre).substr(0, 80)) + "'; known are " +
                           PreTokenizer::known());
    for (size_t byte = 0; byte < 256; ++byte) encoder.bytes_[byte] = index.find(spelling().characters[byte]);
    encoder.pairs_ = PairTable(vocabulary.merges.size());
    for (size_t i = 0; i < vocabulary.merges.size(); ++i) {
        const std::string_view merge = vocabulary.merges[i];
        const size_t space = merge.find(' ');
        const std::string_view left = merge.substr(0, space), right = merge.substr(space + 1);
        const std::string whole = std::string(left) + std::string(right);
        const int32_t left_id = index.find(left), right_id = index.find(right), merged = index.find(whole);
        if (left_id < 0) return merge_error(vocabulary, i, left);
        if (right_id < 0) return merge_error(vocabulary, i, right);
        if (merged < 0) return merge_error(vocabulary, i, whole);
        encoder.pairs_.add(left_id, right_id, {static_cast<uint32_t>(i), merged});
    }
    return encoder;
}

void BpeEncoder::encode(std::string_view text, std::vector<int32_t>& out) const {
    WordCache cache(text.size());
    Merger merger;
    pre_->split(text, [&](std::string_view word) {
        if (cache.repeat(word, out)) return;
        const size_t begin = out.size();
        encode_word(word, merger, out);
        cache.remember(word, begin, out);
    });
}

void BpeEncoder::encode_word(std::string_view word, Merger& merger, std::vector<int32_t>& out) const {
    if (pre_->whole_words) {
        std::string spelled;
        for (const char byte : word) spelled += spelling().characters[static_cast<uint8_t>(byte)];
        if (const int32_t id = index_->find(spelled); id >= 0) return out.push_back(id);
    }
    merger.symbols.clear();
    // A byte without a token vanishes before its neighbours merge, as where such vocabularies come from.
    for (const char byte : word)
        if (const int32_t id = bytes_[static_cast<uint8_t>(byte)]; id >= 0)
            merger.symbols.push_back({id, 1, -1, -1});
    merger.run(pairs_);
    for (const Merger::Symbol& symbol : merger.symbols)
        if (symbol.bytes > 0) out.push_back(symbol.id);
}

std::string BpeEncoder::bytes_of(std::string_view token_text) {
    std::string out;
    for (size_t at = 0; at < token_text.size();) {
        const Glyph next = glyph_at(token_text, at);
        const int16_t byte = next.code < spelling().bytes.size() ? spelling().bytes[next.code] : int16_t{-1};
        if (byte < 0) return std::string(token_text);
        out += static_cast<char>(byte);
        at += next.bytes;
    }
    return out;
}

}  // namespace quant
