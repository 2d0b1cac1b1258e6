// Two streams of hidden states go through the layers: the original's and that of the rounded model with what has been
// corrected so far.
#include "convert/calibrate/correction.h"

#include <algorithm>
#include <cmath>

#include "base/log.h"
#include "base/signals.h"
#include "convert/calibrate/gram.h"
#include "convert/calibrate/layers.h"
#include "convert/rounding/factor.h"

namespace quant {

int64_t RankChoice::of(int64_t rows, int64_t cols) const {
    const int64_t most = std::min(rows, cols);
    const auto wished = share > 0 ? static_cast<int64_t>(std::ceil(share * static_cast<double>(most))) : rank;
    return std::clamp<int64_t>(wished, 1, most);
}

namespace {

constexpr double kDamping = 0.01;  // of the mean of a Gram matrix' diagonal

// What a product reads: as it is, and rounded (the same value where nothing is rounded).
struct Inputs {
    ValueId plain = kNoValue, rounded = kNoValue;
};

Inputs inputs_of(const Graph& graph, const std::string& weight) {
    Inputs found;
    for (const Node& node : graph.nodes())
        if (node.op == Op::matmul && graph.value(node.inputs[0]).name == weight) found.rounded = node.inputs[1];
    found.plain = found.rounded;
    for (size_t i = graph.nodes().size(); i-- > 0;) {
        const Node& node = graph.nodes()[i];
        if (node.output == found.plain && (node.op == Op::round || node.op == Op::hadamard)) found.plain = node.inputs[0];
    }
    return found;
}

std::vector<float> decoded(const TensorInfo& tensor) {
    std::vector<float> out(static_cast<size_t>(tensor.elements()));
    decode_rows(*tensor.format, tensor.view(), 0, tensor.rows(), out.data());
    return out;
}

class Correcting {
public:
    Correcting(const Model& original, const Model& rounded, const std::vector<int32_t>& tokens, const CorrectionOptions& options,
               ThreadPool& pool, const std::function<bool(int64_t, int64_t, const std::string&)>& progress)
        : original_(original), rounded_(rounded), tokens_(tokens), options_(options), pool_(pool), progress_(progress) {}

    Result<Corrections> run() {
        constexpr int64_t kPassesOfALayer = 5;  // four sites, once to the next layer
        total_ = windows() * kPassesOfALayer * static_cast<int64_t>(original_.weights().layers.size());
        LET(original, PartRunner::create(original_, original_.weights(), options_.window, pool_));
        LET(rounded, PartRunner::create(rounded_, rounded_.weights(), options_.window, pool_));
        rounded.extend(options_.activations, &parts_);
        const int64_t width = original_.config().embedding;
        TRY(x_.make(options_.window, windows(), width, options_.memory));
        TRY(y_.make(options_.window, windows(), width, options_.memory));
        TRY(original.embed(tokens_, x_));
        TRY(rounded.embed(tokens_, y_));
        for (size_t i = 0; i < original_.weights().layers.size(); ++i) TRY(layer(original, rounded, static_cast<int32_t>(i)));
        return std::move(found_);
    }

private:
    Status step(const std::string& what) {
        done_ = std::min(done_ + 1, total_);
        if (interrupted() || (progress_ && !progress_(done_, total_, what))) return Error{Code::interrupted, "interrupted"};
        return {};
    }

    int64_t windows() const { return static_cast<int64_t>(tokens_.size()) / options_.window; }

    // The weight in both models, where it is to be corrected.
    struct Pair {
        const TensorInfo* original = nullptr;
        const TensorInfo* rounded = nullptr;
    };
    Result<Pair> wanted(const std::string& name) const {
        const Pair pair{original_.gguf().find(name), rounded_.gguf().find(name)};
        if (!pair.original || !pair.rounded || pair.original->ne != pair.rounded->ne)
            return input_error(escaped(rounded_.gguf().metadata().origin) + ": tensor " + escaped(name) +
                               ": expected the shape it has in the original, found " +
                               (pair.rounded ? shape_text(*pair.rounded) : "no such tensor"));
        const bool quantized = pair.rounded->format->kind == FormatKind::block || options_.activations.bits > 0;
        return quantized ? pair : Pair{};
    }

    Status layer(PartRunner& original, PartRunner& rounded, int32_t index) {
        TRY(original.load(Part::layer, index));
        for (const Site& site : sites_of(original.graph())) {
            std::vector<Pair> weights;
            for (const std::string& name : site.weights) {
                LET(pair, wanted(name));
                if (pair.original && !is_router(name)) weights.push_back(pair);
            }
            if (!weights.empty()) TRY(correct_site(original, rounded, index, site, weights));
        }
        const std::string name = "blk." + std::to_string(index);
        TRY(original.load(Part::layer, index));
        TRY(original.advance(x_, [](int64_t) { return Status(); }));
        TRY(rounded.load(Part::layer, index));
        return rounded.advance(y_, [&](int64_t) { return step(name); });
    }

    static bool is_router(const std::string& name) { return name.find("ffn_gate_inp") != std::string::npos; }

    // Sums over tokens that all weights of a site share: s are the inputs in the rounded model, t in the original.
    struct Sums {
        std::vector<float> gram;     // s s
        std::vector<float> drift;    // s (t - s)
        std::vector<float> noise;    // s (s rounded - s); empty: not rounded
        std::vector<float> lacking;  // s (hidden states of the original - those of the rounded); empty: not added to them
        double count = 0;
    };

    Result<Sums> collect(PartRunner& original, PartRunner& rounded, const Inputs& at, int64_t cols, bool residual, const std::string& what) {
        const int64_t width = original_.config().embedding, tokens = options_.window;
        const bool rounds = at.plain != at.rounded;
        ProductSum gram(cols, cols), drift(cols, cols), noise(rounds ? cols : 0, rounds ? cols : 0),
            lacking(residual ? cols : 0, residual ? width : 0);
        std::vector<float> difference;
        const auto subtract = [&](const float* a, const float* b, int64_t count) {
            difference.resize(static_cast<size_t>(count));
            for (size_t i = 0; i < difference.size(); ++i) difference[i] = a[i] - b[i];
            return difference.data();
        };
        for (int64_t w = 0; w < windows(); ++w) {
            TRY(step(what));
            const Tensor t = original.run(x_.at(w));
            rounded.run(y_.at(w));
            const float* s = rounded.value(at.plain).f32();
            gram.add(s, cols, s, cols, tokens, pool_);
            drift.add(s, cols, subtract(t.f32(), s, tokens * cols), cols, tokens, pool_);
            if (rounds) noise.add(s, cols, subtract(rounded.value(at.rounded).f32(), s, tokens * cols), cols, tokens, pool_);
            if (residual) lacking.add(s, cols, subtract(x_.at(w), y_.at(w), tokens * width), width, tokens, pool_);
        }
        const auto count = static_cast<double>(gram.tokens());
        return Sums{gram.mean(count), drift.mean(count), noise.mean(count), lacking.mean(count), count};
    }

    Status correct_site(PartRunner& original, PartRunner& rounded, int32_t index, const Site& site, const std::vector<Pair>& weights) {
        const std::string& name = weights[0].original->name;
        TRY(original.load_until(Part::layer, index, site.input));
        TRY(rounded.load(Part::layer, index));
        const Inputs at = inputs_of(rounded.graph(), name);
        TRY(rounded.load_keeping(index, at.plain, at.rounded));
        LET(sums, collect(original, rounded, at, weights[0].original->cols(), site.writes_residual, name));
        for (const Pair& pair : weights) TRY(correct(pair, sums));
        return {};
    }

    // out [cols, rows] += sign * c [cols, cols] wt.
    void add_product(const std::vector<float>& c, const std::vector<float>& w, int64_t rows, int64_t cols, float sign,
                     std::vector<double>& out) {
        std::vector<float> turned(w.size());
        for (int64_t r = 0; r < rows; ++r)
            for (int64_t k = 0; k < cols; ++k) turned[static_cast<size_t>(k * rows + r)] = w[static_cast<size_t>(r * cols + k)];
        pool_.for_each_piece(cols, 8, [&](int64_t begin, int64_t end, int) {
            std::vector<float> sum(static_cast<size_t>(rows));
            for (int64_t i = begin; i < end; ++i) {
                std::fill(sum.begin(), sum.end(), 0.0f);
                for (int64_t k = 0; k < cols; ++k)
                    kernels().axpy_f32(sign * c[static_cast<size_t>(i * cols + k)], turned.data() + k * rows, sum.data(), rows);
                for (int64_t r = 0; r < rows; ++r) out[static_cast<size_t>(i * rows + r)] += static_cast<double>(sum[static_cast<size_t>(r)]);
            }
        });
    }

    // The rounded product lacks W t + lack - Q (s rounded) of the original's: as a matrix on s, W - Q and the regression of
    // W (t - s) + lack - Q (s rounded - s) on s.
    Status correct(const Pair& pair, const Sums& sums) {
        const int64_t rows = pair.original->rows(), cols = pair.original->cols();
        const std::vector<float> w = decoded(*pair.original), q = decoded(*pair.rounded);
        std::vector<double> shift(static_cast<size_t>(rows * cols), 0.0);
        if (!sums.lacking.empty()) std::copy(sums.lacking.begin(), sums.lacking.end(), shift.begin());
        add_product(sums.drift, w, rows, cols, 1, shift);
        if (!sums.noise.empty()) add_product(sums.noise, q, rows, cols, -1, shift);
        // A ridge of columns / tokens keeps the regression from learning the noise of few tokens.
        TRY(solve_gram(sums.gram, cols, kDamping + static_cast<double>(cols) / sums.count, shift, rows, pool_));
        std::vector<float> m(w.size());
        for (int64_t r = 0; r < rows; ++r)
            for (int64_t c = 0; c < cols; ++c) {
                const auto i = static_cast<size_t>(r * cols + c);
                m[i] = w[i] - q[i] + static_cast<float>(shift[static_cast<size_t>(c * rows + r)]);
            }
        const std::string& name = pair.original->name;
        LowRankFactors& factors = found_[name] = best_factors(m, rows, cols, sums.gram, options_.rank.of(rows, cols), pool_);
        Halves& halves = halves_[name];
        halves.a = info(name + ".lora_a", cols, factors.rank, factors.a);
        halves.b = info(name + ".lora_b", factors.rank, rows, factors.b);
        parts_[name] = {&halves.a, &halves.b, 1.0f};
        return {};
    }

    static TensorInfo info(const std::string& name, int64_t cols, int64_t rows, const std::vector<float>& values) {
        TensorInfo out;
        out.name = name;
        out.format = &format_of(FormatSlot::f32);
        out.n_dims = 2;
        out.ne = {cols, rows, 1, 1};
        out.data = reinterpret_cast<const uint8_t*>(values.data());
        out.bytes = values.size() * sizeof(float);
        return out;
    }

    struct Halves {
        TensorInfo a, b;
    };
    const Model &original_, &rounded_;
    const std::vector<int32_t>& tokens_;
    const CorrectionOptions& options_;
    ThreadPool& pool_;
    const std::function<bool(int64_t, int64_t, const std::string&)>& progress_;
    Corrections found_;
    std::map<std::string, Halves> halves_;  // of found_, as the runner reads them
    LowRankParts parts_;                    // of halves_
    Hidden x_, y_;                          // hidden states of the original and of the corrected model
    int64_t done_ = 0, total_ = 0;
};

}  // namespace

Result<Corrections> find_corrections(const Model& original, const Model& rounded, const std::vector<int32_t>& tokens,
                                     const CorrectionOptions& options, ThreadPool& pool,
                                     const std::function<bool(int64_t, int64_t, const std::string&)>& progress) {
    return Correcting(original, rounded, tokens, options, pool, progress).run();
}

Status write_corrections(const std::string& path, const Model& rounded, const Corrections& corrections, bool force) {
    Metadata metadata;
    metadata.origin = path;
    metadata.set("general.architecture", Value::of_string(rounded.architecture().name));
    metadata.set("general.type", Value::of_string("adapter"));
    metadata.set("adapter.type", Value::of_string("lora"));
    metadata.set("adapter.lora.alpha", Value::of_f32(0));  // the product as it is, whatever each pair's rank
    std::vector<TensorInfo> tensors;
    const auto plan = [&](std::string name, int64_t cols, int64_t rows) {
        TensorInfo out;
        out.name = std::move(name);
        out.format = &format_of(FormatSlot::f16);
        out.n_dims = 2;
        out.ne = {cols, rows, 1, 1};
        out.bytes = out.format->tensor_bytes(cols, rows);
        tensors.push_back(std::move(out));
    };
    for (const auto& [name, factors] : corrections) {
        plan(name + ".lora_a", static_cast<int64_t>(factors.a.size()) / factors.rank, factors.rank);
        plan(name + ".lora_b", factors.rank, static_cast<int64_t>(factors.b.size()) / factors.rank);
    }
    GgufWriter::Options options;
    options.force = force;
    options.inputs = rounded.gguf().file_ids();
    LET(writer, GgufWriter::create(path, metadata, tensors, options));
    for (const auto& [name, factors] : corrections) {
        for (const std::vector<float>* values : {&factors.a, &factors.b}) {
            std::vector<uint16_t> halves(values->size());
            kernels().f32_to_f16(values->data(), halves.data(), static_cast<int64_t>(halves.size()));
            TRY(writer.write({reinterpret_cast<const uint8_t*>(halves.data()), halves.size() * sizeof(uint16_t)}));
        }
    }
    return writer.finish();
}

}  // namespace quant
