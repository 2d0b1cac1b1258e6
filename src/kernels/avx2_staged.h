// Products of formats with side data: a piece of each row is staged as plain blocks in the scratch, then multiplied as
// those are (avx2_gemv.h and avx2_panel.h). Stage::Block is the struct of the plain blocks; a Stage writes them (level_stage.h).
// Included by AVX2 and AVX-512 files only, everything in an unnamed namespace.
#pragma once

#include "kernels/avx2_gemv.h"
#include "kernels/avx2_panel.h"

namespace quant {
namespace {

static_assert(kStage <= kChunk);
constexpr size_t kStagedAt = kMostPanels * sizeof(Panel);  // in the scratch, behind the panels
static_assert(kStagedAt + kRows * kStage / 32 * kStagedBytes <= static_cast<size_t>(kPackedAt));
constexpr float kNoCenters[kStage / 32] = {};

inline int64_t least_of(int64_t a, int64_t b) { return a < b ? a : b; }

template <class Stage>
void gemv_staged(const MatmulArgs& args) {
    using F = typename Stage::Block;
    auto* staged = static_cast<uint8_t*>(args.scratch) + kStagedAt;
    const int64_t cols = args.w.cols;
    const Q8Matrix& q = *args.xq;
    Stage stage(args);
    for (int64_t row = args.row_begin; row < args.row_end; ++row) {
        const uint8_t* stored = row_at(*args.format, args.w, row);
        for (int64_t k = 0; k < cols; k += kStage) {
            const int64_t n = least_of(kStage, cols - k);
            stage.stage(stored, row, k, n, staged);
            for (int64_t t = 0; t < args.n; ++t) {
                const int64_t at = t * cols + k;
                const Activations x{q.codes + at, q.scales + at / 32, q.sums + at / 16, q.block_sums + at / 32, kNoCenters};
                float product;
                if constexpr (F::kUnit == 32) product = gemv_row32<F>(staged, n / 32, x);
                else product = gemv_row<F>(staged, n / F::kUnit, x);
                float& y = args.y[t * args.y_stride + row];
                y = k == 0 ? product : y + product;
            }
        }
    }
}

template <class Engine, class Stage>
void gemm_staged(const MatmulArgs& args) {
    using F = typename Stage::Block;
    uint8_t* staged = static_cast<uint8_t*>(args.scratch) + kStagedAt;
    Stage stage(args);
    for_places<Engine, Traits<F, Engine::kStyle>::kKind, kStage>(args, [&](const Place& at, Panel& panel) {
        const int64_t row_bytes = at.count / F::kUnit * F::kBytes;
        for (int64_t r = 0; r < at.rows; ++r)
            stage.stage(row_at(*args.format, args.w, at.row + r), at.row + r, at.k, at.count, staged + r * row_bytes);
        MatmulArgs plain = args;
        plain.w.data = staged;
        plain.w.cols = at.count;
        decode_panel<F, Engine::kStyle>(plain, 0, at.rows, 0, at.count, panel);
    });
}

template <class Stage>
void set_gemv_staged(Kernels& table, FormatSlot slot, const char* name) {
    MatmulKernels& kernels = table.matmul[static_cast<size_t>(slot)];
    kernels.gemv = gemv_staged<Stage>;
    kernels.gemv_name = name;
}

template <class Engine, class Stage>
void set_gemm_staged(Kernels& table, FormatSlot slot, const char* name) {
    MatmulKernels& kernels = table.matmul[static_cast<size_t>(slot)];
    kernels.gemm = gemm_staged<Engine, Stage>;
    kernels.gemm_name = name;
    kernels.gemm_min_rows = 2;
}

}  // namespace
}  // namespace quant
