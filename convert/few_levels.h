// What became of matrices written with two or three values per weight: nothing is lost in models trained that way and
// nearly everything in all others. Says which of the two it was, with measured figures. Knows no command line.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "convert/plan/plan.h"
#include "convert/stream/stream.h"

namespace quant {

struct FewLevels {
    int levels = 0;                // of the base format: 2 or 3
    size_t matrices = 0;           // written in it, or in the format that took over where rows did not divide
    size_t exact = 0;              // every weight comes back as it was
    size_t scale_rounded = 0;      // but for the rounding of their scale to a half: nothing else explains so small an error
    double rounding_error = 0;     // relative, root mean square, of the latter
    std::string first_changed;     // the first matrix that holds other values
    double changed_error = 0;      // relative, root mean square, of those that do
    double perplexity = 0;         // on a short built-in English text; 0: not measured
    double source_perplexity = 0;  // of the source on the same text; 0: not measured
    std::string not_measured;      // why
    bool native() const { return exact + scale_rounded == matrices; }
};

// Nothing where the plan's base format has more values or no matrix is written in it. errors: as plan.tensors.
std::optional<FewLevels> few_levels(const Plan& plan, const std::vector<TensorError>& errors);

// Measures both perplexities, or says why not: on text that no model here was made with, so that the figures say what is
// to be expected, not what was fitted. `source` may be no GGUF: then only that of `output`.
void measure_perplexity(FewLevels& found, const std::string& source, const std::string& output, int threads);

// One line for people; a warning unless native().
std::string describe(const FewLevels& found);

}  // namespace quant
