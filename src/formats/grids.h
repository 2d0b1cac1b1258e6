// The code books of IQ1_S to IQ3_S: which 8 or 4 levels may stand together, and the signs that go with them.
// Plain data: may be used by the files of any instruction set. Knows nothing of blocks and scales.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace quant {

// A point is the bytes of its levels, first weight least significant.
template <size_t n>
struct alignas(64) Grid8 {
    uint64_t points[n];
};
template <size_t n>
struct alignas(64) Grid4 {
    uint32_t points[n];
};

extern const Grid8<2048> kIq1Grid;    // levels 0 1 2, which stand for -1 0 1; IQ1_S and IQ1_M
extern const Grid8<256> kIq2XxsGrid;  // levels 8 25 43
extern const Grid8<512> kIq2XsGrid;   // levels 8 25 43
extern const Grid8<1024> kIq2SGrid;   // levels 8 25 43
extern const Grid4<256> kIq3XxsGrid;  // levels 4 12 20 28 36 44 52 62
extern const Grid4<512> kIq3SGrid;    // levels 1 3 ... 15

// Signs of 8 weights from 7 stored bits: bit i set = weight i negative; the eighth makes their number even.
[[gnu::always_inline]] inline uint32_t even_signs(uint32_t seven_bits) {
    return seven_bits | static_cast<uint32_t>(std::popcount(seven_bits) & 1) << 7;
}

}  // namespace quant
