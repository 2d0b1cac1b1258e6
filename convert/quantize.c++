// The command `quantize`: options, what is printed, nothing else. The work is quantize_file().
#include "convert/quantize.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <memory>
#include <utility>

#include "base/file.h"
#include "base/json_writer.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/threads.h"
#include "cli/output.h"
#include "cli/shared_options.h"
#include "convert/commands.h"
#include "convert/phase_progress.h"
#include "convert/runnable.h"
#include "kernels/kernels.h"

namespace quant {

namespace {

constexpr const char* kExamples =
    "  quant quantize model-f16.gguf q4                   writes model-Q4.gguf beside it\n"
    "  quant quantize model-f16.gguf out.gguf q5_k_m 8    eight threads\n"
    "  quant quantize model-f16.gguf q4_k_m --dry-run     shows the plan and the size\n"
    "  quant quantize model-f16.gguf q4 --calibrate book.txt     the best for that size, by what the model does on that text\n"
    "  quant quantize model-f16.gguf q4 --calibrate book.txt --target-size 700M\n"
    "  quant quantize model-f16.gguf q2_k_s --imatrix imatrix.gguf\n"
    "  quant quantize model-f16.gguf q4_0 --gram gram.gguf         from what quant calibrate --gram kept\n"
    "  quant quantize model-f16.gguf q4 --tensor-type 'blk\\.[0-3]\\.=q6_k' --output-tensor-type q8_0\n"
    "  quant quantize model-q8_0.gguf model-f16.gguf f16  back to plain numbers";

struct Settings {
    QuantizeOptions options;
    std::vector<std::string> positional;
    std::vector<AdapterChoice> adapters;
    int64_t threads = 0, windows = 0;  // 0: by the machine, by the effort
    std::string of_calibration;        // an option that means nothing without a text
    bool seeded = false;
    bool json = false, quiet = false, verbose = false;
};

std::string recipe_table() {
    std::string lines;
    for (const std::string& name : recipe_names()) {
        if (const Format* format = find_format(name); format && in_family(*format)) continue;
        const auto recipe = find_recipe(name);
        std::string purpose = recipe->purpose;
        if (recipe->name != name) purpose = recipe->name + (purpose.empty() ? "" : ": " + purpose);
        const std::string number = recipe->file_type >= 0 ? std::to_string(recipe->file_type) : "";
        lines += format_text("  %-10s %4s  %s\n", name.c_str(), number.c_str(), purpose.c_str());
    }
    return lines;
}

// What is read and how it is written, whatever the formats.
void add_file_options(Options& options, Settings& s) {
    QuantizeOptions& o = s.options;
    options.call("--nonfinite", "error|zero", "NaN and infinite weights: refuse (default), or write 0",
                 [&o](const std::string& choice) -> Status {
                     if (choice != "error" && choice != "zero")
                         return usage_error("expected error or zero, found '" + escaped(choice) + "'");
                     o.zero_nonfinite = choice == "zero";
                     return {};
                 });
    options.text("--base", "MODEL", "IN is an adapter's folder: the model it adapts, a GGUF or a Hugging Face folder", &o.base);
    add_adapters(options, &s.adapters);
    options.flag("--keep-split", "the same split into files as the input", &o.keep_split);
    options.call("--split-max-size", "SIZE", "split into files of at most SIZE, for example 4G",
                 [&o](const std::string& size) -> Status {
                     LET(bytes, parse_size(size));
                     if (bytes == 0) return usage_error("expected more than 0");
                     o.split_max_bytes = bytes;
                     return {};
                 });
    options.call("--override-kv", "KEY=TYPE:VALUE", "set metadata; TYPE int, float, bool or str; repeatable",
                 [&o](const std::string& row) { return o.override_metadata.push_back(row), Status{}; });
}

// The adapter beside the output.
void add_correction_options(Options& options, QuantizeOptions& o) {
    options.call("--lowrank", "R", "with --calibrate: an adapter of rank R (or 10%: of each matrix) that makes up for rounding, for --lora",
                 [&o](const std::string& text) -> Status {
                     const bool percent = text.ends_with('%');
                     const auto number = parse_real(std::string_view(text).substr(0, text.size() - percent));
                     if (!number || *number <= 0 || *number > (percent ? 100 : 4096) || (!percent && *number != std::floor(*number)))
                         return usage_error("expected a rank from 1 to 4096 or a share such as 10%, found '" + escaped(text) + "'");
                     o.correction.rank = percent ? RankChoice{0, *number / 100} : RankChoice{static_cast<int64_t>(*number), 0};
                     return {};
                 });
    options.text("--lowrank-file", "FILE", "where it is written (default: OUT-lowrank.gguf)", &o.correction_path);
    options.call("--activations", "FORM",
                 "static: store ranges, so that own 8-bit types read int8 of fixed scales; int4, int8: what --lowrank makes up for too",
                 [&o](const std::string& text) -> Status {
                     if (text != "static") return parse_activations(text, &o.correction.activations);
                     if (!o.observer) o.observer = ObserverKind::mse;
                     return {};
                 });
    options.call("--observer", "minmax|percentile|percentile99.9|mse|kl", "how static ranges are chosen (default mse; percentile is 99.99 %)",
                 [&o](const std::string& text) -> Status {
                     o.observer = observer_of(text);
                     if (!o.observer) return usage_error("expected minmax, percentile, percentile99.9, mse or kl, found '" + escaped(text) + "'");
                     return {};
                 });
    options.flag("--rotate-activations", "which are rounded times a Hadamard matrix", &o.correction.activations.rotate);
}

// The text that a model is run on, and what is made of it.
void add_calibration_options(Options& options, Settings& s) {
    QuantizeOptions& o = s.options;
    options.call("--calibrate", "TEXT", "round with error feedback on this text: slower, much closer to the original; repeatable",
                 [&o](const std::string& path) { return o.calibration.texts.push_back(path), Status{}; });
    options.call("--rounding", "nearest|search|gptq",
                 "nearest values, the least error weighted by importance, or error feedback (default: the last that the data allow)",
                 [&o](const std::string& choice) -> Status {
                     static const std::map<std::string, Rounding> choices = {
                         {"nearest", Rounding::nearest}, {"search", Rounding::search}, {"gptq", Rounding::gptq}};
                     const auto found = choices.find(choice);
                     if (found == choices.end()) return usage_error("expected nearest, search or gptq, found '" + escaped(choice) + "'");
                     o.rounding = found->second;
                     return {};
                 });
    options.call("--transform", "LIST",
                 "fold into the weights what makes rounding better, the function unchanged: none, auto, or some of " + transform_names() +
                     ", separated by commas (default with --calibrate: auto, which undoes channels that stand out)",
                 [&o](const std::string& list) { return parse_transforms(list, o.transforms); });
    options.call_flag("--no-gate", "transforms stay even where nothing is gained or nothing was measured",
                      [&o]() { return o.transforms.gate = false, Status(); });
    options.call("--seed", "N", "of random rotations (default 0)", [&s, &o](const std::string& text) -> Status {
        LET(seed, parse_integer(text));
        if (seed < 0) return usage_error("expected 0 or more");
        s.seeded = true;
        o.transforms.seed = static_cast<uint64_t>(seed);
        return {};
    });
    options.integer("--calibrate-chunks", "N", "at most so many windows of it, -1 = all (default 128; fast 16, max 256)", &s.windows, -1,
                    int64_t{1} << 30);
    options.call("--effort", "fast|normal|max",
                 "with --calibrate: the mix's formats, importance only | formats by measured cost, error feedback (default) | more of both; the time is said beforehand",
                 [&s, &o](const std::string& name) -> Status {
                     s.of_calibration = "--effort";
                     static constexpr std::pair<const char*, Effort> kEfforts[] = {{"fast", Effort::fast}, {"normal", Effort::normal}, {"max", Effort::max}};
                     for (const auto& [known, effort] : kEfforts)
                         if (name == known) return o.calibration.effort = effort, Status{};
                     return usage_error("expected fast, normal or max, found '" + escaped(name) + "'");
                 });
    options.integer("--calibrate-ctx", "N", "tokens of a window (default 512)", &o.calibration.window, 16, 1 << 20);
    options.call("--mem", "SIZE", "with --calibrate: hidden states past so many bytes lie in TMPDIR (default 2G)", [&s, &o](const std::string& size) -> Status {
        LET(bytes, parse_size(size));
        s.of_calibration = "--mem";
        o.calibration.memory = bytes;
        return {};
    });
}

Options describe(Settings& s) {
    QuantizeOptions& o = s.options;
    Options options("quant quantize IN [OUT] TYPE [THREADS] [options]", "Writes a GGUF, or a Hugging Face folder, in another number format.", kExamples);
    options.positional(&s.positional, 2, 4);
    options.section("TYPE, in any case, or its number\n" + recipe_table() + "\noptions");
    add_threads(options, &s.threads);
    options.flag("--dry-run", "print the plan, the exact size and what calibration would try and take; write nothing", &o.dry_run);
    options.flag("--force", "replace an existing output", &o.force);
    options.text("--imatrix", "FILE", "importance matrix, GGUF or .dat", &o.importance_path);
    options.call("--include-weights", "PART", "use it only for tensors with PART in their name; repeatable",
                 [&o](const std::string& part) { return o.include_weights.push_back(part), Status{}; });
    options.call("--exclude-weights", "PART", "use it not for tensors with PART in their name; repeatable",
                 [&o](const std::string& part) { return o.exclude_weights.push_back(part), Status{}; });
    options.text("--gram", "FILE", "round with error feedback by what quant calibrate --gram kept; no text is read", &o.gram_path);
    add_calibration_options(options, s);
    add_correction_options(options, o);
    options.flag("--keep-mix", "with --calibrate: the formats of the mix; without it they are chosen anew for its size", &o.keep_mix);
    options.call("--target-size", "SIZE", "with --calibrate: choose formats for a file of at most SIZE, for example 700M",
                 [&o](const std::string& size) -> Status {
                     LET(bytes, parse_size(size));
                     if (bytes == 0) return usage_error("expected more than 0");
                     o.target_bytes = bytes;
                     return {};
                 });
    options.real("--target-bpw", "BITS", "the same, for a file of at most so many bits per weight", &o.target_bits, 0.5, 32);
    options.text("--like", "TYPE", "the same, for a file no larger than that of another mix", &o.like);
    options.call("--target-ms", "MS", "choose formats with which a token takes at most MS on this machine, alone or beside a size", [&o](const std::string& text) -> Status {
        LET(ms, parse_real(text));
        if (!(ms > 0 && ms < 1e6)) return usage_error("expected more than 0 and less than 1000000");
        o.target_ms = ms;
        return {};
    });
    options.text("--save-plan", "FILE", "write the chosen formats, to be edited and given back by --tensor-type-file", &o.plan_file);
    options.text("--report", "FILE", "write a page on the result: sizes, errors, fidelity beside plain mixes", &o.report_file);
    options.call("--report-text", "TEXT", "judge on this text in the report (default: what the calibration text has left); repeatable",
                 [&o](const std::string& path) { return o.report_texts.push_back(path), Status{}; });
    options.flag("--pure", "every matrix in the base format, no mix and no fallback", &o.pure);
    options.text("--output-tensor-type", "TYPE", "format of output.weight, or of token_embd.weight when it serves as both",
                 &o.output_format);
    options.text("--token-embedding-type", "TYPE", "format of token_embd.weight", &o.embedding_format);
    options.call("--tensor-type", "REGEX=TYPE", "format of tensors in whose name REGEX is found; repeatable, the last one wins",
                 [&o](const std::string& row) { return o.tensor_types.push_back({false, row}), Status{}; });
    options.call("--tensor-type-file", "FILE", "the same from a file, separated by white space",
                 [&o](const std::string& path) { return o.tensor_types.push_back({true, path}), Status{}; });
    options.integer("--palette-group", "N", "rows that share a table, for formats with tables (default: a table per matrix)",
                    &o.palette_group, 1, int64_t{1} << 31);
    options.flag("--leave-output-tensor", "output.weight stays as it is", &o.leave_output);
    options.flag("--allow-requantize", "quantize again what is quantized already", &o.allow_requantize);
    add_file_options(options, s);
    options.flag("--json", "print one JSON object", &s.json);
    options.flag("-q --quiet", "errors only", &s.quiet);
    options.flag("-v --verbose", "every tensor, threads and kernels", &s.verbose);
    return options;
}

// IN TYPE | IN TYPE THREADS | IN OUT TYPE | IN OUT TYPE THREADS: the second is an output unless it names a type.
Status take_positional(Settings& s) {
    const std::vector<std::string>& given = s.positional;
    s.options.input = given[0];
    const bool derived = is_recipe(given[1]) && given.size() < 4;
    if (!derived && given.size() < 3) {
        auto unknown = find_recipe(given[1]);
        return unknown ? Status() : std::move(unknown.error());
    }
    if (!derived && given[1].empty()) return usage_error("OUT is empty: leave it out to have it derived, or name a file");
    if (!derived && given[1] == "-") return usage_error("OUT is -: a GGUF cannot be written to standard output, name a file");
    if (!derived) s.options.output = given[1];
    s.options.type = given[derived ? 1 : 2];
    const size_t threads_at = derived ? 2 : 3;
    if (given.size() > threads_at) {
        auto threads = parse_integer(given[threads_at]);
        if (!threads || *threads < 1 || *threads > kMaxThreads)
            return usage_error(format_text("THREADS: expected 1 to %d, found '", kMaxThreads) + escaped(given[threads_at]) + "'");
        s.threads = *threads;
    }
    s.options.threads = static_cast<int>(s.threads);
    return {};
}

// An option that would do nothing is more likely a mistake than a wish.
Status check_companions(const Settings& s) {
    const QuantizeOptions& o = s.options;
    const std::string lonely = s.windows != 0 ? "--calibrate-chunks" : s.of_calibration;
    if (!lonely.empty() && o.calibration.texts.empty()) return usage_error(lonely + " does nothing without a text: give --calibrate TEXT too");
    const auto& chosen = o.transforms.list;
    if (s.seeded && std::find(chosen.begin(), chosen.end(), Transform::rotate) == chosen.end())
        return usage_error("--seed is that of random rotations: give --transform rotate too");
    return {};
}

// What the effort means where nothing more exact is asked for.
void apply_effort(Settings& s) {
    QuantizeOptions& o = s.options;
    const bool fast = o.calibration.effort == Effort::fast, target = o.target_bytes > 0 || o.target_bits > 0 || o.target_ms > 0 || !o.like.empty();
    o.calibration.windows = s.windows != 0 ? s.windows : fast ? 16 : o.calibration.effort == Effort::max ? 256 : 128;
    if (!fast || o.calibration.texts.empty()) return;
    if (o.rounding == Rounding::best) o.rounding = Rounding::search;
    o.keep_mix = o.keep_mix || !target;
}

std::string relative(double error, double norm) { return norm > 0 ? format_text("%.3g", error / norm) : "0"; }

void write_tensor(JsonWriter& json, const QuantizeReport& report, size_t index) {
    const PlannedTensor& tensor = report.plan.tensors[index];
    json.begin_object();
    json.member("name", tensor.out.name);
    json.key("shape");
    json.begin_array();
    for (uint32_t d = 0; d < tensor.out.n_dims; ++d) json.value(tensor.out.ne[d]);
    json.end_array();
    json.member("from", tensor.from->name);
    json.member("to", tensor.out.format->name);
    json.member("bytes", tensor.out.bytes);
    json.member("reason", tensor.reason);
    json.member("fallback", tensor.fallback);
    json.member("note", tensor.note);
    json.member("repacked", tensor.repacked);
    if (!report.errors.empty() && report.errors[index].norm > 0)
        json.member("relative_error", report.errors[index].error / report.errors[index].norm);
    json.end_object();
}

void write_few_levels(JsonWriter& json, const FewLevels& found) {
    json.key("few_levels");
    json.begin_object();
    json.member("levels", found.levels);
    json.member("matrices", found.matrices);
    json.member("exact", found.exact);
    json.member("scale_rounded", found.scale_rounded);
    if (found.perplexity > 0) json.member("perplexity", found.perplexity);
    if (found.source_perplexity > 0) json.member("source_perplexity", found.source_perplexity);
    json.end_object();
}

void write_gains(JsonWriter& json, const TransformGains& gains) {
    json.key("transforms");
    json.begin_array();
    for (const TransformGain& gain : gains) {
        json.begin_object();
        json.member("layer", gain.layer);
        json.member("place", gain.site);
        json.member("transform", gain.transform);
        json.member("loss_before", gain.loss_before);
        json.member("loss_after", gain.loss_after);
        json.member("kept", gain.kept);
        json.end_object();
    }
    json.end_array();
}

std::string json_report(const Settings& s, const QuantizeReport& report) {
    std::string text;
    JsonWriter json(text);
    json.begin_object();
    json.member("input", s.options.input);
    json.key("outputs");
    json.begin_array();
    for (const std::string& path : report.outputs) json.value(path);
    json.end_array();
    json.member("dry_run", s.options.dry_run);
    json.member("type", report.plan.recipe.name);
    json.member("file_type", report.plan.recipe.file_type);
    json.member("fallbacks", report.plan.fallbacks);
    json.member("input_bytes", report.input_bytes);
    json.member("output_bytes", report.output_bytes);
    json.member("weights", report.weights);
    json.member("bits_per_weight", report.bits_per_weight());
    if (report.expected.total() > 0) json.member("expected_calibration_seconds", report.expected.total());
    if (!s.options.dry_run) {
        const TensorError total = report.total_error();
        json.member("threads", report.threads);
        json.member("seconds", report.seconds);
        if (total.norm > 0) json.member("relative_error", total.error / total.norm);
        if (total.weighted_norm > 0) json.member("weighted_error", total.weighted_error / total.weighted_norm);
        json.member("exact", total.exact);
        json.member("zeroed", total.zeroed);
        if (report.few_levels) write_few_levels(json, *report.few_levels);
        if (report.estimated_divergence >= 0) json.member("estimated_divergence", report.estimated_divergence);
        if (report.corrected > 0) {
            json.member("corrected", static_cast<uint64_t>(report.corrected));
            json.member("correction_weights", static_cast<uint64_t>(report.correction_weights));
        }
        if (report.expected_ms >= 0) json.member("expected_ms", report.expected_ms);
        if (report.calibration_windows > 0) {
            json.member("calibration_windows", report.calibration_windows);
            json.member("calibration_goes_on", report.calibration_goes_on);
            json.member("calibration_seconds", report.calibration_seconds);
        }
    }
    write_gains(json, report.transform_gains);
    json.key("warnings");
    json.begin_array();
    for (const std::string& warning : report.warnings) json.value(warning);
    json.end_array();
    json.key("tensors");
    json.begin_array();
    for (size_t i = 0; i < report.plan.tensors.size(); ++i) write_tensor(json, report, i);
    json.end_array();
    json.end_object();
    return text + "\n";
}

std::string all_tensors(const QuantizeReport& report) {
    std::vector<Table::Column> columns = {{"tensor"}, {"shape"}, {"from"}, {"to"}, {"bytes", true}};
    const bool measured = !report.errors.empty();
    if (measured) columns.push_back({"relative error", true});
    columns.push_back({"why"});
    Table table(columns);
    for (size_t i = 0; i < report.plan.tensors.size(); ++i) {
        const PlannedTensor& tensor = report.plan.tensors[i];
        std::vector<std::string> cells = {escaped(tensor.out.name), shape_text(tensor.out), tensor.from->name,
                                          tensor.out.format->name, std::to_string(tensor.out.bytes)};
        if (measured) cells.push_back(tensor.copies() ? "" : relative(report.errors[i].error, report.errors[i].norm));
        const bool both = !tensor.reason.empty() && tensor.reason != "copied" && !tensor.note.empty();
        cells.push_back(both ? tensor.reason + "; " + tensor.note : tensor.note.empty() ? tensor.reason : tensor.note);
        table.row(std::move(cells));
    }
    return table.plain();
}

// Formats in order of their bytes, every fallback by name, and how many tensors each note of the source is about.
std::string short_plan(const QuantizeReport& report) {
    struct Sum {
        uint64_t bytes = 0, weights = 0;
        size_t tensors = 0;
    };
    std::map<FormatSlot, Sum> sums;
    std::string fallbacks, notes;
    std::map<std::string, size_t> noted;
    for (const PlannedTensor& tensor : report.plan.tensors) {
        Sum& sum = sums[tensor.out.format->slot];
        sum.bytes += tensor.out.bytes;
        sum.weights += static_cast<uint64_t>(tensor.out.elements());
        ++sum.tensors;
        if (!tensor.note.empty()) ++noted[tensor.note];
        if (tensor.fallback)
            fallbacks += "  " + escaped(tensor.out.name) + ": " + tensor.out.format->name + ", " + tensor.reason + "\n";
    }
    Table table({{"  format"}, {"tensors", true}, {"weights", true}, {"bytes", true}, {"bits", true}});
    for (const auto& [slot, sum] : sums)
        table.row({std::string("  ") + format_of(slot).name, std::to_string(sum.tensors), std::to_string(sum.weights),
                   std::to_string(sum.bytes),
                   format_text("%.4g", 8.0 * static_cast<double>(sum.bytes) / static_cast<double>(sum.weights))});
    for (const auto& [note, tensors] : noted) notes += format_text("  %zu tensors ", tensors) + note + "\n";
    for (const std::string& note : report.transform_notes) notes += "  " + note + "\n";
    return table.plain() + fallbacks + notes;
}

// What was measured at each place, for --verbose.
std::string all_gains(const TransformGains& gains) {
    if (gains.empty()) return "";
    Table table({{"  layer", true}, {"place"}, {"transform"}, {"loss before", true}, {"after", true}, {""}});
    for (const TransformGain& gain : gains)
        table.row({gain.layer < 0 ? "  all" : "  " + std::to_string(gain.layer), gain.site, gain.transform,
                   format_text("%.4g", gain.loss_before), format_text("%.4g", gain.loss_after), gain.kept ? "kept" : "left out"});
    return table.plain();
}

std::string header_line(const Settings& s, const QuantizeReport& report) {
    const Plan& plan = report.plan;
    std::string line = escaped(s.options.input) + " -> " + escaped(report.outputs.front());
    if (report.outputs.size() > 1) line += format_text(" and %zu more", report.outputs.size() - 1);
    line += ": " + plan.recipe.name;
    if (plan.recipe.file_type >= 0) line += format_text(" (file type %d)", plan.recipe.file_type);
    if (!plan.recipe.purpose.empty()) line += ", " + plan.recipe.purpose;
    if (const size_t count = s.options.adapters.size()) line += format_text(", %zu adapter%s merged", count, count > 1 ? "s" : "");
    return line + "\n";
}

std::string summary_line(const Settings& s, const QuantizeReport& report) {
    std::string line = human_bytes(report.input_bytes) + " -> " + human_bytes(report.output_bytes) +
                       format_text(" (%llu bytes), %.4g bits per weight", static_cast<unsigned long long>(report.output_bytes),
                                   report.bits_per_weight());
    if (s.options.dry_run) {
        if (report.calibration_windows > 0)
            line += format_text(", calibration on %lld windows would take ", static_cast<long long>(report.calibration_windows)) + time_text(report.expected);
        return line + ", nothing written\n";
    }
    const double rate = static_cast<double>(report.source_tensor_bytes) / 1e6 / std::max(report.seconds - report.calibration_seconds, 1e-9);
    line += format_text(", %.2f s, %.0f MB/s", report.seconds, rate);
    if (report.calibration_goes_on) line += ", continued from unfinished work";
    const TensorError total = report.total_error();
    if (total.norm > 0) line += ", relative error " + relative(total.error, total.norm);
    if (total.weighted_norm > 0) line += ", weighted by importance " + relative(total.weighted_error, total.weighted_norm);
    if (report.estimated_divergence >= 0)
        line += format_text(", formats chosen by measured cost (KL about %.2g)", report.estimated_divergence);
    if (report.expected_ms >= 0) line += format_text(", about %.3g ms per token", report.expected_ms);
    if (report.calibration_windows > 0)
        line += format_text(", calibrated on %lld windows in %.0f s", static_cast<long long>(report.calibration_windows),
                            report.calibration_seconds);
    if (report.corrected > 0)
        line += format_text("; %zu matrices corrected by %zu weights in F16 beside it", report.corrected, report.correction_weights);
    if (total.zeroed > 0) line += format_text(", %llu weights set to 0", static_cast<unsigned long long>(total.zeroed));
    line += "\n";
    return report.few_levels && report.few_levels->native() ? line + describe(*report.few_levels) + "\n" : line;
}

Result<QuantizeReport> quantize_with_progress(Settings& s) {
    PhaseProgress phases;
    std::unique_ptr<Progress> bar;
    uint64_t shown = 0;
    s.options.calibration_progress = [&, callback = phases.callback()](const char* phase, int64_t done, int64_t total, const std::string& what) {
        bar.reset();
        return callback(phase, done, total, what);
    };
    if (!s.options.dry_run) s.options.time_expected = [](const TimeEstimate& expected) { log_info("calibration takes " + time_text(expected)); };
    return quantize_file(s.options, [&](uint64_t done, uint64_t total, const std::string& tensor) {
        phases.finish();
        if (!bar) bar = std::make_unique<Progress>("quantize", "bytes", total);
        bar->note(tensor);
        bar->advance(done - std::exchange(shown, done));
        return true;
    });
}

}  // namespace

Status quantize_command(Arguments arguments) {
    Settings s;
    Options options = describe(s);
    LET(proceed, options.parse(with_joined_scales(arguments)));
    if (!proceed) return {};
    TRY(take_positional(s));
    TRY(check_companions(s));
    apply_effort(s);
    for (AdapterChoice& each : s.adapters) s.options.adapters.push_back({std::move(each.path), each.scale});
    if (s.quiet && s.verbose) return usage_error("--quiet and --verbose exclude each other");
    set_log_level(s.quiet ? LogLevel::quiet : s.verbose ? LogLevel::verbose : LogLevel::normal);
    s.options.measure_few_levels = !s.quiet || s.json;
    log_verbose(std::string("kernels: ") + kernels().isa);
    if (!s.options.dry_run && !s.options.calibration.texts.empty() && needs_conversion_to_run(s.options))
        log_info(escaped(s.options.input) + ": converted to a temporary GGUF beside the output, which calibration runs");
    LET(report, quantize_with_progress(s));
    for (const std::string& warning : report.warnings) log_warning(warning);
    if (s.json) return write_output(json_report(s, report));
    if (s.quiet) return {};
    if (!s.options.dry_run) log_verbose(format_text("%d threads", report.threads));
    const bool every = s.options.dry_run || s.verbose;
    return write_output(header_line(s, report) + (every ? all_tensors(report) + all_gains(report.transform_gains) : "") + short_plan(report) +
                        summary_line(s, report));
}

}  // namespace quant
