// One function for each group of options.
#include "convert/quantize_checks.h"

namespace quant {

Status check_targets(const QuantizeOptions& options) {
    const int targets = (options.target_bytes > 0) + (options.target_bits > 0) + !options.like.empty();
    if (targets > 1) return usage_error("--target-size, --target-bpw and --like exclude each other");
    const bool chosen = targets > 0 || options.target_ms > 0;
    if (chosen && options.calibration.texts.empty())
        return usage_error("a target is met by measuring what each format costs: give --calibrate TEXT");
    if (chosen && (options.keep_mix || options.pure))
        return usage_error("a target chooses the formats, --keep-mix and --pure fix them: give one of the two");
    if (!options.plan_file.empty() && options.calibration.texts.empty()) return usage_error("--save-plan needs --calibrate TEXT");
    return {};
}

Status check_rounding(const QuantizeOptions& options) {
    const bool texts = !options.calibration.texts.empty(), matrix = !options.importance_path.empty(), grams = !options.gram_path.empty();
    if (grams && texts) return usage_error("--gram stands in the place of a text: leave --calibrate or --gram out");
    if (grams && options.rounding != Rounding::best && options.rounding != Rounding::gptq)
        return usage_error("--gram is for error feedback: leave it out, or take --rounding gptq");
    if (options.rounding == Rounding::gptq && !texts && !grams)
        return usage_error("--rounding gptq needs what each matrix reads: give --calibrate TEXT or --gram FILE");
    if (options.rounding == Rounding::search && !texts && !matrix)
        return usage_error("--rounding search weighs errors by importance: give --imatrix FILE or --calibrate TEXT");
    if (options.rounding != Rounding::nearest) return {};
    if (matrix) return usage_error("--rounding nearest takes all weights alike: leave --imatrix out");
    if (texts && options.keep_mix) return usage_error("--rounding nearest with --keep-mix has no use for a text: leave --calibrate out");
    return {};
}

bool feeds_back(const QuantizeOptions& options) { return options.rounding == Rounding::best || options.rounding == Rounding::gptq; }

}  // namespace quant
