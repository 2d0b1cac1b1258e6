// Texts to windows; the work itself lies beside this file.
#include "convert/calibrate/calibration.h"

#include "base/file.h"
#include "base/log.h"
#include "convert/calibrate/checkpoint.h"
#include "convert/calibrate/effort.h"
#include "convert/calibrate/ranges.h"
#include "convert/calibrate/sequential.h"
#include "convert/calibrate/statistics.h"
#include "kernels/kernels.h"
#include "model/model.h"
#include "version.h"

namespace quant {

Result<std::vector<int32_t>> calibration_windows(const Model& model, const CalibrationOptions& options) {
    std::vector<int32_t> tokens;
    const auto wanted =
        static_cast<size_t>(options.windows < 0 ? int64_t{1} << 40 : options.windows * options.window);
    for (const TextFile& file : options.texts) {
        if (tokens.size() >= wanted) break;
        LET(text, file.read());
        const auto ids = model.tokenizer().encode(text, tokens.empty(), false);
        tokens.insert(tokens.end(), ids.begin(), ids.end());
    }
    const auto window = static_cast<size_t>(options.window);
    if (tokens.size() < 2 * window)
        return input_error(escaped(options.texts.front().path()) +
                           format_text(": %zu tokens of calibration text, expected at least %zu "
                                       "(two windows)",
                                       tokens.size(), 2 * window));
    tokens.resize(std::min(tokens.size(), wanted) / window * window);
    const Vocabulary& vocabulary = model.tokenizer().vocabulary();
    if (vocabulary.add_bos && vocabulary.bos >= 0)
        for (size_t i = 0; i < tokens.size(); i += window) tokens[i] = vocabulary.bos;
    return tokens;
}

std::string dataset_name(const CalibrationOptions& options) {
    std::string name;
    for (const TextFile& file : options.texts) name += (name.empty() ? "" : ", ") + file.name();
    return name;
}

Result<Calibrator> Calibrator::open(std::shared_ptr<const Model> model, const CalibrationOptions& options, int threads,
                                    CalibrationProgress progress) {
    Calibrator out;
    LET(tokens, calibration_windows(*model, options));
    out.model_ = std::move(model);
    out.tokens_ = std::move(tokens);
    out.options_ = options;
    out.dataset_ = dataset_name(options);
    out.pool_ = std::make_unique<ThreadPool>(threads);
    out.progress_ = std::move(progress);
    return out;
}

Status Calibrator::keep_journal(const std::string& path) {
    Fingerprint work;
    // Another version or instruction set might round otherwise.
    const std::string made_by = std::string(kVersion) + kernels().isa;
    work.add(made_by.data(), made_by.size());
    work.add(&options_.window, sizeof options_.window);
    work.add(tokens_.data(), tokens_.size() * sizeof(int32_t));
    for (const TensorInfo& tensor : model_->gguf().tensors()) work.add_tensor(tensor);
    LET(journal, Journal::open(path, work.value()));
    journal_ = std::make_unique<Journal>(std::move(journal));
    return {};
}

Result<std::vector<TensorSensitivity>> Calibrator::measure(const std::vector<std::string>& names,
                                                           const std::vector<const Format*>& candidates, bool feedback) {
    SensitivityOptions options = sensitivity_options(*model_, names, windows(), options_);
    options.candidates = candidates;
    options.feedback = feedback;
    options.journal = journal_.get();
    return measure_sensitivities(*model_, names, shortened(tokens_, options_.window, options.window), options, *pool_,
                                 [this](int64_t done, int64_t total, const std::string& what) {
                                     return !progress_ || progress_("measure", done, total, what);
                                 });
}

Result<TimeEstimate> Calibrator::estimate(const Plan& plan, const WorkToCome& work) {
    return estimate_time(*model_, plan, work, tokens_, options_, *pool_);
}

Result<ImportanceMatrix> Calibrator::importance() {
    StatisticsOptions options;
    options.window = options_.window;
    options.memory = options_.memory;
    options.output = true;
    LET(found, collect_statistics(*model_, tokens_, options, *pool_, [this](int64_t done, int64_t total, const std::string& what) {
            return !progress_ || progress_("statistics", done, total, what);
        }));
    return importance_of(found.sums);
}

Result<RoundedTensors> Calibrator::round(const Plan& plan) {
    SequentialOptions options = sequential_options(options_);
    options.journal = journal_.get();
    return round_sequentially(*model_, plan, tokens_, options, *pool_,
                              [this](int64_t done, int64_t total, const std::string& what) {
                                  return !progress_ || progress_("calibrate", done, total, what);
                              });
}

Result<ActivationRanges> Calibrator::ranges(ObserverKind kind) {
    return observe_ranges(*model_, tokens_, kind, options_.window, options_.memory, *pool_, [this](int64_t done, int64_t total, const std::string& what) {
        return !progress_ || progress_("observe", done, total, what);
    });
}

Result<Corrections> Calibrator::correct(const Model& rounded, CorrectionOptions options) {
    options.window = options_.window;
    options.memory = options_.memory;
    return find_corrections(*model_, rounded, tokens_, options, *pool_, [this](int64_t done, int64_t total, const std::string& what) {
        return !progress_ || progress_("correct", done, total, what);
    });
}

}  // namespace quant
