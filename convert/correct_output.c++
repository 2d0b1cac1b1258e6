// Options to an adapter: the output is loaded again as the model that the adapter is for.
#include "convert/correct_output.h"

#include <chrono>
#include <utility>

#include "base/file.h"
#include "base/log.h"
#include "convert/calibrate/calibration.h"

namespace quant {

std::string correction_path(const QuantizeOptions& options, const std::string& output) {
    if (!options.correction_path.empty()) return options.correction_path;
    constexpr std::string_view kSuffix = ".gguf";
    std::string path = output;
    if (path.ends_with(kSuffix)) path.resize(path.size() - kSuffix.size());
    return path + "-lowrank.gguf";
}

Status check_correction(const QuantizeOptions& options, const std::string& output, const std::vector<FileId>& inputs) {
    if (options.observer && options.calibration.texts.empty()) return usage_error("static activations are observed on a text: give --calibrate TEXT");
    const RankChoice& rank = options.correction.rank;
    const bool wanted = rank.rank > 0 || rank.share > 0;
    if (!wanted && !options.correction_path.empty()) return usage_error("--lowrank-file names what --lowrank R makes");
    if (!wanted && options.correction.activations.bits > 0) return usage_error("--activations says what --lowrank R makes up for");
    if (options.correction.activations.stored) return usage_error("--lowrank makes up for scales by token: expected --activations int8 or int4");
    if (options.correction.activations.rotate && options.correction.activations.bits == 0)
        return usage_error("--rotate-activations says how --activations FORM rounds");
    if (!wanted) return {};
    if (options.calibration.texts.empty()) return usage_error("--lowrank finds its matrices on a text: give --calibrate TEXT");
    return AtomicFile::check(correction_path(options, output), options.force, inputs);
}

Status correct_output(const QuantizeOptions& options, std::shared_ptr<const Model> original, QuantizeReport& report) {
    if (options.correction.rank.rank == 0 && options.correction.rank.share == 0) return {};
    const auto started = std::chrono::steady_clock::now();
    LET(rounded, Model::load(report.outputs.front()));
    LET(calibrator, Calibrator::open(std::move(original), options.calibration, report.threads, options.calibration_progress));
    LET(corrections, calibrator.correct(*rounded, options.correction));
    if (corrections.empty()) {
        report.warnings.push_back("--lowrank: no quantized matrix in the layers, no adapter written");
        return {};
    }
    const std::string path = correction_path(options, report.outputs.front());
    TRY(write_corrections(path, *rounded, corrections, options.force));
    report.outputs.push_back(path);
    report.corrected = corrections.size();
    for (const auto& [name, factors] : corrections) report.correction_weights += factors.a.size() + factors.b.size();
    report.calibration_seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
    return {};
}

}  // namespace quant
