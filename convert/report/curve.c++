// One layer of a mix is encoded at a time, so that memory holds a layer, the hidden states and the logits.
#include "convert/report/curve.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <unordered_map>

#include "base/log.h"
#include "base/signals.h"
#include "convert/calibrate/layers.h"
#include "convert/calibrate/predictions.h"
#include "convert/calibrate/replaced_weights.h"
#include "convert/plan/plan.h"

namespace quant {

namespace {

constexpr const char* kPlainMixes[] = {"Q2_K", "Q3_K_M", "Q4_0", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0"};

struct Mix {
    Plan plan;
    uint64_t bytes = 0;
};

class CurveWork {
public:
    CurveWork(const Model& source, const std::vector<int32_t>& tokens, const CurveOptions& options, ThreadPool& pool,
              const std::function<bool(int64_t, int64_t, const std::string&)>& progress)
        : source_(source), options_(options), pool_(pool), progress_(progress), predictions_(source, tokens, options.window, options.windows, pool) {}

    Result<SizeCurve> run(const Model& output, uint64_t output_bytes, const std::string& label) {
        const auto started = std::chrono::steady_clock::now();
        LET(mixes, plan_mixes(output_bytes));
        total_ = passes(source_) + passes(output) + static_cast<int64_t>(mixes.size()) * passes(source_);
        TRY(original());
        curve_.source_perplexity = std::exp(predictions_.kept_surprise().value);
        curve_.windows = predictions_.windows();
        curve_.places = predictions_.places();
        TRY(whole(output, output_bytes, label));
        for (const Mix& mix : mixes) {
            const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
            if (seconds > options_.seconds) curve_.left_out.push_back(mix.plan.recipe.name);
            else TRY(simulate(mix));
        }
        return std::move(curve_);
    }

private:
    int64_t passes(const Model& model) const { return (static_cast<int64_t>(model.weights().layers.size()) + 1) * predictions_.windows(); }

    Status step(const std::string& what) {
        ++done_;
        if (interrupted() || (progress_ && !progress_(std::min(done_, total_), total_, what))) return Error{Code::interrupted, "interrupted"};
        return {};
    }

    // Nearest in size first. A mix that this model's shapes do not allow is none.
    Result<std::vector<Mix>> plan_mixes(uint64_t near) {
        std::vector<Mix> mixes;
        for (const char* name : kPlainMixes) {
            LET(recipe, find_recipe(name));
            PlanOptions choices;
            choices.recipe = recipe;
            choices.allow_requantize = true;
            auto plan = make_plan(source_.gguf().metadata(), source_.gguf().tensors(), choices);
            if (!plan) continue;
            std::vector<TensorInfo> tensors;
            for (const PlannedTensor& tensor : plan->tensors) tensors.push_back(tensor.out);
            LET(bytes, GgufWriter::planned_bytes("", source_.gguf().metadata(), tensors, {}));
            mixes.push_back({std::move(*plan), bytes});
        }
        const auto distance = [near](const Mix& mix) { return std::abs(std::log(static_cast<double>(mix.bytes) / static_cast<double>(near))); };
        std::stable_sort(mixes.begin(), mixes.end(), [&](const Mix& a, const Mix& b) { return distance(a) < distance(b); });
        return mixes;
    }

    Status start(PartRunner& runner, Hidden& hidden) {
        TRY(hidden.make(options_.window, predictions_.windows(), source_.config().embedding, options_.memory));
        return runner.embed(predictions_.tokens(), hidden);
    }

    Status through_layers(const Model& model, PartRunner& runner, Hidden& hidden, const std::string& what) {
        for (size_t i = 0; i < model.weights().layers.size(); ++i) {
            TRY(runner.load(Part::layer, static_cast<int32_t>(i)));
            TRY(runner.advance(hidden, [&](int64_t) { return step(what); }));
        }
        return {};
    }

    Status original() {
        LET(runner, PartRunner::create(source_, source_.weights(), options_.window, pool_));
        LET(head, PartRunner::create(source_, source_.weights(), predictions_.places(), pool_));
        Hidden hidden;
        TRY(start(runner, hidden));
        TRY(through_layers(source_, runner, hidden, "original"));
        return predictions_.keep(head, hidden, [this] { return step("original"); });
    }

    Status add_point(const std::string& label, uint64_t bytes, bool plain, PartRunner& head, const Hidden& hidden) {
        LET(score, predictions_.compare(head, hidden, [&] { return step(label); }));
        curve_.points.push_back({label, bytes, score.divergence.value, score.divergence.error, std::exp(score.surprise.value), plain});
        return {};
    }

    Status whole(const Model& output, uint64_t bytes, const std::string& label) {
        LET(runner, PartRunner::create(output, output.weights(), options_.window, pool_));
        LET(head, PartRunner::create(output, output.weights(), predictions_.places(), pool_));
        Hidden hidden;
        TRY(hidden.make(options_.window, predictions_.windows(), output.config().embedding, options_.memory));
        TRY(runner.embed(predictions_.tokens(), hidden));
        TRY(through_layers(output, runner, hidden, label));
        return add_point(label, bytes, false, head, hidden);
    }

    // Encoded rows of what the mix quantizes; empty: the tensor stays.
    std::vector<uint8_t> encoded(const TensorInfo& tensor, const PlannedTensor& planned) {
        if (planned.copies()) return {};
        const Format& format = *planned.out.format;
        std::vector<uint8_t> blocks(format.tensor_bytes(tensor.cols(), tensor.rows()));
        pool_.for_each_piece(tensor.rows(), 8, [&](int64_t begin, int64_t end, int) {
            std::vector<float> row(static_cast<size_t>(tensor.cols()));
            for (int64_t r = begin; r < end; ++r) {
                decode_rows(*tensor.format, tensor.view(), r, 1, row.data());
                format.encode(nullptr, row.data(), nullptr, blocks.data() + static_cast<uint64_t>(r) * format.row_bytes(tensor.cols()), tensor.cols());
            }
        });
        return blocks;
    }

    Status simulate(const Mix& mix) {
        std::unordered_map<std::string, const PlannedTensor*> planned;
        for (const PlannedTensor& tensor : mix.plan.tensors) planned[tensor.out.name] = &tensor;
        ReplacedWeights changed(source_.weights());
        std::vector<std::vector<uint8_t>> tables, blocks;
        const auto put = [&](const TensorInfo* tensor, std::vector<std::vector<uint8_t>>& keep) {
            if (!tensor) return;
            keep.push_back(encoded(*tensor, *planned.at(tensor->name)));
            if (!keep.back().empty()) changed.put(*tensor, *planned.at(tensor->name)->out.format, planned.at(tensor->name)->out.group, keep.back().data(), keep.back().size());
        };
        const Weights& weights = source_.weights();
        put(weights.embedding, tables);
        if (weights.output != weights.embedding) put(weights.output, tables);
        LET(runner, PartRunner::create(source_, changed.weights(), options_.window, pool_));
        LET(head, PartRunner::create(source_, changed.weights(), predictions_.places(), pool_));
        Hidden hidden;
        TRY(start(runner, hidden));
        for (size_t i = 0; i < weights.layers.size(); ++i) {
            for (const TensorInfo* tensor : weights.layers[i].tensors) put(tensor, blocks);
            TRY(runner.load(Part::layer, static_cast<int32_t>(i)));
            TRY(runner.advance(hidden, [&](int64_t) { return step(mix.plan.recipe.name); }));
            for (const TensorInfo* tensor : weights.layers[i].tensors)
                if (tensor) changed.restore(*tensor);
            blocks.clear();
        }
        return add_point(mix.plan.recipe.name, mix.bytes, true, head, hidden);
    }

    const Model& source_;
    const CurveOptions& options_;
    ThreadPool& pool_;
    const std::function<bool(int64_t, int64_t, const std::string&)>& progress_;
    Predictions predictions_;
    SizeCurve curve_;
    int64_t done_ = 0, total_ = 0;
};

}  // namespace

Result<SizeCurve> measure_size_curve(const Model& source, const Model& output, uint64_t output_bytes, const std::string& label,
                                     const std::vector<int32_t>& tokens, const CurveOptions& options, ThreadPool& pool,
                                     const std::function<bool(int64_t done, int64_t total, const std::string& what)>& progress) {
    if (source.config().vocab != output.config().vocab)
        return usage_error(format_text("the models have different vocabularies: %lld and %lld tokens", static_cast<long long>(source.config().vocab),
                                       static_cast<long long>(output.config().vocab)));
    return CurveWork(source, tokens, options, pool, progress).run(output, output_bytes, label);
}

}  // namespace quant
