// How much of a long test to run: a sample by default, all of it with QUANT_FULL_TESTS=1. The count is printed.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace check {

// Sanitizers look at the way values take, which a few of a kind show: the long tests take fewer there.
#if defined(QUANT_SANITIZED)
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif

inline bool full() {
    const char* set = std::getenv("QUANT_FULL_TESTS");
    return set && *set && *set != '0';
}
inline uint64_t rounds(const char* what, uint64_t sample, uint64_t all) {
    const uint64_t count = full() ? all : sample;
    std::printf("# %s: %llu of %llu\n", what, static_cast<unsigned long long>(count), static_cast<unsigned long long>(all));
    return count;
}

}  // namespace check
