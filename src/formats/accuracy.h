// What a format does to weights of known distribution: the figures of `quant formats` and of the README's table.
// Computed when asked for, from fixed seeds: the same on every machine. Knows no model.
#pragma once

#include "formats/format.h"

namespace quant {

enum class Weights {
    gaussian,  // normal
    heavy,     // Student's t with 4 degrees of freedom: outliers as trained matrices have them
};

// sqrt(sum (w - w')^2 / sum w^2) over 16 rows of 1024 such weights w and what they decode to, w'. All weights count the
// same. NaN for formats that cannot be written.
double relative_rms_error(const Format& format, Weights weights);

}  // namespace quant
