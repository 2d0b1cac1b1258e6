// The page that `quantize --report` writes: what the run knows, handed to the report.
#pragma once

#include <memory>

#include "base/result.h"
#include "convert/import/source.h"
#include "convert/quantize.h"
#include "model/model.h"

namespace quant {

// `model`: the source as calibration ran it; null: loaded here where there is a text to run.
Status report_on(const QuantizeOptions& options, const QuantizeReport& report, const Source& source, std::shared_ptr<const Model> model);

}  // namespace quant
