// From options to a finished file: importance, plan, stream, writer. Prints nothing.
#include <algorithm>
#include <cctype>
#include <chrono>
#include <filesystem>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "base/file.h"
#include "base/log.h"
#include "base/threads.h"
#include "convert/import/merged_source.h"
#include "convert/calibrate/calibration.h"
#include "convert/import/source.h"
#include "convert/plan/budget.h"
#include "convert/plan/kernel_times.h"
#include "convert/plan/metadata_override.h"
#include "convert/plan/time_budget.h"
#include "convert/calibrate/ranges.h"
#include "convert/correct_output.h"
#include "convert/quantize.h"
#include "convert/quantize_checks.h"
#include "convert/quantize_report.h"
#include "convert/runnable.h"
#include "convert/saved_rounding.h"
#include "convert/transforms/bias_correction.h"
#include "convert/transforms/transforms.h"
#include "model/weights.h"

namespace quant {

namespace {

constexpr uint32_t kQuantizationVersion = 2;

bool contains_any(const std::string& name, const std::vector<std::string>& parts) {
    return std::any_of(parts.begin(), parts.end(), [&](const std::string& part) { return name.find(part) != std::string::npos; });
}

Result<std::optional<ImportanceMatrix>> read_importance(const QuantizeOptions& options) {
    std::optional<ImportanceMatrix> none;
    if (!options.include_weights.empty() && !options.exclude_weights.empty())
        return usage_error("--include-weights and --exclude-weights cannot be used together");
    if (options.importance_path.empty()) {
        if (!options.include_weights.empty() || !options.exclude_weights.empty())
            return usage_error("--include-weights and --exclude-weights choose from an importance matrix: give --imatrix FILE");
        return none;
    }
    LET(matrix, read_importance_matrix(options.importance_path));
    std::erase_if(matrix.entries, [&](const auto& entry) {
        if (!options.include_weights.empty()) return !contains_any(entry.first, options.include_weights);
        return contains_any(entry.first, options.exclude_weights);
    });
    if (matrix.entries.empty())
        return input_error(escaped(options.importance_path) + ": no importance entries" +
                           (options.include_weights.empty() && options.exclude_weights.empty() ? "" : " are left"));
    return std::optional<ImportanceMatrix>(std::move(matrix));
}

// An error with the option's name before it.
Status named(const char* option, Status status) {
    if (status) return status;
    return Error{status.error().code, std::string(option) + ": " + status.error().text};
}

Status set_format(const char* option, const std::string& name, const Format*& format) {
    if (name.empty()) return {};
    auto found = find_target_format(name);
    if (!found) return named(option, std::move(found.error()));
    format = *found;
    return {};
}

Result<TensorPatterns> read_patterns(const QuantizeOptions& options) {
    TensorPatterns patterns;
    for (const TensorTypeOption& option : options.tensor_types)
        TRY(named(option.file ? "--tensor-type-file" : "--tensor-type",
                  option.file ? patterns.add_file(option.text) : patterns.add(option.text)));
    return patterns;
}

// The source's keys in their order; what says how the file was made is set as stock quantizers do.
Result<Metadata> output_metadata(const Metadata& source, const Recipe& recipe, const ImportanceMatrix* importance,
                                 const QuantizeOptions& options) {
    Metadata metadata = source;
    for (const char* key : {"split.no", "split.count", "split.tensors.count"}) metadata.erase(key);
    if (!recipe.copy) {
        metadata.set("general.quantization_version", Value::of_u32(kQuantizationVersion));
        if (recipe.file_type >= 0) metadata.set("general.file_type", Value::of_u32(static_cast<uint32_t>(recipe.file_type)));
        else metadata.erase("general.file_type");
    }
    for (const std::string& row : options.override_metadata)
        TRY(named("--override-kv", override_metadata(row, metadata)));
    if (importance) {
        metadata.set("quantize.imatrix.file", Value::of_string(importance->file));
        if (!importance->datasets.empty())
            metadata.set("quantize.imatrix.dataset", Value::of_string(importance->datasets.front()));
        metadata.set("quantize.imatrix.entries_count", Value::of_u32(static_cast<uint32_t>(importance->entries.size())));
        if (importance->chunk_count > 0)
            metadata.set("quantize.imatrix.chunks_count", Value::of_u32(importance->chunk_count));
    }
    if (options.zero_nonfinite) metadata.set("quantize.nonfinite", Value::of_string("zero"));
    return metadata;
}

std::vector<TensorInfo> planned_tensors(const Plan& plan) {
    std::vector<TensorInfo> out;
    out.reserve(plan.tensors.size());
    for (const PlannedTensor& tensor : plan.tensors) out.push_back(tensor.out);
    return out;
}

void collect_warnings(const Plan& plan, const ImportanceMatrix* importance, const TensorPatterns& patterns, bool dry_run,
                      std::vector<std::string>& warnings) {
    if (importance && plan.without_importance > 0)
        warnings.push_back(format_text("%s: %zu matrices have no entry and count all weights the same, the first is %s",
                                       importance->file.c_str(), plan.without_importance,
                                       plan.first_without_importance.c_str()));
    if (const std::string unused = patterns.unused(); !unused.empty())
        warnings.push_back("--tensor-type: no tensor takes its format from " + unused);
    if (dry_run && !plan.needing_importance.empty())
        warnings.push_back(format_text("%zu tensors need an importance matrix, the first is %s: --imatrix FILE or --calibrate TEXT",
                                       plan.needing_importance.size(), plan.needing_importance.front().c_str()));
    if (!plan.first_own.empty() && (!plan.recipe.copy || plan.recipe.keep))
        warnings.push_back(plan.recipe.name + ": only quant can run this file, other GGUF programs refuse it; the first tensor is " +
                           plan.first_own);
}

// Everything a run needs before the first byte is written.
struct Job {
    std::shared_ptr<const Source> source;
    std::optional<ImportanceMatrix> importance;
    std::optional<GramFile> grams;
    TensorPatterns patterns;
    Metadata metadata;
    std::vector<TensorInfo> tensors;
    std::string output;
    GgufWriter::Options writer;
    std::shared_ptr<const Model> model;  // that calibration ran; null: none
};

// Where calibration's work lies until the output is written.
std::string journal_path(const Job& job) { return job.output + ".unfinished"; }

Result<Plan> plan_of(const Source& source, const QuantizeOptions& options, const Recipe& recipe, const Job& job) {
    PlanOptions choices;
    choices.recipe = recipe;
    choices.pure = options.pure;
    choices.leave_output = options.leave_output;
    choices.allow_requantize = options.allow_requantize;
    choices.palette_group = options.palette_group;
    TRY(set_format("--output-tensor-type", options.output_format, choices.output_format));
    TRY(set_format("--token-embedding-type", options.embedding_format, choices.embedding_format));
    choices.patterns = &job.patterns;
    choices.importance = job.importance ? &*job.importance : nullptr;
    choices.exact_formats = [&source](size_t tensor) { return source.exact_formats(tensor); };
    return make_plan(job.metadata, source.tensors(), choices);
}

// The model to convert, with adapters merged into it.
Result<std::unique_ptr<Source>> open_input(const QuantizeOptions& options) {
    LET(source, open_source(options.input, options.base));
    if (options.adapters.empty()) return source;
    std::vector<AdapterToMerge> adapters;
    for (const MergeOption& choice : options.adapters) {
        std::error_code unreadable;
        LET(adapter, open_source(choice.path, std::filesystem::is_directory(choice.path, unreadable) ? options.input : ""));
        adapters.push_back({std::move(adapter), choice.scale});
    }
    return merge_adapters(std::move(source), std::move(adapters));
}

// What the source says of each tensor joins the plan. Error: a changed tensor whose own format cannot be written.
Status add_notes(const Source& source, QuantizeReport& report) {
    Plan& plan = report.plan;
    size_t again = 0;
    for (size_t i = 0; i < plan.tensors.size(); ++i) {
        PlannedTensor& tensor = plan.tensors[i];
        const Format& format = *tensor.out.format;
        if (source.changed(i) && tensor.copies() && (!format.encodes || format.needs_importance || format.head))
            return usage_error("tensor " + tensor.out.name + ": cannot be encoded again as " + format.name + " after a change; name a type");
        again += source.changed(i) && tensor.from->kind == FormatKind::block;
        tensor.note = source.note(i, format);
    }
    if (again > 0)
        report.warnings.push_back(format_text("%zu tensors that adapters change are quantized already: merging into the original loses less", again));
    return {};
}

// The file's type is that of most of its repacked bytes, where there are any.
void set_kept_type(const Plan& plan, Metadata& metadata) {
    std::map<int32_t, uint64_t> bytes;
    for (const PlannedTensor& tensor : plan.tensors)
        if (tensor.repacked) bytes[tensor.out.format->file_type] += tensor.out.bytes;
    const auto most = std::max_element(bytes.begin(), bytes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
    if (most == bytes.end()) return;
    if (most->first >= 0) metadata.set("general.file_type", Value::of_u32(static_cast<uint32_t>(most->first)));
    else metadata.erase("general.file_type");
}

// What each tensor of the source becomes.
Status plan_job(const QuantizeOptions& options, const Recipe& recipe, QuantizeReport& report, Job& job) {
    LET(plan, plan_of(*job.source, options, recipe, job));
    report.plan = std::move(plan);
    TRY(add_notes(*job.source, report));
    if (recipe.keep) set_kept_type(report.plan, job.metadata);
    job.tensors = planned_tensors(report.plan);
    return {};
}

void describe_calibration(const std::string& dataset, int64_t windows, int64_t window, Metadata& metadata) {
    metadata.set("quantize.calibration.dataset", Value::of_string(dataset));
    metadata.set("quantize.calibration.windows", Value::of_u32(static_cast<uint32_t>(windows)));
    metadata.set("quantize.calibration.window", Value::of_u32(static_cast<uint32_t>(window)));
}

Result<Job> prepare(const QuantizeOptions& options, const Recipe& recipe, QuantizeReport& report) {
    Job job;
    LET(patterns, read_patterns(options));
    job.patterns = std::move(patterns);
    LET(importance, read_importance(options));
    job.importance = std::move(importance);
    LET(source, open_input(options));
    job.source = std::move(source);
    const ImportanceMatrix* matrix = job.importance ? &*job.importance : nullptr;
    LET(metadata, output_metadata(job.source->metadata(), recipe, matrix, options));
    job.metadata = std::move(metadata);
    report.warnings = job.source->warnings();
    TRY(plan_job(options, recipe, report, job));
    job.output = options.output.empty() ? default_output(options.input, recipe.name) : options.output;
    if (!options.gram_path.empty()) {
        LET(grams, GramFile::open(options.gram_path));
        TRY(check_grams(grams, report.plan, report.warnings));
        job.grams = std::move(grams);
        describe_calibration(job.grams->facts().dataset, job.grams->facts().windows, job.grams->facts().window, job.metadata);
    }
    job.writer.force = options.force;
    job.writer.inputs = job.source->files();
    job.writer.split_max_bytes = options.split_max_bytes;
    job.writer.keep_split = options.keep_split;
    collect_warnings(report.plan, matrix, job.patterns, options.dry_run, report.warnings);
    return job;
}

uint64_t bytes_of(const std::vector<TensorInfo>& tensors) {
    uint64_t sum = 0;
    for (const TensorInfo& tensor : tensors) sum += tensor.bytes;
    return sum;
}

void count_bytes(const Job& job, QuantizeReport& report) {
    report.input_bytes = job.source->bytes();
    for (const TensorInfo& tensor : job.source->tensors()) {
        report.source_tensor_bytes += tensor.format->tensor_bytes(tensor.cols(), tensor.rows(), tensor.group);
        report.weights += static_cast<uint64_t>(tensor.elements());
    }
}

Result<uint64_t> planned_bytes(const Job& job, const Plan& plan) {
    return GgufWriter::planned_bytes(job.output, job.metadata, planned_tensors(plan), job.writer);
}

// The size that the formats may come to.
Result<uint64_t> size_limit(const QuantizeOptions& options, const QuantizeReport& report, Job& job) {
    if (options.target_bytes) return options.target_bytes;
    if (options.target_bits > 0) return static_cast<uint64_t>(static_cast<double>(options.target_bits) / 8 * static_cast<double>(report.weights));
    if (options.like.empty() && options.target_ms > 0) return uint64_t{1} << 62;
    if (options.like.empty()) return planned_bytes(job, report.plan);
    LET(recipe, find_recipe(options.like));
    LET(plan, plan_of(*job.source, options, recipe, job));
    return planned_bytes(job, plan);
}

// By itself only in place of formats that could be chosen again: who asks for ternary or own types gets them.
bool chooses_formats(const QuantizeOptions& options, const Recipe& recipe) {
    if (options.target_bytes > 0 || options.target_bits > 0 || options.target_ms > 0 || !options.like.empty()) return true;
    const std::vector<const Format*> candidates = budget_candidates(options.rounding != Rounding::nearest);
    const bool replaceable = std::find(candidates.begin(), candidates.end(), &format_of(recipe.base)) != candidates.end();
    return replaceable && !options.keep_mix && !options.pure;
}

// Measures what each format costs each tensor and chooses formats within the limit.
Status choose_formats(const QuantizeOptions& options, Calibrator& calibrator, QuantizeReport& report, Job& job) {
    const std::vector<std::string> names = free_tensors(report.plan);
    if (names.empty()) return {};
    LET(limit, size_limit(options, report, job));
    const std::vector<const Format*> candidates = budget_candidates(options.rounding != Rounding::nearest);
    LET(measured, calibrator.measure(names, candidates, feeds_back(options)));
    Losses losses;
    for (TensorSensitivity& tensor : measured) losses.push_back(std::move(tensor.losses));
    const auto file_bytes = [&](const Plan& plan) { return planned_bytes(job, plan); };
    if (options.target_ms > 0) {
        ThreadPool pool(report.threads);
        LET(times, time_tokens(job.model, report.plan, candidates, pool));
        LET(spent, spend_time(report.plan, candidates, losses, times.free, options.target_ms / 1e3 - times.rest, times.rest, limit, file_bytes));
        report.estimated_divergence = spent.loss;
        report.expected_ms = 1e3 * (spent.seconds + times.rest);
    } else {
        LET(loss, spend_budget(report.plan, candidates, losses, limit, file_bytes));
        report.estimated_divergence = loss;
    }
    job.tensors = planned_tensors(report.plan);
    return {};
}

Status save_plan(const std::string& path, const Plan& plan, bool force) {
    const std::string rows = plan_as_rows(plan);
    LET(file, AtomicFile::create(path, force, {}));
    TRY(file.write({reinterpret_cast<const uint8_t*>(rows.data()), rows.size()}));
    return file.commit(rows.size());
}

// Importance from the texts, for what is not rounded with feedback: everything under --rounding search, experts always.
// A matrix of the user's goes before it.
Status weigh_by_texts(const QuantizeOptions& options, Calibrator& calibrator, QuantizeReport& report, Job& job) {
    if (job.importance || options.rounding == Rounding::nearest) return {};
    const bool experts = std::any_of(report.plan.tensors.begin(), report.plan.tensors.end(), [](const PlannedTensor& tensor) {
        return tensor.out.ne[2] > 1 && tensor.out.format->kind == FormatKind::block && !tensor.copies();
    });
    if (!experts && options.rounding != Rounding::search) return {};
    LET(importance, calibrator.importance());
    job.importance = std::move(importance);
    return set_importance(&*job.importance, report.plan);
}

Status check_calibration(const QuantizeOptions& options, const Job& job) {
    if (options.calibration.texts.empty()) return {};
    // Long work is not begun for an output that would be refused afterwards.
    if (options.split_max_bytes == 0 && !options.keep_split) TRY(AtomicFile::check(job.output, options.force, job.writer.inputs));
    if (!options.plan_file.empty()) TRY(AtomicFile::check(options.plan_file, options.force, job.writer.inputs));
    return {};
}

// Whether channels that stand out are looked for: not in models with two or three values per weight, nor in what is encoded already.
bool transforms_by_default(const QuantizeOptions& options, const Plan& plan) {
    const bool weighed = !options.calibration.texts.empty() && options.importance_path.empty() && options.rounding != Rounding::nearest;
    const auto encoded = [](const PlannedTensor& tensor) { return tensor.from->kind == FormatKind::block || tensor.repacked; };
    return weighed && !few_levels(plan, {}) && std::none_of(plan.tensors.begin(), plan.tensors.end(), encoded);
}

// Which transforms will be tried. Short texts: none by default.
TransformRequest transforms_to_try(const QuantizeOptions& options, const Plan& plan, int64_t windows) {
    TransformRequest request = options.transforms;
    request.automatic = request.automatic && transforms_by_default(options, plan) && windows >= SplitWindows::kHeldOut;
    return request;
}

// Says before any long work what it will take, and keeps the model for it. In a dry run that is all; a source that has to be
// converted first is not, for that.
Status announce(const QuantizeOptions& options, QuantizeReport& report, Job& job) {
    if (options.calibration.texts.empty() || (options.dry_run && needs_conversion_to_run(options))) return {};
    LET(model, load_runnable(options, job.output));
    job.model = std::move(model);
    LET(calibrator, Calibrator::open(job.model, options.calibration, report.threads, options.calibration_progress));
    const TransformRequest request = transforms_to_try(options, report.plan, calibrator.windows());
    WorkToCome work;
    if (chooses_formats(options, report.plan.recipe)) work.measured = free_tensors(report.plan);
    work.feedback = feeds_back(options);
    work.statistics = options.rounding == Rounding::search;
    work.outliers = request.automatic;
    work.transforms = static_cast<int>(request.list.size());
    work.observes = options.observer.has_value();
    work.correction = options.correction.rank;
    work.noise = options.correction.activations.bits > 0;
    if (!options.time_expected && !options.dry_run) return {};
    LET(expected, calibrator.estimate(report.plan, work));
    report.expected = expected;
    if (options.time_expected) options.time_expected(expected);
    if (!options.dry_run) return {};
    const std::string tried = request.automatic ? "channels that stand out" : names_of(request);
    report.transform_notes.push_back(tried.empty() ? "no transforms" : "transforms to be tried: " + tried + (options.transforms.gate ? "" : ", kept in any case"));
    report.calibration_windows = calibrator.windows();
    return {};
}

// Folds transforms into the source and plans anew.
Status transform(const QuantizeOptions& options, const Recipe& recipe, QuantizeReport& report, Job& job) {
    if (options.transforms.list.empty() && !options.transforms.automatic) return {};
    TransformText text;
    text.window = options.calibration.window;
    text.memory = options.calibration.memory;
    if (job.model) {
        text.model = job.model;
        LET(tokens, calibration_windows(*text.model, options.calibration));
        text.tokens = std::move(tokens);
        text.progress = [&](int64_t done, int64_t total, const std::string& what) {
            return !options.calibration_progress || options.calibration_progress("transform", done, total, what);
        };
    }
    const TransformRequest request = transforms_to_try(options, report.plan, static_cast<int64_t>(text.tokens.size()) / text.window);
    if (!request.automatic && request.list.empty()) return {};
    if (!options.importance_path.empty() || job.grams)
        return usage_error(std::string("--transform changes the channels that ") + (job.grams ? "--gram" : "--imatrix") + " weighs: give --calibrate TEXT instead");
    ThreadPool pool(report.threads);
    LET(made, apply_transforms(job.source, request, [&](const Source& source) { return plan_of(source, options, recipe, job); }, text, pool));
    report.transform_gains = std::move(made.gains);
    report.transform_notes = std::move(made.notes);
    if (made.source == job.source) return {};
    job.source = std::move(made.source);
    job.model = std::move(made.model);
    return plan_job(options, recipe, report, job);
}

// The mean error of what is rounded goes into the biases that the model has: part of aweq.
Status correct_means(const QuantizeOptions& options, QuantizeReport& report, const Job& job, RoundedTensors& rounded) {
    const std::vector<Transform>& list = options.transforms.list;
    if (std::find(list.begin(), list.end(), Transform::aweq) == list.end()) return {};
    LET(tokens, calibration_windows(*job.model, options.calibration));
    LET(text, split_windows(tokens, options.calibration.window, kTransformWindows));
    CheckOptions check;
    check.memory = options.calibration.memory;
    int64_t done = 0;
    const int64_t total = 3 * text.count() * static_cast<int64_t>(job.model->weights().layers.size());
    check.step = [&](const std::string& what) {
        return !options.calibration_progress || options.calibration_progress("biases", std::min(++done, total), total, what);
    };
    ThreadPool pool(report.threads);
    LET(gains, correct_biases(*job.model, report.plan, options.transforms.gate, text, check, pool, rounded));
    if (gains.empty()) return {};
    const auto kept = std::count_if(gains.begin(), gains.end(), [](const TransformGain& gain) { return gain.kept; });
    report.transform_notes.push_back(format_text("bias correction: %lld of %zu biases", static_cast<long long>(kept), gains.size()));
    report.transform_gains.insert(report.transform_gains.end(), gains.begin(), gains.end());
    return {};
}

// Tensors rounded with error feedback, and how they came about in the output's metadata. Empty without calibration texts.
Result<RoundedTensors> calibrated(const QuantizeOptions& options, QuantizeReport& report, Job& job) {
    if (options.calibration.texts.empty()) return RoundedTensors();
    const auto started = std::chrono::steady_clock::now();
    LET(calibrator, Calibrator::open(job.model, options.calibration, report.threads, options.calibration_progress));
    TRY(calibrator.keep_journal(journal_path(job)));
    report.calibration_goes_on = calibrator.goes_on();
    Metadata& metadata = job.metadata;
    describe_calibration(calibrator.dataset(), calibrator.windows(), options.calibration.window, metadata);
    const bool chooses = chooses_formats(options, report.plan.recipe);
    if (chooses) TRY(choose_formats(options, calibrator, report, job));
    if (!options.plan_file.empty()) TRY(save_plan(options.plan_file, report.plan, options.force));
    TRY(weigh_by_texts(options, calibrator, report, job));
    if (options.observer) {
        LET(ranges, calibrator.ranges(*options.observer));
        store_ranges(ranges, *options.observer, metadata);
    }
    RoundedTensors rounded;
    if (feeds_back(options)) {
        LET(found, calibrator.round(report.plan));
        rounded = std::move(found);
        TRY(correct_means(options, report, job, rounded));
    }
    report.calibration_windows = calibrator.windows();
    report.calibration_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
    return rounded;
}

// Finished work stays for the next try where it was stopped from outside; where the input is at fault there is none.
Error with_work_kept(Error error, const QuantizeOptions& options, const Job& job) {
    if (options.calibration.texts.empty()) return error;
    const std::string path = journal_path(job);
    if (error.code == Code::interrupted) error.text += ": finished work lies in " + escaped(path) + ", the same command goes on from there";
    else if (error.code != Code::io) syscalls().unlink(path.c_str());
    return error;
}

// Encodes what is not rounded yet and writes the file.
Status write_tensors(const QuantizeOptions& options, const RoundedTensors& rounded, const QuantizeProgress& progress, QuantizeReport& report, const Job& job) {
    LET(writer, GgufWriter::create(job.output, job.metadata, job.tensors, job.writer));
    StreamOptions stream;
    stream.threads = report.threads;
    stream.zero_nonfinite = options.zero_nonfinite;
    std::optional<SavedRounding> saved;
    if (job.grams) saved.emplace(*job.source, report.plan, *job.grams, sequential_options(options.calibration).feedback, report.threads);
    stream.rounded = [&](size_t tensor) -> Result<const uint8_t*> {
        if (saved) return saved->tensor(tensor);
        const auto found = rounded.find(report.plan.tensors[tensor].out.name);
        return found == rounded.end() ? nullptr : static_cast<const uint8_t*>(found->second.data());
    };
    if (progress)
        stream.progress = [&](uint64_t done, const std::string& tensor) {
            return progress(done, report.source_tensor_bytes, tensor);
        };
    LET(errors, stream_tensors(*job.source, report.plan, stream, [&](Bytes piece) { return writer.write(piece); }));
    report.errors = std::move(errors);
    report.tensor_bytes = bytes_of(job.tensors);
    TRY(writer.finish());
    report.output_bytes = writer.total_bytes();
    report.outputs = writer.paths();
    if (!options.calibration.texts.empty()) syscalls().unlink(journal_path(job).c_str());
    return {};
}

}  // namespace

double QuantizeReport::bits_per_weight() const {
    return weights ? 8.0 * static_cast<double>(tensor_bytes) / static_cast<double>(weights) : 0;
}

TensorError QuantizeReport::total_error() const {
    TensorError total;
    for (const TensorError& each : errors) total += each;
    return total;
}

Result<QuantizeReport> quantize_file(const QuantizeOptions& options, const QuantizeProgress& progress) {
    const auto started = std::chrono::steady_clock::now();
    QuantizeReport report;
    TRY(check_targets(options));
    TRY(check_rounding(options));
    LET(recipe, find_recipe(options.type));
    LET(job, prepare(options, recipe, report));
    TRY(check_correction(options, job.output, job.writer.inputs));
    report.threads = options.threads > 0 ? options.threads : default_threads();
    if (!options.dry_run) TRY(check_calibration(options, job));
    TRY(announce(options, report, job));
    if (!options.dry_run) TRY(transform(options, recipe, report, job));
    count_bytes(job, report);
    if (options.dry_run) {
        LET(bytes, planned_bytes(job, report.plan));
        report.output_bytes = bytes;
        report.tensor_bytes = bytes_of(job.tensors);
        report.outputs = {job.output};
        return report;
    }
    if (!options.report_file.empty()) TRY(AtomicFile::check(options.report_file, options.force, job.writer.inputs));
    const bool weighed = (!options.calibration.texts.empty() && options.rounding != Rounding::nearest) || job.grams;
    if (!report.plan.needing_importance.empty() && !weighed) {
        const std::string& first = report.plan.needing_importance.front();
        return usage_error(recipe.name + " needs an importance matrix for " + first +
                           format_text(" and %zu more tensors: ", report.plan.needing_importance.size() - 1) +
                           (options.rounding == Rounding::nearest ? "--rounding nearest has none" : "give --imatrix FILE or --calibrate TEXT"));
    }
    Result<RoundedTensors> rounded = calibrated(options, report, job);
    if (!rounded) return with_work_kept(std::move(rounded.error()), options, job);
    if (Status written = write_tensors(options, *rounded, progress, report, job); !written) return with_work_kept(std::move(written.error()), options, job);
    TRY(correct_output(options, job.model, report));
    report.few_levels = few_levels(report.plan, report.errors);
    if (report.few_levels && !report.few_levels->native()) {
        if (options.measure_few_levels)
            measure_perplexity(*report.few_levels, options.input, report.outputs.front(), report.threads);
        report.warnings.push_back(describe(*report.few_levels));
    }
    // The importance ends with this call; the plan outlives it.
    for (PlannedTensor& tensor : report.plan.tensors) tensor.importance = nullptr;
    report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
    if (!options.report_file.empty()) TRY(report_on(options, report, *job.source, std::move(job.model)));
    return report;
}

std::string default_output(const std::string& input, const std::string& recipe_name) {
    std::string path = input;
    while (path.size() > 1 && path.ends_with('/')) path.pop_back();
    constexpr std::string_view kSuffix = ".gguf";
    const auto same = [](char a, char b) {
        return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b));
    };
    if (path.size() > kSuffix.size() && std::equal(kSuffix.begin(), kSuffix.end(), path.end() - kSuffix.size(), same))
        path.resize(path.size() - kSuffix.size());
    // NAME-00001-of-00003
    constexpr size_t kSplitSuffix = 15;
    if (path.size() > kSplitSuffix) {
        const std::string_view tail = std::string_view(path).substr(path.size() - kSplitSuffix);
        const auto digits = [](std::string_view text) { return text.find_first_not_of("0123456789") == std::string_view::npos; };
        if (tail[0] == '-' && digits(tail.substr(1, 5)) && tail.substr(6, 4) == "-of-" && digits(tail.substr(10)))
            path.resize(path.size() - kSplitSuffix);
    }
    for (const std::string& name : recipe_names()) {
        if (path.size() <= name.size() + 1) continue;
        const std::string_view tail = std::string_view(path).substr(path.size() - name.size());
        const char before = path[path.size() - name.size() - 1];
        if ((before != '-' && before != '.' && before != '_') || !std::equal(tail.begin(), tail.end(), name.begin(), same)) continue;
        const char further = path.size() > name.size() + 1 ? path[path.size() - name.size() - 2] : '/';
        if (further == '/') break;  // nothing but the type would be left
        path.resize(path.size() - name.size() - 1);
        break;
    }
    return path + "-" + recipe_name + ".gguf";
}

}  // namespace quant
