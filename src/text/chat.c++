// Writes a chat in a given shape. Knows nothing of templates and how a shape was found.
#include "text/chat.h"

#include <algorithm>

#include "base/file.h"
#include "base/log.h"

namespace quant {

namespace {

constexpr std::string_view kBlanks = " \t\r\n\v\f";

std::string_view trimmed(std::string_view text) {
    const size_t begin = std::min(text.find_first_not_of(kBlanks), text.size());
    const size_t end = text.find_last_not_of(kBlanks) + 1;
    return begin < end ? text.substr(begin, end - begin) : std::string_view();
}

std::string without(std::string text, std::string_view part) {
    for (size_t at; (at = text.find(part)) != std::string::npos;) text.erase(at, part.size());
    return text;
}

// strftime for the few fields that templates use, in English whatever the locale.
std::string date_text(std::string_view format, const ChatOptions& options) {
    static const char* const kMonths[] = {"January",   "February", "March",    "April",
                                          "May",       "June",     "July",     "August",
                                          "September", "October",  "November", "December"};
    const std::string month = kMonths[std::clamp(options.month, 1, 12) - 1];
    std::string out;
    for (size_t i = 0; i < format.size(); ++i) {
        const char field = format[i] == '%' && i + 1 < format.size() ? format[++i] : '\0';
        if (field == 'd')
            out += format_text("%02d", options.day);
        else if (field == 'm')
            out += format_text("%02d", options.month);
        else if (field == 'Y')
            out += format_text("%d", options.year);
        else if (field == 'b')
            out += month.substr(0, 3);
        else if (field == 'B')
            out += month;
        else
            out += format[i];
    }
    return out;
}

std::string_view after_thoughts(std::string_view answer) {
    const size_t end = answer.rfind("</think>");
    if (end == std::string_view::npos) return answer;
    answer.remove_prefix(end + std::string_view("</think>").size());
    answer.remove_prefix(std::min(answer.find_first_not_of('\n'), answer.size()));
    return answer;
}

// The messages in the order that all formats share: an optional system message, then user and assistant in
// turns.
Status check_order(std::span<const ChatMessage> messages, const std::string& name) {
    const size_t first = !messages.empty() && messages[0].role == "system" ? 1 : 0;
    if (messages.size() == first) return usage_error("chat: expected a message from the user");
    for (size_t i = first; i < messages.size(); ++i) {
        const char* const expected = (i - first) % 2 == 0 ? "user" : "assistant";
        if (messages[i].role != expected)
            return usage_error("chat format " + name + ": expected message " + std::to_string(i + 1) +
                               " from the " + expected + ", found '" + escaped(messages[i].role) + "'");
    }
    if (messages.back().role != "user") return usage_error("chat: expected the last message from the user");
    return {};
}

class Writer {
public:
    Writer(const ChatShape& shape, const ChatOptions& options) : shape_(shape), options_(options) {}

    void frame(std::string_view text) {  // a text of the shape, with its fields filled in
        for (size_t at = 0; at < text.size();) {
            const size_t open = std::min(text.find('{', at), text.size());
            out.append(text.substr(at, open - at));
            const size_t close = text.find('}', open);
            if (open == text.size() || close == std::string_view::npos) {
                out.append(text.substr(open));
                return;
            }
            field(text.substr(open, close + 1 - open));
            at = close + 1;
        }
    }
    void turn(const ChatTurn& around, std::string_view content) {
        frame(around.before);
        out.append(content);
        frame(around.after);
    }
    std::string content(const ChatMessage& message) const {
        std::string_view text = message.content;
        if (shape_.drops_thoughts && message.role == "assistant") text = after_thoughts(text);
        return std::string(shape_.trim ? trimmed(text) : text);
    }

    std::string out, mode;

private:
    void field(std::string_view name) {
        if (name == "{bos}")
            out += options_.bos;
        else if (name == "{eos}")
            out += options_.eos;
        else if (name == "{mode}")
            out += mode;
        else if (name.starts_with("{date:"))
            out += date_text(name.substr(6, name.size() - 7), options_);
        else
            out.append(name);
    }
    const ChatShape& shape_;
    const ChatOptions& options_;
};

}  // namespace

Result<std::string> ChatTemplate::render(std::span<const ChatMessage> messages,
                                         const ChatOptions& options) const {
    TRY(check_order(messages, name_));
    Writer writer(shape_, options);
    const bool has_system = messages[0].role == "system";
    if (has_system && shape_.place == SystemPlace::refused)
        return usage_error("chat format " + name_ +
                           ": the model knows no system message; put its text into the first question");
    std::string system = has_system ? writer.content(messages[0]) : std::string();
    bool silent = options.thinking == Thinking::off;
    if (shape_.reasoning_mode) {
        if (system.find("/no_think") != std::string::npos)
            silent = true;
        else if (system.find("/think") != std::string::npos)
            silent = false;
        system = without(without(system, "/no_think"), "/think");
        system.erase(system.find_last_not_of(kBlanks) + 1);
        writer.mode = silent ? "/no_think" : "/think";
    }
    writer.frame(shape_.opening);
    const bool own_turn = shape_.place == SystemPlace::turn;
    const std::string& standard = silent && !shape_.default_system_silent.empty()
                                      ? shape_.default_system_silent
                                      : shape_.default_system;
    const bool use_standard = (!has_system || (shape_.reasoning_mode && system.empty())) && !standard.empty();
    if (own_turn && (has_system || use_standard || shape_.always_system)) {
        writer.frame(shape_.system.before);
        if (use_standard)
            writer.frame(standard);
        else
            writer.out += system;
        if (shape_.reasoning_mode && (use_standard || !system.empty())) writer.out += "\n\n";
        writer.frame(shape_.system.after);
    }
    const std::span<const ChatMessage> turns = messages.subspan(has_system ? 1 : 0);
    for (size_t i = 0; i < turns.size(); ++i) {
        const bool user = i % 2 == 0;
        std::string content = writer.content(turns[i]);
        const bool here = (shape_.place == SystemPlace::first_user && i == 0) ||
                          (shape_.place == SystemPlace::last_user && i + 1 == turns.size());
        if (has_system && here) content = shape_.system.before + system + shape_.system.after + content;
        if (!user && silent && shape_.reasoning_mode) content = "<think>\n\n</think>\n" + content;
        writer.turn(user ? shape_.user : shape_.assistant, content);
    }
    const bool thinking = options.thinking == Thinking::on;
    const std::string& special = silent     ? shape_.generate_silent
                                 : thinking ? shape_.generate_thinking
                                            : shape_.generate;
    writer.frame(special.empty() ? shape_.generate : special);
    return writer.out;
}

std::string ChatTemplate::spoken(std::string_view answer) const {
    constexpr std::string_view kFinal = "<|channel|>final<|message|>";
    if (const size_t at = answer.rfind(kFinal); at != std::string_view::npos)
        answer.remove_prefix(at + kFinal.size());
    return std::string(shape_.drops_thoughts ? after_thoughts(answer) : answer);
}

}  // namespace quant
