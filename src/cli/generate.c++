// The generation loop.
#include "cli/generate.h"

#include <algorithm>
#include <chrono>

#include "base/file.h"
#include "base/signals.h"

namespace quant {

double seconds_now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

const char* stop_reason_name(StopReason reason) {
    switch (reason) {
        case StopReason::end_of_generation: return "end of generation";
        case StopReason::count: return "count";
        case StopReason::stop_string: return "stop string";
        case StopReason::context_full: return "context full";
        case StopReason::interrupted: return "interrupted";
    }
    return "";
}

Status eval_prompt(Session& session, std::span<const int32_t> tokens, int64_t batch) {
    const size_t most = static_cast<size_t>(std::max<int64_t>(batch, 1));
    while (!tokens.empty()) {
        if (interrupted()) return Error{Code::interrupted, "interrupted"};
        const size_t count = std::min(most, tokens.size());
        TRY(session.eval(tokens.first(count), count == tokens.size() ? LogitsOf::last : LogitsOf::none));
        tokens = tokens.subspan(count);
    }
    return {};
}

namespace {

Status show_all(const std::vector<ShownToken>& tokens, const ShowToken& show) {
    for (const ShownToken& token : tokens) TRY(show(token));
    return {};
}

}  // namespace

Status show_rest(TokenText& text, const ShowToken& show) { return show_all(text.finish(), show); }

Result<Generated> generate(Session& session, Sampler& sampler, const GenerateOptions& options, TokenText& text,
                           const ShowToken& show) {
    const Tokenizer& tokenizer = session.model().tokenizer();
    Generated out;
    const double started = seconds_now();
    while (static_cast<int64_t>(out.tokens.size()) != options.most) {
        if (interrupted()) {
            out.reason = StopReason::interrupted;
            break;
        }
        const Sampler::Choice choice = sampler.sample(session.logits());
        if (choice.id < 0)
            return input_error(escaped(session.model().gguf().path()) + ": the model's logits are not numbers after " +
                               std::to_string(session.position()) + " tokens");
        if (tokenizer.ends_generation(choice.id)) {
            out.reason = StopReason::end_of_generation;
            break;
        }
        sampler.accept(choice.id);
        const bool first = options.begins_text && out.tokens.empty();
        out.tokens.push_back(choice.id);
        TRY(show_all(text.push(choice.id, choice.log_probability,
                               first ? tokenizer.decode({&choice.id, 1}, options.show_special)
                                     : tokenizer.piece(choice.id, options.show_special)),
                     show));
        if (text.stopped()) {
            out.reason = StopReason::stop_string;
            break;
        }
        if (static_cast<int64_t>(out.tokens.size()) == options.most) break;
        if (session.position() >= session.context()) {
            out.reason = StopReason::context_full;
            break;
        }
        TRY(session.eval({&choice.id, 1}));
        ++out.steps;
    }
    out.seconds = seconds_now() - started;
    return out;
}

}  // namespace quant
