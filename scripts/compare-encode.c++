// Squared error of our encoders against a peer's file of the same model, matrix by matrix.
// usage: compare-encode ORIGINAL.gguf PEER.gguf [IMATRIX]; exit code 1 where a matrix of ours has more error.
#include <cstdio>
#include <vector>

#include "gguf/gguf.h"

namespace {

using namespace quant;

struct Errors {
    double ours = 0, peer = 0;
};

Errors compare(const TensorInfo& original, const TensorInfo& peer, const float* importance) {
    const Format& format = *peer.format;
    const int64_t cols = original.cols();
    std::vector<float> x(static_cast<size_t>(cols)), y(x.size()), z(x.size());
    std::vector<uint8_t> blocks(format.row_bytes(cols));
    Errors sum;
    for (int64_t row = 0; row < original.rows(); ++row) {
        decode_rows(*original.format, original.view(), row, 1, x.data());
        decode_rows(format, peer.view(), row, 1, y.data());
        format.encode(nullptr, x.data(), importance, blocks.data(), cols);
        format.decode(nullptr, blocks.data(), z.data(), cols);
        for (size_t i = 0; i < x.size(); ++i) {
            const double w = importance ? importance[i] : 1, a = x[i] - y[i], b = x[i] - z[i];
            sum.peer += w * a * a;
            sum.ours += w * b * b;
        }
    }
    return sum;
}

int run(int argc, char** argv) {
    if (argc < 3) return std::fprintf(stderr, "usage: compare-encode ORIGINAL.gguf PEER.gguf [IMATRIX]\n"), 2;
    const auto original = Gguf::open(argv[1]), peer = Gguf::open(argv[2]);
    if (!original) return std::fprintf(stderr, "%s\n", original.error().text.c_str()), 2;
    if (!peer) return std::fprintf(stderr, "%s\n", peer.error().text.c_str()), 2;
    ImportanceMatrix matrix;
    if (argc > 3) {
        auto read = read_importance_matrix(argv[3]);
        if (!read) return std::fprintf(stderr, "%s\n", read.error().text.c_str()), 2;
        matrix = std::move(*read);
    }
    int matrices = 0, worse = 0;
    double most = 0;
    Errors total;
    const char* type = "";
    for (const TensorInfo& tensor : original->tensors()) {
        const TensorInfo* other = peer->find(tensor.name);
        if (!other || other->format->kind != FormatKind::block || !other->format->encode) continue;
        const auto entry = matrix.entries.find(tensor.name);
        const float* importance = entry == matrix.entries.end() ? nullptr : entry->second.values.data();
        const Errors errors = compare(tensor, *other, importance);
        type = other->format->name;
        ++matrices;
        const double ratio = errors.peer > 0 ? errors.ours / errors.peer : errors.ours > 0 ? 1e9 : 1;
        most = ratio > most ? ratio : most;
        if (ratio > 1) {
            ++worse;
            std::printf("  %s: ours / peer = %.5f\n", tensor.name.c_str(), ratio);
        }
        total.ours += errors.ours;
        total.peer += errors.peer;
    }
    std::printf("%-8s %-8s %3d matrices  ours / peer %.4f  worst matrix %.4f\n", type, argc > 3 ? "weighted" : "plain",
                matrices, total.ours / total.peer, most);
    return worse || matrices == 0 ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) { return run(argc, argv); }
