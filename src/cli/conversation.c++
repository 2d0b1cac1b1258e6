// Conversations as text files.
#include "cli/conversation.h"

#include "base/file.h"
#include "base/log.h"
#include "cli/options.h"

namespace quant {

namespace {

constexpr std::string_view kMagic = "quant-chat 1\n";
constexpr uint64_t kMostBytes = uint64_t{256} << 20;

}  // namespace

std::vector<ChatMessage> Conversation::from(size_t first) const {
    std::vector<ChatMessage> out;
    if (!system.empty()) out.push_back({"system", system});
    for (size_t i = first; i < messages.size(); ++i) out.push_back(messages[i]);
    return out;
}

std::string conversation_text(const Conversation& conversation) {
    std::string out(kMagic);
    for (const ChatMessage& message : conversation.from(0))
        out += message.role + " " + std::to_string(message.content.size()) + "\n" + message.content + "\n";
    return out;
}

Result<Conversation> parse_conversation(const std::string& text, const std::string& origin) {
    if (!text.starts_with(kMagic)) return input_error(escaped(origin) + ": no saved chat (the first line is not 'quant-chat 1')");
    Conversation out;
    for (size_t at = kMagic.size(); at < text.size();) {
        const size_t end = text.find('\n', at);
        const size_t space = text.find(' ', at);
        if (end == std::string::npos || space == std::string::npos || space > end)
            return input_error(format_text("%s: byte %zu: expected a line 'ROLE BYTES'", escaped(origin).c_str(), at));
        const std::string role = text.substr(at, space - at);
        const auto bytes = parse_integer(std::string_view(text).substr(space + 1, end - space - 1));
        const size_t left = text.size() - end - 1;
        if (!bytes || *bytes < 0 || static_cast<uint64_t>(*bytes) >= left || text[end + 1 + static_cast<size_t>(*bytes)] != '\n')
            return input_error(format_text("%s: byte %zu: the message does not have the length it claims", escaped(origin).c_str(), at));
        const std::string content = text.substr(end + 1, static_cast<size_t>(*bytes));
        const char* expected = out.messages.size() % 2 ? "assistant" : "user";
        if (role == "system" && out.system.empty() && out.messages.empty()) {
            out.system = content;
        } else if (role == expected) {
            out.messages.push_back({role, content});
        } else {
            return input_error(format_text("%s: byte %zu: expected a message of '%s', found '%s'", escaped(origin).c_str(), at, expected,
                                           escaped(role).c_str()));
        }
        at = end + 1 + static_cast<size_t>(*bytes) + 1;
    }
    return out;
}

Status save_conversation(const Conversation& conversation, const std::string& path) {
    auto existing = read_text_file(path, kMostBytes);
    if (existing && !existing->starts_with(kMagic)) return usage_error(escaped(path) + ": is there already and is no saved chat");
    const std::string text = conversation_text(conversation);
    LET(file, AtomicFile::create(path, true, {}));
    TRY(file.write({reinterpret_cast<const uint8_t*>(text.data()), text.size()}));
    return file.commit(text.size());
}

Result<Conversation> load_conversation(const std::string& path) {
    LET(text, read_text_file(path, kMostBytes));
    return parse_conversation(text, path);
}

}  // namespace quant
