// Importance matrices as the ecosystem writes them; src/gguf/imatrix.c++ reads both forms.
#include <algorithm>

#include "base/file.h"
#include "convert/calibrate/statistics.h"

namespace quant {

namespace {

TensorInfo f32_tensor(const std::string& name, int64_t cols, int64_t rows) {
    TensorInfo tensor;
    tensor.name = name;
    tensor.format = &format_of(FormatSlot::f32);
    tensor.n_dims = 2;
    tensor.ne = {cols, rows, 1, 1};
    tensor.bytes = tensor.format->tensor_bytes(cols, rows);
    return tensor;
}

std::vector<float> rounded(const std::vector<double>& values) { return {values.begin(), values.end()}; }

Bytes bytes_of(const std::vector<float>& values) {
    return {reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(float)};
}

Status write_gguf(const std::string& path, const Statistics& sums, const std::string& dataset, int64_t windows,
                  int64_t window, bool force) {
    Metadata metadata;
    metadata.set("general.type", Value::of_string("imatrix"));
    metadata.set("imatrix.datasets", Value::of_strings({dataset}));
    metadata.set("imatrix.chunk_count", Value::of_u32(static_cast<uint32_t>(windows)));
    metadata.set("imatrix.chunk_size", Value::of_u32(static_cast<uint32_t>(window)));
    std::vector<TensorInfo> tensors;
    for (const auto& [name, sum] : sums) {
        const auto matrices = static_cast<int64_t>(sum.tokens.size());
        tensors.push_back(f32_tensor(name + ".in_sum2", static_cast<int64_t>(sum.squares.size()) / matrices, matrices));
        tensors.push_back(f32_tensor(name + ".counts", 1, matrices));
    }
    GgufWriter::Options options;
    options.force = force;
    LET(writer, GgufWriter::create(path, metadata, tensors, options));
    for (const auto& [name, sum] : sums) {
        TRY(writer.write(bytes_of(rounded(sum.squares))));
        TRY(writer.write(bytes_of(rounded(sum.tokens))));
    }
    return writer.finish();
}

// i32 count; of each: name, calls, values that divided by the calls are the means; then calls and the text's name. The
// form knows no experts apart: a matrix that has seen nothing is left to the reader's neutral weight by all ones.
Status write_records(const std::string& path, const Statistics& sums, const std::string& dataset, int64_t windows, bool force) {
    std::string out;
    const auto put_i32 = [&out](int64_t value) {
        const auto number = static_cast<int32_t>(value);
        out.append(reinterpret_cast<const char*>(&number), sizeof number);
    };
    put_i32(static_cast<int64_t>(sums.size()));
    for (const auto& [name, sum] : sums) {
        put_i32(static_cast<int64_t>(name.size()));
        out += name;
        put_i32(windows);
        put_i32(static_cast<int64_t>(sum.squares.size()));
        const size_t cols = sum.squares.size() / sum.tokens.size();
        for (size_t i = 0; i < sum.squares.size(); ++i) {
            const double seen = sum.tokens[i / cols];
            const auto value = static_cast<float>(static_cast<double>(windows) * (seen > 0 ? sum.squares[i] / seen : 1.0));
            out.append(reinterpret_cast<const char*>(&value), sizeof value);
        }
    }
    put_i32(windows);
    put_i32(static_cast<int64_t>(dataset.size()));
    out += dataset;
    LET(file, AtomicFile::create(path, force, {}));
    TRY(file.write({reinterpret_cast<const uint8_t*>(out.data()), out.size()}));
    return file.commit(out.size());
}

}  // namespace

Status write_importance_matrix(const std::string& path, const Statistics& sums, const std::string& dataset,
                               int64_t windows, int64_t window, bool force) {
    if (path.ends_with(".dat")) return write_records(path, sums, dataset, windows, force);
    return write_gguf(path, sums, dataset, windows, window, force);
}

}  // namespace quant
