// Q1_0 (two levels) and Q2_0 (four, of which stock encoders use three): one scale, no zero point.
#include <cstring>

#include "formats/blocks.h"
#include "formats/codecs.h"
#include "formats/search.h"

namespace quant {

void decode_q1_0(const RowPlace*, const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockQ1_0*>(blocks);
    for (int64_t i = 0; i < n; i += 128, ++block) {
        const float d = block->d.value();
        for (int e = 0; e < 128; ++e) out[i + e] = (block->qs[e / 8] >> (e % 8) & 1) ? d : -d;
    }
}

void decode_q2_0(const RowPlace*, const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockQ2_0*>(blocks);
    for (int64_t i = 0; i < n; i += 64, ++block) {
        const float d = block->d.value();
        for (int e = 0; e < 64; ++e) out[i + e] = d * static_cast<float>((block->qs[e / 4] >> (2 * (e % 4)) & 3) - 1);
    }
}

namespace {

template <int W>
QUANT_INLINE void q1_0_body(const float* x, const float* importance, uint8_t* blocks, int64_t n) {
    auto* block = reinterpret_cast<BlockQ1_0*>(blocks);
    search::Block<128> in;
    for (int64_t i = 0; i < n; i += 128, ++block) {
        search::load_block<W>(in, x + i, importance ? importance + i : nullptr);
        Vec<W> weight = Vec<W>::all(0), sum = weight;
        for (int e = 0; e < 128; e += kLanes) {
            const Vec<W> w = Vec<W>::load(in.w + e);
            weight = weight + w;
            sum = sum + w * magnitude(Vec<W>::load(in.x + e));
        }
        block->d.set_bits(search::half_scale(sum.sum() / weight.sum(), in.up, in.down).bits);
        std::memset(block->qs, 0, sizeof block->qs);
        for (int e = 0; e < 128; ++e) {
            if (in.x[e] >= 0) block->qs[e / 8] = static_cast<uint8_t>(block->qs[e / 8] | 1 << (e % 8));
        }
    }
}

template <int W>
QUANT_INLINE void q2_0_body(const float* x, const float* importance, uint8_t* blocks, int64_t n) {
    auto* block = reinterpret_cast<BlockQ2_0*>(blocks);
    search::Block<64> in;
    for (int64_t i = 0; i < n; i += 64, ++block) {
        search::load_block<W>(in, x + i, importance ? importance + i : nullptr);
        const search::HalfScale d = search::best_scale<W, search::Uniform<-1, 2>, 64>(in, {0.6f, 1.1f, 30, 30});
        int q[64];
        search::choose_levels<W, search::Uniform<-1, 2>, 64>(in.x, d.value, q);
        block->d.set_bits(d.bits);
        std::memset(block->qs, 0, sizeof block->qs);
        for (int e = 0; e < 64; ++e) block->qs[e / 4] = static_cast<uint8_t>(block->qs[e / 4] | (q[e] + 1) << (2 * (e % 4)));
    }
}

}  // namespace

QUANT_ENCODER(encode_q1_0, q1_0_body)
QUANT_ENCODER(encode_q2_0, q2_0_body)

}  // namespace quant
