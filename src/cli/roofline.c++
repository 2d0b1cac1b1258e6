#include "cli/roofline.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <new>

#include "base/huge_pages.h"
#include "base/threads.h"
#include "cli/generate.h"
#include "kernels/peak.h"
#include "model/weights.h"
#include "tensor/operations.h"

namespace quant {
namespace {

constexpr size_t kBytes = size_t{512} << 20;  // more than any cache: those of servers have a quarter of a gigabyte
constexpr int kPasses = 4;

double best_rate(ThreadPool& pool, double amount, const std::function<void(int thread)>& work) {
    double best = 0;
    for (int pass = 0; pass < kPasses; ++pass) {
        const double started = seconds_now();
        pool.run(work);
        const double seconds = seconds_now() - started;
        if (seconds > 0) best = std::max(best, amount / seconds);
    }
    return best;
}

double arithmetic(ThreadPool& pool, PeakOf of) {
    constexpr int64_t kRounds = 2'000'000;
    const auto amount = static_cast<double>(peak_round(of) * kRounds * pool.size());
    return amount > 0 ? best_rate(pool, amount, [&](int) { run_peak(of, kRounds); }) : 0;
}

bool is_expert(Role role) { return role == Role::expert_gate || role == Role::expert_up || role == Role::expert_down; }

// Calls each(tensor, share of it that one token uses) for the tensors of all layers.
template <class Each>
void for_layer_tensors(const Model& model, Each each) {
    const Config& config = model.config();
    const double used = config.experts > 0 ? static_cast<double>(config.experts_used) / static_cast<double>(config.experts) : 1;
    for (const Layer& layer : model.weights().layers)
        for (size_t role = 0; role < kRoleCount; ++role)
            if (const TensorInfo* tensor = layer.tensors[role]) each(*tensor, is_expert(static_cast<Role>(role)) ? used : 1.0);
}

// Bytes/s; 0 where the memory for it cannot be had.
double reading(ThreadPool& pool) {
    constexpr std::align_val_t kAligned{kHugePage};
    const auto release = [](uint64_t* memory) { ::operator delete (memory, kAligned); };
    const std::unique_ptr<uint64_t, decltype(release)> words(static_cast<uint64_t*>(::operator new (kBytes, kAligned, std::nothrow)), release);
    if (!words) return 0;
    ask_for_huge_pages(words.get(), kBytes);
    const auto part = static_cast<int64_t>(kBytes / sizeof(uint64_t)) / pool.size();
    pool.run([&](int thread) { std::fill_n(words.get() + thread * part, part, 1); });
    std::atomic<uint64_t> sink{0};
    return best_rate(pool, static_cast<double>(part * pool.size()) * sizeof(uint64_t),
                     [&](int thread) { sink += read_lines(words.get() + thread * part, part); });
}

}  // namespace

MachineLimits measure_limits(ThreadPool& pool) {
    MachineLimits limits;
    limits.bandwidth = reading(pool);
    limits.int8 = arithmetic(pool, PeakOf::int8);
    limits.f32 = arithmetic(pool, PeakOf::f32);
    return limits;
}

double prompt_limit(const Model& model, const MachineLimits& limits, bool exact) {
    if (limits.int8 <= 0 || limits.f32 <= 0) return 0;
    double seconds = 0;
    for_layer_tensors(model, [&](const TensorInfo& tensor, double used) {
        if (tensor.rows() == 1) return;  // gains and biases
        const bool int8 = !exact && takes_q8(*tensor.format);
        seconds += used * static_cast<double>(tensor.elements()) / (int8 ? limits.int8 : limits.f32);
    });
    return seconds > 0 ? 1 / seconds : 0;
}

double generation_limit(const Model& model, const MachineLimits& limits, uint64_t kv_bytes_per_token, int64_t depth) {
    double bytes = static_cast<double>(model.weights().output->bytes) + static_cast<double>(kv_bytes_per_token) * static_cast<double>(depth);
    for_layer_tensors(model, [&](const TensorInfo& tensor, double used) { bytes += used * static_cast<double>(tensor.bytes); });
    return limits.bandwidth / bytes;
}

}  // namespace quant
