// Times of small pieces of the real work, scaled by how often and how large it will be done.
#include "convert/calibrate/effort.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>

#include "base/log.h"
#include "convert/calibrate/gram.h"
#include "convert/calibrate/layers.h"
#include "convert/calibrate/predictions.h"
#include "convert/rounding/factor.h"
#include "convert/rounding/low_rank.h"

namespace quant {

namespace {

constexpr int64_t kWindows = 8;          // that sensitivities are measured on, where that is little work
constexpr double kLittleWork = 2e12;     // products: a minute on two cores
constexpr double kShareOfRounding = 0.1;  // of the products that rounding takes, for models where it is more
constexpr int64_t kLeastTokens = 128;

double seconds_of(const std::function<void()>& work) {
    const auto started = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
}

// The least of a few runs: what the machine does when nothing else is on it.
double least_seconds_of(int runs, const std::function<void()>& work) {
    double least = INFINITY;
    for (int i = 0; i < runs; ++i) least = std::min(least, seconds_of(work));
    return least;
}

std::vector<float> any_values(size_t count) {
    std::vector<float> out(count);
    uint32_t state = 12345;
    for (float& value : out) {
        state = state * 1664525u + 1013904223u;
        value = static_cast<float>(state >> 8) / 8388608.0f - 1;
    }
    return out;
}

// Seconds for one unit of each kind of work.
struct Speeds {
    double layer_window = 0;  // a window through a layer
    double logit_place = 0;   // logits of one place
    double product = 0;       // of a sum of products: per token and entry
    double drift = 0;         // a weight's products with the drift: per weight and column
    double solve = 0;         // per n^2 (n / 3 + 2 columns)
    double round_weight = 0, round_product = 0;  // per weight, and per weight and column
    double encode_weight = 0;  // of one format, without feedback
    double low_rank = 0;       // per unit of low_rank_work()
};

// What approximating a matrix by one of rank k comes to: products with k vectors, and their mutual products.
double low_rank_work(double rows, double cols, double k) { return k * (2 * rows * cols + cols * cols) + k * k * (rows + cols); }

class Timing {
public:
    Timing(const Model& model, const Plan& plan, const std::vector<int32_t>& tokens, const CalibrationOptions& options, const RankChoice& rank, ThreadPool& pool)
        : model_(model), plan_(plan), tokens_(tokens), options_(options), rank_(rank), pool_(pool) {}

    Status run() {
        TRY(time_layer());
        time_products();
        TRY(time_solving());
        if (rank_.rank > 0 || rank_.share > 0) time_low_rank();
        return time_rounding();
    }
    const Speeds& speeds() const { return speeds_; }

private:
    Status time_layer() {
        LET(runner, PartRunner::create(model_, model_.weights(), options_.window, pool_));
        Hidden hidden;
        TRY(hidden.make(options_.window, 1, model_.config().embedding, options_.memory));
        TRY(runner.embed(tokens_, hidden));
        // One in the middle: the first may be of another kind.
        TRY(runner.load(Part::layer, static_cast<int32_t>(model_.weights().layers.size() / 2)));
        speeds_.layer_window = least_seconds_of(3, [&] { runner.run(hidden.at(0)); });
        // Logits of as many places as all windows of a measurement leave room for.
        const Predictions predictions(model_, tokens_, options_.window, kWindows, pool_);
        LET(head, PartRunner::create(model_, model_.weights(), predictions.places(), pool_));
        TRY(head.load(Part::logits, 0));
        speeds_.logit_place = least_seconds_of(2, [&] { head.run(hidden.at(0)); }) / static_cast<double>(predictions.places());
        return {};
    }

    void time_products() {
        const int64_t cols = std::min<int64_t>(model_.config().embedding, 1024);
        const std::vector<float> x = any_values(static_cast<size_t>(cols * options_.window));
        ProductSum sum(cols, cols);
        const double seconds = least_seconds_of(3, [&] { sum.add(x.data(), cols, x.data(), cols, options_.window, pool_); });
        speeds_.product = seconds / static_cast<double>(options_.window * cols * cols);
        constexpr int64_t rows = 64;
        const double drift = least_seconds_of(2, [&] {
            pool_.for_each_piece(rows, 8, [&](int64_t begin, int64_t end, int) {
                double sums[4] = {};
                for (int64_t r = begin; r < end; ++r)
                    for (int64_t c = 0; c + 4 <= options_.window; c += 4) four_dots(x.data() + c * cols, cols, x.data(), cols, sums);
            });
        });
        speeds_.drift = drift / static_cast<double>(rows * (options_.window / 4 * 4) * cols);
    }

    // Of inputs that have much in common, as a model's have: the more, the more codes the sweeps change.
    static std::vector<float> any_gram(int64_t cols, ThreadPool& pool) {
        std::vector<float> x = any_values(static_cast<size_t>(2 * cols * cols));
        for (size_t i = 1; i < x.size(); ++i) x[i] += 0.95f * x[i - 1];
        ProductSum sum(cols, cols);
        sum.add(x.data(), cols, x.data(), cols, 2 * cols, pool);
        return sum.mean(static_cast<double>(2 * cols));
    }

    Status time_solving() {
        constexpr int64_t n = 384, columns = 256;
        const std::vector<float> gram = any_gram(n, pool_);
        std::vector<double> b(n * columns, 1.0);
        Status status;
        const double seconds = least_seconds_of(2, [&] { status = solve_gram(gram, n, 0.1, b, columns, pool_); });
        speeds_.solve = seconds / (n * n * (n / 3.0 + 2.0 * columns));
        return status;
    }

    void time_low_rank() {
        constexpr int64_t rows = 256, cols = 256;
        const std::vector<float> gram = any_gram(cols, pool_), m = any_values(rows * cols);
        const int64_t rank = std::min<int64_t>(rank_.of(rows, cols), 64);
        const double seconds = seconds_of([&] { best_factors(m, rows, cols, gram, rank, pool_); });
        speeds_.low_rank = seconds / low_rank_work(rows, cols, static_cast<double>(rank));
    }

    // The format of most weights, rounded at two widths: what grows with them and what does not.
    Status time_rounding() {
        std::map<const Format*, int64_t> weights;
        for (const PlannedTensor& tensor : plan_.tensors)
            if (tensor.out.format->kind == FormatKind::block && !tensor.copies()) weights[tensor.out.format] += tensor.out.elements();
        if (weights.empty()) return {};
        const Format& format = *std::max_element(weights.begin(), weights.end(), [](const auto& a, const auto& b) { return a.second < b.second; })->first;
        constexpr int64_t narrow = 256, wide = 512;
        const int64_t rows = 32 * pool_.size(), group = format.head && format.head->grouped ? rows : 0;
        double seconds[2] = {};
        for (const int64_t cols : {narrow, wide}) {
            const std::vector<float> w = any_values(static_cast<size_t>(rows * cols));
            const std::vector<float> gram = any_gram(cols, pool_);
            std::vector<uint8_t> blocks(format.tensor_bytes(cols, rows, group));
            Status status;
            const FeedbackOptions feedback = sequential_options(options_).feedback;
            // The factor of the Gram matrix is counted with the equations.
            Result<std::vector<float>> made = std::vector<float>();
            const double factor = least_seconds_of(2, [&] { made = inverse_factor(gram, cols, feedback.damping, pool_); });
            if (!made) return std::move(made.error());
            const double whole = least_seconds_of(2, [&] { status = round_with_feedback(format, w.data(), rows, cols, group, gram, feedback, pool_, blocks.data()); });
            TRY(status);
            seconds[cols == wide] = std::max(whole - factor, whole / 10) / static_cast<double>(rows * cols);
        }
        speeds_.round_product = std::max(seconds[1] - seconds[0], 0.0) / static_cast<double>(wide - narrow);
        speeds_.round_weight = std::max(seconds[0] - speeds_.round_product * narrow, seconds[0] / 10);
        if (format.head) return {};
        const std::vector<float> importance(wide, 1.0f);
        const std::vector<float> w = any_values(static_cast<size_t>(rows * wide));
        std::vector<uint8_t> blocks(format.tensor_bytes(wide, rows));
        if (format.head) return {};  // tables of the whole tensor: not encoded row by row
        const double seconds_encoding = least_seconds_of(2, [&] {
            pool_.for_each_piece(rows, 4, [&](int64_t begin, int64_t end, int) {
                for (int64_t r = begin; r < end; ++r)
                    format.encode(nullptr, w.data() + r * wide, importance.data(), blocks.data() + static_cast<uint64_t>(r) * format.row_bytes(wide), wide);
            });
        });
        speeds_.encode_weight = seconds_encoding / static_cast<double>(rows * wide);
        return {};
    }

    const Model& model_;
    const Plan& plan_;
    const std::vector<int32_t>& tokens_;
    const CalibrationOptions& options_;
    RankChoice rank_;
    ThreadPool& pool_;
    Speeds speeds_;
};

// Matrices of a layer in the middle that read the same value.
struct SiteShape {
    double cols = 0, rows = 0, matrices = 0;  // rows of all of them
    bool residual = false;
    double before = 0;  // share of the layer that is run to make the value
};

std::vector<SiteShape> site_shapes(const Model& model) {
    static constexpr Role kSites[][3] = {{Role::q, Role::k, Role::v}, {Role::qkv, Role::count, Role::count}, {Role::attention_output, Role::count, Role::count},
                                         {Role::gate, Role::up, Role::count}, {Role::down, Role::count, Role::count}};
    const Layer& layer = model.weights().layers[model.weights().layers.size() / 2];
    std::vector<SiteShape> out;
    for (const auto& roles : kSites) {
        SiteShape site;
        for (const Role role : roles) {
            const TensorInfo* tensor = role == Role::count ? nullptr : layer[role];
            if (!tensor) continue;
            site.cols = static_cast<double>(tensor->cols());
            site.rows += static_cast<double>(tensor->rows());
            ++site.matrices;
        }
        if (site.matrices == 0) continue;
        site.residual = roles[0] == Role::attention_output || roles[0] == Role::down;
        site.before = 0.25 * static_cast<double>(out.size());
        out.push_back(site);
    }
    return out;
}

// The factor of a site's Gram matrix for each matrix, feedback and sweeps.
double feedback_of(const SiteShape& site, const Speeds& speeds) {
    return site.matrices * speeds.solve * site.cols * site.cols * site.cols * 2 / 3 + site.rows * site.cols * (speeds.round_weight + speeds.round_product * site.cols);
}

// The regression on a site's inputs: the products with the drift, and the equations.
double regression_of(const SiteShape& site, const Speeds& speeds) {
    return speeds.solve * site.cols * site.cols * (site.matrices * site.cols / 3 + 2 * site.rows) + site.rows * site.cols * site.cols * speeds.drift;
}

// Of one layer: matrices that read the same input share its sums. To the site's input in both models, before the whole layer
// once in both: each site costs the part before it.
double rounding_of_layer(const Model& model, const Speeds& speeds, int64_t windows, int64_t window) {
    const auto tokens = static_cast<double>(windows * window);
    double passes = 1, seconds = 0;
    for (const SiteShape& site : site_shapes(model)) {
        seconds += regression_of(site, speeds) + feedback_of(site, speeds);
        seconds += speeds.product * tokens * (2 * site.cols * site.cols + (site.residual ? site.cols * static_cast<double>(model.config().embedding) : 0));
        passes += site.before;
    }
    return seconds + 2 * passes * speeds.layer_window * static_cast<double>(windows);
}

// The same, with an adapter's matrices in place of codes.
double correcting_of_layer(const Model& model, const Speeds& speeds, int64_t windows, int64_t window, const WorkToCome& work) {
    const auto tokens = static_cast<double>(windows * window);
    double passes = 1, seconds = 0;
    for (const SiteShape& site : site_shapes(model)) {
        const double rank = static_cast<double>(work.correction.of(static_cast<int64_t>(site.rows / site.matrices), static_cast<int64_t>(site.cols)));
        const double sums = work.noise ? 3 : 2;
        seconds += regression_of(site, speeds) + (work.noise ? site.rows * site.cols * site.cols * speeds.product : 0);
        seconds += speeds.product * tokens * (sums * site.cols * site.cols + (site.residual ? site.cols * static_cast<double>(model.config().embedding) : 0));
        seconds += site.matrices * speeds.low_rank * low_rank_work(site.rows / site.matrices, site.cols, rank);
        passes += site.before;
    }
    return seconds + 2 * passes * speeds.layer_window * static_cast<double>(windows);
}

// A look at what all channels carry; with methods asked for by name also their candidates at every place, and the whole model
// rounded before and after each.
double transforms_of(const Model& model, const Speeds& speeds, int64_t given, int64_t window, int methods) {
    constexpr double kMost = 40, kHeldOut = 0.2, kRows = 64, kCandidates = 20;  // see whole_check.h and place_loss.c++
    const double windows = std::min(static_cast<double>(given), kMost), layers = static_cast<double>(model.weights().layers.size());
    double look = windows * speeds.layer_window, rounding = 0, places = 0;
    for (const SiteShape& site : site_shapes(model)) {
        const double factor = speeds.solve * site.cols * site.cols * site.cols / 3, square = kRows * site.cols * site.cols * speeds.product;
        look += windows * static_cast<double>(window) * site.cols * site.cols * speeds.product;
        rounding += feedback_of(site, speeds);
        places += site.matrices * (kCandidates * methods * (kRows * site.cols * speeds.encode_weight + 2 * square) + 2 * factor);
    }
    const double held = kHeldOut * windows * speeds.layer_window;
    if (methods == 0) return layers * look;
    return layers * (look + places + held + (methods + 1) * (look + held + rounding));
}

// Of a layer in the middle.
double layer_weights(const Model& model) {
    double sum = 0;
    for (const TensorInfo* tensor : model.weights().layers[model.weights().layers.size() / 2].tensors)
        if (tensor) sum += static_cast<double>(tensor->elements());
    return sum;
}

}  // namespace

SensitivityOptions sensitivity_options(const Model& model, const std::vector<std::string>& names, int64_t windows, const CalibrationOptions& options) {
    constexpr double kPassesOfRounding = 12;  // of each window through each layer, both models
    SensitivityOptions out;
    out.window = options.window;
    out.memory = options.memory;
    const bool most = options.effort == Effort::max, least = options.effort == Effort::fast;
    out.windows = std::min(windows, least ? 1 : most ? 2 * kWindows : kWindows);
    if (most) out.sampled_rows *= 4;
    const double layer = layer_weights(model), layers = static_cast<double>(model.weights().layers.size());
    const double per_token = static_cast<double>(sensitivity_passes(model, names)) * layer;
    const double rounding = kPassesOfRounding * static_cast<double>(windows * options.window) * layers * layer;
    const double budget = std::max(kLittleWork, kShareOfRounding * rounding) * (most ? 4 : 1);
    const auto tokens = std::max<int64_t>(kLeastTokens, static_cast<int64_t>(budget / per_token));
    out.windows = std::clamp<int64_t>(tokens / options.window, 1, out.windows);
    out.window = std::min(options.window, tokens);
    return out;
}

std::vector<int32_t> shortened(const std::vector<int32_t>& tokens, int64_t window, int64_t short_window) {
    std::vector<int32_t> out;
    for (auto at = tokens.begin(); at != tokens.end(); at += window) out.insert(out.end(), at, at + short_window);
    return out;
}

SequentialOptions sequential_options(const CalibrationOptions& options) {
    SequentialOptions out;
    out.window = options.window;
    out.memory = options.memory;
    if (options.effort == Effort::max) out.feedback.sweeps *= 2;
    return out;
}

Result<TimeEstimate> estimate_time(const Model& model, const Plan& plan, const WorkToCome& work, const std::vector<int32_t>& tokens,
                                   const CalibrationOptions& options, ThreadPool& pool) {
    Timing timing(model, plan, tokens, options, work.correction, pool);
    TRY(timing.run());
    const Speeds& speeds = timing.speeds();
    const auto layers = static_cast<int64_t>(model.weights().layers.size());
    const int64_t windows = static_cast<int64_t>(tokens.size()) / options.window;
    TimeEstimate out;
    if (work.outliers || work.transforms > 0) out.transforms = transforms_of(model, speeds, windows, options.window, work.transforms);
    if (work.observes) out.observing = 1.2 * static_cast<double>(windows * layers) * speeds.layer_window;  // and the histograms
    if (work.correction.rank > 0 || work.correction.share > 0)
        out.correcting = static_cast<double>(layers) * correcting_of_layer(model, speeds, windows, options.window, work);
    if (work.statistics) out.statistics = static_cast<double>(windows * layers) * speeds.layer_window;
    if (!work.measured.empty()) {
        const SensitivityOptions sensitivity = sensitivity_options(model, work.measured, windows, options);
        const double share = static_cast<double>(sensitivity.window) / static_cast<double>(options.window);
        out.measuring = static_cast<double>(sensitivity_passes(model, work.measured) * sensitivity.windows) * share * speeds.layer_window;
        const Predictions predictions(model, tokens, sensitivity.window, sensitivity.windows, pool);
        // Comparing costs about half of what the logits do.
        out.measuring += static_cast<double>((static_cast<int64_t>(work.measured.size()) + 1) * predictions.windows() * predictions.places()) * 1.5 * speeds.logit_place;
    }
    if (work.feedback) {
        out.rounding = static_cast<double>(layers) * rounding_of_layer(model, speeds, windows, options.window);
        const TensorInfo& output = *model.weights().output;
        const auto rows = static_cast<double>(output.rows()), cols = static_cast<double>(output.cols());
        out.rounding += static_cast<double>(windows * layers) * speeds.layer_window + rows * cols * (speeds.round_weight + speeds.round_product * cols);
        out.rounding += speeds.product * static_cast<double>(windows * options.window) * cols * cols;
    }
    if (!work.feedback) {
        double weights = 0;
        for (const PlannedTensor& tensor : plan.tensors) weights += tensor.copies() ? 0 : static_cast<double>(tensor.out.elements());
        out.rounding = weights * speeds.encode_weight;
    }
    return out;
}

std::string time_text(const TimeEstimate& estimate) {
    const auto text = [](double seconds) {
        if (seconds < 1.5) return std::string("a second");
        if (seconds < 100) return format_text("%.0f s", seconds);
        if (seconds < 6000) return format_text("%.0f min", seconds / 60);
        return format_text("%.1f h", seconds / 3600);
    };
    std::string parts;
    const auto add = [&](const char* name, double seconds) {
        if (seconds > 0) parts += (parts.empty() ? ": " : ", ") + std::string(name) + " " + text(seconds);
    };
    add("transforms", estimate.transforms);
    add("measuring", estimate.measuring);
    add("reading", estimate.statistics);
    add("observing", estimate.observing);
    add("rounding", estimate.rounding);
    add("low rank", estimate.correcting);
    return "about " + text(estimate.total()) + parts;
}

}  // namespace quant
