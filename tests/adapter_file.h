// Writes low-rank adapters for tests, as other programs' files look.
#pragma once

#include <string>
#include <vector>

#include "base/rng.h"
#include "formats/format.h"
#include "gguf/gguf.h"
#include "tests/check.h"

namespace quant {

struct Matrix {
    std::string name;
    int64_t cols = 0, rows = 0;
    std::vector<float> values;
};

struct AdapterFile {
    Metadata metadata;
    std::vector<Matrix> tensors;

    explicit AdapterFile(const std::string& architecture, float alpha = 8) {
        metadata.set("general.architecture", Value::of_string(architecture));
        metadata.set("general.type", Value::of_string("adapter"));
        metadata.set("adapter.type", Value::of_string("lora"));
        metadata.set("adapter.lora.alpha", Value::of_f32(alpha));
    }
    void add(const std::string& name, int64_t cols, int64_t rows, Rng& rng, double size) {
        Matrix matrix{name, cols, rows, {}};
        for (int64_t i = 0; i < cols * rows; ++i) matrix.values.push_back(static_cast<float>((rng.uniform() - 0.5) * size));
        tensors.push_back(std::move(matrix));
    }
    void add_pair(const std::string& target, int64_t in, int64_t out, int64_t rank, Rng& rng) {
        add(target + ".lora_a", in, rank, rng, 0.5);
        add(target + ".lora_b", rank, out, rng, 0.2);
    }
    void write(const std::string& path) const {
        std::vector<TensorInfo> infos;
        for (const Matrix& matrix : tensors) {
            TensorInfo info;
            info.name = matrix.name;
            info.format = &format_of(FormatSlot::f32);
            info.n_dims = 2;
            info.ne = {matrix.cols, matrix.rows, 1, 1};
            info.bytes = matrix.values.size() * sizeof(float);
            infos.push_back(info);
        }
        GgufWriter::Options options;
        options.force = true;
        auto writer = GgufWriter::create(path, metadata, infos, options);
        CHECK_MSG(writer.ok(), writer ? "" : writer.error().text);
        for (const Matrix& matrix : tensors)
            CHECK(writer->write({reinterpret_cast<const uint8_t*>(matrix.values.data()), matrix.values.size() * sizeof(float)}).ok());
        CHECK(writer->finish().ok());
    }
};

}  // namespace quant
