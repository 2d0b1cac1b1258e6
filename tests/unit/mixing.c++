// Hadamard rotations: of rows, of a cache's keys and values, of activations that are rounded for judging.
#include <algorithm>
#include <cmath>

#include "base/log.h"
#include "base/rng.h"
#include "model/builder.h"
#include "model/kv_cache.h"
#include "tensor/executor.h"
#include "tensor/hadamard.h"
#include "tests/check.h"
#include "tests/reference_logits.h"

using namespace quant;

namespace {

const std::string kGolden = "tests/golden/stories260K";

std::shared_ptr<const Model> loaded(const std::string& path) {
    auto model = Model::load(path);
    CHECK_MSG(model.ok(), model.ok() ? "" : model.error().text);
    return model ? *model : nullptr;
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
    CHECK(a.size() == b.size() && !a.empty());
    double most = 0;
    for (size_t i = 0; i < std::min(a.size(), b.size()); ++i)
        most = std::max(most, std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
    return most;
}

// Logits of all tokens, f32 all over, the graph made with `options`.
std::vector<float> logits_of(const Model& model, std::vector<int32_t> tokens, BuildOptions options) {
    const auto count = static_cast<int64_t>(tokens.size());
    options.context = options.batch = count;
    ModelGraph made = build_graph(model.architecture(), model.config(), model.weights(), options);
    auto executor = Executor::create(std::move(made.graph), {count, count, 2, true});
    auto cache = KvCache::create(model.config(), count, KvType::f32, KvType::f32);
    CHECK_MSG(executor.ok() && cache.ok(), executor.ok() ? "" : executor.error().text);
    std::vector<float> logits(static_cast<size_t>(count * model.config().vocab));
    if (!executor || !cache) return logits;
    std::vector<int32_t> rows(tokens.size());
    for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<int32_t>(i);
    (*executor)->bind(made.tokens, tokens.data());
    (*executor)->bind(made.picked, rows.data());
    (*executor)->bind(made.logits, logits.data());
    ThreadPool pool(2);
    (*executor)->run(pool, count, count, 0, cache->slots());
    return logits;
}

// One operation on rows of `cols` values.
std::vector<float> through(std::vector<float> x, int64_t cols, const std::function<ValueId(Graph&, ValueId)>& operation) {
    const auto rows = static_cast<int64_t>(x.size()) / cols;
    Graph g;
    const ValueId in = g.external("x", FormatSlot::f32, cols, 1, Extent::tokens), out = operation(g, in);
    if (g.status()) g.keep(out);
    auto executor = Executor::create(std::move(g), {rows, 1, 2, true});
    CHECK_MSG(executor.ok(), executor.ok() ? "" : executor.error().text);
    if (!executor) return {};
    (*executor)->bind(in, x.data());
    ThreadPool pool(2);
    (*executor)->run(pool, rows, 0, 0, {});
    const Tensor made = (*executor)->value(out);
    return {made.f32(), made.f32() + made.elements()};
}

}  // namespace

TEST(hadamard_is_orthogonal_and_its_own_inverse) {
    CHECK(hadamard_block(96) == 32 && hadamard_block(128) == 128 && hadamard_block(80, 64) == 16 && hadamard_block(256, 64) == 64 &&
          hadamard_block(7) == 1);
    Rng rng(5);
    for (const int64_t block : {1, 2, 32, 64, 512}) {
        const int64_t n = 3 * block;
        std::vector<float> x(static_cast<size_t>(n));
        for (float& each : x) each = static_cast<float>(rng.gaussian());
        std::vector<float> y = x;
        hadamard(y.data(), n, block);
        for (int64_t i = 0; i < n; ++i) {  // the entry of row i and column j is minus where i & j has an odd number of bits
            double sum = 0;
            const int64_t first = i / block * block;
            for (int64_t j = 0; j < block; ++j)
                sum += static_cast<double>(x[static_cast<size_t>(first + j)]) *
                       (__builtin_parityll(static_cast<unsigned long long>((i - first) & j)) ? -1 : 1);
            CHECK_MSG(std::fabs(sum / std::sqrt(static_cast<double>(block)) - static_cast<double>(y[static_cast<size_t>(i)])) < 2e-6,
                      format_text("block %lld, value %lld", static_cast<long long>(block), static_cast<long long>(i)));
        }
        hadamard(y.data(), n, block);
        CHECK_MSG(largest_difference(x, y) < 2e-6, std::to_string(block));
    }
}

TEST(activations_are_rounded_to_the_grid_of_their_group) {
    const std::vector<float> x = {7, -3.4f, 0.6f, 0.4f, 70, 3, -36, 0, 0, 0, 0, 0, -1, 1, 0.6f, 0.07f};
    const auto rows = through(x, 8, [](Graph& g, ValueId in) { return g.round("r", in, {4, 0}); });
    const std::vector<float> by_row = {10, 0, 0, 0, 70, 0, -40, 0, 0, 0, 0, 0, -1, 1, 4 / 7.0f, 0};
    CHECK(largest_difference(rows, by_row) < 1e-6);
    const auto groups = through(x, 8, [](Graph& g, ValueId in) { return g.round("r", in, {4, 4}); });
    const std::vector<float> by_group = {7, -3, 1, 0, 70, 0, -40, 0, 0, 0, 0, 0, -1, 1, 4 / 7.0f, 0};
    CHECK(largest_difference(groups, by_group) < 1e-6);
    const auto eight = through(x, 8, [](Graph& g, ValueId in) { return g.round("r", in, {8, 0}); });
    CHECK(largest_difference(eight, x) < 70.0 / 254 + 1e-5 && largest_difference(eight, x) > 0.1);
    Graph g;
    g.round("r", g.external("x", FormatSlot::f32, 8, 1, Extent::tokens), {4, 3});
    CHECK(!g.status().ok() && g.status().error().text.find("groups of 3") != std::string::npos);
    Graph h;
    h.hadamard("h", h.external("x", FormatSlot::f32, 24, 1, Extent::tokens), 16);
    CHECK(!h.status().ok() && h.status().error().text.find("blocks of 16") != std::string::npos);
}

// In f32 a rotated cache and rotated activations give what plain ones give.
TEST(mixing_keeps_the_function) {
    const auto model = loaded(kGolden + "/stories260K.gguf");
    if (!model) return;
    const ReferenceLogits reference = ReferenceLogits::load(kGolden);
    for (const KvMixing& mixing : {KvMixing{8, 8}, KvMixing{4, 0}, KvMixing{0, 2}}) {
        BuildOptions options;
        options.mixing = mixing;
        const double error = largest_difference(logits_of(*model, reference.tokens, options), reference.values) / reference.range;
        CHECK_MSG(error < 2e-5, format_text("%lld %lld: %g", static_cast<long long>(mixing.k), static_cast<long long>(mixing.v), error));
    }
}

TEST(mixing_keeps_the_function_of_every_architecture) {
    SHARED_OR_SKIP(shared);
    int seen = 0;
    for (const char* name : {"llama", "phi3", "gpt2", "gemma2", "gpt-oss", "qwen3moe"}) {
        const std::string folder = shared + "/models/arch/" + name;
        const auto model = loaded(folder + "/" + name + ".gguf");
        if (!model) continue;
        const ReferenceLogits reference = ReferenceLogits::load(folder);
        if (model->weights().position_embedding) continue;
        BuildOptions options, plain;
        options.mixing = {hadamard_block(model->config().k_head_dim), hadamard_block(model->config().v_head_dim, 64)};
        const std::vector<float> want = logits_of(*model, reference.tokens, plain);
        const double error = largest_difference(logits_of(*model, reference.tokens, options), want) / reference.range;
        CHECK_MSG(error < 2e-5 && error > 0, std::string(name) + format_text(" %g", error));
        ++seen;
    }
    CHECK_MSG(seen >= 5, std::to_string(seen));
}

// Rotation undoes what one large channel does to a row's grid.
TEST(rotation_saves_rows_with_outliers) {
    Rng rng(9);
    std::vector<float> x(16 * 256);
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(rng.gaussian() * (i % 256 == 77 ? 60 : 1));
    const auto error = [&](const std::vector<float>& y) {
        double sum = 0;
        for (size_t i = 0; i < x.size(); ++i) sum += (static_cast<double>(x[i]) - static_cast<double>(y[i])) * (static_cast<double>(x[i]) - static_cast<double>(y[i]));
        return sum;
    };
    const auto plain = through(x, 256, [](Graph& g, ValueId in) { return g.round("r", in, {4, 0}); });
    const auto turned = through(x, 256, [](Graph& g, ValueId in) {
        return g.hadamard("back", g.round("r", g.hadamard("h", in, 256), {4, 0}), 256);
    });
    CHECK_MSG(error(turned) < 0.5 * error(plain), format_text("%g and %g", error(turned), error(plain)));
}

TEST_MAIN
