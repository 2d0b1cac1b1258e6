// A source as a model that runs: tensors that lie in a file as they are, changed ones as floats.
#pragma once

#include <memory>

#include "base/threads.h"
#include "convert/import/source.h"
#include "model/model.h"

namespace quant {

// `source` must outlive the model. Floats past `memory` bytes lie in TMPDIR. Errors: the model's own; no room.
Result<std::shared_ptr<const Model>> model_of(const Source& source, uint64_t memory, ThreadPool& pool);

}  // namespace quant
