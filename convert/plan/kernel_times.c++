// The least of several runs is taken: what the machine does when nothing else is on it.
#include "convert/plan/kernel_times.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <new>

#include "kernels/kernels.h"
#include "model/session.h"
#include "model/weights.h"

namespace quant {

namespace {

constexpr uint64_t kMostBytes = uint64_t{64} << 20;
constexpr uint64_t kMostCopies = 24;  // small matrices of small models lie in caches anyway
constexpr int kRuns = 3;

double seconds_now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

struct Aligned {
    explicit Aligned(size_t bytes) : data(static_cast<uint8_t*>(::operator new(bytes, std::align_val_t{64}))) {}
    ~Aligned() { ::operator delete(data, std::align_val_t{64}); }
    Aligned(const Aligned&) = delete;
    Aligned& operator=(const Aligned&) = delete;
    uint8_t* data;
};

// Encoded rows of any values, the first few repeated.
std::vector<uint8_t> any_rows(const Format& format, int64_t cols, int64_t rows) {
    constexpr int64_t kDifferent = 16;
    const uint64_t row_bytes = format.row_bytes(cols);
    std::vector<uint8_t> out(row_bytes * static_cast<uint64_t>(rows));
    std::vector<float> row(static_cast<size_t>(cols)), importance(row.size(), 1.0f);
    uint32_t state = 1;
    for (int64_t r = 0; r < std::min(rows, kDifferent); ++r) {
        for (float& value : row) {
            state = state * 1664525u + 1013904223u;
            value = static_cast<float>(state >> 8) / 8388608.0f - 1;
        }
        format.encode(nullptr, row.data(), importance.data(), out.data() + static_cast<uint64_t>(r) * row_bytes, cols);
    }
    for (int64_t r = kDifferent; r < rows; ++r) std::copy_n(out.data() + static_cast<uint64_t>(r % kDifferent) * row_bytes, row_bytes, out.data() + static_cast<uint64_t>(r) * row_bytes);
    return out;
}

}  // namespace

double KernelTimes::seconds(const Format& format, int64_t cols, int64_t rows) {
    if (cols % format.block != 0) return 0;
    double& known = known_[{format.slot, cols, rows}];
    if (known > 0) return known;
    const uint64_t row_bytes = format.row_bytes(cols);
    // Tables too large to be held whole are timed in part.
    const int64_t part = std::clamp<int64_t>(static_cast<int64_t>(kMostBytes / row_bytes), 1, rows);
    const uint64_t wanted = std::min(working_set_, kMostBytes) / (row_bytes * static_cast<uint64_t>(part));
    const auto copies = static_cast<int64_t>(std::clamp<uint64_t>(wanted, 1, kMostCopies));
    const std::vector<uint8_t> weights = any_rows(format, cols, part * copies);
    std::vector<float> x(static_cast<size_t>(cols), 0.5f), y(static_cast<size_t>(part));
    const MatmulKernels& fast = kernels().matmul[static_cast<size_t>(format.slot)];
    const bool q8 = fast.gemv && format.activation == Activation::q8;
    const Aligned activations(q8_matrix_bytes(cols, 1));
    const Aligned scratch(kMatmulScratch * static_cast<size_t>(pool_.size()));
    const Q8Matrix xq = q8_matrix_at(activations.data, cols, 1);
    MatmulArgs args;
    args.format = &format;
    args.x = x.data();
    args.x_stride = cols;
    args.xq = q8 ? &xq : nullptr;
    args.n = 1;
    args.y = y.data();
    args.y_stride = part;
    const MatmulFn product = fast.gemv ? fast.gemv : kernels().matmul_exact;
    const int64_t piece = std::clamp<int64_t>((part / (pool_.size() * 4) + 15) / 16 * 16, 16, 256);
    double least = INFINITY;
    for (int run = 0; run < kRuns; ++run) {
        const double started = seconds_now();
        for (int64_t copy = 0; copy < copies; ++copy) {
            args.w = {weights.data() + static_cast<uint64_t>(copy * part) * row_bytes, cols, part};
            if (q8) kernels().quantize_q8(x.data(), cols, xq, 0, 1);
            pool_.for_each_piece(part, piece, [&, args](int64_t begin, int64_t end, int thread) mutable {
                args.row_begin = begin, args.row_end = end;
                args.scratch = scratch.data + kMatmulScratch * static_cast<size_t>(thread);
                product(args);
            });
        }
        least = std::min(least, seconds_now() - started);
    }
    return known = least / static_cast<double>(copies) * static_cast<double>(rows) / static_cast<double>(part);
}

Result<TokenTimes> time_tokens(std::shared_ptr<const Model> model, const Plan& plan, const std::vector<const Format*>& candidates, ThreadPool& pool) {
    uint64_t bytes = 0;
    for (const PlannedTensor& tensor : plan.tensors) bytes += tensor.out.bytes;
    KernelTimes kernel_times(bytes, pool);
    const Weights& weights = model->weights();
    // Rows that take part in a token's products.
    const auto rows_used = [&](const TensorInfo& tensor) -> int64_t {
        if (tensor.name == weights.embedding->name && weights.output != weights.embedding) return 0;
        return tensor.ne[2] > 1 && model->config().experts > 0 ? tensor.ne[1] * model->config().experts_used : tensor.rows();
    };
    const auto is_product = [&](const TensorInfo& tensor) { return tensor.n_dims >= 2 && tensor.name.find("position") == std::string::npos; };
    TokenTimes out;
    double products = 0;  // of the source
    const std::vector<std::string> names = free_tensors(plan);
    for (const PlannedTensor& tensor : plan.tensors) {
        const int64_t rows = rows_used(tensor.out), cols = tensor.out.cols();
        const bool is_free = out.free.size() < names.size() && tensor.out.name == names[out.free.size()];
        const auto time_in = [&](const Format& format) { return rows > 0 ? kernel_times.seconds(format, cols, rows) : 0.0; };
        if (is_product(tensor.out)) products += time_in(*tensor.from);
        if (!is_free) {
            if (is_product(tensor.out)) out.rest += time_in(*tensor.out.format);
            continue;
        }
        std::vector<double>& times = out.free.emplace_back();
        for (const Format* candidate : candidates) times.push_back(time_in(*candidate));
    }
    SessionOptions options;
    options.context = 64;
    options.batch = 1;
    options.threads = pool.size();
    LET(session, Session::create(std::move(model), options));
    const int32_t token[1] = {0};
    double whole = INFINITY;
    for (int run = 0; run < 4 * kRuns; ++run) {
        const double started = seconds_now();
        TRY(session->eval(token, LogitsOf::last));
        whole = std::min(whole, seconds_now() - started);
    }
    out.rest += std::max(whole - products, 0.0);
    return out;
}

}  // namespace quant
