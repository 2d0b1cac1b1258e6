// Answers of a model in a conversation. What the cache already holds is not computed again; when the context is full the
// oldest turns are left out and the rest of the cache moves down. Knows no terminal.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/conversation.h"
#include "cli/generate.h"

namespace quant {

struct ChatSettings {
    ChatTemplate format;
    ChatOptions options;
    std::vector<std::string> stops;
    int64_t most = -1;    // tokens of an answer
    int64_t batch = 512;
    bool show_special = false;
};

struct Answer {
    std::string text;             // raw, as shown
    StopReason reason = StopReason::count;
    int64_t reused = 0;           // tokens of the prompt that were in the cache
    int64_t prompt_tokens = 0, steps = 0, tokens = 0;
    double prompt_seconds = 0, seconds = 0;
    int64_t shifted = 0;          // tokens kept in the cache at other positions
    size_t left_out = 0;          // messages at the beginning that the model no longer sees
};

class ChatSession {
public:
    ChatSession(Session& session, Sampler sampler, ChatSettings settings);
    // Answers the last message, which is a user's. A signal ends the answer early (reason interrupted).
    // Error "usage": the message alone is longer than the context, or the format cannot say the conversation.
    Result<Answer> answer(const Conversation& conversation, const ShowToken& show);
    const ChatTemplate& format() const { return settings_.format; }
    void forget();  // the conversation begins anew: all messages are seen again
    // Prompt and answer of the last turn.
    const std::vector<int32_t>& tokens() const { return said_; }

private:
    Result<std::vector<int32_t>> prompt_of(const Conversation& conversation);
    Result<std::vector<int32_t>> fitting_prompt(const Conversation& conversation, size_t answer_tokens, int64_t allowed);
    Status take_in(const std::vector<int32_t>& tokens, bool may_shift, Answer* answer);
    size_t shift(const std::vector<int32_t>& tokens, size_t same, Answer* answer);
    Status go_on(const Conversation& conversation, Answer* answer, TokenText& text, const ShowToken& show);

    Session& session_;
    Sampler sampler_;
    ChatSettings settings_;
    std::vector<int32_t> cached_;      // the tokens in the session's cache
    std::vector<int32_t> prompt_, said_;      // the last prompt, and with the answer, as tokens
    std::string prompt_text_, said_text_;     // the same as text; said_text_ is empty when it does not correspond
    size_t left_out_ = 0;
    std::optional<std::string> cached_system_;  // of the conversation in the cache; none: it is another one
};

}  // namespace quant
