// The panel of the NEON products with many activation rows: 8 weight rows and a chunk of columns, decoded once, with the
// loops over panels. Included by the NEON files, which bring the inner loop (an Engine); everything in an unnamed namespace.
//
// Panel: codes [k / step][8 rows][step consecutive k], signed. The engine says the step: 4 for dot products (a 32-bit lane
// is a row), 8 for matrix products (64 bits are a row), 32 for plain NEON (a row's group lies together).
#pragma once

#include "kernels/neon_unpack.h"

namespace quant {
namespace {

constexpr int kRows = 8;          // of a panel
constexpr int64_t kChunk = 1024;  // columns of a panel: 8 KiB of codes
constexpr int64_t kColumnBlock = 256;  // activation rows per decoded panel: their codes stay in the second-level cache

struct alignas(64) Panel {
    int8_t codes[kChunk * kRows];
    float scale[kChunk / 16][kRows];    // per group of 32 or 16
    float minimum[kChunk / 16][kRows];  // likewise
};
static_assert(sizeof(Panel) <= kMatmulScratch);

// Formats of one kind share the inner loop.
struct PanelKind {
    int group = 32;
    bool minimum = false;
};
template <class F>
constexpr PanelKind kind_of() {
    return {F::kGroup, F::kMinimum};
}

// Decodes columns [k, k + count) of `rows` rows from `row` on; missing rows repeat the last one.
template <class F, int kStep>
void decode_panel(const MatmulArgs& args, int64_t row, int64_t rows, int64_t k, int64_t count, Panel& panel) {
    constexpr int kScales = F::kUnit / F::kGroup, kGroups = F::kUnit / 32;
    const int64_t row_bytes = args.w.cols / F::kUnit * F::kBytes;
    for (int64_t r = 0; r < kRows; ++r) {
        const uint8_t* b = args.w.data + (row + (r < rows ? r : rows - 1)) * row_bytes + k / F::kUnit * F::kBytes;
        for (int64_t unit = 0; unit < count / F::kUnit; ++unit, b += F::kBytes) {
            float value[kScales];
            F::scales(b, value);
            for (int i = 0; i < kScales; ++i) panel.scale[unit * kScales + i][r] = value[i];
            if constexpr (F::kMinimum) {
                F::minima(b, value);
                for (int i = 0; i < kScales; ++i) panel.minimum[unit * kScales + i][r] = value[i];
            }
#pragma GCC unroll 8
            for (int g = 0; g < kGroups; ++g) {
                const Codes32 codes = F::codes(b, g);
                int8_t in_order[32];
                vst1q_s8(in_order, codes.low);
                vst1q_s8(in_order + 16, codes.high);
                int8_t* out = panel.codes + (unit * kGroups + g) * 32 * kRows + r * kStep;
                for (int i = 0; i < 32; i += kStep) __builtin_memcpy(out + i * kRows, in_order + i, kStep);
            }
        }
    }
}

struct Columns {
    const int8_t* codes;  // of the first row of the tile, at column k
    const float* scales;
    const float* sums;  // per group
    int64_t codes_stride, scales_stride, sums_stride;
};

// The part of the product that a decoded panel stands for: where it lies in y and in the activations.
struct Place {
    int64_t row, rows;  // of y, at most 8
    int64_t k, count;   // columns of the weights
    int64_t t0, t1;     // activation rows
};

// Engine::multiply<kind, kColumns>(panel, groups, columns, out) gives out[t][8], the products of the panel and kColumns
// activation rows; Engine::kTile of them fit its registers.
template <class Engine, PanelKind kind, int kColumns>
inline void multiply_upto(int64_t columns, const Panel& panel, int64_t groups, const Columns& x, float (*out)[kRows]) {
    if constexpr (kColumns == 1) {
        Engine::template multiply<kind, 1>(panel, groups, x, out);
    } else if (columns == kColumns) {
        Engine::template multiply<kind, kColumns>(panel, groups, x, out);
    } else {
        multiply_upto<Engine, kind, kColumns - 1>(columns, panel, groups, x, out);
    }
}

// Adds what the minima of all groups give: minimum of the group times the sum of its activations.
template <PanelKind kind, int kColumns>
inline void add_minima(const Panel& panel, int64_t groups, const Columns& x, float32x4_t (&total)[kColumns][2]) {
    const int64_t count = groups * (32 / kind.group);
    int64_t g = 0;
    for (; g + 4 <= count; g += 4) {
        float32x4_t sums[kColumns];
#pragma GCC unroll 4
        for (int t = 0; t < kColumns; ++t) sums[t] = vld1q_f32(x.sums + t * x.sums_stride + g);
        const auto add = [&]<int lane>() __attribute__((always_inline)) {
            const float32x4_t low = vld1q_f32(panel.minimum[g + lane]), high = vld1q_f32(panel.minimum[g + lane] + 4);
#pragma GCC unroll 4
            for (int t = 0; t < kColumns; ++t) {
                total[t][0] = vfmaq_laneq_f32(total[t][0], low, sums[t], lane);
                total[t][1] = vfmaq_laneq_f32(total[t][1], high, sums[t], lane);
            }
        };
        add.template operator()<0>();
        add.template operator()<1>();
        add.template operator()<2>();
        add.template operator()<3>();
    }
    for (; g < count; ++g) {
        const float32x4_t low = vld1q_f32(panel.minimum[g]), high = vld1q_f32(panel.minimum[g] + 4);
#pragma GCC unroll 4
        for (int t = 0; t < kColumns; ++t) {
            const float sum = x.sums[t * x.sums_stride + g];
            total[t][0] = vfmaq_n_f32(total[t][0], low, sum);
            total[t][1] = vfmaq_n_f32(total[t][1], high, sum);
        }
    }
}

// One panel times all activation rows of its place. Not inlined: one copy serves all formats of the kind.
template <class Engine, PanelKind kind>
[[gnu::noinline]] void multiply_place(const MatmulArgs& args, const Panel& panel, const Place& at) {
    constexpr int kTile = Engine::kTile;
    const Q8Matrix& q = *args.xq;
    const float* sums = kind.group == 16 ? q.sums : q.block_sums;
    const int64_t cols = args.w.cols;
    for (int64_t t = at.t0; t < at.t1; t += kTile) {
        float out[kTile][kRows];
        const int64_t first = t * cols + at.k;
        const Columns x{q.codes + first, q.scales + first / 32, sums + first / kind.group, cols, cols / 32, cols / kind.group};
        const int64_t columns = at.t1 - t < kTile ? at.t1 - t : kTile;
        multiply_upto<Engine, kind, kTile>(columns, panel, at.count / 32, x, out);
        for (int64_t i = 0; i < columns; ++i) {
            float* y = args.y + (t + i) * args.y_stride + at.row;
            for (int64_t r = 0; r < at.rows; ++r) y[r] = at.k == 0 ? out[i][r] : y[r] + out[i][r];
        }
    }
}

template <class Engine, class F>
void gemm(const MatmulArgs& args) {
    const auto least = [](int64_t a, int64_t b) { return a < b ? a : b; };
    auto& panel = *static_cast<Panel*>(args.scratch);
    for (int64_t t0 = 0; t0 < args.n; t0 += kColumnBlock) {
        for (int64_t row = args.row_begin; row < args.row_end; row += kRows) {
            for (int64_t k = 0; k < args.w.cols; k += kChunk) {
                const Place at{row, least(kRows, args.row_end - row), k, least(kChunk, args.w.cols - k), t0, least(args.n, t0 + kColumnBlock)};
                decode_panel<F, Engine::kStep>(args, at.row, at.rows, at.k, at.count, panel);
                multiply_place<Engine, kind_of<F>()>(args, panel, at);
            }
        }
    }
}

template <class Engine, class F>
void set_gemm(Kernels& table, FormatSlot slot, const char* name) {
    MatmulKernels& kernels = table.matmul[static_cast<size_t>(slot)];
    kernels.gemm = gemm<Engine, F>;
    kernels.gemm_name = name;
    kernels.gemm_min_rows = 2;
}

}  // namespace
}  // namespace quant
