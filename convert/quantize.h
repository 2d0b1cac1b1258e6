// Writes a model in another number format: the function behind the command `quantize` and behind the C interface.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "convert/calibrate/correction.h"
#include "convert/calibrate/effort.h"
#include "convert/calibrate/observer.h"
#include "convert/calibrate/options.h"
#include "convert/few_levels.h"
#include "convert/plan/plan.h"
#include "convert/stream/stream.h"
#include "convert/transforms/gains.h"
#include "convert/transforms/request.h"

namespace quant {

// One --tensor-type (text = "REGEX=TYPE") or --tensor-type-file (text = path), in the order given.
struct TensorTypeOption {
    bool file = false;
    std::string text;
};

// One adapter to merge: a GGUF or a PEFT folder, its effect times `scale`.
struct MergeOption {
    std::string path;
    float scale = 1;
};

// How the values of a format are chosen; `best`: by the data there are, gptq with calibration texts or Gram matrices, search with an
// importance matrix, nearest otherwise.
enum class Rounding {
    best,
    nearest,  // least squared error, all weights alike
    search,   // least squared error weighted by importance, from a matrix or from calibration texts
    gptq,     // error feedback on the inputs that calibration texts make, or by the Gram matrices kept of them
};

struct QuantizeOptions {
    std::string input;   // what open_source() takes
    std::string base;    // of an adapter: the model it adapts
    std::vector<MergeOption> adapters;  // merged into the weights
    std::string output;  // empty: default_output(input, recipe)
    std::string type;    // any name that find_recipe() takes
    int threads = 0;     // 0: default_threads()
    bool dry_run = false, pure = false, leave_output = false, allow_requantize = false;
    bool force = false, keep_split = false, zero_nonfinite = false;
    uint64_t split_max_bytes = 0;
    int64_t palette_group = 0;                    // rows that share a table; 0: a table per matrix
    std::string output_format, embedding_format;  // empty: by the mix
    std::vector<TensorTypeOption> tensor_types;
    std::string importance_path;
    std::string gram_path;  // Gram matrices that `quant calibrate --gram` kept; empty: none
    std::vector<std::string> include_weights, exclude_weights;  // parts of tensor names
    std::vector<std::string> override_metadata;                 // KEY=TYPE:VALUE
    CalibrationOptions calibration;                             // without texts: none
    CalibrationProgress calibration_progress;                   // may be empty
    std::function<void(const TimeEstimate&)> time_expected;     // called before calibration's long work; may be empty
    // With calibration texts, formats are chosen by what they cost, within the size of the type's mix or of what is
    // given here: at most one of `target_bytes` (of the file), `target_bits` (per weight) and `like` (another mix).
    Rounding rounding = Rounding::best;
    bool keep_mix = false;  // the mix's own formats instead
    uint64_t target_bytes = 0;
    float target_bits = 0;
    std::string like;
    double target_ms = 0;  // per generated token on this machine, beside a size or alone; 0: none
    std::optional<ObserverKind> observer;  // ranges of activations are stored for fixed scales; none: they are not
    CorrectionOptions correction;  // low-rank matrices beside the output; rank 0: none
    std::string correction_path;   // of that adapter; empty: beside the output
    std::string plan_file;  // the chosen formats as rows for --tensor-type-file; empty: none
    std::string report_file;                // an HTML page on the result; empty: none
    std::vector<TextFile> report_texts;     // to judge it on; empty: what the calibration texts have left
    TransformRequest transforms;                                // by default what helps, if there are calibration texts
    bool measure_few_levels = true;  // perplexity where two or three values per weight do not hold the source's
};

struct QuantizeReport {
    Plan plan;
    std::vector<TensorError> errors;   // as plan.tensors; empty after a dry run
    std::optional<FewLevels> few_levels;  // for formats of two or three values
    std::vector<std::string> outputs;  // paths written, or planned
    std::vector<std::string> warnings;
    TransformGains transform_gains;            // by place, as measured
    std::vector<std::string> transform_notes;  // a line for each transform
    uint64_t input_bytes = 0, output_bytes = 0;  // of files
    uint64_t source_tensor_bytes = 0, tensor_bytes = 0, weights = 0;
    int threads = 0;
    int64_t calibration_windows = 0;
    bool calibration_goes_on = false;  // from the unfinished work of an earlier run
    size_t corrected = 0, correction_weights = 0;  // matrices that the adapter (the last of outputs) is for, its weights
    TimeEstimate expected;                     // of calibration, before it began; zeros: not estimated
    double estimated_divergence = -1;  // of the formats chosen, tensor by tensor, nats per token; -1: not measured
    double expected_ms = -1;           // per generated token, with a target for it; -1: not timed
    double seconds = 0, calibration_seconds = 0;

    double bits_per_weight() const;
    TensorError total_error() const;
};

// `done` of `total` bytes of source tensors; `tensor` is the one at hand. Returns false to stop (Code::interrupted).
using QuantizeProgress = std::function<bool(uint64_t done, uint64_t total, const std::string& tensor)>;

// Thread-safe for different outputs. Nothing is left behind after an error.
Result<QuantizeReport> quantize_file(const QuantizeOptions& options, const QuantizeProgress& progress);

// Beside the input, the type at the end of its name replaced: dir/model-f16.gguf and Q4_K_M give dir/model-Q4_K_M.gguf.
std::string default_output(const std::string& input, const std::string& recipe_name);

}  // namespace quant
