// One pass through the layers in full precision, an observer for each value that matrices read.
#include "convert/calibrate/ranges.h"

#include "base/signals.h"
#include "convert/calibrate/layers.h"

namespace quant {

Result<ActivationRanges> observe_ranges(const Model& model, const std::vector<int32_t>& tokens, ObserverKind kind, int64_t window,
                                        uint64_t memory, ThreadPool& pool,
                                        const std::function<bool(int64_t done, int64_t total, const std::string& what)>& progress) {
    const int64_t windows = static_cast<int64_t>(tokens.size()) / window;
    const auto layers = static_cast<int32_t>(model.weights().layers.size());
    Hidden hidden;
    TRY(hidden.make(window, windows, model.config().embedding, memory));
    LET(runner, PartRunner::create(model, model.weights(), window, pool));
    TRY(runner.embed(tokens, hidden));
    ActivationRanges out;
    for (int32_t i = 0; i < layers; ++i) {
        std::vector<Site> sites;
        TRY(runner.load_with_sites(i, sites));
        std::vector<RangeObserver> observers(sites.size());
        TRY(runner.advance(hidden, [&](int64_t w) -> Status {
            pool.for_each_piece(static_cast<int64_t>(sites.size()), 1, [&](int64_t at, int64_t, int) {
                const auto site = static_cast<size_t>(at);
                const Tensor x = runner.value(sites[site].input);
                observers[site].add(x.f32(), x.elements());
            });
            if (interrupted() || (progress && !progress(i * windows + w + 1, layers * windows, "blk." + std::to_string(i))))
                return Error{Code::interrupted, "interrupted"};
            return {};
        }));
        for (size_t s = 0; s < sites.size(); ++s) {
            const float range = observers[s].range(kind);
            for (const std::string& name : sites[s].weights)
                if (range > 0 && name.find("ffn_gate_inp") == std::string::npos) out[name] = range;
        }
    }
    return out;
}

void store_ranges(const ActivationRanges& ranges, ObserverKind kind, Metadata& metadata) {
    std::vector<std::string> names;
    std::vector<float> values;
    for (const auto& [name, range] : ranges) {
        names.push_back(name);
        values.push_back(range);
    }
    metadata.set(kRangeNamesKey, Value::of_strings(std::move(names)));
    metadata.set(kRangesKey, Value::of_f32s(values));
    metadata.set("quant.activations.observer", Value::of_string(observer_name(kind)));
}

}  // namespace quant
