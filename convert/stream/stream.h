// Tensors of a source, re-encoded after a plan, as one stream of bytes in bounded memory: rows in pieces are decoded,
// checked and encoded in parallel while the slab before is being written. Knows neither files nor file formats.
#pragma once

#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "convert/import/source.h"
#include "convert/plan/plan.h"

namespace quant {

// What encoding did to one tensor: sums over all its weights.
struct TensorError : EncodingError {
    double weighted_error = 0, weighted_norm = 0;  // the same with importance; 0 without
    uint64_t zeroed = 0;                           // non-finite weights replaced by 0

    TensorError& operator+=(const TensorError& other);
};

// Rows already encoded in the plan's format, by tensor name.
using RoundedTensors = std::unordered_map<std::string, std::vector<uint8_t>>;

struct StreamOptions {
    int threads = 1;
    // A tensor's bytes in the plan's format, head and rows, where it is not to be encoded here; null: it is. Called once for
    // each tensor, when its turn comes; they are read until the next call.
    std::function<Result<const uint8_t*>(size_t tensor)> rounded;
    bool zero_nonfinite = false;  // otherwise NaN and infinities are an error
    // Called by one thread at a time with the source bytes done so far and the tensor at hand; false stops.
    std::function<bool(uint64_t done, const std::string& tensor)> progress;
};

// Calls `write` with the bytes of all tensors in the plan's order; tensors are not padded. The bytes do not depend on
// the number of threads. Memory: two slabs of kSlabBytes, two pieces of floats for each thread and a
// tensor's head.
// Errors: what `write` returns; non-finite weights (tensor, first row and column, count); values too large for F16;
// Code::interrupted when a signal came or `progress` said so.
inline constexpr size_t kSlabBytes = size_t{8} << 20;
Result<std::vector<TensorError>> stream_tensors(const Source& source, const Plan& plan, const StreamOptions& options,
                                                const std::function<Status(Bytes)>& write);

}  // namespace quant
