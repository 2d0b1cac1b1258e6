// The options of `run`: names, short forms and defaults as in the ecosystem's runner.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/shared_options.h"
#include "gguf/gguf.h"
#include "model/sampler.h"
#include "text/chat.h"

namespace quant {

inline constexpr int32_t kFromModel = std::numeric_limits<int32_t>::min();

struct RunOptions {
    std::string model;
    std::string prompt, prompt_file;
    bool prompt_given = false;
    bool escapes = true;            // \n and the like in -p and -r
    int64_t context = -1;           // -1: not given, 0: the model's
    int64_t predict = -1;           // -1: until the end
    int64_t batch = 512;
    int64_t threads = 0;            // 0: default_threads()
    int64_t seed = -1;              // -1: from the clock
    MappedFile::Mode load = MappedFile::Mode::map;
    bool ignore_eos = false, exact = false, special = false;
    bool display_prompt = true, verbose_prompt = false, json = false, stats = false;
    bool chat = false;              // -cnv, or no prompt
    bool single_turn = false;
    std::string system, chat_template;
    Thinking thinking = Thinking::automatic;
    std::vector<std::string> stops;
    KvType k_type = KvType::f16, v_type = KvType::f16;
    std::vector<AdapterChoice> adapters;
    // Seed not yet set. What the user does not say (not a number, kFromModel) is the model's to say.
    SamplerOptions sampler{.temperature = NAN, .top_k = kFromModel, .top_p = NAN, .min_p = NAN, .repeat_penalty = NAN, .logit_bias = {}};
};

// false: --help was printed. Sets the log level; warns about options that have no effect here.
Result<bool> parse_run_options(Arguments arguments, RunOptions* out);

// Fills what the user left open: from the model's file, else the usual values.
SamplerOptions settled_sampler(const RunOptions& given, const Metadata& metadata);

// "\n" and the like, \xHH included, as the bytes they stand for; an unknown escape stays as it is.
std::string unescape(std::string_view text);

}  // namespace quant
