// A pool that keeps its threads between operations; work is given to all of them at once (fork and join).
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

namespace quant {

// Threads worth using on this machine: physical cores this process may run on, at least 1.
int default_threads();
inline constexpr int kMaxThreads = 512;  // that a user may ask for

class ThreadPool {
public:
    explicit ThreadPool(int threads);  // >= 1; the calling thread is number 0 and counts
    ~ThreadPool();
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    int size() const;
    // Calls work(thread) once on each thread, thread = 0 .. size-1, and returns when all are done. Not reentrant.
    // `work` must not throw. Waiting threads spin briefly, then sleep.
    void run(const std::function<void(int thread)>& work);
    // Calls body(begin, end, thread) for pieces of [0, count) of at most `grain` each, taken in order by whoever is free.
    void for_each_piece(int64_t count, int64_t grain,
                        const std::function<void(int64_t begin, int64_t end, int thread)>& body);
    // Only inside run(): returns on every thread when all threads have called it.
    void barrier();

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace quant
