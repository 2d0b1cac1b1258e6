// Runs one matrix product a number of times, so that its instructions can be counted under an emulator.
// usage: aarch64_products ISA FORMAT ACTIVATION_ROWS TIMES; weights [128, 2048], all blocks equal.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "kernels/kernels.h"

using namespace quant;

int main(int argc, char** argv) {
    if (argc != 5 || !force_kernels(argv[1]).ok()) return 2;
    const Format* format = find_format(argv[2]);
    const int64_t n = std::atoll(argv[3]), times = std::atoll(argv[4]), cols = 2048, rows = 128;
    if (!format) return 2;
    std::vector<float> x(static_cast<size_t>(n * cols)), y(static_cast<size_t>(n * rows));
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 17) - 8;
    std::vector<uint8_t> weights(format->tensor_bytes(cols, rows), 0x2a);
    auto* buffer = std::aligned_alloc(64, (q8_matrix_bytes(cols, n) + 63) / 64 * 64);
    auto* scratch = std::aligned_alloc(64, kMatmulScratch);
    const Q8Matrix q = q8_matrix_at(buffer, cols, n);
    kernels().quantize_q8(x.data(), cols, q, 0, n);
    MatmulArgs args;
    args.format = format;
    args.w = EncodedView{.data = weights.data(), .cols = cols, .rows = rows};
    args.xq = &q;
    args.n = n;
    args.y = y.data();
    args.y_stride = rows;
    args.row_end = rows;
    args.scratch = scratch;
    const MatmulKernels& chosen = kernels().matmul[static_cast<size_t>(format->slot)];
    for (int64_t i = 0; i < times; ++i) (n == 1 ? chosen.gemv : chosen.gemm)(args);
    std::printf("%s %g\n", n == 1 ? chosen.gemv_name : chosen.gemm_name, static_cast<double>(y[0]));
    std::free(buffer);
    std::free(scratch);
}
