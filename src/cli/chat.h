// The chat of `run`: messages from the terminal or a pipe, answers to standard output.
#pragma once

#include <string>

#include "base/result.h"
#include "cli/chat_session.h"
#include "cli/run_options.h"
#include "model/sampler.h"
#include "model/session.h"

namespace quant {

// The format (the model's own, or --chat-template), stop strings and lengths. Error "usage" where no format is known.
Result<ChatSettings> chat_settings(const RunOptions& given, const Model& model);

// Until the input ends, /quit, or a signal while waiting for a message (error "interrupted"). `first`: a message that is
// already there, or "". Ctrl-C during an answer ends the answer only.
Status chat(const RunOptions& given, Session& session, Sampler sampler, ChatSettings settings, const std::string& first);

}  // namespace quant
