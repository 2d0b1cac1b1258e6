// The chat loop and its commands.
#include "cli/chat.h"

#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <ctime>

#include "base/file.h"
#include "base/log.h"
#include "base/signals.h"
#include "cli/line_input.h"
#include "cli/output.h"

namespace quant {

namespace {

constexpr const char* kHelp =
    "  /help            this list\n"
    "  /clear           begin a new conversation\n"
    "  /system [TEXT]   set the system message, or show it\n"
    "  /regen           answer the last message again\n"
    "  /save FILE       keep the conversation\n"
    "  /load FILE       take up a kept one\n"
    "  /quit            end, as Ctrl-D does\n"
    "A message may go over several lines: end them with \\, or put \"\"\" alone before and after. // begins a message with /.\n"
    "Ctrl-C stops an answer.\n";

ChatOptions options_for(const RunOptions& given, const Tokenizer& tokenizer) {
    ChatOptions options;
    const Vocabulary& vocabulary = tokenizer.vocabulary();
    if (vocabulary.bos >= 0) options.bos = tokenizer.piece(vocabulary.bos, true);
    if (vocabulary.eos >= 0) options.eos = tokenizer.piece(vocabulary.eos, true);
    options.thinking = given.thinking;
    const std::time_t now = std::time(nullptr);
    std::tm today{};
    if (::localtime_r(&now, &today)) {
        options.year = today.tm_year + 1900;
        options.month = today.tm_mon + 1;
        options.day = today.tm_mday;
    }
    return options;
}

Result<ChatTemplate> choose_template(const RunOptions& given, const Model& model) {
    if (!given.chat_template.empty()) return ChatTemplate::named(given.chat_template);
    LET(text, model.gguf().metadata().get_string("tokenizer.chat_template"));
    if (!text)
        return usage_error(escaped(model.gguf().path()) + ": the model has no chat template: give -p TEXT to continue a text, or --chat-template, one of " +
                           ChatTemplate::names());
    auto format = ChatTemplate::recognised(*text);
    if (!format) return Error{format.error().code, escaped(model.gguf().path()) + ": " + format.error().text};
    return format;
}

// The text that ends a turn, where the vocabulary has no token for it: a model then writes it out.
std::string end_of_turn(const ChatTemplate& format, const Tokenizer& tokenizer) {
    std::string text = format.shape().assistant.after;
    while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
    while (!text.empty() && (text.front() == '\n' || text.front() == ' ')) text.erase(0, 1);
    return text.find('{') != std::string::npos || tokenizer.find(text) >= 0 ? "" : text;
}

class Chat {
public:
    Chat(const RunOptions& given, ChatSession session) : given_(given), session_(std::move(session)) {
        conversation_.system = given.system;
    }

    Status run(const std::string& first) {
        const bool interactive = ::isatty(STDIN_FILENO) == 1;
        if (interactive) log_info("chat in the format '" + session_.format().name() + "'; /help lists commands, Ctrl-D ends");
        LineInput input(interactive && log_level() != LogLevel::quiet, "> ");
        std::string message = first;
        for (bool given_first = !first.empty();; given_first = false) {
            if (!given_first) {
                LET(more, input.next(&message));
                if (!more) return {};
            }
            TRY(take(message));
            if (ended_ || (given_.single_turn && answered_)) return {};
        }
    }
    void summarize() const;

private:
    Status take(const std::string& line);
    Status command(const std::string& line);
    Status reply();
    void tell(const Status& status) const {  // a mistake in a chat is told, the chat goes on
        if (!status) log_error(status.error().text);
    }

    const RunOptions& given_;
    ChatSession session_;
    Conversation conversation_;
    bool ended_ = false, answered_ = false;
    int64_t prompt_tokens_ = 0, steps_ = 0, tokens_ = 0;
    double prompt_seconds_ = 0, seconds_ = 0;
};

Status Chat::take(const std::string& line) {
    if (line.empty()) return {};
    if (line.starts_with('/') && !line.starts_with("//")) return command(line);
    conversation_.messages.push_back({"user", line.starts_with("//") ? line.substr(1) : line});
    return reply();
}

Status Chat::command(const std::string& line) {
    const size_t space = std::min(line.find(' '), line.size());
    const std::string name = line.substr(0, space);
    const std::string rest = space < line.size() ? line.substr(space + 1) : "";
    std::vector<ChatMessage>& messages = conversation_.messages;
    if (name == "/help") {
        std::fputs(kHelp, stderr);
    } else if (name == "/clear") {
        messages.clear();
        session_.forget();
    } else if (name == "/system") {
        if (rest.empty()) std::fprintf(stderr, "%s\n", escaped(conversation_.system).c_str());
        else conversation_.system = rest;
    } else if (name == "/regen") {
        if (messages.empty()) {
            tell(usage_error("/regen: there is no message yet"));
            return {};
        }
        if (messages.back().role == "assistant") messages.pop_back();
        return reply();
    } else if (name == "/save" || name == "/load") {
        if (rest.empty()) {
            tell(usage_error(name + ": a file's name is missing"));
        } else if (name == "/save") {
            tell(save_conversation(conversation_, rest));
        } else if (auto loaded = load_conversation(rest); loaded) {
            conversation_ = std::move(*loaded);
            session_.forget();
            if (messages.size() % 2) return reply();  // kept before it was answered
        } else {
            tell(loaded.error());
        }
    } else if (name == "/quit" || name == "/exit" || name == "/bye") {
        ended_ = true;
    } else {
        tell(usage_error("unknown command '" + escaped(name) + "' (/help lists all)"));
    }
    return {};
}

// Answers the last message. A conversation that the model cannot take is told and shortened by that message.
Status Chat::reply() {
    bool ends_line = true;
    auto answer = session_.answer(conversation_, [&](const ShownToken& token) -> Status {
        if (token.text.empty()) return {};
        ends_line = token.text.back() == '\n';
        return write_output(token.text);
    });
    if (!answer) {
        if (answer.error().code != Code::usage) return std::move(answer.error());
        conversation_.messages.pop_back();
        tell(answer.error());
        return {};
    }
    if (!ends_line) TRY(write_output("\n"));
    answered_ = true;
    prompt_tokens_ += answer->prompt_tokens;
    prompt_seconds_ += answer->prompt_seconds;
    steps_ += answer->steps;
    tokens_ += answer->tokens;
    seconds_ += answer->seconds;
    log_verbose(format_text("%lld tokens of the prompt were in the cache, %lld new; %lld tokens generated, stopped: %s",
                            static_cast<long long>(answer->reused), static_cast<long long>(answer->prompt_tokens),
                            static_cast<long long>(answer->tokens), stop_reason_name(answer->reason)));
    if (answer->left_out) log_verbose(format_text("the oldest %zu messages no longer fit into the context", answer->left_out));
    if (answer->reason == StopReason::context_full) log_warning("stopped: the context is full (-c raises it)");
    if (answer->text.empty() && answer->reason == StopReason::interrupted) conversation_.messages.pop_back();
    else conversation_.messages.push_back({"assistant", session_.format().spoken(answer->text)});
    if (pending_signal() == SIGINT) clear_pending_signal();  // it was meant for the answer
    return {};
}

void Chat::summarize() const {
    const auto rate = [](int64_t count, double seconds) { return seconds > 0 ? static_cast<double>(count) / seconds : 0.0; };
    log_info(format_text("prompts %lld tokens, %.1f tokens/s | generated %lld tokens, %.1f tokens/s", static_cast<long long>(prompt_tokens_),
                         rate(prompt_tokens_, prompt_seconds_), static_cast<long long>(tokens_), rate(steps_, seconds_)));
}

}  // namespace

Result<ChatSettings> chat_settings(const RunOptions& given, const Model& model) {
    LET(format, choose_template(given, model));
    ChatSettings settings{.format = std::move(format), .options = options_for(given, model.tokenizer()), .stops = given.stops,
                          .most = given.predict < 0 ? -1 : given.predict, .batch = given.batch, .show_special = given.special};
    if (const std::string end = end_of_turn(settings.format, model.tokenizer()); !end.empty()) settings.stops.push_back(end);
    return settings;
}

Status chat(const RunOptions& given, Session& session, Sampler sampler, ChatSettings settings, const std::string& first) {
    Chat loop(given, ChatSession(session, std::move(sampler), std::move(settings)));
    const Status status = loop.run(first);
    loop.summarize();
    return status;
}

}  // namespace quant
