// Eight-bit blocks: Q8_0 for weights; Q8_1 and Q8_K, which files hardly hold but readers know.
#include "formats/blocks.h"
#include "formats/codecs.h"

namespace quant {

void decode_q8_0(const void*, const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockQ8_0*>(blocks);
    for (int64_t i = 0; i < n; i += 32, ++block) {
        const float d = block->d.value();
        for (int e = 0; e < 32; ++e) out[i + e] = d * static_cast<float>(block->qs[e]);
    }
}

void decode_q8_1(const void*, const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockQ8_1*>(blocks);
    for (int64_t i = 0; i < n; i += 32, ++block) {
        const float d = block->d.value();
        for (int e = 0; e < 32; ++e) out[i + e] = d * static_cast<float>(block->qs[e]);
    }
}

void decode_q8_k(const void*, const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockQ8_K*>(blocks);
    for (int64_t i = 0; i < n; i += 256, ++block) {
        const float d = load<float>(block->d);
        for (int e = 0; e < 256; ++e) out[i + e] = d * static_cast<float>(block->qs[e]);
    }
}

}  // namespace quant
