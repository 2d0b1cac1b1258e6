// The table of operations, and those that work row by row.
#include "tensor/operations.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "tensor/hadamard.h"

namespace quant {

int64_t Frame::row_count(ValueId id) const {
    const GraphValue& v = values[static_cast<size_t>(id)];
    return v.rows * (v.extent == Extent::tokens ? tokens : v.extent == Extent::outputs ? outputs : 1);
}

Rows Frame::rows(ValueId id) const {
    const auto i = static_cast<size_t>(id);
    return {reinterpret_cast<float*>(data[i]), values[i].cols, row_count(id), stride[i]};
}

Q8Matrix Frame::packed(ValueId id) const {
    const auto i = static_cast<size_t>(id);
    return q8_matrix_at(data[i], values[i].cols, row_count(id));
}

namespace {

// Calls each(row) for this thread's rows of the output. Shares are of units (tokens), so that values with
// several rows per token are split at the same tokens.
template <class Each>
void for_own_rows(const StepContext& c, ValueId id, Each each) {
    const GraphValue& v = c.frame.values[static_cast<size_t>(id)];
    const int64_t rows = c.frame.row_count(id);
    const int64_t per_unit = v.extent == Extent::fixed ? 1 : v.rows;
    const auto [begin, end] = c.share(rows / per_unit);
    for (int64_t row = begin * per_unit; row < end * per_unit; ++row) each(row);
}

void embed(const StepContext& c) {
    const GraphValue& table = c.frame.values[static_cast<size_t>(c.node.inputs[0])];
    const Rows ids = c.in(1), out = c.out();
    for_own_rows(c, c.node.output, [&](int64_t row) {
        decode_rows(*table.tensor.format, table.tensor.encoded(), *ids.i32(row), 1, out.row(row));
    });
}

void rms_norm(const StepContext& c) {
    const auto& params = std::get<NormParams>(c.node.params);
    const Rows x = c.in(0), out = c.out();
    const float* weight = c.has(1) ? c.in(1).data : nullptr;
    for_own_rows(c, c.node.output, [&](int64_t row) {
        for (int64_t at = 0; at < x.cols; at += params.width)
            kernels().rms_norm(x.row(row) + at, weight, params.eps, out.row(row) + at, params.width);
    });
}

void layer_norm(const StepContext& c) {
    const auto& params = std::get<NormParams>(c.node.params);
    const Rows x = c.in(0), out = c.out();
    const float* weight = c.has(1) ? c.in(1).data : nullptr;
    const float* bias = c.has(2) ? c.in(2).data : nullptr;
    for_own_rows(c, c.node.output, [&](int64_t row) {
        const float* from = x.row(row);
        float* to = out.row(row);
        double sum = 0, squares = 0;
        for (int64_t i = 0; i < x.cols; ++i) sum += static_cast<double>(from[i]);
        const double mean = sum / static_cast<double>(x.cols);
        for (int64_t i = 0; i < x.cols; ++i) {
            const double centred = static_cast<double>(from[i]) - mean;
            squares += centred * centred;
        }
        const double factor =
            1.0 / std::sqrt(squares / static_cast<double>(x.cols) + static_cast<double>(params.eps));
        for (int64_t i = 0; i < x.cols; ++i) {
            const auto normed = static_cast<float>((static_cast<double>(from[i]) - mean) * factor);
            to[i] = normed * (weight ? weight[i] : 1.0f) + (bias ? bias[i] : 0.0f);
        }
    });
}

// a (+) b, b a single row for all where it has one.
void binary(const StepContext& c, void (*kernel)(const float*, const float*, float*, int64_t)) {
    const Rows a = c.in(0), b = c.in(1), out = c.out();
    const int64_t b_step = b.count == 1 ? 0 : 1;
    for_own_rows(c, c.node.output,
                 [&](int64_t row) { kernel(a.row(row), b.row(row * b_step), out.row(row), a.cols); });
}

void add(const StepContext& c) { binary(c, kernels().add); }
void multiply(const StepContext& c) { binary(c, kernels().multiply); }

void copy_row(const Rows& from, const Rows& to, int64_t row) {
    if (from.row(row) != to.row(row))
        std::memcpy(to.row(row), from.row(row), static_cast<size_t>(from.cols) * sizeof(float));
}

void scale(const StepContext& c) {
    const float factor = std::get<ScaleParams>(c.node.params).factor;
    const Rows x = c.in(0), out = c.out();
    for_own_rows(c, c.node.output, [&](int64_t row) {
        copy_row(x, out, row);
        kernels().scale(factor, out.row(row), x.cols);
    });
}

void soft_cap(const StepContext& c) {
    const float cap = std::get<ScaleParams>(c.node.params).factor;
    const Rows x = c.in(0), out = c.out();
    for_own_rows(c, c.node.output, [&](int64_t row) {
        for (int64_t i = 0; i < x.cols; ++i) out.row(row)[i] = cap * std::tanh(x.row(row)[i] / cap);
    });
}

// gate * sigmoid(1.702 gate) * (up + 1) with gate <= 7 and |up| <= 7 (gpt-oss model card, 2025).
void gate_clamped(const float* gate, const float* up, float* out, int64_t n) {
    constexpr float kLimit = 7.0f, kAlpha = 1.702f;
    for (int64_t i = 0; i < n; ++i) {
        const float g = std::min(gate[i], kLimit);
        const float u = std::clamp(up[i], -kLimit, kLimit);
        out[i] = g / (1.0f + std::exp(-kAlpha * g)) * (u + 1.0f);
    }
}

void gated(const StepContext& c) {
    const auto& params = std::get<GateParams>(c.node.params);
    const Rows gate = c.in(0), up = c.in(1), out = c.out();
    for_own_rows(c, c.node.output, [&](int64_t row) { operations::gate_values(params, gate.row(row), up.row(row), out.row(row), gate.cols); });
}

// The gated kernel with up = 1, so that each instruction set needs one activation only.
void activate(const StepContext& c) {
    constexpr int64_t kPiece = 1024;
    static const std::vector<float> ones(kPiece, 1.0f);
    const Gate kind = std::get<GateParams>(c.node.params).kind;
    const Rows x = c.in(0), out = c.out();
    for_own_rows(c, c.node.output, [&](int64_t row) {
        for (int64_t at = 0; at < x.cols; at += kPiece)
            kernels().gated(kind, x.row(row) + at, ones.data(), out.row(row) + at,
                            std::min(kPiece, x.cols - at));
    });
}

void softmax(const StepContext& c) {
    const Rows x = c.in(0), out = c.out();
    for_own_rows(c, c.node.output, [&](int64_t row) {
        copy_row(x, out, row);
        kernels().softmax(out.row(row), x.cols, nullptr);
    });
}

// The angle is rounded to f32 before cos and sin, as in the programs that models are trained with.
void rope_table(const StepContext& c) {
    const auto& params = std::get<RopeTableParams>(c.node.params);
    const Rows out = c.out();
    for_own_rows(c, c.node.output, [&](int64_t row) {
        const auto position = static_cast<float>(c.frame.position + row);
        float* pair = out.row(row);
        for (const float frequency : params.frequencies) {
            const double angle = static_cast<double>(position * frequency);
            *pair++ = static_cast<float>(std::cos(angle)) * params.magnitude;
            *pair++ = static_cast<float>(std::sin(angle)) * params.magnitude;
        }
    });
}

void rope(const StepContext& c) {
    const auto& params = std::get<RopeParams>(c.node.params);
    const Rows x = c.in(0), table = c.in(1), out = c.out();
    for_own_rows(c, c.node.output, [&](int64_t row) {
        copy_row(x, out, row);
        kernels().rope(out.row(row), table.row(row), params.heads, params.head_dim, params.dims, params.neox);
    });
}

void mix_columns(const StepContext& c) {
    const int64_t block = std::get<HadamardParams>(c.node.params).block;
    const Rows x = c.in(0), out = c.out();
    for_own_rows(c, c.node.output, [&](int64_t row) {
        copy_row(x, out, row);
        hadamard(out.row(row), x.cols, block);
    });
}

bool is_kept(const RoundParams& params, int64_t column) {
    return std::find(params.kept.begin(), params.kept.end(), static_cast<uint32_t>(column)) != params.kept.end();
}

void round_values(const StepContext& c) {
    const auto& params = std::get<RoundParams>(c.node.params);
    const auto most = static_cast<float>((1 << (params.bits - 1)) - 1);
    const Rows x = c.in(0), out = c.out();
    for_own_rows(c, c.node.output, [&](int64_t row) {
        for (int64_t at = 0; at < x.cols; at += params.group) {
            const float* from = x.row(row) + at;
            float* to = out.row(row) + at;
            float largest = params.range;
            for (int64_t i = 0; params.range == 0 && i < params.group; ++i)
                if (!is_kept(params, at + i)) largest = std::max(largest, std::fabs(from[i]));
            const float scale = largest / most, inverse = scale > 0 ? 1.0f / scale : 0.0f;
            for (int64_t i = 0; i < params.group; ++i)
                to[i] = is_kept(params, at + i) ? from[i] : scale * std::clamp(std::nearbyint(from[i] * inverse), -most, most);
        }
    });
}

void pick_rows(const StepContext& c) {
    const Rows x = c.in(0), ids = c.in(1), out = c.out();
    for_own_rows(c, c.node.output, [&](int64_t row) {
        std::memcpy(out.row(row), x.row(*ids.i32(row)), static_cast<size_t>(x.cols) * sizeof(float));
    });
}

// One scale for all values, larger ones cut to the last code; a block that is not finite as the kernels have it.
void quantize_fixed(const float* x, float range, const Q8Matrix& out, int64_t row) {
    const float scale = range / 127.0f, inverse = 127.0f / range;
    for (int64_t at = 0; at < out.cols; at += kQ8Block) {
        int8_t* codes = out.row_codes(row) + at;
        int sums[2] = {};
        bool finite = true;
        for (int64_t i = 0; i < kQ8Block; ++i) finite = finite && std::isfinite(x[at + i]);
        for (int64_t i = 0; i < kQ8Block; ++i) {
            codes[i] = finite ? static_cast<int8_t>(std::clamp(std::nearbyint(x[at + i] * inverse), -127.0f, 127.0f)) : int8_t{0};
            sums[i / 16] += codes[i];
        }
        const float own = finite ? scale : NAN;
        out.row_scales(row)[at / kQ8Block] = own;
        for (int64_t half = 0; half < 2; ++half) out.row_sums(row)[at / 16 + half] = own * static_cast<float>(sums[half]);
        out.row_block_sums(row)[at / kQ8Block] = own * static_cast<float>(sums[0] + sums[1]);
    }
}

void quantize(const StepContext& c) {
    const Rows x = c.in(0);
    const GraphValue& v = c.frame.values[static_cast<size_t>(c.node.output)];
    const int64_t per_unit = v.extent == Extent::fixed ? 1 : v.rows;
    const auto [begin, end] = c.share(x.count / per_unit);
    const auto& params = std::get<RoundParams>(c.node.params);
    if (params.range > 0) {
        for (int64_t row = begin * per_unit; row < end * per_unit; ++row)
            quantize_fixed(x.row(row), params.range, c.frame.packed(c.node.output), row);
    } else if (!params.kept.empty()) {
        std::vector<float> rest(static_cast<size_t>(x.cols));
        for (int64_t row = begin * per_unit; row < end * per_unit; ++row) {
            std::copy_n(x.row(row), x.cols, rest.data());
            for (const uint32_t column : params.kept) rest[column] = 0;
            kernels().quantize_q8(rest.data(), x.cols, c.frame.packed(c.node.output).slice(row, 1), 0, 1);
        }
    } else if (begin < end) {
        kernels().quantize_q8(x.data, x.stride, c.frame.packed(c.node.output), begin * per_unit,
                              end * per_unit);
    }
}

}  // namespace

void operations::gate_values(const GateParams& params, const float* gate, const float* up, float* out, int64_t n) {
    if (params.form == GateForm::clamped) gate_clamped(gate, up, out, n);
    else kernels().gated(params.kind, gate, up, out, n);
}

const Operation& operation_of(Op op) {
    static constexpr Operation kOperations[] = {
        {Op::embed, Split::rows, false, embed},
        {Op::matmul, Split::shared, false, operations::matmul},
        {Op::rms_norm, Split::rows, false, rms_norm},
        {Op::layer_norm, Split::rows, true, layer_norm},
        {Op::add, Split::rows, true, add},
        {Op::multiply, Split::rows, true, multiply},
        {Op::scale, Split::rows, true, scale},
        {Op::soft_cap, Split::rows, true, soft_cap},
        {Op::activate, Split::rows, true, activate},
        {Op::gated, Split::rows, true, gated},
        {Op::softmax, Split::rows, true, softmax},
        {Op::rope_table, Split::rows, false, rope_table},
        {Op::rope, Split::rows, true, rope},
        {Op::kv_store, Split::rows, false, operations::kv_store},
        {Op::attention, Split::shared, false, operations::attention},
        {Op::pick_rows, Split::shared, false, pick_rows},
        {Op::route, Split::rows, false, operations::route},
        {Op::route_plan, Split::single, false, operations::route_plan},
        {Op::expert_gather, Split::shared, false, operations::expert_gather},
        {Op::expert_matmul, Split::shared, false, operations::expert_matmul},
        {Op::expert_combine, Split::shared, false, operations::expert_combine},
        {Op::hadamard, Split::rows, true, mix_columns},
        {Op::round, Split::rows, true, round_values},
        {Op::quantize, Split::rows, false, quantize},
    };
    static_assert(std::size(kOperations) == static_cast<size_t>(Op::count));
    return kOperations[static_cast<size_t>(op)];
}

}  // namespace quant
