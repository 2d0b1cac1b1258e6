// Tokens taken out of the middle of a session's cache: the first layer's keys and values depend on token and position alone,
// so there a shifted cache gives what a fresh evaluation of the tokens that stay gives. Deeper layers remember.
#include <algorithm>
#include <cmath>
#include <filesystem>

#include "model/session.h"
#include "tensor/graph.h"
#include "tensor/tensor.h"
#include "tests/check.h"

using namespace quant;

namespace {

constexpr int64_t kContext = 128;

std::unique_ptr<Session> session_of(std::shared_ptr<const Model> model, KvType k_type) {
    auto made = Session::create(std::move(model), {.context = kContext, .batch = 32, .k_type = k_type, .v_type = KvType::f32, .threads = 2, .exact = true});
    CHECK_MSG(made.ok(), made.ok() ? "" : made.error().text);
    return made ? std::move(*made) : nullptr;
}

// What attention of the first layer finds for `tokens`, behind those in the cache.
std::vector<float> first_attention(Session& session, std::span<const int32_t> tokens) {
    std::vector<float> found;
    session.observe([&](const Node& node, const Tensor& result) {
        if (node.op != Op::attention || std::get<AttentionParams>(node.params).slot != 0) return;
        const auto* values = reinterpret_cast<const float*>(result.data);
        found.assign(values, values + result.ne[0] * static_cast<int64_t>(tokens.size()));
    });
    CHECK(session.eval(tokens).ok());
    session.observe(nullptr);
    return found;
}

std::vector<int32_t> some_tokens(int64_t count, int64_t vocabulary) {
    std::vector<int32_t> tokens;
    for (int64_t i = 0; i < count; ++i) tokens.push_back(static_cast<int32_t>((7 + i * i * 31 + i * 5) % vocabulary));
    return tokens;
}

// The largest difference in units of the largest value.
double distance(const std::vector<float>& a, const std::vector<float>& b) {
    CHECK(a.size() == b.size() && !a.empty());
    double most = 0, range = 0;
    for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
        most = std::max(most, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
        range = std::max(range, std::abs(static_cast<double>(b[i])));
    }
    return most / range;
}

// 70 tokens, `begin` up to `end` taken out, and the rest once more to the front of a fresh session; then 5 more in both.
double difference(const std::shared_ptr<const Model>& model, KvType k_type, size_t begin, size_t end) {
    std::vector<int32_t> tokens = some_tokens(75, model->config().vocab);
    const std::vector<int32_t> more(tokens.end() - 5, tokens.end());
    tokens.resize(70);
    auto shifted = session_of(model, k_type), fresh = session_of(model, k_type);
    if (!shifted || !fresh) return 1;
    CHECK(shifted->eval(tokens, LogitsOf::none).ok());
    CHECK(shifted->remove(static_cast<int64_t>(begin), static_cast<int64_t>(end)));
    tokens.erase(tokens.begin() + static_cast<std::ptrdiff_t>(begin), tokens.begin() + static_cast<std::ptrdiff_t>(end));
    CHECK(shifted->position() == static_cast<int64_t>(tokens.size()));
    CHECK(fresh->eval(tokens, LogitsOf::none).ok());
    return distance(first_attention(*shifted, more), first_attention(*fresh, more));
}

std::shared_ptr<const Model> loaded(const std::string& path) {
    auto model = Model::load(path);
    CHECK_MSG(model.ok(), model.ok() ? "" : model.error().text);
    return model ? *model : nullptr;
}

}  // namespace

TEST(keys_are_turned_to_their_new_positions) {
    const auto model = loaded("models/tiny/tiny-f16.gguf");
    if (!model) return;
    for (const auto& [begin, end] : {std::pair<size_t, size_t>{4, 30}, {0, 1}, {0, 60}, {69, 70}, {10, 10}}) {
        const double exact = difference(model, KvType::f32, begin, end), half = difference(model, KvType::f16, begin, end),
                     eight = difference(model, KvType::q8_0, begin, end), four = difference(model, KvType::q4_0, begin, end);
        const std::string place = std::to_string(begin) + " to " + std::to_string(end);
        CHECK_MSG(exact < 2e-6, place + ": f32 " + std::to_string(exact * 1e6) + "e-6");
        CHECK_MSG(half < 1e-3, place + ": f16 " + std::to_string(half));
        CHECK_MSG(eight < 1e-2, place + ": q8_0 " + std::to_string(eight));
        CHECK_MSG(four < 0.12, place + ": q4_0 " + std::to_string(four));
    }
}

TEST(places_outside_are_refused) {
    const auto model = loaded("models/tiny/tiny-f16.gguf");
    if (!model) return;
    auto session = session_of(model, KvType::f16);
    CHECK(session && session->eval(some_tokens(10, model->config().vocab)).ok());
    CHECK(!session->remove(-1, 3) && !session->remove(5, 4) && !session->remove(5, 11) && session->position() == 10);
    CHECK(session->remove(0, 10) && session->position() == 0);
}

// Every way to turn keys: pairs and halves, parts of a head, scalings, windows, layers without.
TEST(every_architecture_shifts) {
    SHARED_OR_SKIP(shared);
    int shifted = 0;
    for (const auto& entry : std::filesystem::directory_iterator(shared + "/models/arch")) {
        const std::string name = entry.path().filename(), path = entry.path().string() + "/" + name + ".gguf";
        if (!std::filesystem::exists(path)) continue;
        const auto model = loaded(path);
        if (!model) continue;
        if (name == "gpt2") {  // its positions are added to the embedding
            auto session = session_of(model, KvType::f32);
            CHECK(session && session->eval(some_tokens(10, model->config().vocab)).ok() && !session->remove(2, 4) && session->position() == 10);
            continue;
        }
        const double found = difference(model, KvType::f32, 6, 33);
        CHECK_MSG(found < 4e-6, name + " " + std::to_string(found * 1e6) + "e-6");
        ++shifted;
    }
    CHECK_MSG(shifted >= 17, std::to_string(shifted));
}

TEST_MAIN
