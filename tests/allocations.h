// Replaces operator new of a test program: counts what is live, and can refuse the n-th allocation.
// Include in exactly one source file of a program.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace allocations {

inline uint64_t live = 0, peak = 0, count = 0;
inline uint64_t fail_at = 0;      // 1: the next; 0: never
inline bool fail_after = false;   // and all later ones

// The size stands in front of the block, which keeps the alignment of malloc.
inline constexpr size_t kHead = alignof(std::max_align_t);

inline void* take(size_t bytes) {
    ++count;
    if (fail_at != 0 && (count == fail_at || (fail_after && count > fail_at))) return nullptr;
    auto* block = static_cast<unsigned char*>(std::malloc(bytes + kHead));
    if (!block) return nullptr;
    *reinterpret_cast<size_t*>(block) = bytes;
    live += bytes;
    if (live > peak) peak = live;
    return block + kHead;
}

inline void give(void* at) {
    if (!at) return;
    auto* block = static_cast<unsigned char*>(at) - kHead;
    live -= *reinterpret_cast<size_t*>(block);
    std::free(block);
}

inline void start(uint64_t fail_number = 0, bool persistent = false) {
    count = 0;
    peak = live;
    fail_at = fail_number;
    fail_after = persistent;
}
inline void stop() { fail_at = 0; }

}  // namespace allocations

// Not inlined: the compiler would take the header in front of a block for a mismatched free.
[[gnu::noinline]] void* operator new(size_t bytes) {
    if (void* at = allocations::take(bytes)) return at;
    throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new[](size_t bytes) { return operator new(bytes); }
[[gnu::noinline]] void* operator new(size_t bytes, const std::nothrow_t&) noexcept { return allocations::take(bytes); }
[[gnu::noinline]] void* operator new[](size_t bytes, const std::nothrow_t&) noexcept { return allocations::take(bytes); }
[[gnu::noinline]] void operator delete(void* at) noexcept { allocations::give(at); }
[[gnu::noinline]] void operator delete[](void* at) noexcept { allocations::give(at); }
[[gnu::noinline]] void operator delete(void* at, size_t) noexcept { allocations::give(at); }
[[gnu::noinline]] void operator delete[](void* at, size_t) noexcept { allocations::give(at); }
[[gnu::noinline]] void operator delete(void* at, const std::nothrow_t&) noexcept { allocations::give(at); }
[[gnu::noinline]] void operator delete[](void* at, const std::nothrow_t&) noexcept { allocations::give(at); }
