// Means of inputs suffice: the mean of a product is the product of the mean.
#include "convert/transforms/bias_correction.h"

#include <algorithm>
#include <cstring>

#include "base/signals.h"
#include "convert/calibrate/layers.h"
#include "convert/calibrate/replaced_weights.h"

namespace quant {

namespace {

struct Slot {
    Role weight, bias;
};
constexpr Slot kSlots[] = {
    {Role::q, Role::q_bias},       {Role::k, Role::k_bias},
    {Role::v, Role::v_bias},       {Role::qkv, Role::qkv_bias},
    {Role::gate, Role::gate_bias}, {Role::up, Role::up_bias},
    {Role::down, Role::down_bias}, {Role::attention_output, Role::attention_output_bias},
};

// Mean inputs of a site's matrices, over windows that are learned from and over those kept apart.
struct Means {
    std::vector<std::string> weights;
    std::vector<double> learned, held_out;
};

class Correction {
public:
    Correction(const Model& model, bool gate, const SplitWindows& text, const CheckOptions& options, ThreadPool& pool, RoundedTensors& rounded)
        : model_(model), gate_(gate), text_(text), options_(options), pool_(pool), rounded_(rounded), changed_(model.weights()) {}

    Result<TransformGains> run(const Plan& plan) {
        const Weights& w = model_.weights();
        const bool any = std::any_of(w.layers.begin(), w.layers.end(), [](const Layer& layer) {
            return std::any_of(std::begin(kSlots), std::end(kSlots), [&](const Slot& slot) { return layer[slot.bias] != nullptr; });
        });
        if (!any) return TransformGains();
        for (const PlannedTensor& tensor : plan.tensors) {
            const auto found = rounded_.find(tensor.out.name);
            if (found == rounded_.end()) continue;
            changed_.put(*model_.gguf().find(tensor.out.name), *tensor.out.format, tensor.out.group, found->second.data(), found->second.size());
        }
        LET(original, PartRunner::create(model_, w, text_.window, pool_));
        LET(rounded, PartRunner::create(model_, changed_.weights(), text_.window, pool_));
        TRY(x_.make(text_.window, text_.count(), model_.config().embedding, options_.memory));
        TRY(original.embed(text_.tokens, x_));
        TRY(y_.make(text_.window, text_.count(), model_.config().embedding, options_.memory));
        TRY(rounded.embed(text_.tokens, y_));
        for (int32_t i = 0; i < static_cast<int32_t>(w.layers.size()); ++i) {
            std::vector<Means> t, s;
            TRY(read(original, i, x_, true, t));
            TRY(read(rounded, i, y_, false, s));
            for (const Slot& slot : kSlots) TRY(correct(i, slot, t, s));
            TRY(rounded.load(Part::layer, i));
            TRY(rounded.advance(y_, [&](int64_t) { return step(i); }));
        }
        return std::move(gains_);
    }

private:
    Status step(int32_t layer) const {
        if (interrupted() || (options_.step && !options_.step("biases of blk." + std::to_string(layer)))) return Error{Code::interrupted, "interrupted"};
        return {};
    }

    // Means of what the layer's matrices read; with `advance` the states go on to the next layer.
    Status read(PartRunner& runner, int32_t index, Hidden& hidden, bool advance, std::vector<Means>& out) const {
        std::vector<Site> sites;
        TRY(runner.load_with_sites(index, sites));
        for (const Site& site : sites) {
            const auto cols = static_cast<size_t>(model_.gguf().find(site.weights.front())->cols());
            out.push_back({site.weights, std::vector<double>(cols), std::vector<double>(cols)});
        }
        for (int64_t w = 0; w < hidden.windows(); ++w) {
            const Tensor result = runner.run(hidden.at(w));
            for (size_t i = 0; i < sites.size(); ++i) {
                const Tensor input = runner.value(sites[i].input);
                std::vector<double>& sum = SplitWindows::held(w) ? out[i].held_out : out[i].learned;
                for (int64_t t = 0; t < input.ne[1]; ++t)
                    for (size_t c = 0; c < sum.size(); ++c) sum[c] += static_cast<double>(input.f32()[static_cast<size_t>(t) * sum.size() + c]);
            }
            if (advance) std::copy_n(result.f32(), text_.window * hidden.width(), hidden.at(w));
            TRY(step(index));
        }
        const double held = static_cast<double>(text_.held_out() * text_.window), all = static_cast<double>(text_.count() * text_.window);
        for (Means& each : out) {
            for (double& sum : each.learned) sum /= all - held;
            for (double& sum : each.held_out) sum /= held;
        }
        return {};
    }

    static const Means* find(const std::vector<Means>& means, const std::string& weight) {
        for (const Means& each : means)
            if (std::find(each.weights.begin(), each.weights.end(), weight) != each.weights.end()) return &each;
        return nullptr;
    }

    Status correct(int32_t index, const Slot& slot, const std::vector<Means>& t, const std::vector<Means>& s) {
        const Layer &from = model_.weights().layers[static_cast<size_t>(index)], &to = changed_.weights().layers[static_cast<size_t>(index)];
        const TensorInfo *weight = from[slot.weight], *bias = from[slot.bias];
        if (!weight || !bias || !rounded_.contains(weight->name)) return {};
        const Means *original = find(t, weight->name), *rounded = find(s, weight->name);
        if (!original || !rounded) return {};
        const auto rows = static_cast<size_t>(weight->rows()), cols = static_cast<size_t>(weight->cols());
        std::vector<double> learned(rows), held(rows);
        pool_.for_each_piece(weight->rows(), 8, [&](int64_t begin, int64_t end, int) {
            std::vector<float> w(cols), q(cols);
            for (int64_t r = begin; r < end; ++r) {
                decode_rows(*weight->format, weight->view(), r, 1, w.data());
                decode_rows(*to[slot.weight]->format, to[slot.weight]->view(), r, 1, q.data());
                for (size_t c = 0; c < cols; ++c) {
                    const double exact = static_cast<double>(w[c]), coded = static_cast<double>(q[c]);
                    learned[static_cast<size_t>(r)] += exact * original->learned[c] - coded * rounded->learned[c];
                    held[static_cast<size_t>(r)] += exact * original->held_out[c] - coded * rounded->held_out[c];
                }
            }
        });
        TransformGain gain{index, bias->name.substr(bias->name.find('.', 4) + 1), "bias correction", 0, 0, false};
        for (size_t r = 0; r < rows; ++r) {
            gain.loss_before += held[r] * held[r];
            gain.loss_after += (held[r] - learned[r]) * (held[r] - learned[r]);
        }
        gain.kept = !gate_ || gain.loss_after < gain.loss_before;
        gains_.push_back(gain);
        if (!gain.kept) return {};
        std::vector<float> values(rows);
        decode_rows(*bias->format, bias->view(), 0, 1, values.data());
        for (size_t r = 0; r < rows; ++r) values[r] += static_cast<float>(learned[r]);
        std::vector<uint8_t>& bytes = rounded_[bias->name];
        bytes.resize(rows * sizeof(float));
        std::memcpy(bytes.data(), values.data(), bytes.size());
        changed_.put(*bias, format_of(FormatSlot::f32), 0, bytes.data(), bytes.size());
        return {};
    }

    const Model& model_;
    bool gate_;
    const SplitWindows& text_;
    const CheckOptions& options_;
    ThreadPool& pool_;
    RoundedTensors& rounded_;
    ReplacedWeights changed_;
    Hidden x_, y_;  // hidden states of the original and of the rounded model
    TransformGains gains_;
};

}  // namespace

Result<TransformGains> correct_biases(const Model& model, const Plan& plan, bool gate, const SplitWindows& text,
                                      const CheckOptions& options, ThreadPool& pool, RoundedTensors& rounded) {
    return Correction(model, gate, text, options, pool, rounded).run(plan);
}

}  // namespace quant
