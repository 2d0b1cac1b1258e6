// Texts to windows, then the sequential rounding.
#include "convert/calibrate/calibration.h"

#include "base/file.h"
#include "base/log.h"
#include "convert/calibrate/sequential.h"
#include "model/model.h"

namespace quant {

namespace {

constexpr uint64_t kMaxTextBytes = uint64_t{1} << 30;

Result<std::vector<int32_t>> windows_of(const Model& model, const CalibrationOptions& options) {
    std::vector<int32_t> tokens;
    const auto wanted =
        static_cast<size_t>(options.windows < 0 ? int64_t{1} << 40 : options.windows * options.window);
    for (const std::string& path : options.texts) {
        if (tokens.size() >= wanted) break;
        LET(text, read_text_file(path, kMaxTextBytes));
        const auto ids = model.tokenizer().encode(text, tokens.empty(), false);
        tokens.insert(tokens.end(), ids.begin(), ids.end());
    }
    const auto window = static_cast<size_t>(options.window);
    if (tokens.size() < 2 * window)
        return input_error(escaped(options.texts.front()) +
                           format_text(": %zu tokens of calibration text, expected at least %zu "
                                       "(two windows)",
                                       tokens.size(), 2 * window));
    tokens.resize(std::min(tokens.size(), wanted) / window * window);
    const Vocabulary& vocabulary = model.tokenizer().vocabulary();
    if (vocabulary.add_bos && vocabulary.bos >= 0)
        for (size_t i = 0; i < tokens.size(); i += window) tokens[i] = vocabulary.bos;
    return tokens;
}

}  // namespace

Result<Calibration> calibrate_and_round(const std::string& model_path, const Plan& plan,
                                        const CalibrationOptions& options, int threads,
                                        const CalibrationProgress& progress) {
    LET(model, Model::load(model_path));
    LET(tokens, windows_of(*model, options));
    Calibration out;
    out.windows = static_cast<int64_t>(tokens.size()) / options.window;
    for (const std::string& path : options.texts)
        out.dataset += (out.dataset.empty() ? "" : ", ") + path.substr(path.find_last_of('/') + 1);
    SequentialOptions sequential;
    sequential.window = options.window;
    ThreadPool pool(threads);
    LET(rounded, round_sequentially(*model, plan, tokens, sequential, pool, progress));
    out.rounded = std::move(rounded);
    return out;
}

}  // namespace quant
