// A chat's use of the cache: whatever was reused or left out, the model answers as if it had read the conversation anew.
#include "cli/chat_session.h"

#include <algorithm>

#include "base/file.h"
#include "tests/check.h"
#include "tests/temporary_folder.h"

using namespace quant;

namespace {

struct Fixture {
    std::shared_ptr<const Model> model;
    std::unique_ptr<Session> session;
    explicit Fixture(int64_t context) {
        auto loaded = Model::load("models/tiny/tiny-f16.gguf");
        CHECK_MSG(loaded.ok(), loaded.ok() ? "" : loaded.error().text);
        if (!loaded) return;
        model = *loaded;
        session = fresh(context);
    }
    std::unique_ptr<Session> fresh(int64_t context) const {
        auto made = Session::create(model, {.context = context, .batch = 64, .k_type = KvType::f32, .v_type = KvType::f32, .threads = 1});
        CHECK(made.ok());
        return std::move(*made);
    }
};

Sampler greedy() {
    SamplerOptions options;
    options.temperature = 0;
    return Sampler(options);
}

ChatSettings settings_of(int64_t most) {
    auto format = ChatTemplate::named("chatml");
    CHECK(format.ok());
    return {.format = *format, .options = {}, .stops = {}, .most = most, .batch = 64};
}

const ShowToken kSilent = [](const ShownToken&) { return Status{}; };

// Each token of the answer is what a session that reads everything before it anew would choose.
void check_answer(const Fixture& fixture, const ChatSession& chat, int64_t answer_tokens) {
    const std::vector<int32_t>& all = chat.tokens();
    const size_t prompt = all.size() - static_cast<size_t>(answer_tokens);
    auto session = fixture.fresh(static_cast<int64_t>(all.size()));
    CHECK(session->eval(all, LogitsOf::all).ok());
    for (size_t i = prompt; i < all.size(); ++i) {
        const std::span<const float> logits = session->logits(static_cast<int64_t>(i) - 1);
        const float best = *std::max_element(logits.begin(), logits.end());
        CHECK_MSG(best - logits[static_cast<size_t>(all[i])] < 1e-3f, "token " + std::to_string(i));
    }
}

Answer ask(ChatSession& chat, Conversation& conversation, const std::string& text) {
    conversation.messages.push_back({"user", text});
    auto answer = chat.answer(conversation, kSilent);
    CHECK_MSG(answer.ok(), answer.ok() ? "" : answer.error().text);
    if (!answer) return {};
    conversation.messages.push_back({"assistant", answer->text});
    return *answer;
}

}  // namespace

TEST(turns_reuse_the_cache) {
    Fixture fixture(600);
    if (!fixture.session) return;
    ChatSession chat(*fixture.session, greedy(), settings_of(20));
    Conversation conversation;
    conversation.system = "You are a mouse.";
    const Answer first = ask(chat, conversation, "Who are you?");
    CHECK(first.reused == 0 && first.prompt_tokens > 20 && first.tokens == 20 && first.reason == StopReason::count);
    check_answer(fixture, chat, first.tokens);
    const Answer second = ask(chat, conversation, "Tell me a story of the sea.");
    CHECK_MSG(second.reused == first.prompt_tokens + first.tokens - 1, std::to_string(second.reused));  // all but the last token chosen
    check_answer(fixture, chat, second.tokens);

    conversation.messages.pop_back();  // the same message again: only its last token is taken in
    auto again = chat.answer(conversation, kSilent);
    CHECK(again.ok() && again->text == second.text && again->prompt_tokens == 1);
    conversation.system = "You are a cat.";
    auto changed = chat.answer(conversation, kSilent);
    CHECK(changed.ok() && changed->reused < 30);
    check_answer(fixture, chat, changed->tokens);
}

TEST(a_full_context_leaves_out_the_oldest_turns) {
    constexpr int64_t context = 160;
    Fixture fixture(context);
    if (!fixture.session) return;
    ChatSession chat(*fixture.session, greedy(), settings_of(30));
    Conversation conversation;
    conversation.system = "Be brief.";
    size_t left_out = 0;
    int64_t evaluated = 0;
    for (int turn = 0; turn < 8; ++turn) {
        const Answer answer = ask(chat, conversation, "Message number " + std::to_string(turn) + " of the king.");
        CHECK(answer.tokens == 30 && answer.left_out >= left_out && fixture.session->position() <= context);
        left_out = answer.left_out;
        evaluated += answer.prompt_tokens;
        check_answer(fixture, chat, answer.tokens);
    }
    CHECK_MSG(left_out >= 8 && left_out % 2 == 0, std::to_string(left_out));
    CHECK_MSG(evaluated < 8 * 100, std::to_string(evaluated));  // most turns reuse what is there
    chat.forget();
    conversation.messages.clear();
    CHECK(ask(chat, conversation, "Hello.").left_out == 0);
}

// What stays of the conversation stays in the cache: no turn evaluates much more than its own message.
TEST(a_full_context_moves_the_cache_down) {
    Fixture fixture(400);
    if (!fixture.session) return;
    ChatSession chat(*fixture.session, greedy(), settings_of(30));
    Conversation conversation;
    conversation.system = "Be brief.";
    int64_t shifts = 0, most = 0, first = 0;
    for (int turn = 0; turn < 12; ++turn) {
        const Answer answer = ask(chat, conversation, "Message number " + std::to_string(turn) + " of the king.");
        CHECK(answer.tokens == 30 && answer.reused + answer.prompt_tokens + answer.tokens == static_cast<int64_t>(chat.tokens().size()));
        CHECK(fixture.session->position() + 1 == static_cast<int64_t>(chat.tokens().size()));
        if (turn == 0) first = answer.prompt_tokens;
        most = std::max(most, answer.prompt_tokens);
        shifts += answer.shifted > 0;
        if (answer.shifted) CHECK_MSG(answer.shifted > 50 && answer.left_out > 0, std::to_string(answer.shifted));
    }
    CHECK_MSG(shifts >= 2 && most == first, std::to_string(shifts) + " " + std::to_string(most));
    // Another system message, another conversation: nothing of what was read before may stay behind the place of the change.
    const size_t left_out = ask(chat, conversation, "One more.").left_out;
    conversation.system = "Be long.";
    for (int turn = 0; turn < 6; ++turn) {
        const Answer answer = ask(chat, conversation, "Message " + std::to_string(turn) + " of the queen.");
        if (turn == 0) CHECK(answer.shifted == 0 && answer.reused < 30);
        if (answer.left_out == left_out) check_answer(fixture, chat, answer.tokens);
    }
    chat.forget();
    CHECK(ask(chat, conversation, "Hello.").shifted == 0);
}

TEST(a_long_answer_leaves_out_turns_while_it_goes_on) {
    constexpr int64_t context = 176;
    Fixture fixture(context);
    if (!fixture.session) return;
    ChatSession chat(*fixture.session, greedy(), settings_of(40));
    Conversation conversation;
    ask(chat, conversation, "Hello.");
    ChatSession longer(*fixture.session, greedy(), settings_of(75));
    const Answer answer = ask(longer, conversation, "Go on.");
    CHECK_MSG(answer.tokens == 75 && answer.left_out == 2 && answer.shifted > 40 && answer.reason == StopReason::count, std::to_string(answer.tokens) + " " + std::to_string(answer.shifted));
    // Without anything to leave out the context ends it.
    Conversation alone;
    ChatSession endless(*fixture.session, greedy(), settings_of(-1));
    const Answer full = ask(endless, alone, "Go on.");
    CHECK(full.reason == StopReason::context_full && fixture.session->position() == context);
}

TEST(a_message_longer_than_the_context_is_refused) {
    Fixture fixture(64);
    if (!fixture.session) return;
    ChatSession chat(*fixture.session, greedy(), settings_of(5));
    Conversation conversation;
    conversation.messages.push_back({"user", std::string(2000, 'x')});
    const auto refused = chat.answer(conversation, kSilent);
    CHECK(!refused.ok() && refused.error().code == Code::usage && refused.error().text.find("64") != std::string::npos);
    conversation.messages.clear();
    CHECK(ask(chat, conversation, "Hello.").tokens == 5);
}

TEST(stop_strings_end_answers) {
    Fixture fixture(300);
    if (!fixture.session) return;
    ChatSession chat(*fixture.session, greedy(), settings_of(40));
    Conversation conversation;
    const Answer whole = ask(chat, conversation, "Who are you?");
    const size_t middle = whole.text.size() / 2;
    ChatSettings settings = settings_of(40);
    settings.stops = {whole.text.substr(middle, 4)};
    ChatSession stopped(*fixture.session, greedy(), settings);
    Conversation other;
    const Answer part = ask(stopped, other, "Who are you?");
    CHECK(part.reason == StopReason::stop_string && part.text == whole.text.substr(0, whole.text.find(settings.stops[0])));
    const Answer next = ask(stopped, other, "And then?");
    check_answer(fixture, stopped, next.tokens);
}

TEST(conversations_are_kept) {
    Conversation conversation;
    conversation.system = "Two\nlines";
    conversation.messages = {{"user", "a\n\nuser 3\nb"}, {"assistant", ""}, {"user", "\xc3\xbc"}};
    const auto back = parse_conversation(conversation_text(conversation), "here");
    CHECK(back.ok() && back->system == conversation.system && back->messages.size() == 3);
    if (back.ok())
        for (size_t i = 0; i < 3; ++i)
            CHECK(back->messages[i].role == conversation.messages[i].role && back->messages[i].content == conversation.messages[i].content);
    TemporaryFolder folder;
    CHECK(save_conversation(conversation, folder.at("c")).ok() && save_conversation(conversation, folder.at("c")).ok());
    CHECK(load_conversation(folder.at("c")).ok() && folder.names().size() == 1);
    folder.put("other", {'x'});
    const Status refused = save_conversation(conversation, folder.at("other"));
    CHECK(!refused.ok() && refused.error().code == Code::usage && folder.get("other").size() == 1);
}

TEST(damaged_conversations_are_refused) {
    const std::string good = "quant-chat 1\nsystem 2\nab\nuser 1\nc\nassistant 1\nd\n";
    CHECK(parse_conversation(good, "x").ok());
    for (size_t length = 0; length < good.size(); ++length) {
        const auto part = parse_conversation(good.substr(0, length), "x");
        const bool complete = length == 13 || length == 25 || length == 34;  // between messages
        CHECK_MSG(part.ok() == complete, std::to_string(length));
    }
    for (const char* bad : {"quant-chat 1\nuser 99999999999999999999\nx\n", "quant-chat 1\nuser -1\nx\n", "quant-chat 1\nassistant 1\nx\n",
                            "quant-chat 1\nuser 1\nx\nuser 1\ny\n", "quant-chat 1\nuser 1\nxy\n", "quant-chat 1\nuser 1\nx\nsystem 1\ny\n",
                            "quant-chat 1\nuser 18446744073709551615\nx\n", "quant-chat 1\n\n"})
        CHECK_MSG(!parse_conversation(bad, "x").ok(), bad);
}

TEST_MAIN
