// The chat of `run`: messages from the terminal or a pipe, answers to standard output.
#pragma once

#include <string>

#include "base/result.h"
#include "cli/run_options.h"
#include "model/sampler.h"
#include "model/session.h"

namespace quant {

// Until the input ends, /quit, or a signal while waiting for a message (error "interrupted"). `first`: a message that is
// already there, or "". Ctrl-C during an answer ends the answer only.
Status chat(const RunOptions& given, Session& session, Sampler sampler, const std::string& first);

}  // namespace quant
