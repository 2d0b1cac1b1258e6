// `quant bench`: prompt and generation speed, measured through the calls that `run` makes.
#include <algorithm>
#include <map>
#include <sstream>

#include "base/cpu.h"
#include "base/file.h"
#include "base/json_writer.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/signals.h"
#include "base/threads.h"
#include "cli/commands.h"
#include "cli/generate.h"
#include "cli/output.h"
#include "cli/roofline.h"
#include "cli/shared_options.h"

namespace quant {

namespace {

struct BenchOptions {
    std::vector<std::string> models;
    std::vector<int64_t> prompts{512}, generations{128}, depths{0}, threads;
    int64_t repetitions = 5, batch = 512;
    KvType k_type = KvType::f16, v_type = KvType::f16;
    std::vector<AdapterChoice> adapters;
    bool exact = false, json = false;
    MappedFile::Mode load = MappedFile::Mode::map;
};

// One line of the result. Either a prompt of `tokens` taken at once or `tokens` generated one by one,
// after `depth` tokens that are already in the cache.
struct Test {
    bool prompt = true;
    int64_t tokens = 0, depth = 0;
    int threads = 0;
    std::string model, description;
    uint64_t model_bytes = 0;
    std::vector<double> rates;  // tokens/s of each repetition, sorted
    double limit = 0;           // tokens/s that the machine's limits would allow, 0: not known

    std::string name() const {
        return (prompt ? "pp" : "tg") + std::to_string(tokens) + (depth ? " @ d" + std::to_string(depth) : "");
    }
    double median() const {
        const size_t middle = rates.size() / 2;
        return rates.size() % 2 ? rates[middle] : (rates[middle - 1] + rates[middle]) / 2;
    }
};

// "512", "1,2,4", also given several times: the first one replaces the default.
std::function<Status(const std::string&)> list_of(std::vector<int64_t>* target, int64_t low, int64_t high) {
    return [=, first = true](const std::string& text) mutable -> Status {
        if (first) target->clear();
        first = false;
        std::istringstream stream(text);
        for (std::string part; std::getline(stream, part, ',');) {
            LET(number, parse_integer(part));
            if (number < low || number > high)
                return usage_error(format_text("expected numbers from %lld to %lld, found %lld", static_cast<long long>(low),
                                               static_cast<long long>(high), static_cast<long long>(number)));
            target->push_back(number);
        }
        return target->empty() ? Status(usage_error("expected numbers separated by commas")) : Status{};
    };
}

Result<bool> parse(Arguments arguments, BenchOptions* out) {
    Options options("quant bench -m MODEL [options]", "Measures prompt and generation speed. Lists are separated by commas.",
                    "  quant bench -m model.gguf\n  quant bench -m q4.gguf,q8.gguf -p 128,512 -n 0 -t 1,2,4 -r 3 --json");
    options.call("-m --model", "FILES", "models; of a split model the first file", [out](const std::string& text) {
        std::istringstream stream(text);
        for (std::string part; std::getline(stream, part, ',');) out->models.push_back(part);
        return Status{};
    });
    options.call("-p --n-prompt", "LIST", "tokens of a prompt, 0 = no such test (default 512)", list_of(&out->prompts, 0, limits::kContext));
    options.call("-n --n-gen", "LIST", "tokens to generate, 0 = no such test (default 128)", list_of(&out->generations, 0, limits::kContext));
    options.call("-d --n-depth", "LIST", "tokens in the cache before the test (default 0)", list_of(&out->depths, 0, limits::kContext));
    options.call("-t --threads", "LIST", "threads (default: the physical cores)", list_of(&out->threads, 1, kMaxThreads));
    options.integer("-r --repetitions", "N", "repetitions of each test (default 5)", &out->repetitions, 1, 1000);
    add_batch(options, &out->batch);
    add_adapters(options, &out->adapters);
    add_cache_types(options, &out->k_type, &out->v_type);
    options.flag("--exact", "decoded weights and f32 activations instead of the fast int8 products", &out->exact);
    add_load_mode(options, &out->load);
    options.flag("--json", "print a JSON array", &out->json);
    options.call_flag("--quiet", "no progress on standard error", [] {
        set_log_level(LogLevel::quiet);
        return Status{};
    });
    LET(go_on, options.parse(with_joined_scales(arguments)));
    if (!go_on) return false;
    if (out->models.empty()) return usage_error("no model given: -m FILE (--help explains)");
    if (out->threads.empty()) out->threads.push_back(default_threads());
    return true;
}

std::vector<Test> tests_of(const BenchOptions& given, const Model& model, const std::string& path) {
    std::vector<Test> tests;
    const auto add = [&](bool prompt, int64_t tokens) {
        if (tokens == 0) return;
        for (const int64_t depth : given.depths)
            for (const int64_t threads : given.threads)
                tests.push_back({prompt, tokens, depth, static_cast<int>(threads), path, model.description(), model.gguf().file_bytes(), {}, 0});
    };
    for (const int64_t tokens : given.prompts) add(true, tokens);
    for (const int64_t tokens : given.generations) add(false, tokens);
    return tests;
}

// One repetition from position `depth` on; seconds.
Result<double> measure_once(Session& session, const Test& test, std::span<const int32_t> tokens, int64_t batch) {
    session.truncate(test.depth);
    const double started = seconds_now();
    if (test.prompt) {
        TRY(eval_prompt(session, tokens, batch));
    } else {
        for (const int32_t& id : tokens) {
            if (interrupted()) return Error{Code::interrupted, "interrupted"};
            TRY(session.eval({&id, 1}));
        }
    }
    return seconds_now() - started;
}

// Measured once for each number of threads.
const MachineLimits& limits_of(ThreadPool& pool) {
    static std::map<int, MachineLimits> known;
    const auto found = known.find(pool.size());
    return found != known.end() ? found->second : known.emplace(pool.size(), measure_limits(pool)).first->second;
}

Status measure(const BenchOptions& given, std::shared_ptr<const Model> model, Test* test, Progress* progress) {
    SessionOptions options;
    options.context = test->depth + test->tokens;
    options.batch = std::min(given.batch, options.context);
    options.k_type = given.k_type;
    options.v_type = given.v_type;
    options.threads = test->threads;
    options.exact = given.exact;
    LET(adapters, load_adapters(given.adapters));
    options.adapters = std::move(adapters);
    LET(session, Session::create(model, options));
    // What the tokens are does not matter to the time of a dense model; experts want variety.
    Rng rng(1);
    const auto tokens_of = [&](int64_t count) {
        std::vector<int32_t> tokens(static_cast<size_t>(count));
        for (int32_t& id : tokens) id = static_cast<int32_t>(rng.below(static_cast<uint64_t>(model->config().vocab)));
        return tokens;
    };
    TRY(eval_prompt(*session, tokens_of(test->depth), given.batch));
    const std::vector<int32_t> tokens = tokens_of(test->tokens);
    TRY(measure_once(*session, *test, std::span(tokens).first(std::min<size_t>(tokens.size(), test->prompt ? tokens.size() : 4)),
                     given.batch));  // the first pass reads the file and wakes the threads
    for (int64_t i = 0; i < given.repetitions; ++i) {
        LET(seconds, measure_once(*session, *test, tokens, given.batch));
        test->rates.push_back(static_cast<double>(test->tokens) / seconds);
        progress->advance(1);
        progress->note(test->name() + format_text(" %.1f tokens/s", test->rates.back()));
    }
    std::sort(test->rates.begin(), test->rates.end());
    const MachineLimits& limits = limits_of(session->threads());
    test->limit = test->prompt ? prompt_limit(*model, limits, given.exact)
                               : generation_limit(*model, limits, session->kv_bytes() / static_cast<uint64_t>(options.context), test->depth);
    return {};
}

std::string results_json(const BenchOptions& given, const std::vector<Test>& tests) {
    std::string out;
    JsonWriter json(out);
    json.begin_array();
    for (const Test& test : tests) {
        json.begin_object();
        json.member("model", test.model);
        json.member("description", test.description);
        json.member("model_bytes", test.model_bytes);
        json.member("cpu", cpu_name());
        json.member("isa", kernels().isa);
        json.member("threads", test.threads);
        json.member("cache_type_k", kv_type_name(given.k_type));
        json.member("cache_type_v", kv_type_name(given.v_type));
        json.member("exact", given.exact);
        json.member("test", test.name());
        json.member("prompt", test.prompt ? test.tokens : 0);
        json.member("generated", test.prompt ? 0 : test.tokens);
        json.member("depth", test.depth);
        json.member("median", test.median());
        json.member("min", test.rates.front());
        json.member("max", test.rates.back());
        if (test.limit > 0) json.member("limit", test.limit);
        json.key("tokens_per_second");
        json.begin_array();
        for (const double rate : test.rates) json.value(rate);
        json.end_array();
        json.end_object();
    }
    json.end_array();
    return out + "\n";
}

std::string results_text(const std::vector<Test>& tests) {
    Table table({{"model"}, {"size", true}, {"threads", true}, {"test"}, {"tokens/s", true}, {"min - max", true}, {"of the limit", true}});
    for (const Test& test : tests)
        table.row({test.description, human_bytes(test.model_bytes), std::to_string(test.threads), test.name(),
                   format_text("%.2f", test.median()), format_text("%.2f - %.2f", test.rates.front(), test.rates.back()),
                   test.limit > 0 ? format_text("%.0f %%", 100 * test.median() / test.limit) : "-"});
    return cpu_name() + ", " + kernels().isa + "\n\n" + table.plain() +
           "\nThe limit: for a prompt one int8 multiplication after the other (f32 for float weights), for generation reading each\n"
           "weight once, at the rates this machine reached just now with as many threads.\n";
}

}  // namespace

Status bench_command(Arguments arguments) {
    BenchOptions given;
    LET(go_on, parse(arguments, &given));
    if (!go_on) return {};
    std::vector<Test> done;
    for (const std::string& path : given.models) {
        LET(model, Model::load(path, given.load));
        std::vector<Test> tests = tests_of(given, *model, path);
        if (tests.empty()) return usage_error("nothing to measure: -p and -n are both 0");
        Progress progress("bench " + escaped(path), "runs", tests.size() * static_cast<uint64_t>(given.repetitions));
        for (Test& test : tests) TRY(measure(given, model, &test, &progress));
        progress.finish();
        done.insert(done.end(), tests.begin(), tests.end());
    }
    return write_output(given.json ? results_json(given, done) : results_text(done));
}

}  // namespace quant
