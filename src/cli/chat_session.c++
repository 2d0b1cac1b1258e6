// The chat's use of one session.
#include "cli/chat_session.h"

#include <algorithm>

#include "base/log.h"

namespace quant {

namespace {

constexpr size_t kShiftTokens = 16;  // shorter runs are evaluated again

// Tokens of the context kept free for an answer before older turns are left out for it.
int64_t answer_room(int64_t context) { return std::clamp<int64_t>(context / 4, 1, 256); }

}  // namespace

ChatSession::ChatSession(Session& session, Sampler sampler, ChatSettings settings)
    : session_(session), sampler_(std::move(sampler)), settings_(std::move(settings)) {}

void ChatSession::forget() {
    left_out_ = 0;
    cached_system_.reset();
    sampler_.reset();
}

// The tokens of the conversation up to where the answer begins. Where the text goes on from the last answer, so do the
// tokens: what the model said keeps the tokens it was said with, and the cache serves.
Result<std::vector<int32_t>> ChatSession::prompt_of(const Conversation& conversation) {
    LET(text, settings_.format.render(conversation.from(left_out_), settings_.options));
    const Tokenizer& tokenizer = session_.model().tokenizer();
    std::vector<int32_t> tokens;
    size_t known = 0;  // bytes of text that `tokens` stand for
    if (!said_text_.empty() && text.starts_with(said_text_)) {
        tokens = said_;
        known = said_text_.size();
    } else if (!prompt_text_.empty() && text.starts_with(prompt_text_)) {
        tokens = prompt_;
        known = prompt_text_.size();
    }
    const std::vector<int32_t> rest = tokenizer.encode(std::string_view(text).substr(known), false, true);
    tokens.insert(tokens.end(), rest.begin(), rest.end());
    prompt_text_ = std::move(text);
    prompt_ = tokens;
    return tokens;
}

// Leaves out the oldest turns while prompt and answer take more than `allowed` tokens; once it does, as many that half of
// the context is free, so that this happens seldom.
Result<std::vector<int32_t>> ChatSession::fitting_prompt(const Conversation& conversation, size_t answer_tokens, int64_t allowed) {
    for (;;) {
        LET(tokens, prompt_of(conversation));
        const int64_t needed = static_cast<int64_t>(tokens.size() + answer_tokens);
        if (needed <= allowed) return tokens;
        if (left_out_ + 2 < conversation.messages.size()) {
            left_out_ += 2;
            allowed = session_.context() / 2;
            continue;
        }
        if (needed < session_.context()) return tokens;
        return usage_error(format_text("the message takes %lld tokens, the context holds %lld: shorten it or raise -c",
                                       static_cast<long long>(needed), static_cast<long long>(session_.context())));
    }
}

// Behind the first `same` tokens: takes out of the cache what lies before the longest run that goes on as `tokens` does.
// Returns how many tokens are then the same.
size_t ChatSession::shift(const std::vector<int32_t>& tokens, size_t same, Answer* answer) {
    const std::span<const int32_t> wanted = std::span(tokens).subspan(same);
    size_t best = 0, best_length = 0;
    for (size_t begin = same + 1; begin + best_length < cached_.size(); ++begin) {
        const auto run = std::mismatch(cached_.begin() + static_cast<std::ptrdiff_t>(begin), cached_.end(), wanted.begin(), wanted.end());
        const auto length = static_cast<size_t>(run.second - wanted.begin());
        if (length > best_length) best = begin, best_length = length;
    }
    if (best_length < kShiftTokens) return same;
    if (!session_.remove(static_cast<int64_t>(same), static_cast<int64_t>(best))) {
        log_verbose("the positions of this model cannot be shifted: what stays of the conversation is evaluated again");
        return same;
    }
    log_verbose(format_text("the context is full: %zu tokens leave the cache, %zu behind them move down", best - same, best_length));
    cached_.erase(cached_.begin() + static_cast<std::ptrdiff_t>(same), cached_.begin() + static_cast<std::ptrdiff_t>(best));
    answer->shifted += static_cast<int64_t>(best_length);
    return same + best_length;
}

// Makes the cache hold exactly `tokens`, with logits of the last one.
Status ChatSession::take_in(const std::vector<int32_t>& tokens, bool may_shift, Answer* answer) {
    size_t same = static_cast<size_t>(std::mismatch(cached_.begin(), cached_.end(), tokens.begin(), tokens.end()).first - cached_.begin());
    if (may_shift) same = shift(tokens, same, answer);
    same = std::min(same, tokens.size() - 1);
    session_.truncate(static_cast<int64_t>(same));
    const std::span<const int32_t> rest = std::span(tokens).subspan(same);
    const double started = seconds_now();
    const Status status = eval_prompt(session_, rest, settings_.batch);
    answer->prompt_seconds += seconds_now() - started;
    cached_.assign(tokens.begin(), tokens.begin() + session_.position());
    answer->reused += static_cast<int64_t>(same);
    answer->prompt_tokens += static_cast<int64_t>(rest.size());
    return status;
}

// Generates until something ends the answer; a full context only does when nothing can be left out.
Status ChatSession::go_on(const Conversation& conversation, Answer* answer, TokenText& text, const ShowToken& show) {
    size_t prompt_size = said_.size();
    for (;;) {
        const int64_t left = settings_.most < 0 ? -1 : settings_.most - answer->tokens;
        const GenerateOptions options{.most = left, .show_special = settings_.show_special};
        LET(part, generate(session_, sampler_, options, text, show));
        said_.insert(said_.end(), part.tokens.begin(), part.tokens.end());
        cached_.assign(said_.begin(), said_.begin() + session_.position());
        answer->tokens += static_cast<int64_t>(part.tokens.size());
        answer->steps += part.steps;
        answer->seconds += part.seconds;
        answer->reason = part.reason;
        if (part.reason != StopReason::context_full || left_out_ + 2 >= conversation.messages.size()) return {};

        const std::vector<int32_t> spoken(said_.begin() + static_cast<std::ptrdiff_t>(prompt_size), said_.end());
        left_out_ += 2;
        said_text_.clear();
        auto shorter = fitting_prompt(conversation, spoken.size(), session_.context() / 2);
        if (!shorter) return {};  // the answer itself fills the context
        said_ = std::move(*shorter);
        prompt_size = said_.size();
        said_.insert(said_.end(), spoken.begin(), spoken.end());
        TRY(take_in(said_, true, answer));
    }
}

Result<Answer> ChatSession::answer(const Conversation& conversation, const ShowToken& show) {
    Answer answer;
    const size_t left_out = left_out_;
    LET(prompt, fitting_prompt(conversation, 0, session_.context() - answer_room(session_.context())));
    if (prompt.empty()) return usage_error("the conversation is empty");
    said_ = std::move(prompt);
    said_text_.clear();
    // Only of the same conversation: the keys and values behind a place have read what stood before it.
    const bool may_shift = left_out_ > left_out && cached_system_ == conversation.system;
    Status status = take_in(said_, may_shift, &answer);
    cached_system_ = conversation.system;
    for (size_t i = static_cast<size_t>(answer.reused); i < said_.size(); ++i) sampler_.accept(said_[i]);
    TokenText text(settings_.stops);
    const ShowToken collect = [&](const ShownToken& token) {
        answer.text += token.text;
        return show(token);
    };
    if (status) status = go_on(conversation, &answer, text, collect);
    if (!status && status.error().code != Code::interrupted) return std::move(status.error());
    if (!status) answer.reason = StopReason::interrupted;
    TRY(show_rest(text, collect));
    answer.left_out = left_out_;
    // A stop string was cut off the text but not off the tokens.
    if (status && answer.reason != StopReason::stop_string && !settings_.show_special) said_text_ = prompt_text_ + answer.text;
    return answer;
}

}  // namespace quant
