#include "cli/roofline.h"

#include <algorithm>
#include <atomic>
#include <vector>

#include "cli/generate.h"
#include "base/threads.h"
#include "kernels/peak.h"
#include "model/weights.h"
#include "tensor/operations.h"

namespace quant {
namespace {

constexpr int64_t kWords = int64_t{16} << 20;  // 128 MiB: more than any cache of a processor for a few threads
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

}  // namespace

MachineLimits measure_limits(ThreadPool& pool) {
    std::vector<uint64_t> words(static_cast<size_t>(kWords), 1);
    const int64_t part = kWords / pool.size();
    std::atomic<uint64_t> sink{0};
    MachineLimits limits;
    limits.bandwidth = best_rate(pool, static_cast<double>(part * pool.size()) * sizeof(uint64_t),
                                 [&](int thread) { sink += read_words(words.data() + thread * part, part); });
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
