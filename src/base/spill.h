// Working memory that may be larger than what there is: past a limit it lies in a file without a name, which the system
// writes out and reads back as it sees fit.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/result.h"

namespace quant {

class Spill {
public:
    // `bytes` of zeros: in memory up to `memory` bytes, otherwise in $TMPDIR (default /tmp). Error "io": no room there.
    static Result<Spill> create(uint64_t bytes, uint64_t memory);
    Spill() = default;
    Spill(Spill&& other) noexcept;
    Spill& operator=(Spill&& other) noexcept;
    ~Spill();

    void* data() const { return data_; }
    uint64_t bytes() const { return bytes_; }
    bool on_disk() const { return on_disk_; }

private:
    void* data_ = nullptr;
    uint64_t bytes_ = 0;
    bool on_disk_ = false;
};

}  // namespace quant
