// Memory whose last (or first) byte lies against an inaccessible page, so that a kernel that reads or writes one byte
// too far is stopped at once.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

class Guarded {
public:
    enum class Edge { behind, before };  // where the inaccessible page touches the data

    explicit Guarded(size_t bytes, Edge edge = Edge::behind) : bytes_(bytes) {
        const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
        const size_t inner = (bytes + page - 1) / page * page;
        total_ = inner + 2 * page;
        base_ = static_cast<uint8_t*>(mmap(nullptr, total_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        if (base_ == MAP_FAILED || (inner && mprotect(base_ + page, inner, PROT_READ | PROT_WRITE) != 0)) std::abort();
        data_ = edge == Edge::before ? base_ + page : base_ + page + inner - bytes;
        std::memset(base_ + page, 0x5a, inner);
    }
    ~Guarded() { munmap(base_, total_); }
    Guarded(const Guarded&) = delete;
    Guarded& operator=(const Guarded&) = delete;

    template <class T>
    T* as() const { return reinterpret_cast<T*>(data_); }
    uint8_t* data() const { return data_; }
    size_t size() const { return bytes_; }

private:
    uint8_t* base_ = nullptr;
    uint8_t* data_ = nullptr;
    size_t bytes_ = 0, total_ = 0;
};
