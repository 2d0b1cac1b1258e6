// Which text is judged on: the one given, else what calibration has not seen of its own, else that itself, and it is said.
#include "convert/quantize_report.h"

#include "base/log.h"
#include "convert/calibrate/calibration.h"
#include "convert/report/make_report.h"
#include "convert/runnable.h"

namespace quant {

namespace {

constexpr int64_t kMostWindows = 64;

std::string names_of(const std::vector<TextFile>& texts) {
    CalibrationOptions options;
    options.texts = texts;
    return dataset_name(options);
}

Status choose_text(const QuantizeOptions& options, const QuantizeReport& report, ReportSubject& subject) {
    const bool own = !options.report_texts.empty();
    const std::vector<TextFile>& texts = own ? options.report_texts : options.calibration.texts;
    LET(text, report_text(*subject.model, texts, options.calibration.window, own ? 0 : report.calibration_windows, kMostWindows));
    subject.tokens = std::move(text.tokens);
    if (own) subject.text_note = "On " + names_of(texts) + ":";
    else if (text.behind) subject.text_note = "On the part of " + names_of(texts) + " behind the windows of calibration:";
    else subject.text_note = "On " + names_of(texts) + ", the calibration text itself, which flatters (give another with --report-text):";
    return {};
}

std::string how_made(const QuantizeOptions& options, const QuantizeReport& report) {
    std::string text = report.plan.recipe.name;
    if (report.estimated_divergence >= 0) text += ", formats chosen by measured cost";
    if (report.calibration_windows > 0)
        text += format_text(", error feedback on %lld windows of %lld tokens of ", static_cast<long long>(report.calibration_windows),
                            static_cast<long long>(options.calibration.window)) + names_of(options.calibration.texts);
    else if (!options.importance_path.empty()) text += ", rounded with an importance matrix";
    return text + format_text(", %.0f s with %d threads", report.seconds, report.threads);
}

}  // namespace

Status report_on(const QuantizeOptions& options, const QuantizeReport& report, const Source& source, std::shared_ptr<const Model> model) {
    ReportSubject subject;
    subject.input = options.input;
    subject.output = report.outputs.front();
    subject.type = report.plan.recipe.name;
    subject.how = how_made(options, report);
    subject.source = &source;
    for (const PlannedTensor& tensor : report.plan.tensors) subject.why[tensor.out.name] = tensor.reason;
    for (const TransformGain& gain : report.transform_gains)
        subject.gains.push_back({gain.layer < 0 ? gain.site : "blk." + std::to_string(gain.layer) + " " + gain.site, gain.transform,
                                 gain.loss_before, gain.loss_after, gain.kept});
    subject.model = std::move(model);
    if (options.report_texts.empty() && options.calibration.texts.empty()) {
        subject.text_note = "Not measured: no text was given (--report-text TEXT).";
    } else {
        if (!subject.model) {
            LET(loaded, load_runnable(options, report.outputs.front()));
            subject.model = std::move(loaded);
        }
        TRY(choose_text(options, report, subject));
    }
    ReportRequest request;
    request.path = options.report_file;
    request.force = options.force;
    request.window = options.calibration.window;
    request.memory = options.calibration.memory;
    request.threads = report.threads;
    request.progress = options.calibration_progress;
    return write_report(subject, request);
}

}  // namespace quant
