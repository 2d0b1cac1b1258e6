// Two streams of hidden states: of the unrounded model over all windows, of the rounded one over those kept apart.
#include "convert/transforms/whole_check.h"

#include <algorithm>
#include <memory>

#include "base/log.h"
#include "base/signals.h"
#include "convert/calibrate/gram.h"
#include "convert/calibrate/layers.h"
#include "convert/calibrate/replaced_weights.h"
#include "convert/rounding/error_feedback.h"
#include "formats/side_data.h"

namespace quant {

namespace {

class Check {
public:
    Check(const Model& model, const SplitWindows& text, const CheckOptions& options, ThreadPool& pool)
        : model_(model), text_(text), options_(options), pool_(pool), rounded_(model.weights()) {
    }

    Result<Predictions> reference() {
        LET(runner, PartRunner::create(model_, model_.weights(), text_.window, pool_));
        Hidden x;
        TRY(embed(runner, held_tokens(), x));
        for (int32_t i = 0; i < layers(); ++i) TRY(advance(runner, i, x));
        Predictions out(model_, held_tokens(), text_.window, text_.held_out(), pool_);
        LET(head, PartRunner::create(model_, model_.weights(), out.places(), pool_));
        TRY(out.keep(head, x, [&] { return step("check of the output"); }));
        return out;
    }

    Result<double> divergence(const PlannedTensors& planned, Predictions& reference) {
        planned_ = &planned;
        LET(original, PartRunner::create(model_, model_.weights(), text_.window, pool_));
        LET(changed, PartRunner::create(model_, rounded_.weights(), text_.window, pool_));
        const Weights& w = model_.weights();
        for (const TensorInfo* table : {w.embedding, w.output})
            if (wanted(*table) && !(table == w.output && w.output == w.embedding && blocks_.contains(table->name))) TRY(round_plainly(*table));
        Hidden x, y;
        TRY(embed(original, text_.tokens, x));
        TRY(embed(changed, held_tokens(), y));
        for (int32_t i = 0; i < layers(); ++i) {
            TRY(round_layer(original, i, x));
            TRY(advance(changed, i, y));
            for (const TensorInfo* tensor : w.layers[static_cast<size_t>(i)].tensors)
                if (tensor && blocks_.erase(tensor->name)) rounded_.restore(*tensor);
        }
        LET(head, PartRunner::create(model_, rounded_.weights(), reference.places(), pool_));
        LET(score, reference.compare(head, y, [&] { return step("check of the output"); }));
        return std::max(score.divergence.value, 0.0);
    }

private:
    int32_t layers() const { return static_cast<int32_t>(model_.weights().layers.size()); }

    Status step(const std::string& what) const {
        if (interrupted() || (options_.step && !options_.step(what))) return Error{Code::interrupted, "interrupted"};
        return {};
    }

    std::vector<int32_t> held_tokens() const {
        std::vector<int32_t> out;
        for (int64_t w = 0; w < text_.count(); ++w)
            if (SplitWindows::held(w)) out.insert(out.end(), text_.tokens.begin() + w * text_.window, text_.tokens.begin() + (w + 1) * text_.window);
        return out;
    }

    Status embed(PartRunner& runner, const std::vector<int32_t>& tokens, Hidden& out) const {
        TRY(out.make(text_.window, static_cast<int64_t>(tokens.size()) / text_.window, model_.config().embedding, options_.memory));
        return runner.embed(tokens, out);
    }

    Status advance(PartRunner& runner, int32_t index, Hidden& hidden) const {
        TRY(runner.load(Part::layer, index));
        return runner.advance(hidden, [&](int64_t) { return step("check of blk." + std::to_string(index)); });
    }

    bool wanted(const TensorInfo& tensor) const {
        const auto found = planned_->find(tensor.name);
        return found != planned_->end() && found->second->out.format->kind == FormatKind::block;
    }

    // Advances the unrounded states and learns what the layer's matrices read; rounds these.
    Status round_layer(PartRunner& original, int32_t index, Hidden& x) {
        std::vector<Site> sites;
        TRY(original.load_with_sites(index, sites));
        std::vector<std::unique_ptr<ProductSum>> sums;
        for (const Site& site : sites) {
            const int64_t cols = model_.gguf().find(site.weights.front())->cols();
            sums.push_back(std::make_unique<ProductSum>(cols, cols));
        }
        TRY(original.advance(x, [&](int64_t w) {
            for (size_t i = 0; i < sites.size() && !SplitWindows::held(w); ++i) {
                const Tensor input = original.value(sites[i].input);
                sums[i]->add(input.f32(), input.ne[0], input.f32(), input.ne[0], text_.window, pool_);
            }
            return step("check of blk." + std::to_string(index));
        }));
        for (size_t i = 0; i < sites.size(); ++i) {
            const std::vector<float> gram = sums[i]->mean(static_cast<double>(sums[i]->tokens()));
            for (const std::string& name : sites[i].weights) {
                const TensorInfo& tensor = *model_.gguf().find(name);
                if (wanted(tensor)) TRY(round(tensor, gram));
            }
        }
        for (const TensorInfo* tensor : model_.weights().layers[static_cast<size_t>(index)].tensors)
            if (tensor && wanted(*tensor) && !blocks_.contains(tensor->name)) TRY(round_plainly(*tensor));
        return {};
    }

    Status round(const TensorInfo& tensor, const std::vector<float>& gram) {
        const TensorInfo& out = planned_->at(tensor.name)->out;
        std::vector<float> values(static_cast<size_t>(tensor.elements()));
        pool_.for_each_piece(tensor.rows(), 16, [&](int64_t begin, int64_t end, int) {
            decode_rows(*tensor.format, tensor.view(), begin, end - begin, values.data() + begin * tensor.cols());
        });
        std::vector<uint8_t>& blocks = blocks_[tensor.name];
        blocks.resize(out.format->tensor_bytes(tensor.cols(), tensor.rows(), out.group));
        TRY(round_with_feedback(*out.format, values.data(), tensor.rows(), tensor.cols(), out.group, gram, {}, pool_, blocks.data()));
        rounded_.put(tensor, *out.format, out.group, blocks.data(), blocks.size());
        return {};
    }

    // Tables and experts: each row for itself.
    Status round_plainly(const TensorInfo& tensor) {
        const TensorInfo& out = planned_->at(tensor.name)->out;
        std::vector<uint8_t>& blocks = blocks_[tensor.name];
        blocks.resize(out.format->tensor_bytes(tensor.cols(), tensor.rows(), out.group));
        HeadInput input{tensor.cols(), tensor.rows(), out.group, {}, {}, &pool_};
        input.read = [&](int64_t row, int64_t count, float* to) { decode_rows(*tensor.format, tensor.view(), row, count, to); };
        encode_tensor(*out.format, input, blocks.data());
        rounded_.put(tensor, *out.format, out.group, blocks.data(), blocks.size());
        return {};
    }

    const Model& model_;
    const SplitWindows& text_;
    const CheckOptions& options_;
    ThreadPool& pool_;
    ReplacedWeights rounded_;
    const PlannedTensors* planned_ = nullptr;
    std::unordered_map<std::string, std::vector<uint8_t>> blocks_;
};

}  // namespace

Result<SplitWindows> split_windows(const std::vector<int32_t>& tokens, int64_t window, int64_t windows) {
    SplitWindows out;
    out.window = window;
    const int64_t given = static_cast<int64_t>(tokens.size()) / window, count = std::min(given, windows);
    if (count < SplitWindows::kHeldOut)
        return input_error(format_text("%lld windows of calibration text: transforms are judged on every %lldth and need as many",
                                       static_cast<long long>(count), static_cast<long long>(SplitWindows::kHeldOut)));
    for (int64_t w = 0; w < count; ++w) {
        const auto from = tokens.begin() + w * given / count * window;
        out.tokens.insert(out.tokens.end(), from, from + window);
    }
    return out;
}

Result<Predictions> reference_predictions(const Model& model, const SplitWindows& text, const CheckOptions& options, ThreadPool& pool) {
    return Check(model, text, options, pool).reference();
}

Result<double> rounded_divergence(const Model& model, const PlannedTensors& planned, const SplitWindows& text,
                                  Predictions& reference, const CheckOptions& options, ThreadPool& pool) {
    return Check(model, text, options, pool).divergence(planned, reference);
}

}  // namespace quant
