// Invertible maps of channels: what a transform does to the vector between those who make it and those who read it.
// Knows numbers only. A map M turns a reader's row w into w M and the vector x that it reads into inverse(M) x, so that
// w x stays what it is.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/rng.h"

namespace quant {

class ChannelMap {
public:
    virtual ~ChannelMap() = default;
    // `count` values in place; they are the channels from `first` on. Whole blocks of block() channels.
    virtual void on_reader(float* w, int64_t count, int64_t first) const = 0;         // w M
    virtual void on_reader_inverse(float* w, int64_t count, int64_t first) const = 0;  // w inverse(M)
    virtual void on_maker(float* x, int64_t count, int64_t first) const = 0;          // inverse(M) x
    virtual int64_t block() const = 0;  // channels that mix; 1: a factor for each
};
using SharedMap = std::shared_ptr<const ChannelMap>;

// Channel j of a reader times s[j]; every s[j] is finite and not 0.
SharedMap scale_map(std::vector<float> s);

// A random orthogonal matrix in blocks of `size` channels, the same for all blocks: random signs, a Hadamard matrix of
// the largest power of two that divides `size` (fast Walsh-Hadamard transform), Kronecker with a random orthogonal
// matrix of the rest, which is odd and small. QuaRot (Ashkboos et al. 2024), SpinQuant (Liu et al. 2024).
SharedMap rotation_map(int64_t size, Rng& rng);

// A matrix [size, size] (row-major) and its inverse for each block.
struct BlockMatrix {
    std::vector<float> matrix, inverse;
};
SharedMap matrix_map(int64_t size, std::vector<BlockMatrix> blocks);

// Gram-Schmidt on normally distributed numbers; [size, size], rows are orthonormal.
std::vector<double> random_orthogonal(int64_t size, Rng& rng);

}  // namespace quant
