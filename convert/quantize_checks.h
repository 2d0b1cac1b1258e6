// What options ask for must fit together: said before any work begins.
#pragma once

#include "base/result.h"
#include "convert/quantize.h"

namespace quant {

// Error "usage": targets that exclude each other, or that need a text and have none.
Status check_targets(const QuantizeOptions& options);
// Error "usage": a way of rounding without the data it stands on, or data that it would not look at.
Status check_rounding(const QuantizeOptions& options);
// Whether error feedback on calibration texts is what these options come to.
bool feeds_back(const QuantizeOptions& options);

}  // namespace quant
