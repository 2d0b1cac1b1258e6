// Implementation of the JSON writer. Knows nothing of what is written.
#include "base/json_writer.h"

#include <charconv>
#include <cmath>

#include "base/log.h"
#include "base/utf8.h"

namespace quant {
namespace {

template <class T>
void append_number(std::string& out, T number) {
    char digits[64];
    const auto end = std::to_chars(digits, digits + sizeof digits, number).ptr;
    out.append(digits, end);
}

}  // namespace

void JsonWriter::separate() {
    if (comma_) out_ += ',';
    comma_ = true;
}

void JsonWriter::open(char bracket) {
    separate();
    out_ += bracket;
    comma_ = false;
}

void JsonWriter::close(char bracket) {
    out_ += bracket;
    comma_ = true;
}

void JsonWriter::key(std::string_view name) {
    separate();
    quoted(name);
    out_ += ':';
    comma_ = false;
}

void JsonWriter::value(std::string_view text) {
    separate();
    quoted(text);
}

void JsonWriter::value(bool truth) {
    separate();
    out_ += truth ? "true" : "false";
}

void JsonWriter::value(double number) {
    if (!std::isfinite(number)) return null();
    separate();
    append_number(out_, number);
}

void JsonWriter::value(float number) {
    if (!std::isfinite(number)) return null();
    separate();
    append_number(out_, number);
}

void JsonWriter::null() {
    separate();
    out_ += "null";
}

void JsonWriter::integer(int64_t number) {
    separate();
    append_number(out_, number);
}

void JsonWriter::unsigned_integer(uint64_t number) {
    separate();
    append_number(out_, number);
}

void JsonWriter::quoted(std::string_view text) {
    out_ += '"';
    while (!text.empty()) {
        const auto byte = static_cast<unsigned char>(text[0]);
        const size_t length = utf8_length(text);
        if (length == 0) out_ += "\xEF\xBF\xBD";
        else if (byte == '"' || byte == '\\') (out_ += '\\') += text[0];
        else if (byte == '\n') out_ += "\\n";
        else if (byte < 0x20 || byte == 0x7F) out_ += format_text("\\u%04x", byte);
        else out_.append(text.substr(0, length));
        text.remove_prefix(length ? length : 1);
    }
    out_ += '"';
}

}  // namespace quant
