// Keys and values of all layers of one session, in memory that is touched only as positions are filled.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "model/config.h"
#include "tensor/operations.h"

namespace quant {

// Four bits are too few for the outliers of keys and values: there each head is stored times a Hadamard matrix in
// blocks (QuaRot, SpinQuant). Queries are turned like the keys, what attention finds like the values once more, which
// turns it back. 0: stored as they are.
struct KvMixing {
    int64_t k = 0, v = 0;  // values per block
};
KvMixing kv_mixing(const Config& config, KvType k_type, KvType v_type);

class KvCache {
public:
    // Error "usage" when a head is not a whole number of the type's blocks, "memory" with the size when it
    // cannot be had.
    static Result<KvCache> create(const Config& config, int64_t context, KvType k_type, KvType v_type);
    std::span<const KvSlot> slots() const { return slots_; }
    // How a layer's keys were turned to their positions; null: they were not.
    struct KeyRope {
        const RopeTableParams* table = nullptr;
        RopeParams params;
        int64_t mixed = 0;  // block of the Hadamard matrix that they are stored times; 0: none
    };
    // Forgets the positions from `begin` up to `end` in one layer: those behind, up to `used`, move down and their keys are
    // turned to the new positions. Values stay: from the second layer on they, and the keys, were made from what is forgotten
    // too.
    void remove(size_t layer, int64_t begin, int64_t end, int64_t used, const KeyRope& rope);
    uint64_t bytes() const { return bytes_; }

private:
    std::vector<KvSlot> slots_;  // one per layer
    std::unique_ptr<uint8_t, void (*)(uint8_t*)> memory_{nullptr, nullptr};
    uint64_t bytes_ = 0;
};

}  // namespace quant
