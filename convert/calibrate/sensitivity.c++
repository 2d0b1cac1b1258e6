// Hidden states of the unchanged model are kept in front of one layer at a time, so that a changed tensor only costs the
// layers from its own on.
#include "convert/calibrate/sensitivity.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <unordered_map>
#include <unordered_set>

#include "base/signals.h"
#include "convert/calibrate/checkpoint.h"
#include "convert/calibrate/gram.h"
#include "convert/calibrate/layers.h"
#include "convert/calibrate/predictions.h"
#include "convert/calibrate/replaced_weights.h"
#include "convert/calibrate/rounding_cost.h"
#include "convert/calibrate/tied_table.h"

namespace quant {

namespace {

// The format of the probe: coarse enough for a divergence above the noise of f32, fine enough to be proportional. One
// that fits every row of 32.
const Format& probe_format(int64_t cols) {
    return format_of(cols % format_of(FormatSlot::q4_0).block == 0 ? FormatSlot::q4_0 : FormatSlot::q8_0);
}

class Measurement {
public:
    Measurement(const Model& model, const std::vector<std::string>& names, const SensitivityOptions& options,
                const std::vector<int32_t>& tokens, ThreadPool& pool, const std::function<bool(int64_t, int64_t, const std::string&)>& progress)
        : model_(model), names_(names), options_(options), pool_(pool), progress_(progress), changed_(model.weights()),
          predictions_(model, tokens, options.window, options.windows, pool) {
        for (const std::string& name : names) results_[name].name = name;
    }

    Status run() {
        total_ = (sensitivity_passes(model_, names_) + static_cast<int64_t>(names_.size()) + 1) * windows();  // and the logits
        LET(original, PartRunner::create(model_, model_.weights(), options_.window, pool_));
        LET(changed, PartRunner::create(model_, changed_.weights(), options_.window, pool_));
        LET(original_head, PartRunner::create(model_, model_.weights(), predictions_.places(), pool_));
        LET(changed_head, PartRunner::create(model_, changed_.weights(), predictions_.places(), pool_));
        runner_ = &changed;
        head_ = &changed_head;
        Hidden x;
        TRY(embed(original, x));
        Hidden first;
        TRY(first.copy(x, options_.memory));
        for (int32_t i = 0; i < layers(); ++i) TRY(advance(original, i, x, true));
        LET(share, lookup_share(model_, predictions_.tokens(), options_.window, options_.memory, pool_));
        lookup_share_ = share;
        TRY(learn_output(original, x));
        TRY(predictions_.keep(original_head, x, [this] { return step("output"); }));
        TRY(tables(first, x));
        x = std::move(first);
        for (int32_t i = 0; i < layers(); ++i) {
            for (const TensorInfo* tensor : model_.weights().layers[static_cast<size_t>(i)].tensors)
                if (wanted(tensor)) TRY(probe(*tensor, x, i));
            TRY(advance(original, i, x, false));
        }
        return {};
    }

    std::unordered_map<std::string, TensorSensitivity>& results() { return results_; }

private:
    int32_t layers() const { return static_cast<int32_t>(model_.weights().layers.size()); }
    int64_t windows() const { return predictions_.windows(); }
    bool wanted(const TensorInfo* tensor) const { return tensor && results_.contains(tensor->name); }

    Status step(const std::string& what) {
        ++done_;
        if (interrupted() || (progress_ && !progress_(done_, total_, what))) return Error{Code::interrupted, "interrupted"};
        return {};
    }

    Status embed(PartRunner& runner, Hidden& out) {
        TRY(out.make(options_.window, windows(), model_.config().embedding, options_.memory));
        return runner.embed(predictions_.tokens(), out);
    }

    // With `learn`, the mean squares of what each matrix reads are kept as its importance.
    Status advance(PartRunner& runner, int32_t index, Hidden& hidden, bool learn) {
        std::vector<Site> sites;
        if (learn) TRY(runner.load_with_sites(index, sites));
        else TRY(runner.load(Part::layer, index));
        return runner.advance(hidden, [&](int64_t) {
            for (const Site& site : sites) {
                add_squares(site, runner.value(site.input));
                add_products(site.weights, runner.value(site.input));
            }
            return step("blk." + std::to_string(index));
        });
    }

    void add_squares(const Site& site, const Tensor& input) {
        std::vector<double> squares(static_cast<size_t>(input.ne[0]));
        for (int64_t t = 0; t < options_.window; ++t)
            for (size_t c = 0; c < squares.size(); ++c) {
                const double x = static_cast<double>(input.f32()[static_cast<size_t>(t) * squares.size() + c]);
                squares[c] += x * x;
            }
        for (const std::string& name : site.weights) {
            std::vector<float>& sum = importance_[name];
            sum.resize(squares.size());
            for (size_t c = 0; c < squares.size(); ++c) sum[c] += static_cast<float>(squares[c]);
        }
    }

    // Matrices that read the same share their sums.
    void add_products(const std::vector<std::string>& weights, const Tensor& input) {
        const int64_t cols = input.ne[0], kept = RoundingCost::sampled_cols(cols);
        std::shared_ptr<ProductSum>& sum = inputs_[weights.front()];
        if (!sum) sum = std::make_shared<ProductSum>(kept, kept);
        sum->add(input.f32(), cols, input.f32(), cols, options_.window, pool_);
        for (const std::string& name : weights) inputs_[name] = inputs_[weights.front()];
    }

    // What the output matrix reads, of the hidden states behind all layers.
    Status learn_output(PartRunner& original, const Hidden& last) {
        const TensorInfo& output = *model_.weights().output;
        if (!wanted(&output)) return {};
        TRY(original.load(Part::head, 0));
        for (int64_t w = 0; w < windows(); ++w) add_products({output.name}, original.run(last.at(w)));
        return {};
    }

    // The tables outside the layers: `first` are the hidden states behind the embedding, `last` those behind all layers.
    Status tables(const Hidden& first, const Hidden& last) {
        const Weights& w = model_.weights();
        if (w.output != w.embedding && wanted(w.output)) TRY(probe(*w.output, last, layers()));
        if (wanted(w.embedding)) TRY(probe(*w.embedding, first, -1));
        return {};
    }

    uint64_t key_of(const TensorInfo& tensor) const {
        Fingerprint key;
        for (const int64_t number : {options_.window, options_.windows, options_.sampled_rows, int64_t{options_.feedback}}) key.add(&number, sizeof number);
        for (const Format* candidate : options_.candidates) key.add(&candidate->slot, sizeof candidate->slot);
        key.add(tensor.name.data(), tensor.name.size());
        return key.value();
    }

    // What an earlier run found. False: nothing.
    bool take_known(const TensorInfo& tensor, TensorSensitivity& result) {
        const Bytes piece = options_.journal ? options_.journal->find(key_of(tensor)) : Bytes();
        if (piece.size() != sizeof(double) * (1 + options_.candidates.size())) return false;
        std::vector<double> numbers(1 + options_.candidates.size());
        std::memcpy(numbers.data(), piece.data(), piece.size());
        result.measured = numbers[0];
        result.losses.assign(numbers.begin() + 1, numbers.end());
        return true;
    }

    Status keep(const TensorInfo& tensor, const TensorSensitivity& result) {
        if (!options_.journal) return {};
        std::vector<double> numbers = {result.measured};
        numbers.insert(numbers.end(), result.losses.begin(), result.losses.end());
        return options_.journal->put(key_of(tensor), {reinterpret_cast<const uint8_t*>(numbers.data()), numbers.size() * sizeof(double)});
    }

    // One tensor changed; `before` are the hidden states in front of `layer` (-1: made anew from the tokens).
    Status probe(const TensorInfo& tensor, const Hidden& before, int32_t layer) {
        TensorSensitivity& result = results_[tensor.name];
        if (take_known(tensor, result)) {
            total_ -= (1 + layers() - std::max(layer, 0)) * windows();
            return {};
        }
        const Format& format = probe_format(tensor.cols());
        std::vector<uint8_t> blocks(format.tensor_bytes(tensor.cols(), tensor.rows()));
        const float* importance = importance_of(tensor);
        pool_.for_each_piece(tensor.rows(), 8, [&](int64_t begin, int64_t end, int) {
            std::vector<float> row(static_cast<size_t>(tensor.cols()));
            for (int64_t r = begin; r < end; ++r) encode_row(format, tensor, r, importance, row, blocks.data() + row_at(format, tensor, r));
        });
        changed_.put(tensor, format, 0, blocks.data(), blocks.size());
        Hidden x;
        TRY(x.copy(before, options_.memory));
        if (layer < 0) TRY(runner_->embed(predictions_.tokens(), x));
        for (int32_t i = std::max(layer, 0); i < layers(); ++i) {
            TRY(runner_->load(Part::layer, i));
            TRY(runner_->advance(x, [&](int64_t) { return step(tensor.name); }));
        }
        LET(score, predictions_.compare(*head_, x, [&] { return step(tensor.name); }));
        changed_.restore(tensor);
        result.measured = score.divergence.value;
        TRY(estimate(tensor, format, result));
        return keep(tensor, result);
    }

    static uint64_t row_at(const Format& format, const TensorInfo& tensor, int64_t row) {
        return static_cast<uint64_t>(row) * format.row_bytes(tensor.cols());
    }

    const float* importance_of(const TensorInfo& tensor) const {
        const auto found = importance_.find(tensor.name);
        return found == importance_.end() || found->second.size() != static_cast<size_t>(tensor.cols()) ? nullptr
                                                                                                        : found->second.data();
    }

    static void encode_row(const Format& format, const TensorInfo& tensor, int64_t r, const float* importance,
                           std::vector<float>& row, uint8_t* to) {
        decode_rows(*tensor.format, tensor.view(), r, 1, row.data());
        format.encode(nullptr, row.data(), importance, to, tensor.cols());
    }

    // Few tokens leave directions in which nothing seems to count: what columns have in common is trusted the less.
    static std::vector<float> shrunk(const ProductSum& sum, int64_t cols) {
        const auto tokens = static_cast<double>(sum.tokens());
        std::vector<float> gram = sum.mean(tokens);
        const auto trust = static_cast<float>(tokens / (tokens + static_cast<double>(cols)));
        for (size_t i = 0; i < gram.size(); ++i)
            if (i % static_cast<size_t>(cols + 1) != 0) gram[i] *= trust;
        return gram;
    }

    Status estimate(const TensorInfo& tensor, const Format& probe, TensorSensitivity& result) {
        const auto found = inputs_.find(tensor.name);
        std::vector<float> gram;
        if (found != inputs_.end()) gram = shrunk(*found->second, RoundingCost::sampled_cols(tensor.cols()));
        if (&tensor == model_.weights().output && !gram.empty()) add_lookups(gram, RoundingCost::sampled_cols(tensor.cols()), lookup_share_);
        LET(cost, RoundingCost::create(tensor, std::move(gram), options_.sampled_rows, pool_));
        const double unit = cost.of(probe, false);
        for (const Format* candidate : options_.candidates) {
            const double error = cost.of(*candidate, options_.feedback);
            result.losses.push_back(std::isnan(error) || unit <= 0 ? error : result.measured * error / unit);
        }
        return {};
    }

    const Model& model_;
    const std::vector<std::string>& names_;
    const SensitivityOptions& options_;
    ThreadPool& pool_;
    const std::function<bool(int64_t, int64_t, const std::string&)>& progress_;
    ReplacedWeights changed_;
    PartRunner *runner_ = nullptr, *head_ = nullptr;  // of the changed weights
    std::unordered_map<std::string, TensorSensitivity> results_;
    std::unordered_map<std::string, std::vector<float>> importance_;  // by tensor: sums of squared inputs
    std::unordered_map<std::string, std::shared_ptr<ProductSum>> inputs_;  // by tensor: of its first columns
    Predictions predictions_;
    double lookup_share_ = 0;
    int64_t done_ = 0, total_ = 0;
};

}  // namespace

int64_t sensitivity_passes(const Model& model, const std::vector<std::string>& names) {
    const std::unordered_set<std::string> wanted(names.begin(), names.end());
    const Weights& w = model.weights();
    const auto layers = static_cast<int64_t>(w.layers.size());
    int64_t passes = 2 * layers;
    if (wanted.contains(w.embedding->name)) passes += layers;
    for (int64_t i = 0; i < layers; ++i)
        for (const TensorInfo* tensor : w.layers[static_cast<size_t>(i)].tensors)
            if (tensor && wanted.contains(tensor->name)) passes += layers - i;
    return passes;
}

Result<std::vector<TensorSensitivity>> measure_sensitivities(
    const Model& model, const std::vector<std::string>& names, const std::vector<int32_t>& tokens,
    const SensitivityOptions& options, ThreadPool& pool,
    const std::function<bool(int64_t done, int64_t total, const std::string& what)>& progress) {
    Measurement work(model, names, options, tokens, pool, progress);
    TRY(work.run());
    std::vector<TensorSensitivity> out;
    for (const std::string& name : names) out.push_back(std::move(work.results().at(name)));
    return out;
}

}  // namespace quant
