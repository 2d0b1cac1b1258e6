// Chats as the text that a model was trained to continue. Formats are data; a model's own template is
// recognised by its text and never executed. Knows no tokens and no files.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace quant {

struct ChatMessage {
    std::string role;  // "system" (only the first), "user" and "assistant" in turns, the last from the user
    std::string content;
};

enum class Thinking { automatic, on, off };  // automatic: what the template does when not told

struct ChatOptions {
    std::string bos, eos;  // texts of the model's tokens
    Thinking thinking = Thinking::automatic;
    int year = 2024, month = 7, day = 26;  // today, for the formats that tell the model
};

// What stands around a message. {bos} and {eos} are replaced by those texts, {date:FORMAT} by today (%d %b %B
// %m %Y).
struct ChatTurn {
    std::string before, after;
};

enum class SystemPlace { turn, first_user, last_user, refused };

// One format, complete: all that differs between models.
struct ChatShape {
    std::string opening = {};  // before everything
    ChatTurn system = {}, user = {}, assistant = {};
    std::string generate = {};  // opens the answer
    std::string generate_thinking = {},
                generate_silent = {};  // instead of `generate` with Thinking::on and off; empty: the same
    SystemPlace place = SystemPlace::turn;
    bool trim = false;            // blanks around each content are dropped
    bool always_system = false;   // the system turn stands even without a system message
    bool drops_thoughts = false;  // of earlier answers only what follows </think> is kept
    bool reasoning_mode =
        false;  // {mode} in the system turn: /think or /no_think, also from the system message itself
    std::string default_system = {};         // used without a system message; may hold {date:...}
    std::string default_system_silent = {};  // the same with Thinking::off, if it differs
};

class ChatTemplate {
public:
    // By the text of a template (`tokenizer.chat_template`). An unknown one is an error that lists the names.
    static Result<ChatTemplate> recognised(std::string_view text);
    static Result<ChatTemplate> named(std::string_view name);
    static std::string names();  // separated by spaces

    const std::string& name() const { return name_; }
    const ChatShape& shape() const { return shape_; }
    // The prompt up to where the answer begins. It holds the BOS text where the format has one: encode it
    // without further special tokens and with parse_special. Errors: messages that the format cannot say.
    Result<std::string> render(std::span<const ChatMessage> messages, const ChatOptions& options) const;
    // The part of a raw answer that later prompts repeat: without thoughts and without channels.
    std::string spoken(std::string_view answer) const;

private:
    std::string name_;
    ChatShape shape_;
};

}  // namespace quant
