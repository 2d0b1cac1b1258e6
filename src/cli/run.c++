// `quant run`: one prompt in, its continuation out; or a chat.
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <sstream>

#include "base/file.h"
#include "base/json_writer.h"
#include "base/log.h"
#include "cli/chat.h"
#include "cli/commands.h"
#include "cli/generate.h"
#include "cli/output.h"
#include "cli/run_options.h"

namespace quant {

namespace {

constexpr int64_t kDefaultContext = 4096;                  // more is asked for by -c: the cache grows with it
constexpr uint64_t kMaxPromptBytes = uint64_t{64} << 20;

struct Figures {
    double load_seconds = 0, prompt_seconds = 0;
    int64_t prompt_tokens = 0;
    uint64_t seed = 0;
    Generated generated;
};

uint64_t peak_bytes() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
#ifdef __APPLE__
    return static_cast<uint64_t>(usage.ru_maxrss);
#else
    return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
#endif
}

double rate(int64_t count, double seconds) { return seconds > 0 ? static_cast<double>(count) / seconds : 0; }

uint64_t seed_from_clock() {
    const auto now = std::chrono::system_clock::now().time_since_epoch().count();
    return Rng(static_cast<uint64_t>(now) ^ (static_cast<uint64_t>(::getpid()) << 40)).next() >> 32;
}

// The context asked for, and in words where it comes from.
int64_t choose_context(const RunOptions& given, const Config& config, std::string* origin) {
    if (given.context > 0) {
        if (given.context > config.context)
            log_warning(format_text("context %lld is longer than the %lld tokens the model was made for",
                                    static_cast<long long>(given.context), static_cast<long long>(config.context)));
        *origin = "-c";
        return given.context;
    }
    const bool whole = given.context == 0 || config.context <= kDefaultContext;
    *origin = whole ? "the model's" : format_text("of the model's %lld, -c changes it", static_cast<long long>(config.context));
    return whole ? config.context : kDefaultContext;
}

Result<std::string> prompt_text(const RunOptions& given) {
    if (given.prompt_given) return given.prompt;
    LET(text, read_text_file(given.prompt_file, kMaxPromptBytes));
    if (text.ends_with('\n')) text.pop_back();  // the one that editors put at the end
    return text;
}

// The prompt's tokens; an empty prompt is the token that begins a text.
Result<std::vector<int32_t>> prompt_tokens(const Model& model, const std::string& text) {
    const Vocabulary& vocabulary = model.tokenizer().vocabulary();
    std::vector<int32_t> tokens = model.tokenizer().encode(text, true, true);
    if (vocabulary.add_eos && !tokens.empty() && tokens.back() == vocabulary.eos) tokens.pop_back();
    if (tokens.empty() && vocabulary.bos >= 0) tokens.push_back(vocabulary.bos);
    if (tokens.empty()) return usage_error("the prompt is empty, and this model has no token that begins a text");
    return tokens;
}

Status check_logit_bias(const SamplerOptions& options, int64_t vocabulary) {
    for (const auto& [id, bias] : options.logit_bias)
        if (id >= vocabulary)
            return usage_error(format_text("option --logit-bias: token id %d is outside the vocabulary of %lld", id,
                                           static_cast<long long>(vocabulary)));
    return {};
}

void show_prompt_tokens(const Tokenizer& tokenizer, const std::vector<int32_t>& tokens) {
    std::string text = format_text("prompt: %zu tokens\n", tokens.size());
    for (const int32_t id : tokens) text += format_text("%8d -> '%s'\n", id, escaped(tokenizer.piece(id, true)).c_str());
    std::fputs(text.c_str(), stderr);
}

void say_notes(const RunOptions& given, const Session& session, const std::string& context_origin) {
    const Model& model = session.model();
    log_info(escaped(model.gguf().path()) + ": " + model.description() + ", " + kernels().isa +
             format_text(", context %lld tokens (%s)", static_cast<long long>(session.context()), context_origin.c_str()));
    if (given.prompt_given && !given.chat && model.gguf().metadata().find("tokenizer.chat_template"))
        log_info("this model has a chat template; the prompt is continued as plain text, without it");
    std::istringstream kernels_in_use(session.kernel_summary());
    for (std::string line; std::getline(kernels_in_use, line);) log_verbose(line);
    log_verbose("KV cache " + human_bytes(session.kv_bytes()) + " (" + kv_type_name(given.k_type) + ", " +
                kv_type_name(given.v_type) + ")");
}

// Prints tokens as they become final: the text itself, or one JSON object per line.
class Printer {
public:
    explicit Printer(bool json) : json_(json) {}

    Status operator()(const ShownToken& token) {
        if (!json_) return text(token.text);
        std::string line;
        JsonWriter json(line);
        json.begin_object();
        if (token.id >= 0) json.member("id", token.id);  // the rest of a character that was never finished has none
        json.member("text", token.text);
        if (token.id >= 0) json.member("logprob", token.log_probability);
        json.end_object();
        return write_output(line + "\n");
    }
    Status text(const std::string& shown) {
        if (shown.empty()) return {};
        ends_line_ = shown.back() == '\n';
        return write_output(shown);
    }
    Status end() { return json_ || ends_line_ ? Status{} : write_output("\n"); }

private:
    bool json_, ends_line_ = true;
};

void say_summary(const Figures& figures) {
    const Generated& generated = figures.generated;
    // The first token comes with the prompt: a single one has no rate of its own.
    const std::string speed = generated.steps > 0 ? format_text(", %.1f tokens/s", rate(generated.steps, generated.seconds)) : "";
    log_info(format_text("load %.2f s | prompt %lld tokens, %.1f tokens/s | generated %zu tokens%s | seed %llu",
                         figures.load_seconds, static_cast<long long>(figures.prompt_tokens),
                         rate(figures.prompt_tokens, figures.prompt_seconds), generated.tokens.size(), speed.c_str(),
                         static_cast<unsigned long long>(figures.seed)));
}

Status say_stats(const RunOptions& given, const Session& session, const Figures& figures) {
    const uint64_t model_bytes = session.model().gguf().file_bytes();
    if (!given.json) {
        log_info(format_text("stopped: %s | context %lld of %lld tokens used | ", stop_reason_name(figures.generated.reason),
                             static_cast<long long>(session.position()), static_cast<long long>(session.context())) +
                 "model " + human_bytes(model_bytes) + ", KV cache " + human_bytes(session.kv_bytes()) + ", peak memory " +
                 human_bytes(peak_bytes()));
        return {};
    }
    std::string line;
    JsonWriter json(line);
    json.begin_object();
    json.key("stats");
    json.begin_object();
    json.member("stop", stop_reason_name(figures.generated.reason));
    json.member("seed", figures.seed);
    json.member("load_seconds", figures.load_seconds);
    json.member("prompt_tokens", figures.prompt_tokens);
    json.member("prompt_tokens_per_second", rate(figures.prompt_tokens, figures.prompt_seconds));
    json.member("generated_tokens", figures.generated.tokens.size());
    json.member("generated_tokens_per_second", rate(figures.generated.steps, figures.generated.seconds));
    json.member("position", session.position());
    json.member("context", session.context());
    json.member("model_bytes", model_bytes);
    json.member("kv_bytes", session.kv_bytes());
    json.member("peak_bytes", peak_bytes());
    json.end_object();
    json.end_object();
    return write_output(line + "\n");
}

Result<std::unique_ptr<Session>> open_session(const RunOptions& given, std::string* context_origin) {
    LET(model, Model::load(given.model, given.load));
    TRY(check_logit_bias(given.sampler, model->config().vocab));
    SessionOptions options;
    options.context = choose_context(given, model->config(), context_origin);
    options.batch = std::min(given.batch, options.context);
    options.k_type = given.k_type;
    options.v_type = given.v_type;
    options.threads = static_cast<int>(given.threads);
    options.exact = given.exact;
    LET(adapters, load_adapters(given.adapters));
    options.adapters = std::move(adapters);
    return Session::create(std::move(model), options);
}

Sampler make_sampler(const RunOptions& given, const Model& model, uint64_t seed) {
    const Tokenizer& tokenizer = model.tokenizer();
    SamplerOptions options = settled_sampler(given, model.gguf().metadata());
    options.seed = seed;
    options.log_probability = given.json;
    if (given.ignore_eos)
        for (int32_t id = 0; id < tokenizer.size(); ++id)
            if (tokenizer.ends_generation(id)) options.logit_bias.emplace_back(id, -std::numeric_limits<float>::infinity());
    return Sampler(options);
}

// The prompt and its continuation. Ctrl-C ends it early; what was measured until then is in `figures`.
Status continue_prompt(const RunOptions& given, Session& session, const std::string& text,
                       const std::vector<int32_t>& tokens, Figures* figures) {
    Printer printer(given.json);
    if (given.display_prompt && !given.json) {
        Utf8Stream characters;
        const std::string whole = characters.push(text);
        TRY(printer.text(whole + characters.flush()));
    }
    const double started = seconds_now();
    if (Status status = eval_prompt(session, tokens, given.batch); !status) {
        figures->generated.reason = StopReason::interrupted;
        if (status.error().code != Code::interrupted) return status;
    } else {
        figures->prompt_tokens = static_cast<int64_t>(tokens.size());
        figures->prompt_seconds = seconds_now() - started;
        Sampler sampler = make_sampler(given, session.model(), figures->seed);
        for (const int32_t id : tokens) sampler.accept(id);
        const GenerateOptions options{.most = given.predict < 0 ? -1 : given.predict, .show_special = given.special,
                                      .begins_text = text.empty()};
        const auto show = [&](const ShownToken& token) { return printer(token); };
        TokenText shown(given.stops);
        LET(generated, generate(session, sampler, options, shown, show));
        TRY(show_rest(shown, show));
        figures->generated = std::move(generated);
    }
    return printer.end();
}

}  // namespace

Status run_command(Arguments arguments) {
    RunOptions given;
    LET(go_on, parse_run_options(arguments, &given));
    if (!go_on) return {};
    std::string text;
    if (given.prompt_given || !given.prompt_file.empty()) {
        LET(read, prompt_text(given));
        text = std::move(read);
    }

    Figures figures;
    std::string context_origin;
    const double started = seconds_now();
    LET(session, open_session(given, &context_origin));
    figures.load_seconds = seconds_now() - started;
    figures.seed = given.seed < 0 ? seed_from_clock() : static_cast<uint64_t>(given.seed);

    if (given.chat) {
        LET(settings, chat_settings(given, session->model()));
        say_notes(given, *session, context_origin);
        return chat(given, *session, make_sampler(given, session->model(), figures.seed), std::move(settings), text);
    }
    LET(tokens, prompt_tokens(session->model(), text));
    if (static_cast<int64_t>(tokens.size()) > session->context())
        return usage_error(format_text("the prompt has %zu tokens, the context holds %lld: shorten it or raise -c", tokens.size(),
                                       static_cast<long long>(session->context())));
    say_notes(given, *session, context_origin);
    if (given.verbose_prompt) show_prompt_tokens(session->model().tokenizer(), tokens);

    TRY(continue_prompt(given, *session, text, tokens, &figures));
    if (figures.generated.reason == StopReason::context_full)
        log_warning(format_text("stopped: the context of %lld tokens is full (-c raises it)", static_cast<long long>(session->context())));
    say_summary(figures);
    if (given.stats) TRY(say_stats(given, *session, figures));
    if (figures.generated.reason == StopReason::interrupted) return Error{Code::interrupted, "interrupted"};
    return {};
}

}  // namespace quant
