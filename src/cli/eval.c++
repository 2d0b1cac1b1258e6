// `quant eval`: perplexity of a model on a text, divergence from another model, raw logits of given tokens.
#include <cctype>
#include <chrono>
#include <cmath>
#include <sstream>

#include "base/file.h"
#include "base/json_writer.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/signals.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/shared_options.h"
#include "model/judge.h"

namespace quant {
namespace {

constexpr uint64_t kMaxTextBytes = uint64_t{1} << 30;

struct EvalOptions {
    std::string model, base, text_file, tokens, logits_file;
    int64_t window = 512, windows = -1, batch = 512, threads = 0;
    KvType k_type = KvType::f16, v_type = KvType::f16;
    std::vector<AdapterChoice> adapters;  // of `model`; the base stays as it is
    ActivationForm activations;           // likewise
    bool mix_kv = true;
    bool exact = false, json = false, force = false;
};

void add_rounding(Options& options, EvalOptions* out) {
    options.call("--activations", "FORM",
                 "round what every weight of the layers reads: int8, int4 (a scale per token), int4,g32 (per 32 values), int8,static (the file's)",
                 [out](const std::string& text) { return parse_activations(text, &out->activations); });
    options.flag("--rotate-activations", "round them times a Hadamard matrix, as if the weights were rotated",
                 &out->activations.rotate);
    options.call_flag("--no-cache-rotation", "a q4_0 cache without the Hadamard rotation of keys and values", [out] {
        out->mix_kv = false;
        return Status{};
    });
}

Result<bool> parse_eval_options(Arguments arguments, EvalOptions* out) {
    Options options("quant eval -m MODEL -f TEXT [options]",
                    "Perplexity of a model on a text, KL divergence from another model.",
                    "  quant eval -m model-q4.gguf -f book.txt -c 512 --chunks 16\n"
                    "  quant eval -m model-q4.gguf --base model-f16.gguf -f book.txt\n"
                    "  quant eval -m model-q4.gguf --base model-f16.gguf -f book.txt --activations int4 -ctk q4_0 -ctv q4_0\n"
                    "  quant eval -m model.gguf --tokens 1,403,407 --logits logits.f32");
    options.text("-m --model", "FILE", "model, a GGUF file (of a split model the first)", &out->model);
    options.text("-f --file", "FILE", "text to judge the model on; - is standard input", &out->text_file);
    add_adapters(options, &out->adapters);
    options.text("--base", "FILE", "model to compare with: divergence of every prediction from its own",
                 &out->base);
    options.integer("-c --ctx-size", "N", "tokens of a window (default 512)", &out->window, 4,
                    limits::kContext);
    options.integer("--chunks", "N", "at most so many windows, -1 = all (default -1)", &out->windows, -1,
                    int64_t{1} << 40);
    options.flag("--exact",
                 "decoded weights and f32 activations instead of the fast int8 products (both models)",
                 &out->exact);
    options.text("--tokens", "IDS", "token ids, separated by commas or spaces, or a file of them",
                 &out->tokens);
    options.text("--logits", "FILE", "write the logits of --tokens: a row per token, f32 little-endian",
                 &out->logits_file);
    options.flag("--force", "replace an existing logits file", &out->force);
    add_batch(options, &out->batch);
    add_threads(options, &out->threads);
    add_cache_types(options, &out->k_type, &out->v_type);
    add_rounding(options, out);
    options.flag("--json", "one JSON object on standard output", &out->json);
    options.call_flag("-v --verbose", "say more: kernels in use, memory", [] {
        set_log_level(LogLevel::verbose);
        return Status{};
    });
    options.call_flag("--quiet", "only errors on standard error", [] {
        set_log_level(LogLevel::quiet);
        return Status{};
    });
    LET(go, options.parse(with_joined_scales(arguments)));
    if (!go) return false;
    if (out->model.empty()) return usage_error("which model? (-m FILE)");
    const bool writes = !out->tokens.empty() || !out->logits_file.empty();
    if (writes && (out->tokens.empty() || out->logits_file.empty()))
        return usage_error("--tokens IDS and --logits FILE belong together");
    if (writes == !out->text_file.empty())
        return usage_error("give a text (-f FILE) or --tokens IDS --logits FILE");
    if (out->activations.rotate && out->activations.bits == 0)
        return usage_error("--rotate-activations says how --activations FORM rounds");
    if (out->activations.rotate && out->activations.stored)
        return usage_error("--rotate-activations: stored ranges are those of activations as they are");
    if (writes && !out->base.empty())
        return usage_error("--base compares on a text (-f FILE), not on --tokens");
    return true;
}

// Groups must fit the rows of everything that is rounded.
Status check_activations(const std::string& path, const Model& model, const ActivationForm& form) {
    const Config& c = model.config();
    if (form.stored && model.activation_ranges().empty())
        return usage_error(escaped(path) + ": no ranges of activations in it (quant quantize --activations static stores them)");
    if (form.group == 0) return {};
    for (const int64_t width : {c.embedding, c.attention_width(), c.experts > 0 ? c.expert_feed_forward : c.feed_forward})
        if (width % form.group != 0)
            return usage_error(escaped(path) + format_text(": activations of %lld values, expected a multiple of the group of %lld",
                                                           static_cast<long long>(width), static_cast<long long>(form.group)));
    return {};
}

Result<std::unique_ptr<Session>> open_session(const std::string& path, const EvalOptions& given,
                                              int64_t context, bool as_base = false) {
    LET(model, Model::load(path));
    if (context > model->config().context)
        log_warning(escaped(path) +
                    format_text(": a window of %lld is longer than the %lld tokens the model was made for",
                                static_cast<long long>(context),
                                static_cast<long long>(model->config().context)));
    SessionOptions options;
    options.context = context;
    options.batch = given.batch;
    const bool rounds = given.activations.bits > 0;
    options.threads = static_cast<int>(given.threads);
    options.exact = given.exact || rounds;
    // What is judged is the model's; the base stays as good as it can be.
    const auto kept = [as_base](KvType type) { return as_base && type != KvType::f32 ? KvType::f16 : type; };
    options.k_type = kept(given.k_type);
    options.v_type = kept(given.v_type);
    if (!as_base) {
        if (rounds) TRY(check_activations(path, *model, given.activations));
        options.activations = given.activations;
        options.mix_kv = given.mix_kv;
        LET(adapters, load_adapters(given.adapters));
        options.adapters = std::move(adapters);
    }
    return Session::create(model, options);
}

// Said once nothing about the input can be wrong any more: an error is the only line then.
void announce(const std::string& path, const Session& session, const EvalOptions& given) {
    std::string rounding;
    if (&path == &given.model && given.activations.bits > 0)
        rounding = format_text(", activations int%d%s", given.activations.bits, given.activations.rotate ? " rotated" : "");
    if (&path == &given.model && (given.k_type == KvType::q4_0 || given.v_type == KvType::q4_0))
        rounding += given.mix_kv ? ", cache rotated" : ", cache not rotated";
    log_info(escaped(path) + ": " + session.model().description() + ", " + kernels().isa +
             (given.exact || given.activations.bits > 0 ? ", exact" : "") + rounding);
    std::istringstream kernels_in_use(session.kernel_summary());
    for (std::string line; std::getline(kernels_in_use, line);) log_verbose(line);
}

Result<std::vector<int32_t>> read_token_ids(const std::string& given) {
    const auto separates = [](char c) { return c == ',' || std::isspace(static_cast<unsigned char>(c)); };
    std::string text = given;
    for (const char c : given) {
        if (std::isdigit(static_cast<unsigned char>(c)) || separates(c)) continue;
        LET(content, read_text_file(given, kMaxTextBytes));
        text = std::move(content);
        break;
    }
    std::vector<int32_t> ids;
    for (size_t at = 0; at < text.size();) {
        if (separates(text[at])) {
            ++at;
            continue;
        }
        size_t end = at;
        while (end < text.size() && !separates(text[end])) ++end;
        LET(id, parse_integer(std::string_view(text).substr(at, end - at)));
        if (id < 0 || id >= int64_t{limits::kVocab})
            return usage_error("option --tokens: " + std::to_string(id) + " is no token id");
        ids.push_back(static_cast<int32_t>(id));
        at = end;
    }
    if (ids.empty()) return usage_error("option --tokens: no ids");
    return ids;
}

Status write_logits(const EvalOptions& given) {
    LET(ids, read_token_ids(given.tokens));
    LET(session, open_session(given.model, given, static_cast<int64_t>(ids.size())));
    LET(file, AtomicFile::create(given.logits_file, given.force, session->model().gguf().file_ids()));
    const auto vocab = static_cast<size_t>(session->model().config().vocab);
    const size_t most = std::max<size_t>(1, (size_t{64} << 20) / (vocab * sizeof(float)));
    for (size_t at = 0; at < ids.size(); at += most) {
        const size_t rows = std::min(most, ids.size() - at);
        TRY(session->eval(std::span(ids).subspan(at, rows), LogitsOf::all));
        if (at == 0) announce(given.model, *session, given);
        for (size_t i = 0; i < rows; ++i) {
            const auto row = session->logits(static_cast<int64_t>(i));
            TRY(file.write({reinterpret_cast<const uint8_t*>(row.data()), row.size_bytes()}));
        }
        if (interrupted()) return Error{Code::interrupted, "interrupted"};
    }
    TRY(file.commit(ids.size() * vocab * sizeof(float)));
    return write_output(
        format_text("%s: %zu rows of %zu logits\n", escaped(given.logits_file).c_str(), ids.size(), vocab));
}

std::string as_text(const Judgement& j, const EvalOptions& given) {
    std::string text = format_text("perplexity %.4f +/- %.4f (%lld tokens in %lld windows of %lld)\n",
                                   j.perplexity.value, j.perplexity.error, static_cast<long long>(j.tokens),
                                   static_cast<long long>(j.windows), static_cast<long long>(given.window));
    if (!j.compared) return text;
    text += format_text("base       %.4f +/- %.4f, ratio %.4f +/- %.4f\n", j.base_perplexity.value,
                        j.base_perplexity.error, std::exp(j.log_ratio.value),
                        std::exp(j.log_ratio.value) * j.log_ratio.error);
    text += format_text("KL divergence %.6f +/- %.6f nats\n", j.divergence.value, j.divergence.error);
    text += format_text("   median %.6f  90 %% %.6f  95 %% %.6f  99 %% %.6f  99.9 %% %.6f  max %.6f\n",
                        j.divergence_median, j.divergence_90, j.divergence_95, j.divergence_99,
                        j.divergence_999, j.divergence_max);
    text += format_text("same most likely token %.2f %% +/- %.2f\n", 100 * j.same_top.value,
                        100 * j.same_top.error);
    text += format_text("RMS change of p(token) %.3f %% +/- %.3f\n", 100 * j.change_rms.value,
                        100 * j.change_rms.error);
    return text;
}

std::string as_json(const Judgement& j, const EvalOptions& given, double seconds) {
    std::string text;
    JsonWriter json(text);
    const auto estimate = [&json](const char* name, const Estimate& e) {
        json.member(name, e.value);
        json.member(std::string(name) + "_error", e.error);
    };
    json.begin_object();
    json.member("model", given.model);
    if (j.compared) json.member("base", given.base);
    json.member("text", given.text_file);
    json.member("exact", given.exact);
    json.member("window", given.window);
    json.member("windows", j.windows);
    json.member("tokens", j.tokens);
    json.member("seconds", seconds);
    estimate("perplexity", j.perplexity);
    if (j.compared) {
        estimate("base_perplexity", j.base_perplexity);
        estimate("log_perplexity_ratio", j.log_ratio);
        estimate("kl_divergence", j.divergence);
        json.member("kl_median", j.divergence_median);
        json.member("kl_90", j.divergence_90);
        json.member("kl_95", j.divergence_95);
        json.member("kl_99", j.divergence_99);
        json.member("kl_99_9", j.divergence_999);
        json.member("kl_max", j.divergence_max);
        estimate("same_top", j.same_top);
        estimate("rms_change", j.change_rms);
    }
    json.end_object();
    return text + "\n";
}

Status judge_text(const EvalOptions& given) {
    LET(text, read_text_file(given.text_file, kMaxTextBytes));
    LET(session, open_session(given.model, given, given.window));
    std::unique_ptr<Session> base;
    if (!given.base.empty()) {
        LET(opened, open_session(given.base, given, given.window, true));
        base = std::move(opened);
    }
    const std::vector<int32_t> tokens = session->model().tokenizer().encode(text, true, false);
    if (base && base->model().tokenizer().encode(text, true, false) != tokens)
        return usage_error(escaped(given.base) +
                           ": its tokenizer splits the text differently; the models cannot be compared");
    JudgeOptions options;
    options.window = given.window;
    options.windows = given.windows;
    const auto windows = judged_windows(tokens.size(), options);
    if (!windows) return Error{windows.error().code, escaped(given.text_file) + ": " + windows.error().text};
    announce(given.model, *session, given);
    if (base) announce(given.base, *base, given);
    const auto started = std::chrono::steady_clock::now();
    Progress progress("eval", "tokens", static_cast<uint64_t>(*windows * given.window));
    options.progress = [&, seen = size_t{0}, surprise = 0.0,
                        divergence = 0.0](std::span<const TokenScore> scores) mutable -> Status {
        for (; seen < scores.size(); ++seen) {
            surprise += scores[seen].surprise;
            divergence += scores[seen].divergence;
        }
        const auto count = static_cast<double>(seen);
        progress.note(format_text("perplexity %.4f", std::exp(surprise / count)) +
                      (base ? format_text(", KL %.6f", divergence / count) : ""));
        progress.advance(static_cast<uint64_t>(given.window));
        if (interrupted()) return Error{Code::interrupted, "interrupted"};
        return {};
    };
    auto judged = judge(*session, base.get(), tokens, options);
    progress.finish();
    if (!judged) return judged.error();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
    return write_output(given.json ? as_json(*judged, given, seconds) : as_text(*judged, given));
}

}  // namespace

Status eval_command(Arguments arguments) {
    EvalOptions given;
    LET(go, parse_eval_options(arguments, &given));
    if (!go) return {};
    return given.tokens.empty() ? judge_text(given) : write_logits(given);
}

}  // namespace quant
