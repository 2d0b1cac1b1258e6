// REGEX=TYPE rows. The only file that includes <regex>; what that library throws becomes an error value here.
#include "convert/plan/patterns.h"

#include <regex>
#include <sstream>
#include <vector>

#include "base/file.h"

namespace quant {

namespace {
constexpr uint64_t kPatternFileBytes = uint64_t{16} << 20;
}

struct TensorPatterns::State {
    struct Row {
        std::string text;
        std::regex expression;
        const Format* format;
        mutable bool matched = false;
    };
    std::vector<Row> rows;
};

TensorPatterns::TensorPatterns() : state_(std::make_unique<State>()) {}
TensorPatterns::TensorPatterns(TensorPatterns&&) noexcept = default;
TensorPatterns& TensorPatterns::operator=(TensorPatterns&&) noexcept = default;
TensorPatterns::~TensorPatterns() = default;

Result<const Format*> find_target_format(std::string_view name) {
    if (const Format* format = find_format(name); format && format->encodes) return format;
    std::string known;
    for (const Format& format : formats())
        if (format.encodes) known += (known.empty() ? "" : " ") + std::string(format.name);
    return usage_error("unknown format '" + escaped(name) + "', known: " + known);
}

Status TensorPatterns::add(std::string_view row) {
    const size_t equal = row.rfind('=');
    if (equal == std::string_view::npos || equal == 0)
        return usage_error("expected REGEX=TYPE, found '" + escaped(row) + "'");
    LET(format, find_target_format(row.substr(equal + 1)));
    const std::string expression(row.substr(0, equal));
    try {
        state_->rows.push_back({std::string(row), std::regex(expression), format});
    } catch (const std::regex_error& error) {
        return usage_error("regular expression '" + escaped(expression) + "': " + error.what());
    }
    return {};
}

Status TensorPatterns::add_file(const std::string& path) {
    LET(text, read_text_file(path, kPatternFileBytes));
    std::istringstream words(text);
    for (std::string word; words >> word;)
        if (Status status = add(word); !status) return usage_error(escaped(path) + ": " + status.error().text);
    return {};
}

Result<TensorPatterns::Match> TensorPatterns::find(const std::string& tensor_name) const {
    for (size_t i = state_->rows.size(); i-- > 0;) {
        const State::Row& row = state_->rows[i];
        try {
            if (!std::regex_search(tensor_name, row.expression)) continue;
        } catch (const std::regex_error& error) {
            return usage_error("regular expression in '" + escaped(row.text) + "': " + error.what());
        }
        row.matched = true;
        return Match{row.format, row.text, i};
    }
    return Match{};
}

std::string TensorPatterns::unused() const {
    std::string out;
    for (const State::Row& row : state_->rows)
        if (!row.matched) out += (out.empty() ? "" : ", ") + ("'" + escaped(row.text) + "'");
    return out;
}

}  // namespace quant
