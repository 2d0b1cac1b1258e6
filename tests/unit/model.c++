// Whole models against logits that other programs computed; what must not change a result (batches, threads,
// truncation).
#include <numeric>

#include "../reference_logits.h"
#include "base/log.h"
#include "model/session.h"
#include "tensor/graph.h"
#include "tests/check.h"

using namespace quant;

namespace {

std::shared_ptr<const Model> load(const std::string& path) {
    auto model = Model::load(path);
    CHECK_MSG(model.ok(), model.ok() ? "" : model.error().text);
    return model.ok() ? *model : nullptr;
}

std::unique_ptr<Session> open(const std::shared_ptr<const Model>& model, const SessionOptions& options) {
    auto session = Session::create(model, options);
    CHECK_MSG(session.ok(), session.ok() ? "" : session.error().text);
    return session.ok() ? std::move(*session) : nullptr;
}

SessionOptions exact_options() {
    SessionOptions options;
    options.context = 256;
    options.k_type = options.v_type = KvType::f32;
    options.exact = true;
    options.threads = 1;
    return options;
}

SessionOptions default_options() {
    SessionOptions options;
    options.context = 256;
    options.threads = 2;
    return options;
}

// All rows of logits of `tokens`, taken in by pieces of `step` tokens.
std::vector<float> logits_of(Session& session, std::span<const int32_t> tokens, size_t step) {
    std::vector<float> all;
    for (size_t at = 0; at < tokens.size(); at += step) {
        const auto piece = tokens.subspan(at, std::min(step, tokens.size() - at));
        const Status status = session.eval(piece, LogitsOf::all);
        CHECK_MSG(status.ok(), status.error().text);
        for (size_t i = 0; i < piece.size(); ++i) {
            const auto row = session.logits(static_cast<int64_t>(i));
            all.insert(all.end(), row.begin(), row.end());
        }
    }
    return all;
}

int32_t largest(std::span<const float> row) {
    return static_cast<int32_t>(std::max_element(row.begin(), row.end()) - row.begin());
}

void check_greedy(Session& session, const ReferenceLogits& reference, const std::string& name) {
    for (size_t i = 0; i < reference.greedy.size(); ++i) {
        const int64_t last = i == 0 ? static_cast<int64_t>(reference.tokens.size()) - 1 : 0;
        const int32_t chosen = largest(session.logits(last));
        CHECK_MSG(chosen == reference.greedy[i], name + ": greedy token " + std::to_string(i) + " is " +
                                                     std::to_string(chosen) + ", expected " +
                                                     std::to_string(reference.greedy[i]));
        if (chosen != reference.greedy[i]) return;
        CHECK(session.eval(std::span(&chosen, 1)).ok());
    }
}

// Exact mode to 2e-5 of the range and all greedy tokens; the default mode to `loose`.
void check_model(const std::string& folder, const std::string& file, double loose) {
    const ReferenceLogits reference = ReferenceLogits::load(folder);
    CHECK_MSG(!reference.tokens.empty(), folder + ": no reference logits");
    const auto model = load(folder + "/" + file);
    if (!model || reference.tokens.empty()) return;
    const auto exact = open(model, exact_options());
    if (!exact) return;
    const double error =
        largest_difference(logits_of(*exact, reference.tokens, reference.tokens.size()), reference.values) /
        reference.range;
    std::printf("# %-24s exact %.2e", file.c_str(), error);
    CHECK_MSG(error <= 2e-5,
              file + ": exact logits differ by " + std::to_string(error * 1e6) + "e-6 of the range");
    check_greedy(*exact, reference, file);
    const auto normal = open(model, default_options());
    if (!normal) return;
    const double usual =
        largest_difference(logits_of(*normal, reference.tokens, reference.tokens.size()), reference.values) /
        reference.range;
    std::printf(" default %.2e\n", usual);
    CHECK_MSG(usual <= loose, file + ": default logits differ by " + std::to_string(usual) + " of the range");
}

constexpr double kLoose = 2e-3;
const std::string kGolden = "tests/golden/stories260K";

}  // namespace

TEST(logits_stories260k) { check_model(kGolden, "stories260K.gguf", kLoose); }
TEST(logits_tiny) {
    SHARED_OR_SKIP(shared);
    check_model(shared + "/models/tiny", "tiny-f16.gguf", kLoose);
}
TEST(batches_do_not_matter) {
    const ReferenceLogits reference = ReferenceLogits::load(kGolden);
    const auto model = load(kGolden + "/stories260K.gguf");
    if (!model) return;
    // An f16 cache rounds: the last bit of a key may fall on either side.
    for (const auto& [type, bound] : {std::pair{KvType::f32, 1e-6}, {KvType::f16, 1e-5}}) {
        SessionOptions options = exact_options();
        options.k_type = options.v_type = type;
        const auto whole = open(model, options);
        const auto expected = logits_of(*whole, reference.tokens, reference.tokens.size());
        for (const size_t step : {size_t{1}, size_t{3}, size_t{9}}) {
            const auto session = open(model, options);
            const double error =
                largest_difference(logits_of(*session, reference.tokens, step), expected) / reference.range;
            CHECK_MSG(error <= bound, format_text("pieces of %zu: %g", step, error));
        }
        options.batch = 7;
        const auto small = open(model, options);
        const double error =
            largest_difference(logits_of(*small, reference.tokens, reference.tokens.size()), expected) /
            reference.range;
        CHECK_MSG(error <= bound, format_text("batch of 7: %g", error));
    }
}

// Long enough for several blocks of keys and queries, against one token at a time.
TEST(long_prompts_match_single_steps) {
    const auto model = load(kGolden + "/stories260K.gguf");
    if (!model) return;
    SessionOptions options = exact_options();
    options.context = 400;
    options.batch = 150;
    std::vector<int32_t> tokens(400);
    for (size_t i = 0; i < tokens.size(); ++i)
        tokens[i] = static_cast<int32_t>(3 + (i * 7919 + i * i * 31) % 500);
    const auto whole = open(model, options), single = open(model, options);
    const auto expected = logits_of(*single, tokens, 1);
    const auto [low, high] = std::minmax_element(expected.begin(), expected.end());
    const double error = largest_difference(logits_of(*whole, tokens, tokens.size()), expected) /
                         static_cast<double>(*high - *low);
    CHECK_MSG(error <= 2e-6, format_text("%g of the range", error));
}

TEST(threads_do_not_matter) {
    const ReferenceLogits reference = ReferenceLogits::load(kGolden);
    const auto model = load(kGolden + "/stories260K.gguf");
    if (!model) return;
    for (const size_t step : {size_t{1}, size_t{16}}) {
        std::vector<float> expected;
        for (int threads = 1; threads <= 4; ++threads) {
            SessionOptions options = default_options();
            options.threads = threads;
            const auto session = open(model, options);
            const auto found = logits_of(*session, reference.tokens, step);
            if (threads == 1) expected = found;
            CHECK_MSG(std::memcmp(found.data(), expected.data(), expected.size() * sizeof(float)) == 0,
                      format_text("%d threads, pieces of %zu: other bits", threads, step));
        }
    }
}

TEST(truncated_and_continued) {
    const ReferenceLogits reference = ReferenceLogits::load(kGolden);
    const auto model = load(kGolden + "/stories260K.gguf");
    if (!model) return;
    const auto session = open(model, exact_options());
    const std::span<const int32_t> tokens = reference.tokens;
    logits_of(*session, tokens.first(10), 10);
    const std::vector<int32_t> other{5, 6, 7, 8};
    logits_of(*session, other, 4);
    CHECK(session->position() == 14);
    session->truncate(8);
    CHECK(session->position() == 8);
    const auto found = logits_of(*session, tokens.subspan(8), 3);
    const auto expected = std::span(reference.values).subspan(8 * reference.vocab);
    CHECK(largest_difference(found, expected) / reference.range <= 2e-5);
}

TEST(which_logits) {
    const ReferenceLogits reference = ReferenceLogits::load(kGolden);
    const auto model = load(kGolden + "/stories260K.gguf");
    if (!model) return;
    SessionOptions options = exact_options();
    options.batch = 5;
    const auto session = open(model, options);
    CHECK(session->eval(reference.tokens, LogitsOf::last).ok());
    CHECK(session->logits(0).size() == 512 && session->logits(1).empty());
    CHECK(largest_difference(session->logits(0), reference.row(reference.tokens.size() - 1)) /
              reference.range <=
          2e-5);
    session->truncate(0);
    CHECK(session->eval(reference.tokens, LogitsOf::none).ok());
    CHECK(session->logits(0).empty());
}

TEST(eval_refuses_and_changes_nothing) {
    const auto model = load(kGolden + "/stories260K.gguf");
    if (!model) return;
    SessionOptions options = exact_options();
    options.context = 4;
    const auto session = open(model, options);
    for (const std::vector<int32_t>& bad : {std::vector<int32_t>{1, 512}, {-1}, {1, 2, 3, 4, 5}}) {
        const Status status = session->eval(bad);
        CHECK(!status.ok() && status.error().code == Code::usage);
        CHECK(session->position() == 0);
    }
    CHECK(session->eval(std::vector<int32_t>{1, 2, 3, 4}).ok());
    const Status full = session->eval(std::vector<int32_t>{5});
    CHECK(!full.ok() && full.error().text.find("holds 4") != std::string::npos);
}

TEST(q8_0_cache_needs_whole_blocks) {
    const auto model = load(kGolden + "/stories260K.gguf");
    if (!model) return;
    SessionOptions options = default_options();
    options.k_type = KvType::q8_0;
    const auto session = Session::create(model, options);  // head size 8
    CHECK(!session.ok() && session.error().code == Code::usage);
}

TEST(caches_of_all_types) {
    SHARED_OR_SKIP(shared);
    const ReferenceLogits reference = ReferenceLogits::load(shared + "/models/tiny");
    const auto model = load(shared + "/models/tiny/tiny-f16.gguf");
    if (!model) return;
    struct Row {
        KvType type;
        double bound;
    };
    for (const Row& row : {Row{KvType::f32, 2e-5}, {KvType::f16, 1e-3}, {KvType::q8_0, 2e-2}, {KvType::q4_0, 0.04}}) {
        for (const size_t step : {size_t{1}, size_t{64}}) {
            SessionOptions options = exact_options();
            options.k_type = options.v_type = row.type;
            const auto session = open(model, options);
            const double error =
                largest_difference(logits_of(*session, reference.tokens, step), reference.values) /
                reference.range;
            CHECK_MSG(error <= row.bound && (row.type == KvType::f32 || error > 1e-6),
                      format_text("KV type %d: %g", static_cast<int>(row.type), error));
        }
    }
}

TEST(observer_sees_inputs_of_products) {
    const ReferenceLogits reference = ReferenceLogits::load(kGolden);
    const auto model = load(kGolden + "/stories260K.gguf");
    if (!model) return;
    SessionOptions options = default_options();
    const auto session = open(model, options);
    int products = 0, wrong = 0;
    session->observe([&](const Node& node, const Tensor& result) {
        if (node.op != Op::matmul) return;
        ++products;
        const Tensor w = session->operand(node, 0), x = session->operand(node, 1);
        if (w.format->slot != FormatSlot::f32 || x.ne[0] != w.ne[0] || result.ne[0] != w.ne[1]) ++wrong;
        double sum = 0;  // the first result again
        for (int64_t i = 0; i < w.ne[0]; ++i)
            sum += static_cast<double>(w.f32()[i]) * static_cast<double>(x.f32()[i]);
        if (std::fabs(sum - static_cast<double>(result.f32()[0])) > 1e-4 * (1 + std::fabs(sum))) ++wrong;
    });
    CHECK(session->eval(reference.tokens).ok());
    CHECK_MSG(products == 5 * 7 + 1 && wrong == 0, format_text("%d products, %d wrong", products, wrong));
}

TEST_MAIN
