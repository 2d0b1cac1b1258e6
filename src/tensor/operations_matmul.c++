// Products with weights, dense and per expert, and the routing between experts.
// Weight rows are taken in pieces by whoever is free; each piece's arithmetic is the same whoever takes it.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "tensor/operations.h"

namespace quant {

bool takes_q8(const Format& format) {
    return format.activation == Activation::q8 &&
           kernels().matmul[static_cast<size_t>(format.slot)].gemv != nullptr;
}

MatmulFn choose_matmul(const Format& format, int64_t n, bool exact) {
    const MatmulKernels& fast = kernels().matmul[static_cast<size_t>(format.slot)];
    if (exact || !fast.gemv) return kernels().matmul_exact;
    return n >= fast.gemm_min_rows && fast.gemm ? fast.gemm : fast.gemv;
}

namespace {

// Weight rows per piece: a multiple of 32, so that kernels which take several rows at once never meet a cut. Many activation
// rows may be packed anew for every piece, long ones are, which pays for larger ones; a single one is soon multiplied, and threads
// should end together.
int64_t piece_rows(int64_t rows, int64_t cols, int64_t n, int threads) {
    constexpr int64_t kStep = 32;
    const int64_t most = n < 32 ? 256 : 1024;
    if (threads == 1) return std::max<int64_t>(rows, 1);
    const int64_t even = rows / (int64_t{threads} * (cols > 2048 && n >= 32 ? 2 : 4));
    return std::clamp((even + kStep - 1) / kStep * kStep, kStep, most);
}

void add_bias(const float* bias, const MatmulArgs& args) {
    if (!bias) return;
    for (int64_t t = 0; t < args.n; ++t) {
        float* y = args.y + t * args.y_stride;
        kernels().add(y + args.row_begin, bias + args.row_begin, y + args.row_begin,
                      args.row_end - args.row_begin);
    }
}

}  // namespace

namespace {

// All rows of the product that `node` asks for; `packed` holds the view that the arguments point at.
MatmulArgs product_of(const StepContext& c, const Node& node, Q8Matrix& packed) {
    const auto input = [&](int i) { return node.inputs[static_cast<size_t>(i)]; };
    const GraphValue& w = c.frame.values[static_cast<size_t>(input(0))];
    const Rows x = c.frame.rows(input(1)), y = c.frame.rows(node.output);
    MatmulArgs args;
    args.format = w.tensor.format;
    args.w = {c.frame.data[static_cast<size_t>(input(0))], w.cols, w.rows};
    if (w.tensor.format->head) args.w = w.tensor.encoded();  // always a constant
    if (input(3) != kNoValue) {
        packed = c.frame.packed(input(3));
        args.xq = &packed;
    }
    args.x = x.data;
    args.x_stride = x.stride;
    args.n = x.count;
    args.y = y.data;
    args.y_stride = y.stride;
    args.scratch = c.scratch();
    args.same_activations = c.prepared;
    return args;
}

}  // namespace

void operations::matmul(const StepContext& c) {
    Q8Matrix packed;
    MatmulArgs args = product_of(c, c.node, packed);
    if (args.n == 0) return;
    const float* bias = c.has(2) ? c.in(2).data : nullptr;
    const MatmulFn product = choose_matmul(*args.format, args.n, c.frame.exact);
    const int64_t rows = args.w.rows, piece = piece_rows(rows, args.w.cols, args.n, c.threads);
    for (int64_t begin = c.take(piece); begin < rows; begin = c.take(piece)) {
        args.row_begin = begin;
        args.row_end = std::min(begin + piece, rows);
        product(args);
        args.same_activations = c.prepared = true;
        add_bias(bias, args);
    }
}

void operations::gated_matmul(const StepContext& c, const GatedProducts& nodes) {
    Q8Matrix packed;
    MatmulArgs args = product_of(c, c.node, packed);
    if (args.n == 0) return;
    const EncodedView weights[2] = {args.w, product_of(c, nodes.second, packed).w};
    const Q8Matrix out = c.frame.packed(nodes.rounded.output);
    const auto& params = std::get<GateParams>(nodes.gate.params);
    const MatmulFn product = choose_matmul(*args.format, args.n, c.frame.exact);
    const int64_t rows = args.w.rows, fitting = kMostGatedTokens / args.n * 32;
    const int64_t piece = std::min(piece_rows(rows, args.w.cols, args.n, c.threads), fitting);
    float* results[2] = {reinterpret_cast<float*>(c.scratch() + kMatmulScratch), nullptr};
    results[1] = results[0] + args.n * piece;
    args.y_stride = piece;
    for (int64_t begin = c.take(piece); begin < rows; begin = c.take(piece)) {
        args.row_end = std::min(piece, rows - begin);
        for (int i = 0; i < 2; ++i) {
            args.w = rows_of(*args.format, weights[i], begin, args.row_end);
            args.y = results[i];
            product(args);
            args.same_activations = c.prepared = true;
        }
        for (int64_t t = 0; t < args.n; ++t)
            gate_values(params, results[0] + t * piece, results[1] + t * piece, results[0] + t * piece, args.row_end);
        kernels().quantize_q8(results[0], piece, out.columns(begin, args.row_end), 0, args.n);
    }
}

RoutePlan route_plan_at(const Rows& value, const RouteParams& params, int64_t tokens) {
    int32_t* start = value.i32(0);
    int32_t* source = start + params.experts + 1;
    return {start, source, source + params.used * tokens};
}

// The `used` largest logits, ties to the lower expert, and the softmax over them.
void operations::route(const StepContext& c) {
    const auto& params = std::get<RouteParams>(c.node.params);
    const Rows logits = c.in(0), out = c.out();
    const auto [begin, end] = c.share(out.count);
    std::vector<int32_t> order(static_cast<size_t>(params.experts));
    for (int64_t token = begin; token < end; ++token) {
        const float* score = logits.row(token);
        for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int32_t>(i);
        std::partial_sort(order.begin(), order.begin() + params.used, order.end(),
                          [score](int32_t a, int32_t b) {
                              return score[a] > score[b] || (!(score[a] < score[b]) && a < b);
                          });
        int32_t* chosen = out.i32(token);
        float* weight = out.row(token) + params.used;
        for (int64_t i = 0; i < params.used; ++i) {
            chosen[i] = order[static_cast<size_t>(i)];
            weight[i] = score[chosen[i]];
        }
        kernels().softmax(weight, params.used, nullptr);
    }
}

// Counting sort of (token, choice) by expert.
void operations::route_plan(const StepContext& c) {
    if (c.thread != 0) return;
    const auto& params = std::get<RouteParams>(c.node.params);
    const Rows routing = c.in(0);
    const RoutePlan plan = route_plan_at(c.out(), params, routing.count);
    std::fill_n(plan.start, params.experts + 1, 0);
    for (int64_t token = 0; token < routing.count; ++token)
        for (int64_t i = 0; i < params.used; ++i) ++plan.start[routing.i32(token)[i] + 1];
    for (int64_t e = 0; e < params.experts; ++e) plan.start[e + 1] += plan.start[e];
    std::vector<int32_t> next(plan.start, plan.start + params.experts);
    for (int64_t token = 0; token < routing.count; ++token) {
        for (int64_t i = 0; i < params.used; ++i) {
            const int32_t place = next[static_cast<size_t>(routing.i32(token)[i])]++;
            const auto source = static_cast<int32_t>(token * params.used + i);
            plan.source[place] = source;
            plan.place[source] = place;
        }
    }
}

void operations::expert_gather(const StepContext& c) {
    const auto& params = std::get<RouteParams>(c.node.params);
    const Rows x = c.in(0), out = c.out();
    const RoutePlan plan = route_plan_at(c.in(1), params, c.frame.tokens);
    const auto [begin, end] = c.share(out.count);
    for (int64_t row = begin; row < end; ++row)
        std::memcpy(out.row(row), x.row(plan.source[row] / params.used),
                    static_cast<size_t>(x.cols) * sizeof(float));
}

void operations::expert_matmul(const StepContext& c) {
    const auto& params = std::get<RouteParams>(c.node.params);
    const GraphValue& w = c.frame.values[static_cast<size_t>(c.node.inputs[0])];
    const Rows x = c.in(1), y = c.out();
    const Rows bias = c.has(2) ? c.in(2) : Rows{};
    const RoutePlan plan = route_plan_at(c.in(4), params, c.frame.tokens);
    const Format& format = *w.tensor.format;
    const int64_t rows = w.rows / params.experts;
    const int64_t piece = piece_rows(rows, w.cols, c.frame.tokens, c.threads), pieces = (rows + piece - 1) / piece;
    Q8Matrix all;
    if (c.has(3)) all = c.frame.packed(c.node.inputs[3]);

    // Work items are numbered through the experts that have rows; `first` is the number of the current
    // expert's first.
    int64_t expert = 0, first = 0;
    for (int64_t item = c.take(1);; item = c.take(1)) {
        auto count = [&](int64_t e) { return int64_t{plan.start[e + 1]} - plan.start[e]; };
        while (expert < params.experts && (count(expert) == 0 || item >= first + pieces)) {
            if (count(expert) != 0) first += pieces;
            ++expert;
        }
        if (expert == params.experts) return;
        const int64_t begin = plan.start[expert];
        MatmulArgs args;
        args.format = &format;
        args.w = rows_of(format, w.tensor.encoded(), expert * rows, rows);
        args.n = count(expert);
        const Q8Matrix part = c.has(3) ? all.slice(begin, args.n) : all;
        if (c.has(3)) args.xq = &part;
        args.x = x.row(begin);
        args.x_stride = x.stride;
        args.y = y.row(begin);
        args.y_stride = y.stride;
        args.scratch = c.scratch();
        args.row_begin = (item - first) * piece;
        args.row_end = std::min(args.row_begin + piece, rows);
        choose_matmul(format, args.n, c.frame.exact)(args);
        add_bias(c.has(2) ? bias.row(expert) : nullptr, args);
    }
}

void operations::expert_combine(const StepContext& c) {
    const auto& params = std::get<RouteParams>(c.node.params);
    const Rows x = c.in(0), routing = c.in(1), out = c.out();
    const RoutePlan plan = route_plan_at(c.in(2), params, c.frame.tokens);
    const auto [begin, end] = c.share(out.count);
    for (int64_t token = begin; token < end; ++token) {
        const float* weight = routing.row(token) + params.used;
        std::fill_n(out.row(token), out.cols, 0.0f);
        for (int64_t i = 0; i < params.used; ++i)
            kernels().axpy_f32(weight[i], x.row(plan.place[token * params.used + i]), out.row(token),
                               out.cols);
    }
}

}  // namespace quant
