// A scanner for the strings of Jinja templates. Knows nothing of chats.
#include "text/template_literals.h"

#include <algorithm>

namespace quant {

namespace {

// `at` is behind the opening quote; ends behind the closing one, or at the end of the text.
TemplateLiteral read_literal(std::string_view text, size_t at, char quote) {
    TemplateLiteral literal;
    literal.begin = at - 1;
    for (; at < text.size() && text[at] != quote; ++at) {
        if (text[at] != '\\' || at + 1 == text.size()) {
            literal.value += text[at];
            continue;
        }
        const char escaped = text[++at];
        literal.value += escaped == 'n' ? '\n' : escaped == 't' ? '\t' : escaped == 'r' ? '\r' : escaped;
    }
    literal.end = std::min(at + 1, text.size());
    return literal;
}

std::string_view without_blanks(std::string_view text) {
    const size_t begin = std::min(text.find_first_not_of(" \t\r\n"), text.size());
    const size_t end = text.find_last_not_of(" \t\r\n") + 1;
    return begin < end ? text.substr(begin, end - begin) : std::string_view();
}

}  // namespace

std::vector<TemplateLiteral> template_literals(std::string_view text) {
    std::vector<TemplateLiteral> found;
    bool inside = false;
    for (size_t at = 0; at < text.size();) {
        const std::string_view two = text.substr(at, 2);
        if (!inside && two == "{#") {
            at = std::min(text.find("#}", at), text.size());
        } else if (!inside && (two == "{{" || two == "{%")) {
            inside = true;
            at += 2;
        } else if (inside && (two == "}}" || two == "%}")) {
            inside = false;
            at += 2;
        } else if (inside && (text[at] == '\'' || text[at] == '"')) {
            found.push_back(read_literal(text, at + 1, text[at]));
            at = found.back().end;
        } else {
            ++at;
        }
    }
    return found;
}

std::string template_sum(std::string_view text, const std::vector<TemplateLiteral>& literals, size_t first,
                         bool& complete) {
    std::string sum = literals[first].value;
    for (size_t i = first; i + 1 < literals.size(); ++i) {
        const std::string_view between =
            without_blanks(text.substr(literals[i].end, literals[i + 1].begin - literals[i].end));
        const bool date = between == "+ strftime_now(";
        if (date)
            sum += "{date:" + literals[i + 1].value + "}";
        else if (between == "+" || between == ") +")
            sum += literals[i + 1].value;
        else {
            complete = between.empty() || between[0] != '+';
            return sum;
        }
    }
    complete = true;
    return sum;
}

}  // namespace quant
