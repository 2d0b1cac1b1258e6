// How fast a model could run if nothing but the machine's limits held it up: reading each weight once for a generated token,
// multiplying without a pause for a prompt. Figures to judge measured speeds by; knows nothing of how products are made.
#pragma once

#include <cstdint>

#include "model/model.h"

namespace quant {

class ThreadPool;

// Of `threads` threads together; 0: not known for this instruction set.
struct MachineLimits {
    double bandwidth = 0;  // bytes/s of reading memory
    double int8 = 0;       // multiply-adds/s
    double f32 = 0;
};
// Half a second of measuring, with 512 MiB of memory meanwhile; the best of several passes, because whatever else runs can only slow it down.
MachineLimits measure_limits(ThreadPool& pool);

// Tokens/s at most, 0: not known. A prompt needs one multiply-add per weight of every layer, in f32 for formats that are
// multiplied with f32 activations. A generated token reads every weight that takes part, and keys and values of `depth` tokens.
double prompt_limit(const Model& model, const MachineLimits& limits, bool exact);
double generation_limit(const Model& model, const MachineLimits& limits, uint64_t kv_bytes_per_token, int64_t depth);

}  // namespace quant
