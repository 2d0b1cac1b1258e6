// Every architecture from its Hugging Face folder to its logits: imported, run exactly and in the default mode, and
// continued greedily, against what another program computed. One line each in the log of the tests.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "../reference_logits.h"
#include "base/log.h"
#include "convert/quantize.h"
#include "model/session.h"
#include "tensor/graph.h"
#include "tests/check.h"
#include "tests/temporary_folder.h"

using namespace quant;

namespace {

constexpr double kExact = 2e-5, kDefault = 2e-3, kBf16 = 2e-2;

std::unique_ptr<Session> open(const std::shared_ptr<const Model>& model, bool exact) {
    SessionOptions options;
    options.context = 256;
    options.exact = exact;
    options.threads = exact ? 1 : 2;
    if (exact) options.k_type = options.v_type = KvType::f32;
    auto session = Session::create(model, options);
    CHECK_MSG(session.ok(), session ? "" : session.error().text);
    return session ? std::move(*session) : nullptr;
}

// Largest difference of all rows of logits, over the reference's range.
double apart(Session& session, const ReferenceLogits& reference) {
    CHECK(session.eval(reference.tokens, LogitsOf::all).ok());
    double most = 0;
    for (size_t i = 0; i < reference.tokens.size(); ++i)
        most = std::max(most, largest_difference(session.logits(static_cast<int64_t>(i)), reference.row(i)));
    return most / reference.range;
}

// How many of the reference's greedy tokens follow, from the last row of logits on.
size_t greedy_tokens(Session& session, const ReferenceLogits& reference) {
    for (size_t i = 0; i < reference.greedy.size(); ++i) {
        const auto row = session.logits(i == 0 ? static_cast<int64_t>(reference.tokens.size()) - 1 : 0);
        const auto chosen = static_cast<int32_t>(std::max_element(row.begin(), row.end()) - row.begin());
        if (chosen != reference.greedy[i]) return i;
        CHECK(session.eval(std::span(&chosen, 1)).ok());
    }
    return reference.greedy.size();
}

// What each layer's router chose for each token: ids and weights, as Op::route puts them out.
using Routes = std::map<std::string, std::vector<float>>;

float* row_of(const Tensor& tensor, int64_t row) {
    return reinterpret_cast<float*>(static_cast<uint8_t*>(tensor.data) + row * tensor.stride[1]);
}

void record_routes(Session& session, Routes& routes) {
    session.observe([&routes](const Node& node, const Tensor& result) {
        if (node.op != Op::route) return;
        for (int64_t row = 0; row < result.ne[1]; ++row)
            routes[node.name].insert(routes[node.name].end(), row_of(result, row), row_of(result, row) + result.ne[0]);
    });
}

struct Choices {
    size_t all = 0, other = 0;
};

// Replaces what the routers chose by `routes`, and counts where a set of experts was another one.
void force_routes(Session& session, const Routes& routes, Choices& choices) {
    session.observe([&](const Node& node, const Tensor& result) {
        if (node.op != Op::route) return;
        const auto used = static_cast<size_t>(result.ne[0] / 2);
        for (int64_t row = 0; row < result.ne[1]; ++row) {
            const float* wanted = routes.at(node.name).data() + row * result.ne[0];
            std::vector<int32_t> ours(used), theirs(used);
            std::memcpy(ours.data(), row_of(result, row), used * sizeof(float));
            std::memcpy(theirs.data(), wanted, used * sizeof(float));
            std::sort(ours.begin(), ours.end());
            std::sort(theirs.begin(), theirs.end());
            ++choices.all;
            choices.other += ours != theirs;
            std::memcpy(row_of(result, row), wanted, static_cast<size_t>(result.ne[0]) * sizeof(float));
        }
    });
}

// `bound` is for the default mode. Where activations are int8, a random model's router may have two experts so close
// that their order falls the other way, and a row with another expert is another row: such a model is held to the
// bound with the experts that the exact run chose.
void check_architecture(const char* name, double bound) {
    SHARED_OR_SKIP(shared);
    const std::string folder = shared + "/models/arch/" + name;
    const ReferenceLogits reference = ReferenceLogits::load(folder);
    CHECK_MSG(!reference.tokens.empty(), folder + ": no reference logits");
    const TemporaryFolder work;
    QuantizeOptions options;
    options.input = folder + "/hf";
    options.output = work.at("model.gguf");
    options.type = "COPY";
    const auto report = quantize_file(options, {});
    CHECK_MSG(report.ok(), report ? "" : report.error().text);
    const auto model = Model::load(options.output);
    CHECK_MSG(model.ok(), model ? "" : model.error().text);
    if (!model || reference.tokens.empty()) return;

    const auto exact = open(*model, true), normal = open(*model, false);
    if (!exact || !normal) return;
    Routes routes;
    record_routes(*exact, routes);
    const double precise = apart(*exact, reference);
    exact->observe({});
    const size_t greedy = greedy_tokens(*exact, reference);
    double usual = apart(*normal, reference);
    std::string line = format_text("%-14s import ok, logits apart by %.1e of their range exact, %.1e default, %zu of %zu greedy tokens equal",
                                   name, precise, usual, greedy, reference.greedy.size());
    if (usual > bound && !routes.empty()) {
        Choices choices;
        const auto forced = open(*model, false);
        force_routes(*forced, routes, choices);
        usual = apart(*forced, reference);
        line += format_text("; %zu of %zu choices of experts fell otherwise in the default mode, %.1e with the exact ones", choices.other,
                            choices.all, usual);
        CHECK_MSG(choices.other > 0 && choices.other <= choices.all / 50, line);
    }
    std::printf("LOG %s\n", line.c_str());
    CHECK_MSG(precise <= kExact && greedy == reference.greedy.size() && greedy > 0, line);
    CHECK_MSG(usual <= bound, line);
}

}  // namespace

TEST(llama) { check_architecture("llama", kDefault); }
TEST(llama_linear_rope) { check_architecture("llama-linear", kDefault); }
TEST(llama3_rope) { check_architecture("llama3", kBf16); }
TEST(mistral) { check_architecture("mistral", kBf16); }
TEST(mixtral) { check_architecture("mixtral", kBf16); }
TEST(qwen2) { check_architecture("qwen2", kBf16); }
TEST(qwen2_yarn) { check_architecture("qwen2-yarn", kDefault); }
TEST(qwen3) { check_architecture("qwen3", kBf16); }
TEST(qwen3moe) { check_architecture("qwen3moe", kBf16); }
TEST(gemma2) { check_architecture("gemma2", kBf16); }
TEST(gemma3) { check_architecture("gemma3", kBf16); }
TEST(phi3) { check_architecture("phi3", kBf16); }
TEST(olmo2) { check_architecture("olmo2", kDefault); }
TEST(granite) { check_architecture("granite", kBf16); }
TEST(smollm3) { check_architecture("smollm3", kBf16); }
TEST(gpt_oss) { check_architecture("gpt-oss", kBf16); }
TEST(gpt_oss_mxfp4) { check_architecture("gpt-oss-mxfp4", kBf16); }
TEST(gpt2) { check_architecture("gpt2", kDefault); }
TEST(bitnet) { check_architecture("bitnet", kBf16); }
TEST(bitnet_packed) { check_architecture("bitnet-packed", kBf16); }

TEST_MAIN
