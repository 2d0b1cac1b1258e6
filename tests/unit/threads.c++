// The thread pool: every thread is called once per run, pieces cover the range once, the barrier holds everybody back,
// also with more threads than processors.
#include "base/threads.h"

#include <atomic>
#include <vector>

#include "tests/check.h"

using namespace quant;

namespace {
constexpr int kSizes[] = {1, 2, 3, 8};
}

TEST(run_calls_each_thread_once) {
    for (const int size : kSizes) {
        ThreadPool pool(size);
        CHECK(pool.size() == size);
        std::vector<int> calls(static_cast<size_t>(size));
        for (int round = 0; round < 500; ++round) {
            pool.run([&](int thread) { ++calls[static_cast<size_t>(thread)]; });
        }
        for (const int each : calls) CHECK(each == 500);
    }
}

TEST(what_threads_wrote_is_seen_after_run) {
    ThreadPool pool(4);
    std::vector<int> written(4);
    for (int round = 1; round <= 500; ++round) {
        pool.run([&](int thread) { written[static_cast<size_t>(thread)] = round; });
        for (const int each : written) CHECK(each == round);
    }
}

TEST(pieces_cover_the_range_once) {
    for (const int size : kSizes) {
        ThreadPool pool(size);
        for (const int64_t count : {0, 1, 7, 64, 1000}) {
            for (const int64_t grain : {1, 3, 64, 5000}) {
                std::vector<std::atomic<int>> seen(static_cast<size_t>(count));
                std::atomic<int64_t> wrong{0};
                pool.for_each_piece(count, grain, [&](int64_t begin, int64_t end, int thread) {
                    if (begin >= end || end - begin > grain || thread < 0 || thread >= size) ++wrong;
                    for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
                });
                CHECK(wrong == 0);
                for (const auto& each : seen) CHECK(each == 1);
            }
        }
    }
}

TEST(nobody_passes_the_barrier_before_all_have_come) {
    for (const int size : kSizes) {
        ThreadPool pool(size);
        std::atomic<int> arrived{0}, early{0};
        for (int round = 0; round < 20; ++round) {
            arrived = 0;
            pool.run([&](int) {
                for (int phase = 1; phase <= 10; ++phase) {
                    ++arrived;
                    pool.barrier();
                    if (arrived < phase * size) ++early;
                    pool.barrier();
                }
            });
            CHECK(arrived == 10 * size);
        }
        CHECK(early == 0);
    }
}

TEST(a_pool_may_come_and_go_without_work) {
    for (int round = 0; round < 50; ++round) ThreadPool pool(3);
    CHECK(default_threads() >= 1);
}

TEST_MAIN
