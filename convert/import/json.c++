// A recursive descent over RFC 8259. Recursion is bounded by the depth limit; every node and byte is counted
// before it is kept.
#include "convert/import/json.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <unordered_set>

#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/real.h"
#include "base/utf8.h"

namespace quant {

using Kind = JsonValue::Kind;

struct JsonParser {
    std::string_view text;
    const std::string& origin;
    Json& out;
    size_t at = 0;

    Error fail(const std::string& expected) const {
        return fail(expected, at >= text.size() ? "the end" : "'" + escaped(text.substr(at, 1)) + "'");
    }
    Error fail(const std::string& expected, const std::string& found) const {
        const std::string_view before = text.substr(0, std::min(at, text.size()));
        size_t line = 1;
        for (const char byte : before) line += byte == '\n';
        const size_t column =
            at - (before.rfind('\n') == std::string_view::npos ? 0 : before.rfind('\n') + 1) + 1;
        return input_error(escaped(origin) + ":" + std::to_string(line) + ":" + std::to_string(column) +
                           ": expected " + expected + ", found " + found);
    }

    void skip_blanks() {
        while (at < text.size() &&
               (text[at] == ' ' || text[at] == '\t' || text[at] == '\n' || text[at] == '\r'))
            ++at;
    }
    bool take(char wanted) {
        if (at >= text.size() || text[at] != wanted) return false;
        ++at;
        return true;
    }

    Result<uint32_t> hex4() {
        uint32_t value = 0;
        const std::string_view digits = text.substr(at, 4);
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
        if (error != std::errc{} || end != digits.data() + 4) return fail("four hexadecimal digits");
        at += 4;
        return value;
    }

    void append_utf8(uint32_t code) {
        std::string& texts = out.texts_;
        const auto tail = [&](int shift) { texts += static_cast<char>(0x80 | ((code >> shift) & 0x3F)); };
        if (code < 0x80) return texts.push_back(static_cast<char>(code));
        if (code < 0x800)
            texts += static_cast<char>(0xC0 | (code >> 6));
        else if (code < 0x10000)
            texts += static_cast<char>(0xE0 | (code >> 12)), tail(6);
        else
            texts += static_cast<char>(0xF0 | (code >> 18)), tail(12), tail(6);
        tail(0);
    }

    // Behind a backslash.
    Status escape() {
        constexpr std::string_view kNames = "\"\\/bfnrt", kValues = "\"\\/\b\f\n\r\t";
        const size_t name = at < text.size() ? kNames.find(text[at]) : std::string_view::npos;
        if (name != std::string_view::npos) {
            ++at;
            out.texts_ += kValues[name];
            return {};
        }
        if (!take('u')) return fail("an escape sequence");
        LET(code, hex4());
        if (code >= 0xD800 && code < 0xDC00) {
            if (!take('\\') || !take('u')) return fail("the second half of a surrogate pair");
            LET(low, hex4());
            if (low < 0xDC00 || low > 0xDFFF) return fail("the second half of a surrogate pair");
            append_utf8(0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00));
            return {};
        }
        if (code >= 0xDC00 && code < 0xE000) return fail("no half of a surrogate pair");
        append_utf8(code);
        return {};
    }

    // Appends a string's bytes to the texts; returns their number.
    Result<uint32_t> string() {
        if (!take('"')) return fail("a string");
        const size_t begin = out.texts_.size();
        while (!take('"')) {
            if (at >= text.size() || static_cast<uint8_t>(text[at]) < 0x20)
                return fail("the end of a string");
            if (take('\\')) {
                TRY(escape());
                continue;
            }
            const size_t bytes = utf8_length(text.substr(at));
            if (bytes == 0) return fail("UTF-8");
            out.texts_.append(text.substr(at, bytes));
            at += bytes;
        }
        const size_t bytes = out.texts_.size() - begin;
        if (bytes > limits::kStringBytes)
            return fail("a string of at most " + human_bytes(limits::kStringBytes));
        return static_cast<uint32_t>(bytes);
    }

    bool digits() {
        const size_t begin = at;
        while (at < text.size() && text[at] >= '0' && text[at] <= '9') ++at;
        return at > begin;
    }

    Status number(uint32_t node) {
        const size_t begin = at;
        take('-');
        if (!take('0') && !digits()) return fail("a value");
        if (take('.') && !digits()) return fail("digits");
        if (take('e') || take('E')) {
            if (!take('+')) take('-');
            if (!digits()) return fail("digits");
        }
        if (at - begin > 4096) return fail("a number of at most 4096 digits");
        out.nodes_[node].kind = Kind::number;
        out.nodes_[node].text = out.texts_.size();
        out.nodes_[node].count = static_cast<uint32_t>(at - begin);
        out.texts_.append(text.substr(begin, at - begin));
        return {};
    }

    Status word(uint32_t node, std::string_view word, Kind kind, uint32_t count) {
        if (text.substr(at, word.size()) != word) return fail("a value");
        at += word.size();
        out.nodes_[node].kind = kind;
        out.nodes_[node].count = count;
        return {};
    }

    Status members(uint32_t node, char close, bool object, uint32_t depth) {
        uint32_t count = 0;
        std::unordered_set<std::string> keys;
        skip_blanks();
        if (take(close)) return {};
        for (;;) {
            uint32_t key_bytes = 0;
            skip_blanks();
            if (object) {
                LET(bytes, string());
                key_bytes = bytes;
                const auto [key, fresh] = keys.insert(out.texts_.substr(out.texts_.size() - bytes));
                if (!fresh)
                    return fail("each key once",
                                "'" + escaped(std::string_view(*key).substr(0, 80)) + "' again");
                skip_blanks();
                if (!take(':')) return fail("':'");
            }
            TRY(value(depth + 1, key_bytes));
            ++count;
            skip_blanks();
            if (take(close)) break;
            if (!take(',')) return fail(object ? "',' or '}'" : "',' or ']'");
        }
        out.nodes_[node].count = count;
        return {};
    }

    Status value(uint32_t depth, uint32_t key_bytes) {
        skip_blanks();
        if (depth > limits::kJsonDepth)
            return fail("at most " + std::to_string(limits::kJsonDepth) + " levels");
        if (out.nodes_.size() >= std::numeric_limits<uint32_t>::max() - 1) return fail("fewer values");
        const auto node = static_cast<uint32_t>(out.nodes_.size());
        out.nodes_.push_back({.kind = Kind::null, .key_bytes = key_bytes, .text = out.texts_.size()});
        TRY(content(node, depth));
        out.nodes_[node].next = static_cast<uint32_t>(out.nodes_.size());
        return {};
    }

    Status content(uint32_t node, uint32_t depth) {
        const char first = at < text.size() ? text[at] : '\0';
        if (first == '"') {
            LET(bytes, string());
            out.nodes_[node].kind = Kind::string;
            out.nodes_[node].count = bytes;
            return {};
        }
        if (take('{')) {
            out.nodes_[node].kind = Kind::object;
            return members(node, '}', true, depth);
        }
        if (take('[')) {
            out.nodes_[node].kind = Kind::array;
            return members(node, ']', false, depth);
        }
        if (first == 't') return word(node, "true", Kind::boolean, 1);
        if (first == 'f') return word(node, "false", Kind::boolean, 0);
        if (first == 'n') return word(node, "null", Kind::null, 0);
        return number(node);
    }
};

Result<Json> Json::parse(std::string_view text, const std::string& origin) {
    Json out;
    // Room for what a document of this size holds at most, so that nothing is copied while it grows: large
    // vocabularies are read in bounded memory. A text of nothing but commas is not believed.
    const auto separators = static_cast<size_t>(std::count_if(
        text.begin(), text.end(), [](char byte) { return byte == ',' || byte == '[' || byte == '{'; }));
    out.nodes_.reserve(std::min(separators + 1, text.size() / 4 + 16));
    out.texts_.reserve(text.size());
    JsonParser parser{text, origin, out};
    if (text.starts_with("\xEF\xBB\xBF")) parser.at = 3;  // a byte order mark, as some editors leave it
    TRY(parser.value(1, 0));
    parser.skip_blanks();
    if (parser.at != text.size()) return parser.fail("nothing behind the value");
    return out;
}

Kind JsonValue::kind() const { return document_ ? document_->nodes_[node_].kind : Kind::missing; }

const char* JsonValue::kind_name() const {
    static const char* const kNames[] = {"nothing",  "null",     "a boolean", "a number",
                                         "a string", "an array", "an object"};
    return kNames[static_cast<size_t>(kind())];
}

std::optional<bool> JsonValue::boolean() const {
    if (!is(Kind::boolean)) return std::nullopt;
    return document_->nodes_[node_].count == 1;
}

std::optional<int64_t> JsonValue::integer() const {
    if (!is(Kind::number)) return std::nullopt;
    const Json::Node& node = document_->nodes_[node_];
    const char* begin = document_->texts_.data() + node.text;
    int64_t value = 0;
    const auto [end, error] = std::from_chars(begin, begin + node.count, value);
    if (error != std::errc{} || end != begin + node.count) return std::nullopt;
    return value;
}

std::optional<double> JsonValue::real() const {
    if (!is(Kind::number)) return std::nullopt;
    const Json::Node& node = document_->nodes_[node_];
    const char* begin = document_->texts_.data() + node.text;
    return parse_double({begin, node.count});
}

std::optional<std::string_view> JsonValue::text() const {
    if (!is(Kind::string)) return std::nullopt;
    const Json::Node& node = document_->nodes_[node_];
    return std::string_view(document_->texts_).substr(node.text, node.count);
}

size_t JsonValue::size() const {
    return is(Kind::array) || is(Kind::object) ? document_->nodes_[node_].count : 0;
}

std::string_view JsonValue::key() const {
    if (!document_) return {};
    const Json::Node& node = document_->nodes_[node_];
    return std::string_view(document_->texts_).substr(node.text - node.key_bytes, node.key_bytes);
}

JsonValue JsonValue::operator[](std::string_view key) const {
    if (!is(Kind::object)) return {};
    for (const JsonValue member : items())
        if (member.key() == key) return member;
    return {};
}

JsonValue::Items JsonValue::items() const {
    Items items;
    items.document = document_;
    items.first = node_ + 1;
    items.count = static_cast<uint32_t>(size());
    return items;
}

}  // namespace quant
