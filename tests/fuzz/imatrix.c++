// Fuzz target: any bytes as an importance matrix, in both forms. What is accepted holds finite numbers not below 0.
#include "tests/fuzz/fuzz.h"

#include <cmath>

#include "gguf/gguf.h"
#include "tests/gguf_bytes.h"

using namespace quant;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const auto matrix = parse_importance_matrix({data, size}, "f");
    if (!matrix) {
        if (matrix.error().code != Code::input || matrix.error().text.find('\n') != std::string::npos) std::abort();
        return 0;
    }
    for (const auto& [name, entry] : matrix->entries) {
        if (name.empty() || entry.values.empty() || entry.values.size() % static_cast<size_t>(entry.n_mat) != 0) std::abort();
        for (const float value : entry.values)
            if (!std::isfinite(value) || value < 0) std::abort();
    }
    return 0;
}

std::vector<Input> fuzz_seeds() {
    using gguf_bytes::Builder;
    Builder gguf = Builder().header(2, 3);
    gguf.key("imatrix.datasets", gguf_bytes::array, gguf_bytes::string).number<uint64_t>(1).text("text");
    gguf.key("imatrix.chunk_count", gguf_bytes::u32, 7u).key("imatrix.chunk_size", gguf_bytes::u32, 512u);
    gguf.tensor("w.in_sum2", {4, 2}, 0, 0).tensor("w.counts", {1, 2}, 0, 32).align();
    for (int i = 0; i < 10; ++i) gguf.number(static_cast<float>(i));
    Builder dat = Builder().number(2);
    for (const char* name : {"a", "b"}) dat.number(1).raw(name).number(2).number(3).number(1.0f).number(2.0f).number(3.0f);
    dat.number(40).number(4).raw("text");
    return {gguf.bytes, dat.bytes};
}
