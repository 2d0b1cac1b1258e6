// Eight-bit blocks: Q8_0 for weights; Q8_1 and Q8_K, which files hardly hold but readers know.
#include "formats/blocks.h"
#include "formats/codecs.h"
#include "formats/search.h"
#include "formats/unweighted.h"

namespace quant {

void decode_q8_0(const RowPlace*, const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockQ8_0*>(blocks);
    for (int64_t i = 0; i < n; i += 32, ++block) {
        const float d = block->d.value();
        for (int e = 0; e < 32; ++e) out[i + e] = d * static_cast<float>(block->qs[e]);
    }
}

void decode_q8_1(const RowPlace*, const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockQ8_1*>(blocks);
    for (int64_t i = 0; i < n; i += 32, ++block) {
        const float d = block->d.value();
        for (int e = 0; e < 32; ++e) out[i + e] = d * static_cast<float>(block->qs[e]);
    }
}

void decode_q8_k(const RowPlace*, const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockQ8_K*>(blocks);
    for (int64_t i = 0; i < n; i += 256, ++block) {
        const float d = load<float>(block->d);
        for (int e = 0; e < 256; ++e) out[i + e] = d * static_cast<float>(block->qs[e]);
    }
}

namespace {

template <int W>
QUANT_INLINE void q8_0_body(const float* x, const float* importance, uint8_t* blocks, int64_t n) {
    auto* block = reinterpret_cast<BlockQ8_0*>(blocks);
    search::Block<32> in;
    for (int64_t i = 0; i < n; i += 32, ++block) {
        search::load_block<W>(in, x + i, importance ? importance + i : nullptr);
        const search::HalfScale d = search::best_scale<W, search::Uniform<-128, 127>, 32>(in, {121, 1.004f, 15, 19});
        int q[32];
        search::choose_levels<W, search::Uniform<-128, 127>, 32>(in.x, d.value, q);
        block->d.set_bits(d.bits);
        for (int e = 0; e < 32; ++e) block->qs[e] = static_cast<int8_t>(q[e]);
    }
}

QUANT_ENCODER(thorough_q8_0, q8_0_body)

}  // namespace

QUANT_FAST_ENCODER(q8_0)

}  // namespace quant
