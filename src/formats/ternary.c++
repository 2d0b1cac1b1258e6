// TQ1_0 and TQ2_0: 256 weights of {-d, 0, d}.
#include <cstring>

#include "formats/blocks.h"
#include "formats/codecs.h"
#include "formats/search.h"
#include "formats/unweighted.h"

namespace quant {

namespace {

// From everything but the extreme element set to 0 up to everything set to +-1.
constexpr search::Grid kTernaryGrid = {0.51f, 1.1f, 32, 32};

constexpr int kPower3[5] = {1, 3, 9, 27, 81};

int trit_of(int byte, int n) { return ((byte * kPower3[n] & 255) * 3) >> 8; }

// `count` codes from -1 to 1, `stride` apart, as one byte; four codes leave the last trit 0.
uint8_t pack_trits(const int* q, int stride, int count) {
    int value = 0;
    for (int t = 0; t < 5; ++t) value = 3 * value + (t < count ? q[t * stride] + 1 : 0);
    return static_cast<uint8_t>((value * 256 + 242) / 243);
}

}  // namespace

void decode_tq1_0(const RowPlace*, const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockTQ1_0*>(blocks);
    for (int64_t i = 0; i < n; i += 256, ++block) {
        const float d = block->d.value();
        float* to = out + i;
        for (int t = 0; t < 5; ++t) {
            for (int b = 0; b < 32; ++b) *to++ = d * static_cast<float>(trit_of(block->qs[b], t) - 1);
        }
        for (int t = 0; t < 5; ++t) {
            for (int b = 32; b < 48; ++b) *to++ = d * static_cast<float>(trit_of(block->qs[b], t) - 1);
        }
        for (int t = 0; t < 4; ++t) {
            for (int b = 0; b < 4; ++b) *to++ = d * static_cast<float>(trit_of(block->qh[b], t) - 1);
        }
    }
}

void decode_tq2_0(const RowPlace*, const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockTQ2_0*>(blocks);
    for (int64_t i = 0; i < n; i += 256, ++block) {
        const float d = block->d.value();
        for (int plane = 0; plane < 8; ++plane) {
            const uint8_t* qs = block->qs + 32 * (plane / 4);
            float* to = out + i + 32 * plane;
            for (int l = 0; l < 32; ++l) to[l] = d * static_cast<float>((qs[l] >> (2 * (plane % 4)) & 3) - 1);
        }
    }
}

namespace {

// Positive: a negative scale would say the same, but for the sign of its zeros.
template <int W>
QUANT_INLINE search::HalfScale ternary_scale(const search::Block<256>& in) {
    const search::HalfScale d = search::best_scale<W, search::Uniform<-1, 1>, 256>(in, kTernaryGrid);
    return search::half_from_bits(d.bits & 0x7fff, in.down);
}

template <int W>
QUANT_INLINE void tq1_0_body(const float* x, const float* importance, uint8_t* blocks, int64_t n) {
    auto* block = reinterpret_cast<BlockTQ1_0*>(blocks);
    search::Block<256> in;
    for (int64_t i = 0; i < n; i += 256, ++block) {
        search::load_block<W>(in, x + i, importance ? importance + i : nullptr);
        const search::HalfScale d = ternary_scale<W>(in);
        int q[256];
        search::choose_levels<W, search::Uniform<-1, 1>, 256>(in.x, d.value, q);
        block->d.set_bits(d.bits);
        for (int b = 0; b < 32; ++b) block->qs[b] = pack_trits(q + b, 32, 5);
        for (int b = 0; b < 16; ++b) block->qs[32 + b] = pack_trits(q + 160 + b, 16, 5);
        for (int b = 0; b < 4; ++b) block->qh[b] = pack_trits(q + 240 + b, 4, 4);
    }
}

template <int W>
QUANT_INLINE void tq2_0_body(const float* x, const float* importance, uint8_t* blocks, int64_t n) {
    auto* block = reinterpret_cast<BlockTQ2_0*>(blocks);
    search::Block<256> in;
    for (int64_t i = 0; i < n; i += 256, ++block) {
        search::load_block<W>(in, x + i, importance ? importance + i : nullptr);
        const search::HalfScale d = ternary_scale<W>(in);
        int q[256];
        search::choose_levels<W, search::Uniform<-1, 1>, 256>(in.x, d.value, q);
        block->d.set_bits(d.bits);
        std::memset(block->qs, 0, sizeof block->qs);
        for (int e = 0; e < 256; ++e) {
            uint8_t& byte = block->qs[32 * (e / 128) + e % 32];
            byte = static_cast<uint8_t>(byte | (q[e] + 1) << (2 * (e / 32 % 4)));
        }
    }
}

QUANT_ENCODER(thorough_tq2_0, tq2_0_body)

}  // namespace

QUANT_ENCODER(encode_tq1_0, tq1_0_body)
QUANT_FAST_ENCODER(tq2_0)

}  // namespace quant
