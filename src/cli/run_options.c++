// The table of options of `run`.
#include "cli/run_options.h"

#include <cctype>
#include <cmath>
#include <limits>
#include <optional>
#include <type_traits>

#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"

namespace quant {

namespace {

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

// "15043+1", "15043-2.5", "15043-inf".
Result<std::pair<int32_t, float>> parse_logit_bias(const std::string& text) {
    const size_t sign = text.find_first_of("+-", 1);
    if (sign == std::string::npos) return usage_error("expected ID+BIAS or ID-BIAS, found '" + escaped(text) + "'");
    LET(id, parse_integer(text.substr(0, sign)));
    if (id < 0 || id >= static_cast<int64_t>(limits::kVocab))
        return usage_error("expected a token id, found '" + escaped(text.substr(0, sign)) + "'");
    if (text.substr(sign) == "-inf") return std::pair{static_cast<int32_t>(id), -std::numeric_limits<float>::infinity()};
    LET(bias, parse_real(text.substr(sign)));
    return std::pair{static_cast<int32_t>(id), static_cast<float>(bias)};
}

// -fa took no value in older programs and takes one in newer ones: a value that follows is taken out.
std::vector<std::string> without_optional_values(Arguments arguments) {
    std::vector<std::string> out;
    for (size_t i = 0; i < arguments.size(); ++i) {
        out.push_back(arguments[i]);
        if ((arguments[i] != "-fa" && arguments[i] != "--flash-attn") || i + 1 == arguments.size()) continue;
        for (const char* value : {"on", "off", "auto", "0", "1"})
            if (arguments[i + 1] == value) {
                ++i;
                break;
            }
    }
    return out;
}

void add_input_options(Options& options, RunOptions* out) {
    options.section("model and prompt");
    options.text("-m --model", "FILE", "model, a GGUF file (of a split model the first)", &out->model);
    options.call("-p --prompt", "TEXT", "text to continue", [out](const std::string& text) {
        out->prompt = text;
        out->prompt_given = true;
        return Status{};
    });
    options.text("-f --file --in-file", "FILE", "read the text to continue from a file; - is standard input", &out->prompt_file);
    options.flag("-e --escape", "\\n \\t \\xHH and the like in -p and -r are escapes (default)", &out->escapes);
    options.call_flag("--no-escape", "they are not", [out] {
        out->escapes = false;
        return Status{};
    });
    add_adapters(options, &out->adapters);
    add_load_mode(options, &out->load);
}

void add_length_options(Options& options, RunOptions* out) {
    options.section("lengths and resources");
    options.integer("-n --predict --n-predict", "N", "tokens to generate, -1 = until the end or a full context (default -1)",
                    &out->predict, -2, std::numeric_limits<int32_t>::max());
    options.integer("-c --ctx-size", "N", "context in tokens, 0 = the model's (default: the model's, at most 4096)", &out->context, 0,
                    limits::kContext);
    add_batch(options, &out->batch);
    add_threads(options, &out->threads);
    add_cache_types(options, &out->k_type, &out->v_type);
    options.flag("--exact", "decoded weights and f32 activations instead of the fast int8 products", &out->exact);
}

void add_sampling_options(Options& options, RunOptions* out) {
    SamplerOptions& sampler = out->sampler;
    const auto integer32 = [&options](std::string names, std::string help, int32_t* target, int64_t low) {
        options.call(std::move(names), "N", std::move(help), [target, low](const std::string& text) -> Status {
            LET(number, parse_integer(text));
            if (number < low || number > std::numeric_limits<int32_t>::max())
                return usage_error(format_text("expected %lld to 2147483647, found %lld", static_cast<long long>(low),
                                               static_cast<long long>(number)));
            *target = static_cast<int32_t>(number);
            return {};
        });
    };
    options.section("choice of tokens");
    options.integer("-s --seed", "N", "seed of the random numbers, -1 = another each time (default -1)", &out->seed, -1,
                    std::numeric_limits<int64_t>::max());
    options.real("--temp --temperature", "T", "temperature, 0 = always the most likely (default: the model's, else 0.8)", &sampler.temperature, -1, 1000);
    integer32("--top-k", "among the N most likely, 0 = all (default: the model's, else 40)", &sampler.top_k, -1);
    options.real("--top-p", "P", "among the most likely that together have probability P (default: the model's, else 0.95)", &sampler.top_p, 0, 1e9);
    options.real("--min-p", "P", "at least P times as likely as the most likely (default: the model's, else 0.05)", &sampler.min_p, 0, 1);
    integer32("--repeat-last-n", "tokens that the penalties look back, -1 = all (default 64)", &sampler.repeat_last_n, -1);
    options.real("--repeat-penalty", "X", "divides the logits of repeated tokens (default: the model's, else 1)", &sampler.repeat_penalty, 1e-3, 1e3);
    options.real("--presence-penalty", "X", "taken from the logits of repeated tokens (default 0)", &sampler.presence_penalty, -1e3, 1e3);
    options.real("--frequency-penalty", "X", "taken for each repetition (default 0)", &sampler.frequency_penalty, -1e3, 1e3);
    options.call("-l --logit-bias", "ID+X|ID-X", "changes a token's logit, -inf forbids it; repeatable", [&sampler](const std::string& text) -> Status {
        LET(bias, parse_logit_bias(text));
        sampler.logit_bias.push_back(bias);
        return {};
    });
    options.flag("--ignore-eos", "never end by a token", &out->ignore_eos);
    options.call("-r --reverse-prompt", "TEXT", "end before this text; repeatable", [out](const std::string& text) -> Status {
        if (text.empty()) return usage_error("expected a text, found an empty one");
        out->stops.push_back(text);
        return {};
    });
}

Result<Thinking> parse_thinking(const std::string& text) {
    if (text == "on") return Thinking::on;
    if (text == "off") return Thinking::off;
    if (text == "auto") return Thinking::automatic;
    return usage_error("expected on, off or auto, found '" + escaped(text) + "'");
}

void add_chat_options(Options& options, RunOptions* out, bool* no_chat) {
    options.section("chat (without -p and -f)");
    options.flag("-cnv --conversation", "chat, -p is the first message", &out->chat);
    options.flag("-no-cnv --no-conversation", "continue the prompt as plain text (default with -p or -f)", no_chat);
    options.flag("-st --single-turn", "end after the first answer", &out->single_turn);
    options.text("-sys --system-prompt", "TEXT", "system message", &out->system);
    options.text("--chat-template", "NAME", "one of: " + ChatTemplate::names() + " (default: the model's)", &out->chat_template);
    options.call("-rea --reasoning", "on|off|auto", "whether the model thinks first, where it can (default auto)", [out](const std::string& text) -> Status {
        LET(thinking, parse_thinking(text));
        out->thinking = thinking;
        return {};
    });
}

void add_output_options(Options& options, RunOptions* out) {
    options.section("output");
    options.call_flag("--no-display-prompt", "print only what is generated", [out] {
        out->display_prompt = false;
        return Status{};
    });
    options.flag("--verbose-prompt", "show the prompt's tokens on standard error", &out->verbose_prompt);
    options.flag("-sp --special", "show control tokens in the text", &out->special);
    options.flag("--json", "one JSON object per token: id, text, logprob", &out->json);
    options.flag("--stats", "more figures at the end; with --json as a last object", &out->stats);
    options.call_flag("-v --verbose", "say more: kernels in use, memory", [] {
        set_log_level(LogLevel::verbose);
        return Status{};
    });
    options.call_flag("--quiet", "only errors on standard error", [] {
        set_log_level(LogLevel::quiet);
        return Status{};
    });
}

// Options of other runners: what has no meaning on a CPU is taken with a warning, what we do anyway without.
void add_foreign_options(Options& options, std::vector<std::string>* ignored) {
    options.section("accepted from other runners, without effect");
    const auto take = [&](const char* names, const char* value, const char* help) {
        const std::string name = std::string(names).substr(0, std::string_view(names).find(' '));
        options.call(names, value, help, [=](const std::string&) {
            ignored->push_back(name);
            return Status{};
        });
    };
    take("-ngl --gpu-layers --n-gpu-layers", "N", "layers on a GPU");
    take("-sm --split-mode", "MODE", "how GPUs share the model");
    take("-ts --tensor-split", "LIST", "shares of the GPUs");
    take("-mg --main-gpu", "N", "which GPU");
    take("-dev --device", "LIST", "devices");
    take("-ncmoe --n-cpu-moe", "N", "layers whose experts stay on the CPU");
    take("-tb --threads-batch", "N", "-t holds for prompts too");
    take("-fa --flash-attn", "", "[on|off|auto]");
    take("-ot --override-tensor", "LIST", "tensors by device");
    take("-fit --fit", "on|off", "what fits a GPU's memory");
    take("-kvo --kv-offload", "", "cache on a GPU");
    take("-nkvo --no-kv-offload", "", "cache on the CPU");
    take("--op-offload", "", "operations on a GPU");
    take("--no-op-offload", "", "operations on the CPU");
    take("-cmoe --cpu-moe", "", "experts on the CPU");
    take("--mlock", "", "model locked in memory");
    options.call_flag("--simple-io --jinja --no-warmup --no-perf --no-context-shift --display-prompt",
                      "what is done anyway", [] { return Status{}; });
}

}  // namespace

std::string unescape(std::string_view text) {
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '\\' || i + 1 == text.size()) {
            out += text[i];
            continue;
        }
        const char next = text[++i];
        switch (next) {
            case 'n': out += '\n'; break;
            case 'r': out += '\r'; break;
            case 't': out += '\t'; break;
            case '\'':
            case '"':
            case '\\': out += next; break;
            case 'x':
                if (i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 && hex_digit(text[i + 2]) >= 0) {
                    out += static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
                    i += 2;
                    break;
                }
                [[fallthrough]];
            default: out += '\\', out += next;
        }
    }
    return out;
}

namespace {

std::optional<double> number_of(const Metadata& metadata, const std::string& key) {
    if (const auto whole = metadata.get_i64(key); whole && *whole) return static_cast<double>(**whole);
    if (const auto real = metadata.get_f32(key); real && *real) return static_cast<double>(**real);
    return {};
}

}  // namespace

SamplerOptions settled_sampler(const RunOptions& given, const Metadata& metadata) {
    SamplerOptions out = given.sampler;
    const SamplerOptions usual;
    std::string told;
    const auto settle = [&](auto& value, bool open, auto usual_value, const char* key, const char* option, double low) {
        if (!open) return;
        value = usual_value;
        const auto found = number_of(metadata, std::string("general.sampling.") + key);
        if (!found) return;
        if (!(*found >= low && *found <= 1e9)) {
            log_warning(format_text("general.sampling.%s: %g is out of range and not used", key, *found));
            return;
        }
        value = static_cast<std::decay_t<decltype(value)>>(*found);
        told += format_text(" %s %g", option, *found);
    };
    settle(out.temperature, std::isnan(out.temperature), usual.temperature, "temp", "--temp", -1);
    settle(out.top_k, out.top_k == kFromModel, usual.top_k, "top_k", "--top-k", -1);
    settle(out.top_p, std::isnan(out.top_p), usual.top_p, "top_p", "--top-p", 0);
    settle(out.min_p, std::isnan(out.min_p), usual.min_p, "min_p", "--min-p", 0);
    settle(out.repeat_penalty, std::isnan(out.repeat_penalty), usual.repeat_penalty, "penalty_repeat", "--repeat-penalty", 1e-3);
    if (!told.empty()) log_info("tokens are chosen as the model's file says:" + told);
    return out;
}

Result<bool> parse_run_options(Arguments arguments, RunOptions* out) {
    const std::vector<std::string> given = with_joined_scales(without_optional_values(arguments));
    std::vector<std::string> ignored;
    bool no_chat = false;
    Options options("quant run -m MODEL [-p PROMPT] [options]", "Continues a text, or, without one, chats.",
                    "  quant run -m model.gguf -p \"Once upon a time\" -n 200\n"
                    "  quant run -m model.gguf\n"
                    "  quant run -m model.gguf -f question.txt --temp 0 --no-display-prompt --quiet\n"
                    "  echo 'A story:' | quant run -m model.gguf -f - --json");
    add_input_options(options, out);
    add_length_options(options, out);
    add_sampling_options(options, out);
    add_chat_options(options, out, &no_chat);
    add_output_options(options, out);
    add_foreign_options(options, &ignored);
    LET(go_on, options.parse(given));
    if (!go_on) return false;
    for (const std::string& name : ignored) log_warning("option " + name + " has no effect: everything is computed on the CPU");
    if (out->model.empty()) return usage_error("no model given: -m FILE (--help explains)");
    if (out->prompt_given && !out->prompt_file.empty()) return usage_error("-p and -f exclude each other");
    if (out->chat && no_chat) return usage_error("-cnv and -no-cnv exclude each other");
    const bool has_text = out->prompt_given || !out->prompt_file.empty();
    if (!has_text && no_chat) return usage_error("no prompt given: -p TEXT or -f FILE (--help explains)");
    out->chat = out->chat || !has_text;
    if (out->chat && out->json) return usage_error("--json needs a text to continue: -p TEXT or -f FILE");
    if (out->escapes) {
        out->prompt = unescape(out->prompt);
        for (std::string& stop : out->stops) stop = unescape(stop);
    }
    return true;
}

}  // namespace quant
