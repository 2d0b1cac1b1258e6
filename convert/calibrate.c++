// The command `calibrate`: what a model's matrices read on a text, kept as an importance matrix and as Gram matrices.
#include <chrono>
#include <memory>
#include <utility>

#include "base/file.h"
#include "base/log.h"
#include "base/progress.h"
#include "cli/output.h"
#include "cli/shared_options.h"
#include "convert/calibrate/calibration.h"
#include "convert/calibrate/statistics.h"
#include "convert/commands.h"
#include "model/architecture.h"

namespace quant {

namespace {

struct Settings {
    std::vector<std::string> positional;  // MODEL TEXT...
    std::string output = "imatrix.gguf", grams;  // empty: none
    CalibrationOptions calibration;
    StatisticsOptions statistics;
    int64_t threads = 0, checkpoint_seconds = 30;
    bool force = false, fresh = false, quiet = false;
};

Options describe(Settings& s) {
    Options options("quant calibrate MODEL TEXT... [options]",
                    "Runs the unquantized model over texts and writes the importance matrix, in the form other tools read.",
                    "  quant calibrate model-f16.gguf book.txt -o imatrix.gguf\n"
                    "  quant quantize model-f16.gguf q2_k_s --imatrix imatrix.gguf\n"
                    "  quant calibrate model-f16.gguf book.txt --gram gram.gguf          what error feedback needs, too\n"
                    "  quant quantize model-f16.gguf q4_0 --gram gram.gguf");
    options.positional(&s.positional, 2, 1000);
    options.text("-o --output", "FILE", "default imatrix.gguf; the older form when it ends in .dat", &s.output);
    options.text("--gram", "FILE", "keep the Gram matrices of all inputs there, for quantize --gram (2 bytes per pair of columns)", &s.grams);
    options.integer("--chunks", "N", "at most so many windows of the texts, -1 = all (default 128)", &s.calibration.windows, -1, int64_t{1} << 30);
    options.integer("-c --ctx-size", "N", "tokens of a window (default 512)", &s.calibration.window, 16, 1 << 20);
    options.flag("--process-output", "the output matrix too", &s.statistics.output);
    options.call("--mem", "SIZE", "hidden states past so many bytes lie in TMPDIR, Gram matrices that need more take more passes (default 2G)", [&s](const std::string& size) -> Status {
        LET(bytes, parse_size(size));
        s.calibration.memory = bytes;
        return {};
    });
    options.integer("--checkpoint", "SECONDS", "save unfinished work this often, to go on from after a kill (default 30)",
                    &s.checkpoint_seconds, 0, 1 << 20);
    options.flag("--fresh", "begin anew even where unfinished work lies", &s.fresh);
    options.flag("--force", "replace an existing output", &s.force);
    add_threads(options, &s.threads);
    options.flag("-q --quiet", "errors only", &s.quiet);
    return options;
}

GramFacts facts_of(const Model& model, const CalibrationOptions& calibration, int64_t windows, double lookup_share) {
    GramFacts facts;
    const auto name = model.gguf().metadata().get_string("general.name");
    facts.model = name && *name ? **name : "";
    facts.architecture = model.architecture().name;
    facts.dataset = dataset_name(calibration);
    facts.windows = windows;
    facts.window = calibration.window;
    facts.lookup_share = static_cast<float>(lookup_share);
    return facts;
}

// What is said in the end.
std::string summary(const Settings& s, const CollectedStatistics& found, int64_t windows, double seconds) {
    std::string line = format_text("%s: %zu tensors, %lld windows of %lld tokens, %.1f s", escaped(s.output).c_str(), found.sums.size(),
                                   static_cast<long long>(windows), static_cast<long long>(s.calibration.window), seconds);
    if (found.continued_from > 0) line += format_text(", continued from layer %d", found.continued_from);
    if (!s.grams.empty())
        line += format_text("\n%s: %zu Gram matrices, ", escaped(s.grams).c_str(), found.gram_sites.size()) + human_bytes(gram_file_bytes(found.gram_sites));
    return line + "\n";
}

}  // namespace

Status calibrate_command(Arguments arguments) {
    Settings s;
    Options options = describe(s);
    LET(proceed, options.parse(arguments));
    if (!proceed) return {};
    set_log_level(s.quiet ? LogLevel::quiet : LogLevel::normal);
    s.calibration.texts.assign(s.positional.begin() + 1, s.positional.end());
    const auto started = std::chrono::steady_clock::now();
    LET(model, Model::load(s.positional.front()));
    TRY(AtomicFile::check(s.output, s.force, model->gguf().file_ids()));
    if (!s.grams.empty()) TRY(AtomicFile::check(s.grams, s.force, model->gguf().file_ids()));
    if (s.grams == s.output) return usage_error("--gram and --output name the same file");
    LET(tokens, calibration_windows(*model, s.calibration));
    s.statistics.window = s.calibration.window;
    s.statistics.memory = s.calibration.memory;
    s.statistics.checkpoint = s.output + ".unfinished";
    s.statistics.checkpoint_seconds = static_cast<double>(s.checkpoint_seconds);
    if (!s.grams.empty()) s.statistics.grams = s.grams + ".unfinished";
    if (s.fresh) syscalls().unlink(s.statistics.checkpoint.c_str());
    ThreadPool pool(s.threads > 0 ? static_cast<int>(s.threads) : default_threads());
    std::unique_ptr<Progress> bar;
    int64_t shown = 0;
    LET(found, collect_statistics(*model, tokens, s.statistics, pool, [&](int64_t done, int64_t total, const std::string& what) {
            if (!bar) {
                shown = done - 1;
                bar = std::make_unique<Progress>("calibrate", "windows", static_cast<uint64_t>(total - shown));
            }
            bar->note(what);
            bar->advance(static_cast<uint64_t>(done - std::exchange(shown, done)));
            return true;
        }));
    bar.reset();
    const int64_t windows = static_cast<int64_t>(tokens.size()) / s.calibration.window;
    if (!s.grams.empty())
        TRY(write_grams(s.grams, s.statistics.grams, found.gram_sites, facts_of(*model, s.calibration, windows, found.lookup_share), s.force));
    TRY(write_importance_matrix(s.output, found.sums, dataset_name(s.calibration), windows, s.calibration.window, s.force));
    syscalls().unlink(s.statistics.checkpoint.c_str());
    if (!s.grams.empty()) syscalls().unlink(s.statistics.grams.c_str());
    if (s.quiet) return {};
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
    return write_output(summary(s, found, windows, seconds));
}

}  // namespace quant
