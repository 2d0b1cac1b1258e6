// What `run`, the chat and `bench` share: a prompt taken through the model in pieces, then tokens chosen one by one.
// Knows sessions and samplers; prints nothing itself.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/token_text.h"
#include "model/sampler.h"
#include "model/session.h"

namespace quant {

double seconds_now();  // of a clock that never jumps

// Appends the prompt, `batch` tokens at a time, and stops between two pieces when a signal came (error "interrupted").
// Afterwards logits(0) belong to the last token.
Status eval_prompt(Session& session, std::span<const int32_t> tokens, int64_t batch);

enum class StopReason { end_of_generation, count, stop_string, context_full, interrupted };
const char* stop_reason_name(StopReason reason);

struct GenerateOptions {
    int64_t most = -1;              // tokens; -1: until the end of generation or of the context
    bool show_special = false;
    bool begins_text = false;       // no text before the first token: its SentencePiece space is dropped
};

struct Generated {
    std::vector<int32_t> tokens;    // chosen ones, without the one that ends generation; the last may not be evaluated
    StopReason reason = StopReason::count;
    int64_t steps = 0;              // evaluations of one token
    double seconds = 0;
};

using ShowToken = std::function<Status(const ShownToken& token)>;

// Generates from the logits of the last eval. `show` is called for each token when its text is final; what `text` still
// holds back at the end is the caller's to show (show_rest), who may also make room in a full context and go on.
// The sampler is told of the tokens chosen here; those of the prompt are the caller's to tell.
Result<Generated> generate(Session& session, Sampler& sampler, const GenerateOptions& options, TokenText& text,
                           const ShowToken& show);
Status show_rest(TokenText& text, const ShowToken& show);

}  // namespace quant
