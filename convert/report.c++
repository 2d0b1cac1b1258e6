// The command `report`: a quantized model beside its original, as one page.
#include <filesystem>
#include <memory>
#include <utility>

#include "base/file.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/threads.h"
#include "cli/output.h"
#include "cli/shared_options.h"
#include "convert/calibrate/calibration.h"
#include "convert/commands.h"
#include "convert/phase_progress.h"
#include "convert/report/make_report.h"
#include "convert/runnable.h"

namespace quant {

namespace {

struct Settings {
    std::vector<std::string> positional;  // ORIGINAL QUANTIZED
    std::vector<TextFile> texts;
    ReportRequest request;
    int64_t threads = 0;
    bool quiet = false;
};

Options describe(Settings& s) {
    Options options("quant report ORIGINAL QUANTIZED [options]",
                    "Writes one self-contained HTML page on a quantized model: sizes, errors, and on a text the KL divergence against size.",
                    "  quant report model-f16.gguf model-q4.gguf -o report.html -f book.txt\n"
                    "  quant quantize model-f16.gguf model-q4.gguf q4 --calibrate book.txt --report report.html   the same while quantizing");
    options.positional(&s.positional, 2, 2);
    options.text("-o --output", "FILE", "the page (default report.html)", &s.request.path);
    options.call("-f --file", "TEXT", "run both models on this text; repeatable. Without it nothing is run",
                 [&s](const std::string& path) { return s.texts.push_back(path), Status{}; });
    options.integer("-c --ctx-size", "N", "tokens of a window (default 512)", &s.request.window, 16, 1 << 20);
    options.integer("--chunks", "N", "at most so many windows (default: by the model's size, at most 8)", &s.request.windows, -1, int64_t{1} << 30);
    options.flag("--force", "replace an existing page", &s.request.force);
    add_threads(options, &s.threads);
    options.flag("-q --quiet", "errors only", &s.quiet);
    return options;
}

}  // namespace

Status report_command(Arguments arguments) {
    Settings s;
    s.request.path = "report.html";
    Options options = describe(s);
    LET(proceed, options.parse(arguments));
    if (!proceed) return {};
    set_log_level(s.quiet ? LogLevel::quiet : LogLevel::normal);
    s.request.threads = s.threads > 0 ? static_cast<int>(s.threads) : default_threads();
    ReportSubject subject;
    subject.input = s.positional[0];
    subject.output = s.positional[1];
    LET(source, open_source(subject.input));
    TRY(AtomicFile::check(s.request.path, s.request.force, source->files()));
    LET(quantized, Gguf::open(subject.output));
    const auto name = quantized.metadata().get_i64("general.file_type");
    const auto recipe = name && *name ? find_recipe(std::to_string(**name)) : usage_error("");
    subject.type = recipe ? recipe->name : "";
    subject.source = source.get();
    PhaseProgress progress;
    s.request.progress = progress.callback();
    if (s.texts.empty()) {
        subject.text_note = "Not measured: no text was given (-f TEXT).";
    } else {
        QuantizeOptions conversion;
        conversion.input = subject.input;
        conversion.threads = s.request.threads;
        conversion.calibration_progress = s.request.progress;
        LET(model, load_runnable(conversion, s.request.path));
        LET(text, report_text(*model, s.texts, s.request.window, 0, s.request.windows > 0 ? s.request.windows : 64));
        subject.model = std::move(model);
        subject.tokens = std::move(text.tokens);
        CalibrationOptions names;
        names.texts = s.texts;
        subject.text_note = "On " + dataset_name(names) + ":";
    }
    TRY(write_report(subject, s.request));
    progress.finish();
    return s.quiet ? Status() : write_output(escaped(s.request.path) + ": written\n");
}

}  // namespace quant
