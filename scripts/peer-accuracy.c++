// Writes tests/golden/formats/peer-accuracy.tsv: what a peer's quantizer makes of the rows of tests/unit/rows.h.
// Build and run with the sources and a build of llama.cpp in PEER, and a build of ours:
//   g++ -std=c++20 -O2 -Isrc -Itests/unit -IPEER/ggml/include scripts/peer-accuracy.c++ build/libquant.a \
//       PEER/build/ggml/src/libggml-base.a -fopenmp -o build/peer-accuracy && build/peer-accuracy >TABLE
#include <cstdio>
#include <vector>

#include "formats/format.h"
#include "ggml.h"
#include "rows.h"

int main() {
    std::printf("# rows (tests/unit/rows.h), type, weighted, squared error of llama.cpp's quantizer\n");
    const std::vector<float> w = rows::importance();
    for (int set = 0; set < rows::kSets; ++set) {
        const std::vector<float> x = rows::make(set);
        for (const quant::Format& format : quant::formats()) {
            if (format.kind != quant::FormatKind::block || !format.stock || !format.encode) continue;
            const auto type = static_cast<ggml_type>(format.id);
            for (int weighted = 0; weighted < 2; ++weighted) {
                if (!weighted && ggml_quantize_requires_imatrix(type)) continue;
                std::vector<uint8_t> blocks(format.row_bytes(rows::kCols));
                std::vector<float> y(x.size());
                ggml_quantize_chunk(type, x.data(), blocks.data(), 0, 1, rows::kCols, weighted ? w.data() : nullptr);
                format.decode(nullptr, blocks.data(), y.data(), rows::kCols);
                std::printf("%s\t%s\t%d\t%.9g\n", rows::kNames[set], format.name, weighted,
                            rows::squared_error(x.data(), y.data(), weighted ? w.data() : nullptr, rows::kCols));
            }
        }
    }
}
