// The thread pool: fork and join over threads that live as long as the pool. Knows nothing of what the work is.
#include "base/threads.h"

#include <algorithm>
#include <cassert>
#include <cstdio>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif
#ifdef _OPENMP
#include <omp.h>
#endif

namespace quant {
namespace {

// A pause takes 40 to 140 cycles: about 50 microseconds in all, longer than the serial parts between two operations.
// Then the system is asked for help, because the thread waited for may need this very core.
constexpr int kSpins = 2000;
constexpr int kYields = 64;

void pause_briefly() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}

#if defined(__linux__)

// The lowest processor that shares a physical core with `cpu`; `cpu` itself when the system does not say.
int first_sibling(int cpu) {
    char path[96];
    std::snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
    std::FILE* file = std::fopen(path, "r");
    if (!file) return cpu;
    int first = cpu;
    if (std::fscanf(file, "%d", &first) != 1) first = cpu;
    std::fclose(file);
    return first;
}

int physical_cores() {
    constexpr int kMaxCpus = 8192;
    cpu_set_t* set = CPU_ALLOC(kMaxCpus);
    if (!set) return 0;
    const size_t bytes = CPU_ALLOC_SIZE(kMaxCpus);
    CPU_ZERO_S(bytes, set);
    std::vector<int> cores;
    if (sched_getaffinity(0, bytes, set) == 0) {
        for (int cpu = 0; cpu < kMaxCpus; ++cpu) {
            if (CPU_ISSET_S(static_cast<size_t>(cpu), bytes, set)) cores.push_back(first_sibling(cpu));
        }
    }
    CPU_FREE(set);
    std::sort(cores.begin(), cores.end());
    return static_cast<int>(std::unique(cores.begin(), cores.end()) - cores.begin());
}

#elif defined(__APPLE__)

int physical_cores() {
    int count = 0;
    size_t bytes = sizeof count;
    if (sysctlbyname("hw.perflevel0.physicalcpu", &count, &bytes, nullptr, 0) == 0 && count > 0) return count;
    bytes = sizeof count;
    return sysctlbyname("hw.physicalcpu", &count, &bytes, nullptr, 0) == 0 ? count : 0;
}

#else

int physical_cores() { return 0; }

#endif

#ifdef _OPENMP

// On the threads of OpenMP's runtime, so that a program which uses it already has one set of threads and not two.
// false: the runtime gives fewer (inside another parallel region, or by its limits) and nothing was called.
bool run_in_openmp(int count, const std::function<void(int thread)>& work) {
    bool given = false;
#pragma omp parallel num_threads(count)
    if (omp_get_num_threads() == count) {
        if (omp_get_thread_num() == 0) given = true;
        work(omp_get_thread_num());
    }
    return given;
}

#endif

}  // namespace

int default_threads() {
    const int cores = physical_cores();
    return cores > 0 ? cores : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

struct ThreadPool::State {
    explicit State(int threads)
        : count(threads), spins(threads <= static_cast<int>(std::thread::hardware_concurrency()) ? kSpins : 0) {}

    // Waits until `word` differs from `seen`: spins, yields, sleeps.
    void wait_for_change(const std::atomic<uint32_t>& word, uint32_t seen) const {
        for (int i = 0; i < spins; ++i) {
            if (word.load(std::memory_order_acquire) != seen) return;
            pause_briefly();
        }
        for (int i = 0; i < kYields; ++i) {
            if (word.load(std::memory_order_acquire) != seen) return;
            std::this_thread::yield();
        }
        while (word.load(std::memory_order_acquire) == seen) word.wait(seen, std::memory_order_acquire);
    }

    void start_workers() {
        workers.reserve(static_cast<size_t>(count - 1));
        const uint32_t seen = epoch.load(std::memory_order_relaxed);
        while (static_cast<int>(workers.size()) < count - 1) {
            const int thread = static_cast<int>(workers.size()) + 1;
            try {
                workers.emplace_back([this, thread, seen] { serve(thread, seen); });
            } catch (const std::system_error&) {
                throw std::bad_alloc();  // no more threads to have: the stacks are memory
            }
        }
    }

    void serve(int thread, uint32_t seen) {
        for (;;) {
            wait_for_change(epoch, seen);
            seen = epoch.load(std::memory_order_acquire);
            if (stopping.load(std::memory_order_relaxed)) return;
            (*work)(thread);
            finish_one();
        }
    }

    void finish_one() {
        if (running.fetch_sub(1, std::memory_order_acq_rel) == 1) running.notify_all();
    }

    const int count;
    const int spins;
    std::vector<std::thread> workers;
    const std::function<void(int)>* work = nullptr;  // published by `epoch`
    alignas(64) std::atomic<uint32_t> epoch{0};      // one more for each run()
    alignas(64) std::atomic<uint32_t> running{0};    // workers that have not finished the current run
    alignas(64) std::atomic<uint32_t> arrived{0};    // threads at the barrier
    alignas(64) std::atomic<uint32_t> phase{0};      // one more for each barrier passed
    alignas(64) std::atomic<int64_t> next_piece{0};
    std::atomic<bool> stopping{false};
    bool active = false;
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>(std::max(threads, 1))) {}

ThreadPool::~ThreadPool() {
    state_->stopping.store(true, std::memory_order_relaxed);
    state_->epoch.fetch_add(1, std::memory_order_release);
    state_->epoch.notify_all();
    for (std::thread& worker : state_->workers) worker.join();
}

int ThreadPool::size() const { return state_->count; }

void ThreadPool::run(const std::function<void(int thread)>& work) {
    State& s = *state_;
    assert(!s.active);
#ifdef _OPENMP
    if (s.count > 1 && run_in_openmp(s.count, work)) return;
#endif
    if (static_cast<int>(s.workers.size()) < s.count - 1) s.start_workers();
    s.active = true;
    if (s.count > 1) {
        s.work = &work;
        s.running.store(static_cast<uint32_t>(s.count - 1), std::memory_order_relaxed);
        s.epoch.fetch_add(1, std::memory_order_release);
        s.epoch.notify_all();
    }
    work(0);
    for (uint32_t left; (left = s.running.load(std::memory_order_acquire)) != 0;) s.wait_for_change(s.running, left);
    s.active = false;
}

void ThreadPool::for_each_piece(int64_t count, int64_t grain,
                                const std::function<void(int64_t begin, int64_t end, int thread)>& body) {
    State& s = *state_;
    grain = std::max<int64_t>(grain, 1);
    s.next_piece.store(0, std::memory_order_relaxed);
    run([&](int thread) {
        for (;;) {
            const int64_t begin = s.next_piece.fetch_add(grain, std::memory_order_relaxed);
            if (begin >= count) return;
            body(begin, std::min(begin + grain, count), thread);
        }
    });
}

void ThreadPool::barrier() {
    State& s = *state_;
    const uint32_t phase = s.phase.load(std::memory_order_acquire);
    if (s.arrived.fetch_add(1, std::memory_order_acq_rel) + 1 == static_cast<uint32_t>(s.count)) {
        s.arrived.store(0, std::memory_order_relaxed);
        s.phase.fetch_add(1, std::memory_order_release);
        s.phase.notify_all();
        return;
    }
    s.wait_for_change(s.phase, phase);
}

}  // namespace quant
