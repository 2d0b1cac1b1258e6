// Operations on graphs against plain loops; memory reuse, runs of different sizes, threads.
#include <cmath>
#include <functional>

#include "../check.h"
#include "base/log.h"
#include "base/rng.h"
#include "tensor/executor.h"

using namespace quant;

namespace {

// A graph with inputs and one result, run on f32 data with several numbers of threads and tokens.
struct Bench {
    Graph g;
    std::vector<std::pair<ValueId, std::vector<float>>> inputs;
    std::vector<std::pair<ValueId, std::vector<int32_t>>> ids;
    Rng rng{7};
    int64_t tokens = 5;
    std::vector<std::vector<float>> constants;

    std::vector<float> random(int64_t count, double scale = 1) {
        std::vector<float> values(static_cast<size_t>(count));
        for (float& value : values) value = static_cast<float>(rng.gaussian() * scale);
        return values;
    }
    ValueId input(int64_t cols, Extent extent = Extent::tokens, int64_t rows = 1) {
        const ValueId id = g.external("input", FormatSlot::f32, cols, rows, extent);
        inputs.push_back({id, random(cols * rows * (extent == Extent::tokens ? tokens : 1))});
        return id;
    }
    ValueId constant(int64_t cols, int64_t rows = 1, double scale = 1, int64_t depth = 1) {
        constants.push_back(random(cols * rows * depth, scale));
        return g.constant("constant", make_tensor(format_of(FormatSlot::f32), {cols, rows, depth, 1},
                                                  constants.back().data()));
    }
    const std::vector<float>& data(ValueId id) const {
        for (const auto& [known, values] : inputs)
            if (known == id) return values;
        return constants.front();
    }
    // The result's rows for `count` tokens.
    std::vector<float> run(ValueId result, int64_t count, int threads, bool exact = true, int64_t outputs = 1,
                           std::span<const KvSlot> kv = {}, int64_t position = 0, Executor::Observer observer = nullptr) {
        Graph copy = g;
        copy.keep(result);
        auto executor = Executor::create(copy, {tokens, tokens, threads, exact});
        CHECK_MSG(executor.ok(), executor.ok() ? "" : executor.error().text);
        if (!executor.ok()) return {};
        for (auto& [id, values] : inputs) (*executor)->bind(id, values.data());
        for (auto& [id, values] : ids) (*executor)->bind(id, values.data());
        ThreadPool pool(threads);
        (*executor)->observe(std::move(observer));
        (*executor)->run(pool, count, outputs, position, kv);
        const Tensor tensor = (*executor)->value(result);
        std::vector<float> out;
        for (int64_t r = 0; r < tensor.rows(); ++r) {
            const auto* row = reinterpret_cast<const float*>(static_cast<const uint8_t*>(tensor.data) +
                                                             r * tensor.stride[1]);
            out.insert(out.end(), row, row + tensor.cols());
        }
        return out;
    }
    // Same values for every number of tokens and threads, near the expected ones.
    void expect(const char* what, ValueId result,
                const std::function<double(int64_t row, int64_t col)>& expected, double bound = 1e-5) {
        CHECK_MSG(g.status().ok(), g.status().error().text);
        if (!g.status().ok()) return;
        const GraphValue& v = g.value(result);
        for (const int64_t count : {int64_t{1}, int64_t{3}, tokens}) {
            for (const int threads : {1, 2, 3}) {
                const auto found = run(result, count, threads);
                const int64_t rows = v.rows * (v.extent == Extent::tokens ? count : 1);
                CHECK(found.size() == static_cast<size_t>(rows * v.cols));
                double worst = 0;
                for (int64_t r = 0; r < rows; ++r)
                    for (int64_t c = 0; c < v.cols; ++c) {
                        const double want = expected(r, c);
                        const double error =
                            std::fabs(static_cast<double>(found[static_cast<size_t>(r * v.cols + c)]) -
                                      want) /
                            (1 + std::fabs(want));
                        worst = error <= worst ? worst : std::isnan(error) ? INFINITY : error;
                    }
                CHECK_MSG(worst <= bound, format_text("%s, %lld tokens, %d threads: off by %g", what,
                                                      static_cast<long long>(count), threads, worst));
            }
        }
    }
};

double at(const std::vector<float>& matrix, int64_t cols, int64_t row, int64_t col) {
    return static_cast<double>(matrix[static_cast<size_t>(row * cols + col)]);
}

}  // namespace

TEST(matmul_with_and_without_bias) {
    for (const bool biased : {false, true}) {
        Bench b;
        const ValueId w = b.constant(40, 70), bias = b.constant(70), x = b.input(40);
        const auto &wv = b.constants[0], &bv = b.constants[1], &xv = b.data(x);
        b.expect("matmul", b.g.matmul("y", w, x, biased ? bias : kNoValue), [&](int64_t r, int64_t c) {
            double sum = biased ? static_cast<double>(bv[static_cast<size_t>(c)]) : 0;
            for (int64_t k = 0; k < 40; ++k) sum += at(wv, 40, c, k) * at(xv, 40, r, k);
            return sum;
        });
    }
}

TEST(matmul_of_two_computed_matrices) {
    Bench b;
    const ValueId a = b.input(24, Extent::fixed, 9), x = b.input(24);
    const ValueId w = b.g.scale("twice", a, 2.0f);
    const auto &av = b.data(a), &xv = b.data(x);
    b.expect("matmul", b.g.matmul("y", w, x), [&](int64_t r, int64_t c) {
        double sum = 0;
        for (int64_t k = 0; k < 24; ++k) sum += 2 * at(av, 24, c, k) * at(xv, 24, r, k);
        return sum;
    });
}

// Int8 activations: as near as one part in 127 of the largest value of 32 allows; quantized once for two
// readers.
TEST(matmul_quantized) {
    for (const FormatSlot slot : {FormatSlot::q8_0, FormatSlot::q4_k, FormatSlot::q6_k}) {
        Bench b;
        const Format& format = format_of(slot);
        const auto values = b.random(256 * 48);
        std::vector<uint8_t> blocks(format.tensor_bytes(256, 48));
        std::vector<float> decoded(values.size());
        for (size_t r = 0; r < 48; ++r)
            format.encode(nullptr, values.data() + r * 256, nullptr,
                          blocks.data() + r * format.row_bytes(256), 256);
        const ValueId w = b.g.constant("w", make_tensor(format, {256, 48, 1, 1}, blocks.data()));
        decode_rows(format, b.g.value(w).tensor.encoded(), 0, 48, decoded.data());
        const ValueId x = b.input(256);
        const ValueId y = b.g.add("sum", b.g.matmul("y1", w, x), b.g.matmul("y2", w, x));
        const auto exact = b.run(y, 5, 2, true), fast = b.run(y, 5, 2, false), alone = b.run(y, 1, 1, false);
        double error = 0, size = 0, wrong = 0;
        for (size_t i = 0; i < exact.size(); ++i) {
            double sum = 0;
            for (int64_t k = 0; k < 256; ++k)
                sum += 2 * at(decoded, 256, static_cast<int64_t>(i % 48), k) *
                       at(b.data(x), 256, static_cast<int64_t>(i / 48), k);
            wrong = std::max(wrong, std::fabs(sum - static_cast<double>(exact[i])));
            error += std::pow(static_cast<double>(fast[i]) - sum, 2);
            size += sum * sum;
        }
        CHECK_MSG(wrong < 1e-3, format_text("%s exact: %g", format.name, wrong));
        CHECK_MSG(std::sqrt(error / size) < 0.01 && error > 0,
                  format_text("%s: relative error %g", format.name, std::sqrt(error / size)));
        // One row times a super-block may round the groups' factors (src/kernels/README.md).
        const double root_mean_square = std::sqrt(size / static_cast<double>(exact.size()));
        for (size_t i = 0; i < alone.size(); ++i)
            CHECK(std::fabs(static_cast<double>(alone[i] - fast[i])) <= (slot == FormatSlot::q8_0 ? 1e-5 : 1e-3) * root_mean_square);
    }
}

// An observer sees each step of a gated feed-forward, so that none are joined.
TEST(gated_products_piece_by_piece_are_the_same) {
    Bench b;
    b.tokens = 37;
    const Format& format = format_of(FormatSlot::q8_0);
    std::vector<std::vector<uint8_t>> weights;
    const auto weight = [&](int64_t cols, int64_t rows) {
        const auto values = b.random(cols * rows);
        std::vector<uint8_t>& blocks = weights.emplace_back(format.tensor_bytes(cols, rows));
        format.encode(nullptr, values.data(), nullptr, blocks.data(), cols * rows);
        return b.g.constant("w", make_tensor(format, {cols, rows, 1, 1}, blocks.data()));
    };
    weights.reserve(6);
    const ValueId x = b.input(256);
    const auto gated = [&] {
        const ValueId gate = b.g.matmul("gate", weight(256, 672), x);
        return b.g.gated("gated", gate, b.g.matmul("up", weight(256, 672), x), {});
    };
    const ValueId once = b.g.matmul("down", weight(672, 48), gated()), twice = gated();
    const ValueId sum = b.g.add("sum", b.g.matmul("down", weight(672, 672), twice), twice);  // also read as it is
    for (const ValueId result : {once, sum})
        for (const int64_t tokens : {1, 5, 37}) {
            const auto seen = b.run(result, tokens, 1, false, 1, {}, 0, [](const Node&, const Tensor&) {});
            CHECK(seen.size() == static_cast<size_t>(tokens * b.g.value(result).cols) && seen[3] != 0);
            for (const int threads : {1, 2, 3}) CHECK(b.run(result, tokens, threads, false) == seen);
        }
}

TEST(embedding_decodes_rows) {
    Bench b;
    const ValueId table = b.constant(32, 11),
                  ids = b.g.external("ids", FormatSlot::i32, 1, 1, Extent::tokens);
    b.ids.push_back({ids, {10, 0, 3, 3, 7}});
    b.expect(
        "embed", b.g.embed("e", table, ids),
        [&](int64_t r, int64_t c) {
            return at(b.constants[0], 32, b.ids[0].second[static_cast<size_t>(r)], c);
        },
        0);
}

TEST(norms) {
    Bench b;
    const ValueId x = b.input(48), weight = b.constant(16), wide = b.constant(48), bias = b.constant(48);
    const auto& xv = b.data(x);
    const auto mean = [&](int64_t r, int64_t first, int64_t n, auto f) {
        double sum = 0;
        for (int64_t i = 0; i < n; ++i) sum += f(at(xv, 48, r, first + i));
        return sum / static_cast<double>(n);
    };
    b.expect("rms per head", b.g.rms_norm("n", x, weight, 0.1f, 16), [&](int64_t r, int64_t c) {
        return at(xv, 48, r, c) / std::sqrt(mean(r, c / 16 * 16, 16, [](double v) { return v * v; }) + 0.1) *
               at(b.constants[0], 16, 0, c % 16);
    });
    b.expect("rms without weight", b.g.rms_norm("n", x, kNoValue, 0.1f), [&](int64_t r, int64_t c) {
        return at(xv, 48, r, c) / std::sqrt(mean(r, 0, 48, [](double v) { return v * v; }) + 0.1);
    });
    b.expect("layer norm", b.g.layer_norm("n", x, wide, bias, 0.1f), [&](int64_t r, int64_t c) {
        const double m = mean(r, 0, 48, [](double v) { return v; });
        const double variance = mean(r, 0, 48, [m](double v) { return (v - m) * (v - m); });
        return (at(xv, 48, r, c) - m) / std::sqrt(variance + 0.1) * at(b.constants[1], 48, 0, c) +
               at(b.constants[2], 48, 0, c);
    });
}

TEST(elementwise) {
    Bench b;
    const ValueId x = b.input(33), y = b.input(33), row = b.constant(33);
    const auto &xv = b.data(x), &yv = b.data(y);
    const auto sigmoid = [](double v) { return 1 / (1 + std::exp(-v)); };
    const auto gelu = [](double v) {
        return 0.5 * v * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
    };
    b.expect("add", b.g.add("a", x, y),
             [&](int64_t r, int64_t c) { return at(xv, 33, r, c) + at(yv, 33, r, c); });
    b.expect("add row", b.g.add("a", x, row),
             [&](int64_t r, int64_t c) { return at(xv, 33, r, c) + at(b.constants[0], 33, 0, c); });
    b.expect("multiply", b.g.multiply("m", x, y),
             [&](int64_t r, int64_t c) { return at(xv, 33, r, c) * at(yv, 33, r, c); });
    b.expect("scale", b.g.scale("s", x, -1.5f),
             [&](int64_t r, int64_t c) { return -1.5 * at(xv, 33, r, c); });
    b.expect("soft cap", b.g.soft_cap("s", x, 2.0f),
             [&](int64_t r, int64_t c) { return 2 * std::tanh(at(xv, 33, r, c) / 2); });
    b.expect("gelu", b.g.activate("g", x, Gate::gelu_tanh),
             [&](int64_t r, int64_t c) { return gelu(at(xv, 33, r, c)); });
    b.expect("silu gate", b.g.gated("g", x, y, {Gate::silu, GateForm::standard}), [&](int64_t r, int64_t c) {
        return at(xv, 33, r, c) * sigmoid(at(xv, 33, r, c)) * at(yv, 33, r, c);
    });
    b.expect("relu2 gate", b.g.gated("g", x, y, {Gate::relu2, GateForm::standard}),
             [&](int64_t r, int64_t c) {
                 const double g = std::max(0.0, at(xv, 33, r, c));
                 return g * g * at(yv, 33, r, c);
             });
    const ValueId large = b.g.scale("ten", x, 10.0f), other = b.g.scale("ten", y, 10.0f);
    b.expect("clamped gate", b.g.gated("g", large, other, {Gate::silu, GateForm::clamped}),
             [&](int64_t r, int64_t c) {
                 const double g = std::min(7.0, 10 * at(xv, 33, r, c)),
                              u = std::clamp(10 * at(yv, 33, r, c), -7.0, 7.0);
                 return g * sigmoid(1.702 * g) * (u + 1);
             });
    b.expect("softmax", b.g.softmax("s", x), [&](int64_t r, int64_t c) {
        double sum = 0;
        for (int64_t i = 0; i < 33; ++i) sum += std::exp(at(xv, 33, r, i));
        return std::exp(at(xv, 33, r, c)) / sum;
    });
}

TEST(views_of_columns) {
    Bench b;
    const ValueId x = b.input(30), twice = b.g.scale("twice", x, 2.0f);
    const ValueId left = b.g.columns(twice, 0, 10), right = b.g.columns(twice, 15, 10),
                  inner = b.g.columns(right, 2, 5);
    const ValueId sum = b.g.add("sum", b.g.columns(left, 1, 5), inner);
    b.expect("views", sum, [&](int64_t r, int64_t c) {
        return 2 * at(b.data(x), 30, r, 1 + c) + 2 * at(b.data(x), 30, r, 17 + c);
    });
}

TEST(rope_normal_and_neox) {
    for (const bool neox : {false, true}) {
        Bench b;
        const ValueId x = b.input(24);  // 2 heads of 12, 8 values rotated
        const std::vector<float> frequencies{1.0f, 0.3f, 0.1f, 0.01f};
        const ValueId table = b.g.rope_table("t", {frequencies, 0.5f});
        const auto& xv = b.data(x);
        b.expect("rope", b.g.rope("r", x, table, {2, 12, 8, neox}), [&](int64_t r, int64_t c) {
            const int64_t i = c % 12, head = c - i;
            if (i >= 8) return at(xv, 24, r, c);
            const int64_t pair = neox ? i % 4 : i / 2, first = head + (neox ? pair : 2 * pair),
                          second = first + (neox ? 4 : 1);
            const double angle =
                static_cast<double>(r) * static_cast<double>(frequencies[static_cast<size_t>(pair)]);
            const double a = at(xv, 24, r, first), z = at(xv, 24, r, second);
            return 0.5 * (c == first ? a * std::cos(angle) - z * std::sin(angle)
                                     : a * std::sin(angle) + z * std::cos(angle));
        });
    }
}

TEST(pick_rows_of_outputs) {
    Bench b;
    const ValueId x = b.input(16), ids = b.g.external("ids", FormatSlot::i32, 1, 1, Extent::outputs);
    b.ids.push_back({ids, {4, 1, 2}});
    const ValueId y = b.g.scale("y", b.g.pick_rows("p", x, ids), 3.0f);
    for (const int64_t outputs : {0, 1, 3}) {
        const auto found = b.run(y, 5, 2, true, outputs);
        CHECK(found.size() == static_cast<size_t>(outputs * 16));
        for (size_t i = 0; i < found.size(); ++i)
            CHECK(std::fabs(static_cast<double>(found[i]) - 3 * at(b.data(x), 16, b.ids[0].second[i / 16],
                                                                   static_cast<int64_t>(i % 16))) < 1e-6);
    }
}

namespace {

struct AttentionCase {
    int64_t heads, kv_heads, dim, v_dim, tokens, position, window;
    float cap;
    bool sinks;
};

// Keys and values of `position` earlier tokens are in the cache, then `tokens` more come with their queries.
struct AttentionBench : AttentionCase {
    Bench b;
    int64_t total;
    ValueId q, k, v, sink;
    std::vector<float> queries, keys, values;  // [positions, heads * dim]
    std::vector<float> k_cache, v_cache;
    KvSlot slot;

    explicit AttentionBench(const AttentionCase& given) : AttentionCase(given), total(position + tokens) {
        b.tokens = tokens;
        q = b.input(heads * dim);
        k = b.input(kv_heads * dim);
        v = b.input(kv_heads * v_dim);
        sink = b.constant(heads);
        queries = b.data(q);
        fill(keys, k_cache, b.inputs[1].second, dim);
        fill(values, v_cache, b.inputs[2].second, v_dim);
        slot.k_type = slot.v_type = KvType::f32;
        slot.k = reinterpret_cast<uint8_t*>(k_cache.data());
        slot.v = reinterpret_cast<uint8_t*>(v_cache.data());
        slot.k_dim = dim;
        slot.v_dim = v_dim;
        slot.k_bytes = static_cast<uint64_t>(dim) * sizeof(float);
        slot.v_bytes = static_cast<uint64_t>(v_dim) * sizeof(float);
        slot.capacity = total;
    }

    // Random rows for all positions: the earlier ones into the cache by head, the last ones into the input.
    void fill(std::vector<float>& rows, std::vector<float>& cache, std::vector<float>& input, int64_t width) {
        rows = b.random(total * kv_heads * width);
        cache.assign(rows.size(), NAN);
        std::copy(rows.end() - tokens * kv_heads * width, rows.end(), input.begin());
        for (int64_t p = 0; p < position; ++p)
            for (int64_t h = 0; h < kv_heads; ++h)
                std::copy_n(&rows[static_cast<size_t>((p * kv_heads + h) * width)], width,
                            &cache[static_cast<size_t>((h * total + p) * width)]);
    }

    double score(int64_t token, int64_t head, int64_t key) const {
        double sum = 0;
        for (int64_t d = 0; d < dim; ++d)
            sum += 0.3 * at(queries, heads * dim, token, head * dim + d) *
                   at(keys, kv_heads * dim, key, head / (heads / kv_heads) * dim + d);
        return cap > 0 ? static_cast<double>(cap) * std::tanh(sum / static_cast<double>(cap)) : sum;
    }

    std::vector<double> expected(int64_t token, int64_t head) const {
        double weights = sinks ? std::exp(static_cast<double>(b.constants[0][static_cast<size_t>(head)])) : 0;
        std::vector<double> sum(static_cast<size_t>(v_dim));
        const int64_t own = position + token, first = window ? std::max<int64_t>(0, own - window + 1) : 0;
        for (int64_t p = first; p <= own; ++p) {
            const double weight = std::exp(score(token, head, p));
            weights += weight;
            for (int64_t d = 0; d < v_dim; ++d)
                sum[static_cast<size_t>(d)] +=
                    weight * at(values, kv_heads * v_dim, p, head / (heads / kv_heads) * v_dim + d);
        }
        for (double& value : sum) value /= weights;
        return sum;
    }
};

void check_attention(const AttentionCase& given) {
    AttentionBench a(given);
    AttentionParams params{0, a.heads, a.kv_heads, a.dim, a.v_dim, 0.3f, a.cap, a.window};
    const ValueId stored = a.b.g.kv_store("s", a.k, a.v, {0, a.kv_heads});
    const ValueId y = a.b.g.attention("a", a.q, stored, a.sinks ? a.sink : kNoValue, params);
    CHECK_MSG(a.b.g.status().ok(), a.b.g.status().error().text);
    for (const int threads : {1, 3}) {
        const auto found = a.b.run(y, a.tokens, threads, true, 1, std::span(&a.slot, 1), a.position);
        double worst = 0;
        for (int64_t t = 0; t < a.tokens; ++t)
            for (int64_t h = 0; h < a.heads; ++h) {
                const auto want = a.expected(t, h);
                for (int64_t d = 0; d < a.v_dim; ++d) {
                    const double error = std::fabs(want[static_cast<size_t>(d)] -
                                                   at(found, a.heads * a.v_dim, t, h * a.v_dim + d));
                    worst = error <= worst ? worst : std::isnan(error) ? INFINITY : error;
                }
            }
        CHECK_MSG(worst < 5e-6,
                  format_text("%lld tokens at %lld, window %lld, %d threads: off by %g",
                              static_cast<long long>(a.tokens), static_cast<long long>(a.position),
                              static_cast<long long>(a.window), threads, worst));
    }
}

}  // namespace

TEST(attention_one_token) {
    check_attention({4, 2, 16, 16, 1, 0, 0, 0, false});
    check_attention({4, 2, 16, 16, 1, 700, 0, 0, false});
    check_attention({6, 6, 8, 12, 2, 300, 0, 5.0f, true});
    check_attention({4, 1, 16, 16, 3, 300, 37, 0, true});
}

TEST(attention_blocks) {
    check_attention({4, 2, 16, 16, 150, 0, 0, 0, false});
    check_attention({8, 2, 16, 16, 70, 65, 0, 0, true});
    check_attention({4, 4, 8, 24, 100, 130, 33, 3.0f, false});
    check_attention({12, 2, 16, 16, 33, 64, 100, 0, true});
    check_attention({65, 1, 4, 4, 12, 3, 0, 0, false});  // more heads to a key head than a block has rows
}

TEST(experts) {
    constexpr int64_t kExperts = 5, kUsed = 2, kIn = 32, kOut = 48;
    for (const bool biased : {false, true}) {
        Bench b;
        b.tokens = 23;
        const RouteParams params{kExperts, kUsed};
        const ValueId x = b.input(kIn), logits = b.input(kExperts), w = b.constant(kIn, kOut, 1, kExperts),
                      bias = b.constant(kOut, kExperts);
        const ValueId routing = b.g.route("r", logits, params),
                      plan = b.g.route_plan("p", routing, params, b.tokens);
        const ValueId rows = b.g.expert_gather("g", x, plan, params);
        const ValueId y = b.g.expert_matmul("m", w, rows, biased ? bias : kNoValue, plan, params);
        const auto &xv = b.inputs[0].second, &lv = b.inputs[1].second;
        b.expect("experts", b.g.expert_combine("c", y, routing, plan, params), [&](int64_t r, int64_t c) {
            int64_t first = 0, second = -1;
            for (int64_t e = 1; e < kExperts; ++e)
                if (at(lv, kExperts, r, e) > at(lv, kExperts, r, first)) first = e;
            for (int64_t e = 0; e < kExperts; ++e)
                if (e != first && (second < 0 || at(lv, kExperts, r, e) > at(lv, kExperts, r, second)))
                    second = e;
            const double a = std::exp(at(lv, kExperts, r, first)), z = std::exp(at(lv, kExperts, r, second));
            double sum = 0;
            for (const auto& [e, weight] : {std::pair{first, a / (a + z)}, {second, z / (a + z)}}) {
                double product = biased ? at(b.constants[1], kOut, e, c) : 0;
                for (int64_t k = 0; k < kIn; ++k)
                    product += at(b.constants[0], kIn, e * kOut + c, k) * at(xv, kIn, r, k);
                sum += weight * product;
            }
            return sum;
        });
    }
}

// A chain of many values needs the memory of few; a value that is kept survives it.
TEST(arena_is_reused) {
    Bench b;
    const ValueId x = b.input(256), w = b.constant(256, 256, 0.05);
    ValueId y = x, kept = kNoValue;
    for (int i = 0; i < 50; ++i) {
        y = b.g.matmul("m", w, y);
        if (i == 3) kept = y;
        y = b.g.add("a", y, x);
    }
    b.g.keep(kept);
    auto executor = Executor::create(b.g, {5, 1, 2, true});
    CHECK(executor.ok());
    const uint64_t one = 5 * 256 * sizeof(float);
    CHECK_MSG((*executor)->arena_bytes() <= 4 * one,
              format_text("%llu bytes", static_cast<unsigned long long>((*executor)->arena_bytes())));
    const auto alone = [&] {
        Bench fresh = b;
        return fresh.run(kept, 5, 1);
    }();
    (*executor)->bind(x, b.inputs[0].second.data());
    ThreadPool pool(2);
    (*executor)->run(pool, 5, 0, 0, {});
    CHECK(std::memcmp((*executor)->value(kept).data, alone.data(), one) == 0);
}

// An operation writes over its input only when nobody reads that input afterwards.
TEST(values_read_again_are_not_written_over) {
    Bench b;
    const ValueId x = b.input(16), w = b.constant(16, 16);
    const auto& xv = b.data(x);
    const ValueId once = b.g.scale("once", x, 1.0f), twice = b.g.scale("twice", once, 2.0f);
    b.expect("sum", b.g.add("sum", twice, once), [&](int64_t r, int64_t c) { return 3 * at(xv, 16, r, c); });
    const ValueId read = b.g.scale("read", x, 1.0f), product = b.g.matmul("product", w, read);
    const ValueId five = b.g.scale("five", read, 5.0f);  // in the same phase as the product's readers
    b.expect("product", b.g.add("added", product, five), [&](int64_t r, int64_t c) {
        double sum = 5 * at(xv, 16, r, c);
        for (int64_t k = 0; k < 16; ++k) sum += at(b.constants[0], 16, c, k) * at(xv, 16, r, k);
        return sum;
    });
}

TEST(row_wise_steps_need_no_barrier) {
    Bench b;
    const ValueId x = b.input(64), w = b.constant(64, 64);
    ValueId y = b.g.rms_norm("n", x, kNoValue, 1e-5f);
    y = b.g.scale("s", b.g.add("a", y, x), 2.0f);
    const ValueId p = b.g.matmul("p", w, y), q = b.g.matmul("q", w, y);  // one wait before both
    b.g.keep(b.g.add("sum", p, q));                                      // and one after
    auto executor = Executor::create(b.g, {5, 1, 2, true});
    CHECK(executor.ok() && (*executor)->barriers() == 2);
}

TEST(results_straight_to_the_caller) {
    Bench b;
    const ValueId x = b.input(32), w = b.constant(32, 20),
                  out = b.g.external("out", FormatSlot::f32, 20, 1, Extent::tokens);
    ValueId y = b.g.matmul("m", w, x);
    b.g.store_in(y, out);
    y = b.g.scale("half", y, 0.5f);
    b.g.store_in(y, out);
    std::vector<float> memory(5 * 20);
    const auto executor = Executor::create(b.g, {5, 1, 2, true});
    CHECK(executor.ok());
    (*executor)->bind(x, b.inputs[0].second.data());
    (*executor)->bind(out, memory.data());
    ThreadPool pool(2);
    (*executor)->run(pool, 5, 0, 0, {});
    double sum = 0;
    for (int64_t k = 0; k < 32; ++k)
        sum += 0.5 * at(b.constants[0], 32, 7, k) * at(b.inputs[0].second, 32, 4, k);
    CHECK(std::fabs(sum - static_cast<double>(memory[4 * 20 + 7])) < 1e-5);
}

TEST(observer_sees_every_node) {
    Bench b;
    const ValueId x = b.input(32), w = b.constant(32, 32);
    const ValueId y = b.g.matmul("product", w, b.g.scale("twice", x, 2.0f));
    b.g.softmax("soft", y);
    auto executor = Executor::create(b.g, {5, 1, 3, true});
    CHECK(executor.ok());
    (*executor)->bind(x, b.inputs[0].second.data());
    std::string seen;
    (*executor)->observe([&](const Node& node, const Tensor& result) {
        seen += node.name + std::to_string(result.ne[1]) + " ";
        if (node.op == Op::matmul)
            CHECK(std::fabs(static_cast<double>((*executor)->value(node.inputs[1]).f32()[3]) -
                            2 * static_cast<double>(b.inputs[0].second[3])) < 1e-6);
    });
    ThreadPool pool(3);
    (*executor)->run(pool, 4, 0, 0, {});
    CHECK_MSG(seen == "twice4 product4 soft4 ", seen);
}

TEST(wrong_shapes_are_errors) {
    const auto refused = [](const std::function<void(Bench&)>& build, const char* word) {
        Bench b;
        build(b);
        const bool named = !b.g.status().ok() && b.g.status().error().text.find(word) != std::string::npos;
        CHECK_MSG(named, std::string(word) + ": " + b.g.status().error().text);
        CHECK(!Executor::create(b.g, {5, 1, 1, true}).ok());
    };
    refused([](Bench& b) { b.g.matmul("odd", b.constant(31, 4), b.input(32)); }, "'odd'");
    refused([](Bench& b) { b.g.matmul("bias", b.constant(32, 4), b.input(32), b.constant(5)); }, "'bias'");
    refused([](Bench& b) { b.g.add("sum", b.input(32), b.input(33)); }, "'sum'");
    refused([](Bench& b) { b.g.rms_norm("norm", b.input(32), kNoValue, 1e-5f, 5); }, "'norm'");
    refused([](Bench& b) { b.g.softmax("missing", kNoValue); }, "'missing'");
    refused([](Bench& b) { b.g.columns(b.input(8), 4, 5); }, "view");
    refused([](Bench& b) { b.g.route("route", b.input(4), {4, 5}); }, "'route'");
    refused(
        [](Bench& b) {
            b.g.attention("heads", b.input(24), b.g.kv_store("kv", b.input(16), b.input(16), {0, 2}),
                          kNoValue, {0, 3, 2, 8, 8});
        },
        "'heads'");
}

TEST_MAIN
