// What was said in a chat, and the file it is kept in.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "text/chat.h"

namespace quant {

struct Conversation {
    std::string system;                 // empty: none
    std::vector<ChatMessage> messages;  // user and assistant in turns

    // System message first, then the messages from number `first` on (an even number: a user's).
    std::vector<ChatMessage> from(size_t first) const;
};

// The file: a first line `quant-chat 1`, then for each message a line `ROLE BYTES`, its bytes and a line end.
// save: replaces only files of this kind (error "usage" otherwise).
Status save_conversation(const Conversation& conversation, const std::string& path);
Result<Conversation> load_conversation(const std::string& path);
// The text of such a file; `origin` is used in messages.
Result<Conversation> parse_conversation(const std::string& text, const std::string& origin);
std::string conversation_text(const Conversation& conversation);

}  // namespace quant
