// Weights of a product with one activation row, brought near before they are read. Included by x86 kernels only.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace quant {
namespace {

// Into the second-level cache far ahead, where many lines can be under way, and from there into the first in time. Past the end of
// the row, and of the tensor, a prefetch does nothing.
inline void prefetch_ahead(const uint8_t* b, int bytes) {
    for (int line = 0; line < bytes; line += 64) {
        _mm_prefetch(reinterpret_cast<const char*>(b) + 6144 + line, _MM_HINT_T1);
        _mm_prefetch(reinterpret_cast<const char*>(b) + 1024 + line, _MM_HINT_T0);
    }
}

}  // namespace
}  // namespace quant
