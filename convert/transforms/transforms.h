// From a list of names to a transformed source: which transforms a model takes, where they are kept and what each
// brought. The list of transforms; each one's method lies in its own file.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "convert/import/source.h"
#include "convert/plan/plan.h"
#include "convert/transforms/gains.h"
#include "convert/transforms/request.h"
#include "convert/transforms/whole_check.h"

namespace quant {

// The text to judge on; without tokens nothing can be gated.
struct TransformText {
    std::shared_ptr<const Model> model;  // the source as it is
    std::vector<int32_t> tokens;         // whole windows
    int64_t window = 512;
    uint64_t memory = uint64_t{2} << 30;  // of hidden states, and of changed weights
    std::function<bool(int64_t done, int64_t total, const std::string& what)> progress;
};

struct TransformedModel {
    std::shared_ptr<const Source> source;
    std::shared_ptr<const Model> model;  // with calibration text: of that source, which must outlive it
    TransformGains gains;
    std::vector<std::string> notes;  // one line for each transform
};

// `plan` gives the formats that the tensors of a source will have. Same result for any number of threads.
// Errors: a transform that the architecture does not take (architecture and reason), a method without the text it needs.
Result<TransformedModel> apply_transforms(std::shared_ptr<const Source> source, const TransformRequest& request,
                                          const std::function<Result<Plan>(const Source&)>& plan, const TransformText& text,
                                          ThreadPool& pool);

}  // namespace quant
