// Arithmetic on numbers that came from a file: every sum and product says when it does not fit.
// Fields of a file never meet plain + or * before they went through here.
#pragma once

#include <cstdint>
#include <optional>

namespace quant {

inline std::optional<uint64_t> checked_add(uint64_t a, uint64_t b) {
    uint64_t sum;
    if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
    return sum;
}

inline std::optional<uint64_t> checked_mul(uint64_t a, uint64_t b) {
    uint64_t product;
    if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
    return product;
}

// The next multiple of `alignment` (a power of two) at or above `value`.
inline std::optional<uint64_t> checked_align(uint64_t value, uint64_t alignment) {
    auto raised = checked_add(value, alignment - 1);
    if (!raised) return std::nullopt;
    return *raised & ~(alignment - 1);
}

}  // namespace quant
