// Two streams of hidden states go through the layers: the original's and that of the model rounded so far.
#include "convert/calibrate/sequential.h"

#include <algorithm>

#include "base/signals.h"
#include "convert/calibrate/checkpoint.h"
#include "convert/calibrate/gram.h"
#include "convert/calibrate/layers.h"
#include "convert/calibrate/replaced_weights.h"
#include "convert/calibrate/tied_table.h"
#include "convert/rounding/factor.h"
#include "formats/side_data.h"

namespace quant {

namespace {

class Sequential {
public:
    Sequential(const Model& model, const Plan& plan, const std::vector<int32_t>& tokens,
               const SequentialOptions& options, ThreadPool& pool,
               const std::function<bool(int64_t, int64_t, const std::string&)>& progress)
        : model_(model),
          tokens_(tokens),
          options_(options),
          pool_(pool),
          progress_(progress),
          rounded_weights_(model.weights()) {
        for (const PlannedTensor& tensor : plan.tensors) {
            planned_[tensor.out.name] = &tensor;
            // What a tensor becomes depends on the formats of those before it.
            decisions_.add(tensor.out.name.data(), tensor.out.name.size());
            decisions_.add(&tensor.out.format->slot, sizeof tensor.out.format->slot);
            decisions_.add(&tensor.out.group, sizeof tensor.out.group);
        }
        const FeedbackOptions& feedback = options.feedback;
        decisions_.add(&feedback.damping, sizeof feedback.damping);
        decisions_.add(&feedback.sweeps, sizeof feedback.sweeps);
        decisions_.add(&feedback.refits, sizeof feedback.refits);
        decisions_.add(&options.compensation, sizeof options.compensation);
    }

    Result<RoundedTensors> run() {
        constexpr int64_t kPassesOfALayer =
            6;  // once for the output's input, four sites, once to the next layer
        total_ = windows() * kPassesOfALayer * static_cast<int64_t>(model_.weights().layers.size());
        LET(original, PartRunner::create(model_, model_.weights(), options_.window, pool_));
        LET(rounded, PartRunner::create(model_, rounded_weights_.weights(), options_.window, pool_));
        TRY(round_output(original));
        encode_embedding();
        TRY(embed(original, x_));
        TRY(embed(rounded, y_));
        for (size_t i = 0; i < model_.weights().layers.size(); ++i) {
            TRY(layer(original, rounded, static_cast<int32_t>(i)));
        }
        return std::move(result_);
    }

private:
    // One window more is done.
    Status step(const std::string& what) {
        done_ = std::min(done_ + 1, total_);
        if (interrupted() || (progress_ && !progress_(done_, total_, what)))
            return Error{Code::interrupted, "interrupted"};
        return {};
    }

    int64_t windows() const { return static_cast<int64_t>(tokens_.size()) / options_.window; }

    Status embed(PartRunner& runner, Hidden& out) {
        TRY(out.make(options_.window, windows(), model_.config().embedding, options_.memory));
        return runner.embed(tokens_, out);
    }

    Status advance(PartRunner& runner, int32_t index, Hidden& hidden, const char* what) {
        TRY(runner.load(Part::layer, index));
        return runner.advance(hidden, [&](int64_t) { return &hidden != &x_ ? step(what) : Status(); });
    }

    // The output matrix reads the normed states of the original; where it is the embedding too, rows are
    // looked up in it.
    Status round_output(PartRunner& original) {
        const TensorInfo* output = model_.weights().output;
        const bool known = wanted(output->name) && take_known(*output);
        if (known || !wanted(output->name)) {
            total_ -= windows() * static_cast<int64_t>(model_.weights().layers.size());
            return {};
        }
        Hidden hidden;
        TRY(embed(original, hidden));
        for (size_t i = 0; i < model_.weights().layers.size(); ++i)
            TRY(advance(original, static_cast<int32_t>(i), hidden, output->name.c_str()));
        TRY(original.load(Part::head, 0));
        const int64_t width = model_.config().embedding;
        ProductSum gram(width, width);
        for (int64_t w = 0; w < windows(); ++w) {
            const Tensor normed = original.run(hidden.at(w));
            gram.add(normed.f32(), width, normed.f32(), width, options_.window, pool_);
        }
        std::vector<float> h = gram.mean(static_cast<double>(gram.tokens()));
        LET(share, lookup_share(model_, tokens_, options_.window, options_.memory, pool_));
        add_lookups(h, width, share);
        return round_tensor(*output, h, static_cast<double>(gram.tokens()), {});
    }

    // A table of its own has no inputs to learn from: each row is encoded for itself.
    void encode_embedding() {
        const TensorInfo& table = *model_.weights().embedding;
        if (&table == model_.weights().output || !wanted(table.name)) return;
        const Format& format = *planned_.at(table.name)->out.format;
        const int64_t group = planned_.at(table.name)->out.group;
        std::vector<uint8_t>& blocks = result_[table.name];
        blocks.resize(format.tensor_bytes(table.cols(), table.rows(), group));
        HeadInput input{table.cols(), table.rows(), group, {}, {}, &pool_};
        input.read = [&](int64_t row, int64_t count, float* to) { decode_rows(*table.format, table.view(), row, count, to); };
        encode_tensor(format, input, blocks.data());
        rounded_weights_.put(table, format, group, blocks.data(), blocks.size());
    }

    bool wanted(const std::string& name) const {
        const auto found = planned_.find(name);
        return found != planned_.end() && found->second->out.format->kind == FormatKind::block &&
               !found->second->copies();
    }

    uint64_t key_of(const TensorInfo& weight) const {
        Fingerprint key = decisions_;
        key.add(weight.name.data(), weight.name.size());
        return key.value();
    }

    // Puts what an earlier run made of `weight` into the rounded model. False: it made nothing.
    bool take_known(const TensorInfo& weight) {
        const Bytes piece = options_.journal ? options_.journal->find(key_of(weight)) : Bytes();
        const PlannedTensor& planned = *planned_.at(weight.name);
        const Format& format = *planned.out.format;
        if (piece.size() != format.tensor_bytes(weight.cols(), weight.rows(), planned.out.group)) return false;
        std::vector<uint8_t>& blocks = result_[weight.name];
        blocks.assign(piece.begin(), piece.end());
        rounded_weights_.put(weight, format, planned.out.group, blocks.data(), blocks.size());
        return true;
    }

    // Rounds `weight` + `shift` ([cols, rows], column by column; empty: none), its inputs `seen` so many times, and
    // puts it into the rounded model.
    Status round_tensor(const TensorInfo& weight, const std::vector<float>& gram, double seen,
                        const std::vector<double>& shift) {
        const Format& format = *planned_.at(weight.name)->out.format;
        const int64_t rows = weight.rows(), cols = weight.cols();
        std::vector<float> values(static_cast<size_t>(rows * cols));
        pool_.for_each_piece(rows, 16, [&](int64_t begin, int64_t end, int) {
            decode_rows(*weight.format, weight.view(), begin, end - begin, values.data() + begin * cols);
        });
        if (!shift.empty())
            for (int64_t r = 0; r < rows; ++r)
                for (int64_t c = 0; c < cols; ++c)
                    values[static_cast<size_t>(r * cols + c)] +=
                        static_cast<float>(shift[static_cast<size_t>(c * rows + r)]);
        std::vector<uint8_t>& blocks = result_[weight.name];
        const int64_t group = planned_.at(weight.name)->out.group;
        blocks.resize(format.tensor_bytes(cols, rows, group));
        TRY(round_with_feedback(format, values.data(), rows, cols, group, gram, damped_for(options_.feedback, cols, seen), pool_,
                                blocks.data()));
        rounded_weights_.put(weight, format, group, blocks.data(), blocks.size());
        return options_.journal ? options_.journal->put(key_of(weight), blocks) : Status();
    }

    Status layer(PartRunner& original, PartRunner& rounded, int32_t index) {
        TRY(original.load(Part::layer, index));
        for (const Site& site : sites_of(original.graph())) {
            std::vector<const TensorInfo*> weights;
            for (const std::string& name : site.weights)
                if (wanted(name)) weights.push_back(model_.gguf().find(name));
            if (weights.empty()) continue;
            if (std::all_of(weights.begin(), weights.end(), [&](const TensorInfo* weight) { return take_known(*weight); })) total_ -= windows();
            else TRY(round_site(original, rounded, index, site, weights));
        }
        TRY(advance(original, index, x_, ""));
        return advance(rounded, index, y_, ("blk." + std::to_string(index)).c_str());
    }

    // With T the inputs in the original, S those in the rounded model and R what the hidden states already
    // lack, the best real weights are those whose product with S comes nearest to T Wt + R: W + inverse(StS)
    // St ((T - S) Wt + R).
    Status round_site(PartRunner& original, PartRunner& rounded, int32_t index, const Site& site,
                      const std::vector<const TensorInfo*>& weights) {
        TRY(original.load_until(Part::layer, index, site.input));
        TRY(rounded.load_until(Part::layer, index, site.input));
        const int64_t cols = weights[0]->cols(), width = model_.config().embedding, tokens = options_.window;
        const bool compensate = options_.compensation > 0, residual = compensate && site.writes_residual;
        ProductSum gram(cols, cols), drift(compensate ? cols : 0, compensate ? cols : 0),
            lacking(residual ? cols : 0, residual ? width : 0);
        std::vector<float> difference, lack;
        for (int64_t w = 0; w < windows(); ++w) {
            TRY(step(weights[0]->name));
            const Tensor s = rounded.run(y_.at(w));
            gram.add(s.f32(), cols, s.f32(), cols, tokens, pool_);
            if (!compensate) continue;
            const Tensor t = original.run(x_.at(w));
            difference.resize(static_cast<size_t>(tokens * cols));
            for (size_t i = 0; i < difference.size(); ++i) difference[i] = t.f32()[i] - s.f32()[i];
            drift.add(s.f32(), cols, difference.data(), cols, tokens, pool_);
            if (!residual) continue;
            lack.resize(static_cast<size_t>(tokens * width));
            for (size_t i = 0; i < lack.size(); ++i) lack[i] = x_.at(w)[i] - y_.at(w)[i];
            lacking.add(s.f32(), cols, lack.data(), width, tokens, pool_);
        }
        const double count = static_cast<double>(gram.tokens());
        const std::vector<float> h = gram.mean(count);
        const std::vector<float> d = drift.mean(count), l = lacking.mean(count);
        for (const TensorInfo* weight : weights) {
            std::vector<double> shift;
            if (compensate) {
                shift = wished_change(*weight, d, residual ? l : std::vector<float>());
                const double ridge = damped_for(options_.feedback, cols, count).damping;  // learns less of the tokens' noise
                TRY(solve_gram(h, cols, ridge, shift, weight->rows(), pool_));
            }
            TRY(round_tensor(*weight, h, count, shift));
        }
        return {};
    }

    // St ((T - S) Wt + R) / tokens, [cols, rows].
    std::vector<double> wished_change(const TensorInfo& weight, const std::vector<float>& drift,
                                      const std::vector<float>& lacking) {
        const int64_t rows = weight.rows(), cols = weight.cols();
        std::vector<double> out(static_cast<size_t>(rows * cols));
        pool_.for_each_piece(rows, 8, [&](int64_t begin, int64_t end, int) {
            std::vector<float> w(static_cast<size_t>(cols));
            for (int64_t r = begin; r < end; ++r) {
                decode_rows(*weight.format, weight.view(), r, 1, w.data());
                const auto at = [&](int64_t c) { return static_cast<size_t>(c * rows + r); };
                for (int64_t c = 0; c < cols; c += 4) {
                    // Four at a time, the last ones again where columns are no multiple of four; there are at least a block of them.
                    const int64_t first = std::max<int64_t>(0, std::min(c, cols - 4));
                    double sums[4] = {};
                    for (int64_t i = 0; i < 4 && !lacking.empty(); ++i) sums[i] = static_cast<double>(lacking[at(first + i)]);
                    four_dots(drift.data() + first * cols, cols, w.data(), cols, sums);
                    for (int64_t i = 0; i < 4; ++i) out[at(first + i)] = options_.compensation * sums[i];
                }
            }
        });
        return out;
    }

    const Model& model_;
    const std::vector<int32_t>& tokens_;
    const SequentialOptions& options_;
    ThreadPool& pool_;
    const std::function<bool(int64_t, int64_t, const std::string&)>& progress_;
    ReplacedWeights rounded_weights_;
    std::unordered_map<std::string, const PlannedTensor*> planned_;
    Fingerprint decisions_;
    RoundedTensors result_;
    Hidden x_, y_;  // hidden states of the original and of the rounded model
    int64_t done_ = 0, total_ = 0;
};

}  // namespace

Result<RoundedTensors> round_sequentially(
    const Model& model, const Plan& plan, const std::vector<int32_t>& tokens,
    const SequentialOptions& options, ThreadPool& pool,
    const std::function<bool(int64_t, int64_t, const std::string&)>& progress) {
    return Sequential(model, plan, tokens, options, pool, progress).run();
}

}  // namespace quant
