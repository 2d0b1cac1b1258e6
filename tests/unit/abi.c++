// The C interface through its own header alone: results against plain computations, arguments that must be refused,
// ownership, errors per thread.
#include "quant.h"

#include <atomic>
#include <cmath>
#include <string>
#include <thread>
#include <vector>

#include "formats/format.h"
#include "tests/adapter_file.h"
#include "tests/check.h"
#include "tests/temporary_folder.h"

namespace {

const char* const kTiny = "models/tiny/tiny-f16.gguf";

bool says(const char* words) { return std::strstr(quant_last_error(), words) != nullptr; }

// A repeatable stream of numbers in [-1, 1).
struct Numbers {
    uint32_t state = 12345;
    float next() {
        state = state * 1664525u + 1013904223u;
        return static_cast<float>(static_cast<int32_t>(state)) / 2147483648.0f;
    }
    std::vector<float> take(size_t count) {
        std::vector<float> out(count);
        for (float& x : out) x = next();
        return out;
    }
};

// y[t, r] = sum of w[r, k] x[t, k] in double.
std::vector<double> product(const std::vector<float>& w, const std::vector<float>& x, size_t out, size_t in) {
    std::vector<double> y(x.size() / in * out, 0.0);
    for (size_t t = 0; t < x.size() / in; ++t)
        for (size_t r = 0; r < out; ++r)
            for (size_t k = 0; k < in; ++k) y[t * out + r] += static_cast<double>(w[r * in + k]) * static_cast<double>(x[t * in + k]);
    return y;
}

double silu(double x) { return x / (1 + std::exp(-x)); }

// Largest difference between a kept value and what it should be, over `rows` rows.
double worst(const quant_runner* runner, quant_value value, const std::vector<double>& expected, size_t rows) {
    const size_t cols = expected.size() / rows;
    double most = 0;
    for (size_t row = 0; row < rows; ++row) {
        const float* found = nullptr;
        if (quant_runner_result(runner, value, static_cast<int64_t>(row), &found) != QUANT_OK) return 1e9;
        for (size_t i = 0; i < cols; ++i) most = std::max(most, std::abs(static_cast<double>(found[i]) - expected[row * cols + i]));
    }
    return most;
}

struct Loaded {
    quant_model* model = nullptr;
    quant_session* session = nullptr;
    Loaded() {
        CHECK_MSG(quant_model_load(kTiny, 1, &model) == QUANT_OK, quant_last_error());
        quant_session_options options;
        CHECK(quant_session_defaults(model, &options) == QUANT_OK);
        CHECK(options.context == 1024 && options.batch == 512 && options.k_type == QUANT_KV_F16);
        options.threads = 2;
        CHECK_MSG(quant_session_create(model, &options, &session) == QUANT_OK, quant_last_error());
    }
    ~Loaded() {
        quant_session_free(session);
        quant_model_free(model);
    }
};

std::vector<int32_t> tokens_of(const quant_model* model, const std::string& text) {
    size_t count = 0;
    CHECK(quant_tokenize(model, text.data(), text.size(), 1, 1, nullptr, 0, &count) == QUANT_OK);
    std::vector<int32_t> ids(count);
    CHECK(quant_tokenize(model, text.data(), text.size(), 1, 1, ids.data(), ids.size(), &count) == QUANT_OK);
    return ids;
}

}  // namespace

TEST(formats_can_be_walked) {
    CHECK(quant_format_count() > 20);
    CHECK(!quant_format_at(-1) && !quant_format_at(quant_format_count()) && !quant_find_format("Q99") && !quant_find_format(nullptr));
    for (int32_t i = 0; i < quant_format_count(); ++i) {
        quant_format_info info;
        CHECK(quant_format_get(quant_format_at(i), &info) == QUANT_OK);
        CHECK(quant_find_format(info.name) == quant_format_at(i) && quant_find_format_id(info.id) == quant_format_at(i));
        CHECK(std::abs(info.bits_per_weight - 8.0 * info.block_bytes / info.block) < 1e-12);
        CHECK(quant_row_bytes(quant_format_at(i), info.block * 3) == info.block_bytes * 3 + quant::find_format(info.id)->row_head);
        CHECK(info.block == 1 || quant_row_bytes(quant_format_at(i), info.block + 1) == 0);
    }
    quant_format_info info;
    CHECK(quant_format_get(quant_find_format("q4_k"), &info) == QUANT_OK);
    CHECK(info.id == 12 && info.block == 256 && info.block_bytes == 144 && info.is_stock == 1 && info.can_encode == 1);
}

TEST(rows_round_trip) {
    const std::vector<float> x = Numbers().take(4 * 256);
    std::vector<float> back(x.size());
    std::vector<uint8_t> blocks(x.size() * 4);
    for (const auto& [name, bound] : {std::pair{"F32", 0.0}, {"F16", 3e-4}, {"Q8_0", 0.0041}, {"Q6_K", 0.035}, {"Q4_0", 0.13}, {"Q4_K", 0.1}}) {
        const quant_format* format = quant_find_format(name);
        CHECK_MSG(quant_quantize_rows(format, x.data(), nullptr, 4, 256, blocks.data()) == QUANT_OK, quant_last_error());
        CHECK(quant_dequantize_rows(format, blocks.data(), 4, 256, back.data()) == QUANT_OK);
        double most = 0;
        for (size_t i = 0; i < x.size(); ++i) most = std::max(most, std::abs(static_cast<double>(x[i]) - static_cast<double>(back[i])));
        CHECK_MSG(most <= bound, std::string(name) + " is off by " + std::to_string(most));
    }
}

TEST(importance_moves_the_error) {
    const std::vector<float> x = Numbers().take(256);
    std::vector<float> importance(256, 0.01f), plain(256), weighted(256);
    for (size_t i = 0; i < 256; i += 8) importance[i] = 100;
    std::vector<uint8_t> blocks(256);
    const quant_format* format = quant_find_format("Q4_K");
    const auto error = [&](const std::vector<float>& back) {
        double sum = 0;
        for (size_t i = 0; i < 256; i += 8) sum += std::pow(static_cast<double>(x[i] - back[i]), 2);
        return sum;
    };
    CHECK(quant_quantize_rows(format, x.data(), nullptr, 1, 256, blocks.data()) == QUANT_OK);
    CHECK(quant_dequantize_rows(format, blocks.data(), 1, 256, plain.data()) == QUANT_OK);
    CHECK(quant_quantize_rows(format, x.data(), importance.data(), 1, 256, blocks.data()) == QUANT_OK);
    CHECK(quant_dequantize_rows(format, blocks.data(), 1, 256, weighted.data()) == QUANT_OK);
    CHECK(error(weighted) < error(plain));
}

TEST(rows_that_are_refused) {
    std::vector<float> x(256, 1.0f);
    uint8_t blocks[1024];
    const quant_format* format = quant_find_format("Q4_0");
    CHECK(quant_quantize_rows(format, x.data(), nullptr, 1, 33, blocks) == QUANT_USAGE && says("33"));
    CHECK(quant_quantize_rows(format, x.data(), nullptr, -1, 32, blocks) == QUANT_USAGE);
    CHECK(quant_quantize_rows(nullptr, x.data(), nullptr, 1, 32, blocks) == QUANT_USAGE && says("format is NULL"));
    CHECK(quant_quantize_rows(format, nullptr, nullptr, 1, 32, blocks) == QUANT_USAGE && says("source is NULL"));
    CHECK(quant_quantize_rows(quant_find_format("I32"), x.data(), nullptr, 1, 32, blocks) == QUANT_USAGE);
    x[70] = std::nanf("");
    CHECK(quant_quantize_rows(format, x.data(), nullptr, 4, 64, blocks) == QUANT_USAGE && says("row 1, column 6"));
    x[70] = 0;
    std::vector<float> importance(64, 1.0f);
    importance[5] = -1;
    CHECK(quant_quantize_rows(format, x.data(), importance.data(), 1, 64, blocks) == QUANT_USAGE && says("column 5"));
}

TEST(gguf_metadata_and_tensors) {
    quant_gguf* gguf = nullptr;
    CHECK_MSG(quant_gguf_open(kTiny, &gguf) == QUANT_OK, quant_last_error());
    CHECK(quant_gguf_key_count(gguf) == 27 && std::string(quant_gguf_key_at(gguf, 0)) == "general.architecture");
    CHECK(!quant_gguf_key_at(gguf, 27) && quant_gguf_has(gguf, "llama.block_count") == 1 && quant_gguf_has(gguf, "nothing") == 0);
    int64_t integer = 0;
    CHECK(quant_gguf_get_integer(gguf, "llama.block_count", &integer) == QUANT_OK && integer == 4);
    CHECK(quant_gguf_get_integer(gguf, "tokenizer.ggml.add_bos_token", &integer) == QUANT_OK && integer == 1);
    double real = 0;
    CHECK(quant_gguf_get_real(gguf, "llama.rope.freq_base", &real) == QUANT_OK && real == 10000);
    const char* text = nullptr;
    size_t bytes = 0;
    CHECK(quant_gguf_get_text(gguf, "general.architecture", &text, &bytes) == QUANT_OK && std::string(text) == "llama" && bytes == 5);
    CHECK(quant_gguf_get_count(gguf, "tokenizer.ggml.tokens", &integer) == QUANT_OK && integer == 4096);
    CHECK(quant_gguf_get_text_at(gguf, "tokenizer.ggml.tokens", 2, &text, nullptr) == QUANT_OK && std::string(text) == "</s>");
    CHECK(quant_gguf_get_integer_at(gguf, "tokenizer.ggml.token_type", 2, &integer) == QUANT_OK && integer == 3);
    CHECK(quant_gguf_get_real_at(gguf, "tokenizer.ggml.scores", 2, &real) == QUANT_OK && real == 0);

    CHECK(quant_gguf_get_integer(gguf, "nothing", &integer) == QUANT_USAGE && says("nothing"));
    CHECK(quant_gguf_get_integer(gguf, "general.architecture", &integer) == QUANT_INPUT && says("expected an integer"));
    CHECK(quant_gguf_get_real(gguf, "llama.block_count", &real) == QUANT_INPUT);
    CHECK(quant_gguf_get_text_at(gguf, "tokenizer.ggml.tokens", 4096, &text, nullptr) == QUANT_USAGE && says("4096"));
    CHECK(quant_gguf_get_text_at(gguf, "tokenizer.ggml.tokens", -1, &text, nullptr) == QUANT_USAGE);
    CHECK(quant_gguf_get_integer_at(gguf, "llama.block_count", 0, &integer) == QUANT_INPUT && says("no array"));

    quant_tensor_info tensor;
    CHECK(quant_gguf_tensor_count(gguf) == 38 && quant_gguf_tensor_at(gguf, 38, &tensor) == QUANT_USAGE);
    CHECK(quant_gguf_find_tensor(gguf, "blk.0.attn_q.weightt", &tensor) == QUANT_USAGE && says("attn_q.weightt"));
    CHECK(quant_gguf_find_tensor(gguf, "blk.0.ffn_down.weight", &tensor) == QUANT_OK);
    CHECK(tensor.shape[0] == 768 && tensor.shape[1] == 256 && tensor.shape[3] == 1 && tensor.n_dims == 2);
    CHECK(tensor.format == quant_find_format("F16") && tensor.bytes == 768 * 256 * 2 && tensor.data);
    quant_gguf_free(gguf);
    quant_gguf_free(nullptr);
    gguf = nullptr;
    CHECK(quant_gguf_open("no/such.gguf", &gguf) == QUANT_IO && says("no/such.gguf") && !gguf);
    CHECK(quant_gguf_open("Makefile", &gguf) == QUANT_INPUT && says("Makefile") && !gguf);
}

// A gated feed-forward block with a norm and a softmax, in f32 and with quantized weights.
TEST(graph_computes_what_it_says) {
    constexpr size_t width = 64, hidden = 96, rows = 5;
    Numbers numbers;
    const std::vector<float> gain = numbers.take(width), gate = numbers.take(width * hidden), up = numbers.take(width * hidden),
                             down = numbers.take(width * hidden), bias = numbers.take(width), x = numbers.take(width * rows);
    const quant_format* f32 = quant_find_format("F32");
    quant_graph* graph = nullptr;
    CHECK(quant_graph_create(&graph) == QUANT_OK);
    const quant_value in = quant_graph_input(graph, "x", width);
    const auto weight = [&](const std::vector<float>& data, size_t cols) {
        return quant_graph_constant(graph, "w", f32, static_cast<int64_t>(cols), static_cast<int64_t>(data.size() / cols), data.data());
    };
    const quant_value normed = quant_graph_rms_norm(graph, in, weight(gain, width), 1e-5f);
    const quant_value gated = quant_graph_gated(graph, quant_graph_matmul(graph, weight(gate, width), normed, QUANT_NO_VALUE),
                                                quant_graph_matmul(graph, weight(up, width), normed, QUANT_NO_VALUE), QUANT_SILU);
    const quant_value out = quant_graph_matmul(graph, weight(down, hidden), gated, weight(bias, width));
    const quant_value sum = quant_graph_add(graph, quant_graph_scale(graph, out, 0.5f), in);
    const quant_value p = quant_graph_softmax(graph, quant_graph_columns(graph, sum, 16, 32));
    for (const quant_value value : {normed, sum, p}) quant_graph_keep(graph, value);
    int64_t cols = 0, fixed = -1;
    CHECK(quant_graph_shape(graph, p, &cols, &fixed) == QUANT_OK && cols == 32 && fixed == 0);
    CHECK(quant_graph_shape(graph, weight(down, hidden), &cols, &fixed) == QUANT_OK && cols == hidden && fixed == width);

    quant_runner* runner = nullptr;
    CHECK_MSG(quant_runner_create(graph, rows, 2, 0, &runner) == QUANT_OK, quant_last_error());
    quant_graph_free(graph);
    CHECK(quant_runner_run(runner, rows) == QUANT_USAGE && says("'x' was not set"));
    CHECK(quant_runner_set_input(runner, out, x.data()) == QUANT_USAGE);
    CHECK(quant_runner_set_input(runner, in, x.data()) == QUANT_OK);
    CHECK(quant_runner_run(runner, rows + 1) == QUANT_USAGE && quant_runner_run(runner, 0) == QUANT_USAGE);

    std::vector<float> expected_normed(x.size());
    for (size_t t = 0; t < rows; ++t) {
        double squares = 0;
        for (size_t i = 0; i < width; ++i) squares += std::pow(static_cast<double>(x[t * width + i]), 2);
        for (size_t i = 0; i < width; ++i)
            expected_normed[t * width + i] = static_cast<float>(static_cast<double>(x[t * width + i]) / std::sqrt(squares / width + 1e-5) * static_cast<double>(gain[i]));
    }
    const std::vector<double> g = product(gate, expected_normed, hidden, width), u = product(up, expected_normed, hidden, width);
    std::vector<float> h(g.size());
    for (size_t i = 0; i < h.size(); ++i) h[i] = static_cast<float>(silu(g[i]) * u[i]);
    std::vector<double> expected = product(down, h, width, hidden), chances;
    for (size_t i = 0; i < expected.size(); ++i) expected[i] = 0.5 * (expected[i] + static_cast<double>(bias[i % width])) + static_cast<double>(x[i]);
    for (size_t t = 0; t < rows; ++t) {
        double all = 0;
        for (size_t i = 16; i < 48; ++i) all += std::exp(expected[t * width + i]);
        for (size_t i = 16; i < 48; ++i) chances.push_back(std::exp(expected[t * width + i]) / all);
    }
    for (const size_t count : {rows, size_t{1}, size_t{3}}) {  // many runs of one plan, with fewer rows too
        CHECK(quant_runner_run(runner, static_cast<int64_t>(count)) == QUANT_OK);
        const auto first = [&](const std::vector<double>& all) { return std::vector<double>(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(all.size() / rows * count)); };
        CHECK_MSG(worst(runner, sum, first(expected), count) < 2e-4, std::to_string(worst(runner, sum, first(expected), count)));
        CHECK(worst(runner, p, first(chances), count) < 1e-4);
        const float* row = nullptr;
        CHECK(quant_runner_result(runner, sum, static_cast<int64_t>(count), &row) == QUANT_USAGE && says("row"));
    }
    const float* row = nullptr;
    CHECK(quant_runner_result(runner, out, 0, &row) == QUANT_USAGE && says("was not kept"));
    quant_runner_free(runner);
}

TEST(quantized_weights_in_a_graph) {
    constexpr size_t in = 256, out = 48, rows = 9;
    Numbers numbers;
    const std::vector<float> w = numbers.take(in * out), x = numbers.take(in * rows);
    for (const char* name : {"F16", "BF16", "Q8_0", "Q4_K", "IQ4_NL"}) {
        const quant_format* format = quant_find_format(name);
        std::vector<uint8_t> blocks(quant_row_bytes(format, in) * out);
        std::vector<float> decoded(w.size());
        CHECK(quant_quantize_rows(format, w.data(), nullptr, out, in, blocks.data()) == QUANT_OK);
        CHECK(quant_dequantize_rows(format, blocks.data(), out, in, decoded.data()) == QUANT_OK);
        quant_graph* graph = nullptr;
        CHECK(quant_graph_create(&graph) == QUANT_OK);
        const quant_value input = quant_graph_input(graph, nullptr, in);
        const quant_value y = quant_graph_matmul(graph, quant_graph_constant(graph, nullptr, format, in, out, blocks.data()), input, QUANT_NO_VALUE);
        quant_graph_keep(graph, y);
        for (const int32_t exact : {0, 1}) {
            quant_runner* runner = nullptr;
            CHECK_MSG(quant_runner_create(graph, rows, 1, exact, &runner) == QUANT_OK, quant_last_error());
            CHECK(quant_runner_set_input(runner, input, x.data()) == QUANT_OK && quant_runner_run(runner, rows) == QUANT_OK);
            const double bound = exact ? 2e-5 : 0.15;  // 8-bit activations: 256 products off by up to 1 / 254 each, random signs
            CHECK_MSG(worst(runner, y, product(decoded, x, out, in), rows) < bound, std::string(name) + " exact=" + std::to_string(exact));
            quant_runner_free(runner);
        }
        quant_graph_free(graph);
    }
}

TEST(wrong_graphs_name_their_first_mistake) {
    const std::vector<float> data(64, 1.0f);
    const quant_format* f32 = quant_find_format("F32");
    const auto reports = [&](const char* words, auto build) {
        quant_graph* graph = nullptr;
        quant_runner* runner = nullptr;
        CHECK(quant_graph_create(&graph) == QUANT_OK);
        const quant_value x = quant_graph_input(graph, "x", 8);
        CHECK(build(graph, x) == QUANT_NO_VALUE);
        CHECK(quant_graph_scale(graph, x, 2) == QUANT_NO_VALUE);  // broken from then on
        CHECK(quant_runner_create(graph, 1, 1, 0, &runner) == QUANT_USAGE && !runner);
        CHECK_MSG(says(words), quant_last_error());
        quant_graph_free(graph);
    };
    const auto constant = [&](quant_graph* g, int64_t cols, int64_t rows) { return quant_graph_constant(g, "c", f32, cols, rows, data.data()); };
    reports("matmul0", [&](quant_graph* g, quant_value x) { return quant_graph_matmul(g, constant(g, 4, 8), x, QUANT_NO_VALUE); });
    reports("is no constant", [](quant_graph* g, quant_value x) { return quant_graph_matmul(g, x, x, QUANT_NO_VALUE); });
    reports("is no input", [&](quant_graph* g, quant_value) { return quant_graph_softmax(g, constant(g, 8, 1)); });
    reports("value 77", [](quant_graph* g, quant_value) { return quant_graph_softmax(g, 77); });
    reports("value -1", [](quant_graph* g, quant_value x) { return quant_graph_gated(g, QUANT_NO_VALUE, x, QUANT_SILU); });
    reports("add0", [&](quant_graph* g, quant_value x) { return quant_graph_add(g, x, constant(g, 8, 2)); });
    reports("leaves", [](quant_graph* g, quant_value x) { return quant_graph_columns(g, x, 5, 4); });
    reports("constant 'q'", [&](quant_graph* g, quant_value) { return quant_graph_constant(g, "q", quant_find_format("Q4_0"), 33, 1, data.data()); });
    reports("constant 'n'", [](quant_graph* g, quant_value) { return quant_graph_constant(g, "n", quant_find_format("F32"), 4, 1, nullptr); });
}

TEST(text_round_trips) {
    Loaded loaded;
    quant_model_info info;
    CHECK(quant_model_get(loaded.model, &info) == QUANT_OK);
    CHECK(std::string(info.architecture) == "llama" && info.vocabulary == 4096 && info.token_count == 4096 && info.context == 1024);
    CHECK(info.embedding == 256 && info.layers == 4 && info.bos == 1 && info.eos == 2);
    const std::string text = "Once upon a time there was a \xc3\xbc-mouse.";
    const std::vector<int32_t> ids = tokens_of(loaded.model, text);
    CHECK(ids.size() > 5 && ids[0] == 1 && ids[1] == 3697);
    size_t bytes = 0;
    CHECK(quant_detokenize(loaded.model, ids.data(), ids.size(), 0, nullptr, 0, &bytes) == QUANT_OK && bytes == text.size());
    std::string back(bytes, '?');
    CHECK(quant_detokenize(loaded.model, ids.data(), ids.size(), 0, back.data(), back.size(), &bytes) == QUANT_OK && back == text);
    char piece[16];
    CHECK(quant_token_text(loaded.model, 3697, 0, piece, sizeof piece, &bytes) == QUANT_OK && std::string(piece, bytes) == " Once");
    CHECK(quant_token_text(loaded.model, 3697, 0, piece, 2, &bytes) == QUANT_OK && bytes == 5);
    CHECK(quant_token_text(loaded.model, 4096, 0, piece, 2, &bytes) == QUANT_USAGE && says("4096"));
    CHECK(quant_token_ends(loaded.model, 2) == 1 && quant_token_ends(loaded.model, 3697) == 0 && quant_token_ends(loaded.model, -1) == 0);
    CHECK(quant_model_load(kTiny, 1, nullptr) == QUANT_USAGE && quant_model_load(nullptr, 1, &loaded.model) == QUANT_USAGE);
}

TEST(session_and_sampler) {
    Loaded loaded;
    const float* logits = nullptr;
    CHECK(quant_session_logits(loaded.session, 0, &logits) == QUANT_USAGE && says("no tokens"));
    const std::vector<int32_t> ids = tokens_of(loaded.model, "Once upon a time");
    CHECK_MSG(quant_session_eval(loaded.session, ids.data(), ids.size(), 1) == QUANT_OK, quant_last_error());
    CHECK(quant_session_position(loaded.session) == static_cast<int64_t>(ids.size()) && quant_session_context(loaded.session) == 1024);
    CHECK(quant_session_logits(loaded.session, static_cast<int64_t>(ids.size()) - 1, &logits) == QUANT_OK);
    const std::vector<float> last(logits, logits + 4096);
    CHECK(quant_session_logits(loaded.session, static_cast<int64_t>(ids.size()), &logits) == QUANT_USAGE);

    // The same after going back one token and evaluating it alone.
    CHECK(quant_session_truncate(loaded.session, 99) == QUANT_USAGE && quant_session_truncate(loaded.session, -1) == QUANT_USAGE);
    CHECK(quant_session_truncate(loaded.session, static_cast<int64_t>(ids.size()) - 1) == QUANT_OK);
    CHECK(quant_session_eval(loaded.session, &ids.back(), 1, 0) == QUANT_OK && quant_session_logits(loaded.session, 0, &logits) == QUANT_OK);
    for (size_t i = 0; i < last.size(); ++i) CHECK(std::abs(last[i] - logits[i]) < 1e-3f);

    quant_sampler_options options;
    CHECK(quant_sampler_defaults(&options) == QUANT_OK && options.top_k == 40 && options.temperature == 0.8f);
    options.temperature = 0;
    options.log_probability = 1;
    quant_sampler* sampler = nullptr;
    CHECK(quant_sampler_create(&options, &sampler) == QUANT_OK);
    int32_t id = -1;
    float log_probability = 1;
    CHECK(quant_sampler_choose(sampler, logits, 4096, &id, &log_probability) == QUANT_OK);
    double sum = 0;
    for (int32_t i = 0; i < 4096; ++i) {
        CHECK(logits[i] <= logits[id]);
        sum += std::exp(static_cast<double>(logits[i]) - static_cast<double>(logits[id]));
    }
    CHECK(std::abs(static_cast<double>(log_probability) + std::log(sum)) < 1e-4);
    CHECK(quant_sampler_accept(sampler, id) == QUANT_OK);
    const float nothing[2] = {-INFINITY, NAN};
    CHECK(quant_sampler_choose(sampler, nothing, 2, &id, nullptr) == QUANT_INPUT);
    CHECK(quant_sampler_choose(sampler, nothing, 0, &id, nullptr) == QUANT_USAGE);
    quant_sampler_free(sampler);
}

TEST(adapters_act_beside_the_weights) {
    quant_model* model = nullptr;
    CHECK_MSG(quant_model_load(kTiny, 1, &model) == QUANT_OK, quant_last_error());
    const TemporaryFolder folder;
    const std::string path = folder.at("adapter.gguf"), foreign = folder.at("foreign.gguf");
    quant::Rng rng(5);
    for (const bool fits : {true, false}) {
        quant::AdapterFile file(fits ? "llama" : "qwen2");
        file.add_pair("blk.0.attn_q.weight", 256, 256, 4, rng);
        file.write(fits ? path : foreign);
    }
    quant_adapter *adapter = nullptr, *other = nullptr;
    CHECK_MSG(quant_adapter_load(path.c_str(), &adapter) == QUANT_OK, quant_last_error());
    CHECK_MSG(quant_adapter_load(foreign.c_str(), &other) == QUANT_OK, quant_last_error());
    quant_adapter* none = nullptr;
    CHECK(quant_adapter_load(kTiny, &none) == QUANT_INPUT && says(kTiny) && !none);

    const int32_t ids[] = {1, 77, 350, 4001};
    const auto logits_with = [&](const quant_adapter* one, float scale) {
        quant_session_options options;
        CHECK(quant_session_defaults(model, &options) == QUANT_OK && options.adapter_count == 0);
        options.exact = 1;
        options.adapters = &one;
        options.adapter_scales = &scale;
        options.adapter_count = one ? 1 : 0;
        quant_session* session = nullptr;
        const float* logits = nullptr;
        std::vector<float> out;
        if (quant_session_create(model, &options, &session) == QUANT_OK && quant_session_eval(session, ids, 4, 0) == QUANT_OK &&
            quant_session_logits(session, 0, &logits) == QUANT_OK)
            out.assign(logits, logits + 4096);
        quant_session_free(session);
        return out;
    };
    const std::vector<float> plain = logits_with(nullptr, 1);
    CHECK(plain.size() == 4096 && logits_with(adapter, 0) == plain && logits_with(adapter, 1) != plain);
    CHECK(logits_with(other, 1).empty() && says("qwen2"));
    quant_session_options options;
    CHECK(quant_session_defaults(model, &options) == QUANT_OK);
    options.adapter_count = 1;
    quant_session* session = nullptr;
    CHECK(quant_session_create(model, &options, &session) == QUANT_USAGE && says("adapters") && !session);
    quant_adapter_free(adapter);
    quant_adapter_free(other);
    quant_model_free(model);
}

TEST(sessions_forget_from_the_middle) {
    const Loaded loaded;
    const int32_t ids[] = {1, 77, 350, 4001};
    CHECK(quant_session_eval(loaded.session, ids, 4, 0) == QUANT_OK);
    CHECK(quant_session_remove(loaded.session, 3, 2) == QUANT_USAGE && says("begin"));
    CHECK(quant_session_remove(loaded.session, 0, 5) == QUANT_USAGE && says("end") && quant_session_position(loaded.session) == 4);
    CHECK(quant_session_remove(loaded.session, 1, 3) == QUANT_OK && quant_session_position(loaded.session) == 2);
    CHECK(quant_session_eval(loaded.session, ids, 1, 0) == QUANT_OK && quant_session_position(loaded.session) == 3);
}

TEST(sessions_refuse_and_stay_usable) {
    Loaded loaded;
    const int32_t outside = 4096, fine = 5;
    CHECK(quant_session_eval(loaded.session, &outside, 1, 0) == QUANT_USAGE && says("4096"));
    CHECK(quant_session_eval(loaded.session, &fine, 0, 0) == QUANT_USAGE && quant_session_position(loaded.session) == 0);
    const std::vector<int32_t> many(1025, 5);
    CHECK(quant_session_eval(loaded.session, many.data(), many.size(), 0) == QUANT_USAGE && says("1024") && says("1025"));
    CHECK(quant_session_eval(loaded.session, &fine, 1, 0) == QUANT_OK && quant_session_position(loaded.session) == 1);
    quant_session_options options;
    CHECK(quant_session_defaults(loaded.model, &options) == QUANT_OK);
    options.threads = 513;
    quant_session* other = nullptr;
    CHECK(quant_session_create(loaded.model, &options, &other) == QUANT_USAGE && says("513") && !other);
    options.threads = 1;
    options.context = 0;
    CHECK(quant_session_create(loaded.model, &options, &other) == QUANT_USAGE && says("context"));
    CHECK(quant_session_create(nullptr, nullptr, &other) == QUANT_USAGE && quant_session_eval(nullptr, &fine, 1, 0) == QUANT_USAGE);
}

TEST(a_session_outlives_its_model) {
    Loaded loaded;
    quant_model_free(loaded.model);
    loaded.model = nullptr;
    const int32_t id = 5;
    CHECK(quant_session_eval(loaded.session, &id, 1, 0) == QUANT_OK);
}

TEST(quantizes_a_file) {
    TemporaryFolder folder;
    const std::string out = folder.at("out.gguf");
    quant_quantize_options options{};
    options.threads = 2;
    struct Seen {
        uint64_t calls = 0, done = 0, total = 0;
    } seen;
    const quant_progress progress = [](void* user, uint64_t done, uint64_t total, const char*) {
        auto& s = *static_cast<Seen*>(user);
        CHECK(done >= s.done && done <= total);
        ++s.calls, s.done = done, s.total = total;
        return 0;
    };
    uint64_t bytes = 0;
    CHECK_MSG(quant_quantize_file(kTiny, out.c_str(), "q8_0", &options, progress, &seen, &bytes) == QUANT_OK, quant_last_error());
    CHECK(seen.calls > 10 && seen.done == seen.total && seen.total > 8000000);
    CHECK(bytes > 4000000 && bytes < 5000000 && folder.get("out.gguf").size() == bytes);
    CHECK(quant_quantize_file(kTiny, out.c_str(), "q8_0", nullptr, nullptr, nullptr, nullptr) == QUANT_USAGE && says("out.gguf"));
    CHECK(quant_quantize_file(kTiny, folder.at("x").c_str(), "q99", nullptr, nullptr, nullptr, nullptr) == QUANT_USAGE && says("q99"));
    const quant_progress stop = [](void*, uint64_t, uint64_t, const char*) { return 1; };
    CHECK(quant_quantize_file(kTiny, folder.at("y").c_str(), "q8_0", nullptr, stop, nullptr, nullptr) == QUANT_INTERRUPTED);
    CHECK(folder.names().size() == 1);
}

TEST(errors_belong_to_their_thread) {
    CHECK(quant_model_load("here/missing.gguf", 1, nullptr) == QUANT_USAGE);
    std::string other;
    std::thread([&] {
        other = quant_last_error();
        quant_gguf* gguf = nullptr;
        CHECK(quant_gguf_open("there/missing.gguf", &gguf) == QUANT_IO && says("there/missing.gguf"));
    }).join();
    CHECK(other.empty() && says("out is NULL"));
}

TEST(models_are_shared_by_threads) {
    Loaded loaded;
    const int32_t ids[3] = {1, 3697, 662};
    const float* expected = nullptr;
    CHECK(quant_session_eval(loaded.session, ids, 3, 0) == QUANT_OK && quant_session_logits(loaded.session, 0, &expected) == QUANT_OK);
    std::vector<std::thread> threads;
    std::atomic<int> equal{0};
    for (int i = 0; i < 3; ++i)
        threads.emplace_back([&] {
            quant_session* session = nullptr;
            quant_session_options options;
            if (quant_session_defaults(loaded.model, &options) != QUANT_OK) return;
            options.threads = 1;
            options.context = 32;
            const float* logits = nullptr;
            if (quant_session_create(loaded.model, &options, &session) == QUANT_OK && quant_session_eval(session, ids, 3, 0) == QUANT_OK &&
                quant_session_logits(session, 0, &logits) == QUANT_OK)
                equal += std::memcmp(logits, expected, 4096 * sizeof(float)) == 0;
            quant_session_free(session);
        });
    for (std::thread& thread : threads) thread.join();
    CHECK(equal == 3);
}

TEST_MAIN
