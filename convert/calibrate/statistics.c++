// Inputs are read by an observer behind each product, so that plain matrices and experts are treated alike.
#include "convert/calibrate/statistics.h"

#include <chrono>
#include <optional>

#include "base/signals.h"
#include "convert/calibrate/checkpoint.h"
#include "convert/calibrate/gram_collection.h"
#include "convert/calibrate/layers.h"
#include "convert/calibrate/tied_table.h"
#include "tensor/operations.h"

namespace quant {

namespace {

// Adds the squares of rows [begin, end) of x to one matrix's sums.
void add_rows(const Tensor& x, int64_t begin, int64_t end, int64_t matrix, InputSums& sums) {
    const int64_t cols = x.ne[0];
    double* squares = sums.squares.data() + matrix * cols;
    for (int64_t r = begin; r < end; ++r) {
        const float* row = x.f32() + r * cols;
        for (int64_t c = 0; c < cols; ++c) squares[c] += static_cast<double>(row[c]) * static_cast<double>(row[c]);
    }
    sums.tokens[static_cast<size_t>(matrix)] += static_cast<double>(end - begin);
}

class Collection {
public:
    Collection(const Model& model, const std::vector<int32_t>& tokens, const StatisticsOptions& options, ThreadPool& pool,
               const std::function<bool(int64_t, int64_t, const std::string&)>& progress)
        : model_(model), tokens_(tokens), options_(options), pool_(pool), progress_(progress) {}

    Result<CollectedStatistics> run() {
        LET(runner, PartRunner::create(model_, model_.weights(), options_.window, pool_));
        const int64_t windows = static_cast<int64_t>(tokens_.size()) / options_.window;
        if (!options_.grams.empty()) {
            LET(grams, GramCollection::begin(model_, runner, options_.grams, options_.memory));
            grams_ = std::move(grams);
        }
        total_ = windows * (grams_ ? grams_->all_passes() : layers() + (options_.output ? 1 : 0));
        Hidden hidden;
        TRY(hidden.make(options_.window, windows, model_.config().embedding, options_.memory));
        LET(first, begin(runner, hidden));
        out_.continued_from = first;
        for (int32_t i = 0; i < first; ++i) done_ += windows * passes(i);
        auto saved = std::chrono::steady_clock::now();
        for (int32_t i = first; i < layers(); ++i) {
            TRY(layer(runner, i, hidden));
            const auto now = std::chrono::steady_clock::now();
            if (options_.checkpoint.empty() || std::chrono::duration<double>(now - saved).count() < options_.checkpoint_seconds) continue;
            if (grams_) TRY(grams_->sync());
            TRY(save_checkpoint(options_.checkpoint, {fingerprint(), i + 1, out_.sums, &hidden}));
            saved = std::chrono::steady_clock::now();
        }
        if (options_.output || grams_) TRY(output(runner, hidden));
        if (grams_) TRY(finish_grams());
        return std::move(out_);
    }

private:
    int64_t passes(int32_t layer) const { return grams_ ? grams_->passes(layer) : 1; }
    int32_t layers() const { return static_cast<int32_t>(model_.weights().layers.size()); }

    uint64_t fingerprint() const {
        Fingerprint print;
        const bool grams = grams_.has_value();
        print.add(&grams, sizeof grams);
        print.add(&options_.window, sizeof options_.window);
        print.add(tokens_.data(), tokens_.size() * sizeof(int32_t));
        for (const TensorInfo& tensor : model_.gguf().tensors()) print.add_tensor(tensor);
        return print.value();
    }

    // The layer to begin with: the first, or the one a checkpoint has come to.
    Result<int32_t> begin(PartRunner& runner, Hidden& hidden) {
        if (!options_.checkpoint.empty()) {
            LET(found, load_checkpoint(options_.checkpoint, fingerprint(), out_.sums, hidden));
            bool whole = found > 0;
            if (whole && grams_) {
                LET(spooled, grams_->go_on_from(found));
                whole = spooled;
            }
            if (whole) return found;
            out_.sums.clear();
        }
        if (grams_) TRY(grams_->go_on_from(0));
        TRY(runner.embed(tokens_, hidden));
        return 0;
    }

    Status step(const std::string& what) {
        ++done_;
        if (interrupted() || (progress_ && !progress_(done_, total_, what))) return Error{Code::interrupted, "interrupted"};
        return {};
    }

    Status layer(PartRunner& runner, int32_t index, Hidden& hidden) {
        const std::string what = "blk." + std::to_string(index);
        for (int64_t pass = 0; pass + 1 < passes(index); ++pass) {
            TRY(grams_->load(runner, index, pass));
            for (int64_t w = 0; w < hidden.windows(); ++w) {
                runner.run(hidden.at(w));
                grams_->add(runner, pool_);
                TRY(step(what));
            }
            TRY(grams_->write());
        }
        TRY(grams_ ? grams_->load(runner, index, passes(index) - 1) : runner.load(Part::layer, index));
        runner.observe([&](const Node& node, const Tensor&) { take(runner, node); });
        TRY(runner.advance(hidden, [&](int64_t) {
            if (grams_) grams_->add(runner, pool_);
            return step(what);
        }));
        return grams_ ? grams_->write() : Status();
    }

    Status finish_grams() {
        TRY(grams_->write());
        TRY(grams_->sync());
        LET(share, lookup_share(model_, tokens_, options_.window, options_.memory, pool_));
        out_.lookup_share = share;
        out_.gram_sites = grams_->sites();
        return {};
    }

    InputSums& sums_of(const std::string& name, int64_t cols, int64_t matrices) {
        InputSums& sums = out_.sums[name];
        sums.squares.resize(static_cast<size_t>(cols * matrices));
        sums.tokens.resize(static_cast<size_t>(matrices));
        return sums;
    }

    void take(const PartRunner& runner, const Node& node) {
        if (node.op != Op::matmul && node.op != Op::expert_matmul) return;
        const std::string& name = runner.graph().value(node.inputs[0]).name;
        const Tensor x = runner.value(node.inputs[1]);
        if (node.op == Op::matmul) return add_rows(x, 0, x.ne[1], 0, sums_of(name, x.ne[0], 1));
        const auto& params = std::get<RouteParams>(node.params);
        InputSums& sums = sums_of(name, x.ne[0], params.experts);
        const int32_t* start = static_cast<const int32_t*>(runner.value(node.inputs[4]).data);
        for (int64_t e = 0; e < params.experts; ++e) add_rows(x, start[e], start[e + 1], e, sums);
    }

    Status output(PartRunner& runner, const Hidden& hidden) {
        TRY(runner.load(Part::head, 0));
        for (int64_t w = 0; w < hidden.windows(); ++w) {
            const Tensor x = runner.run(hidden.at(w));
            if (options_.output) add_rows(x, 0, hidden.window(), 0, sums_of(model_.weights().output->name, hidden.width(), 1));
            if (grams_) grams_->add_output(x, pool_);
            TRY(step("output"));
        }
        return {};
    }

    const Model& model_;
    const std::vector<int32_t>& tokens_;
    const StatisticsOptions& options_;
    ThreadPool& pool_;
    const std::function<bool(int64_t, int64_t, const std::string&)>& progress_;
    std::optional<GramCollection> grams_;
    CollectedStatistics out_;
    int64_t done_ = 0, total_ = 0;
};

}  // namespace

ImportanceMatrix importance_of(const Statistics& sums) {
    ImportanceMatrix out;
    for (const auto& [name, sum] : sums) {
        const size_t matrices = sum.tokens.size(), cols = sum.squares.size() / matrices;
        std::vector<double> all(cols);
        double seen = 0;
        for (size_t m = 0; m < matrices; ++m) {
            seen += sum.tokens[m];
            for (size_t c = 0; c < cols; ++c) all[c] += sum.squares[m * cols + c];
        }
        ImportanceMatrix::Entry& entry = out.entries[name];
        entry.n_mat = static_cast<int64_t>(matrices);
        for (size_t m = 0; m < matrices; ++m) {
            const bool few = sum.tokens[m] < kFewTokens;
            const double count = few ? seen : sum.tokens[m];
            for (size_t c = 0; c < cols; ++c)
                entry.values.push_back(count > 0 ? static_cast<float>((few ? all[c] : sum.squares[m * cols + c]) / count) : 1.0f);
        }
    }
    return out;
}

Result<CollectedStatistics> collect_statistics(
    const Model& model, const std::vector<int32_t>& tokens, const StatisticsOptions& options, ThreadPool& pool,
    const std::function<bool(int64_t done, int64_t total, const std::string& what)>& progress) {
    return Collection(model, tokens, options, pool, progress).run();
}

}  // namespace quant
