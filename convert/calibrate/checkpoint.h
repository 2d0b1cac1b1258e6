// Work between two layers, kept in a file so that a killed calibration goes on from there. A file of this program for
// itself: anything in it that does not fit is as if there were no file.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "convert/calibrate/layers.h"
#include "convert/calibrate/statistics.h"

namespace quant {

// A number that tells work apart: FNV-1a over what is added.
class Fingerprint {
public:
    void add(const void* data, size_t bytes);
    void add_tensor(const TensorInfo& tensor);  // name, shape, format and some of its bytes
    uint64_t value() const { return value_; }

private:
    uint64_t value_ = 0xcbf29ce484222325u;
};

struct Checkpoint {
    uint64_t fingerprint = 0;
    int32_t layer = 0;  // the next one
    const Statistics& sums;
    const Hidden* hidden = nullptr;  // in front of that layer
};
Status save_checkpoint(const std::string& path, const Checkpoint& checkpoint);

// The layer to go on with, `sums` and `hidden` (already made, of the right size) filled; 0: nothing to go on with.
Result<int32_t> load_checkpoint(const std::string& path, uint64_t fingerprint, Statistics& sums, Hidden& hidden);

}  // namespace quant
