// Q4_0 Q4_1 Q5_0 Q5_1: 32 weights with one scale, and in the _1 forms a minimum.
#include "formats/blocks.h"
#include "formats/codecs.h"
#include "formats/search.h"
#include "formats/unweighted.h"

namespace quant {

namespace {

// Writes the low nibbles; returns bit 4 of each code.
uint32_t store_codes(const int* q, uint8_t* qs) {
    uint32_t high = 0;
    for (int j = 0; j < 16; ++j) qs[j] = static_cast<uint8_t>((q[j] & 15) | (q[j + 16] & 15) << 4);
    for (int e = 0; e < 32; ++e) high |= static_cast<uint32_t>(q[e] >> 4) << e;
    return high;
}

struct HalfAffine {
    search::HalfScale d, m;
    float error = 0;
};

template <int W, int TOP>
QUANT_INLINE void try_halves(const search::Block<32>& in, search::HalfScale d, search::HalfScale m, HalfAffine& best) {
    const float error = search::affine_error<W, 32, TOP>(in.x, in.w, d.value, m.value);
    if (error < best.error) best = {d, m, error};
}

// Rounds scale and offset to halves, the offset first: it then asks for a scale of its own.
template <int W, int TOP>
QUANT_INLINE void try_stored(const search::Block<32>& in, const search::AffineFit& fit, float d, HalfAffine& best) {
    const search::HalfScale m = search::half_scale(fit.offset(d), in.up, in.down);
    try_halves<W, TOP>(in, search::half_scale(fit.scale_for(m.value), in.up, in.down), m, best);
}

template <int W, int TOP>
QUANT_INLINE HalfAffine best_affine(const search::Block<32>& in) {
    const search::Range range = search::range_of<32>(in.x);
    HalfAffine best = {search::half_scale((range.high - range.low) / TOP, in.up, in.down),
                       search::half_scale(range.low, in.up, in.down), 0};
    best.error = search::affine_error<W, 32, TOP>(in.x, in.w, best.d.value, best.m.value);
    if (range.high == range.low) return best;
    // Without an offset: zeros that must stay zeros.
    try_halves<W, TOP>(in, search::half_scale(range.high / TOP, in.up, in.down), {}, best);
    try_halves<W, TOP>(in, search::half_scale(range.low / TOP, in.up, in.down), {}, best);
    const search::AffineFit base = search::affine_base<W, 32>(in.x, in.w);
    const auto free = search::best_free_affine<W, 32, TOP, false>(in.x, in.w, base, range.low, range.high,
                                                                  {-0.4f / TOP, 0.3f / TOP, 5});
    try_stored<W, TOP>(in, search::fit_affine<W, 32, TOP>(in.x, in.w, base, search::inverse(free.d), free.m), free.d, best);
    for (int round = 0; round < 2; ++round) {
        const auto fit = search::fit_affine<W, 32, TOP>(in.x, in.w, base, search::inverse(best.d.value), best.m.value);
        if (fit.determinant() > 0) try_stored<W, TOP>(in, fit, fit.scale(), best);
    }
    for (int reach : {16, 4, 1}) {
        for (int step : {reach, -reach}) {
            try_halves<W, TOP>(in, search::half_neighbor(best.d, step, in.down), best.m, best);
            try_halves<W, TOP>(in, best.d, search::half_neighbor(best.m, step, in.down), best);
        }
    }
    return best;
}

}  // namespace

void decode_q4_0(const RowPlace*, const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockQ4_0*>(blocks);
    for (int64_t i = 0; i < n; i += 32, ++block) {
        const float d = block->d.value();
        int8_t level[32];
        for (int j = 0; j < 16; ++j) {
            level[j] = static_cast<int8_t>((block->qs[j] & 15) - 8);
            level[j + 16] = static_cast<int8_t>((block->qs[j] >> 4) - 8);
        }
        for (int e = 0; e < 32; ++e) out[i + e] = d * static_cast<float>(level[e]);
    }
}

void decode_q4_1(const RowPlace*, const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockQ4_1*>(blocks);
    for (int64_t i = 0; i < n; i += 32, ++block) {
        const float d = block->d.value(), m = block->m.value();
        for (int j = 0; j < 16; ++j) out[i + j] = d * static_cast<float>(block->qs[j] & 15) + m;
        for (int j = 0; j < 16; ++j) out[i + j + 16] = d * static_cast<float>(block->qs[j] >> 4) + m;
    }
}

void decode_q5_0(const RowPlace*, const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockQ5_0*>(blocks);
    for (int64_t i = 0; i < n; i += 32, ++block) {
        const float d = block->d.value();
        const uint32_t high = load<uint32_t>(block->qh);
        for (int j = 0; j < 16; ++j) out[i + j] = d * static_cast<float>(((block->qs[j] & 15) | static_cast<int>(high >> j & 1) << 4) - 16);
        for (int j = 0; j < 16; ++j) out[i + j + 16] = d * static_cast<float>(((block->qs[j] >> 4) | static_cast<int>(high >> (j + 16) & 1) << 4) - 16);
    }
}

void decode_q5_1(const RowPlace*, const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockQ5_1*>(blocks);
    for (int64_t i = 0; i < n; i += 32, ++block) {
        const float d = block->d.value(), m = block->m.value();
        const uint32_t high = load<uint32_t>(block->qh);
        for (int j = 0; j < 16; ++j) out[i + j] = d * static_cast<float>((block->qs[j] & 15) | static_cast<int>(high >> j & 1) << 4) + m;
        for (int j = 0; j < 16; ++j) out[i + j + 16] = d * static_cast<float>((block->qs[j] >> 4) | static_cast<int>(high >> (j + 16) & 1) << 4) + m;
    }
}

namespace {

template <int W>
QUANT_INLINE void q4_0_body(const float* x, const float* importance, uint8_t* blocks, int64_t n) {
    auto* block = reinterpret_cast<BlockQ4_0*>(blocks);
    search::Block<32> in;
    for (int64_t i = 0; i < n; i += 32, ++block) {
        search::load_block<W>(in, x + i, importance ? importance + i : nullptr);
        const search::HalfScale d = search::best_scale<W, search::Uniform<-8, 7>, 32>(in, {6.3f, 1.025f, 20, 40});
        int q[32];
        search::choose_levels<W, search::Uniform<-8, 7>, 32>(in.x, d.value, q);
        block->d.set_bits(d.bits);
        for (int& code : q) code += 8;
        store_codes(q, block->qs);
    }
}

template <int W>
QUANT_INLINE void q5_0_body(const float* x, const float* importance, uint8_t* blocks, int64_t n) {
    auto* block = reinterpret_cast<BlockQ5_0*>(blocks);
    search::Block<32> in;
    for (int64_t i = 0; i < n; i += 32, ++block) {
        search::load_block<W>(in, x + i, importance ? importance + i : nullptr);
        const search::HalfScale d = search::best_scale<W, search::Uniform<-16, 15>, 32>(in, {13.2f, 1.012f, 24, 64});
        int q[32];
        search::choose_levels<W, search::Uniform<-16, 15>, 32>(in.x, d.value, q);
        block->d.set_bits(d.bits);
        for (int& code : q) code += 16;
        store(block->qh, store_codes(q, block->qs));
    }
}

template <int W>
QUANT_INLINE void q4_1_body(const float* x, const float* importance, uint8_t* blocks, int64_t n) {
    auto* block = reinterpret_cast<BlockQ4_1*>(blocks);
    search::Block<32> in;
    for (int64_t i = 0; i < n; i += 32, ++block) {
        search::load_block<W>(in, x + i, importance ? importance + i : nullptr);
        const HalfAffine best = best_affine<W, 15>(in);
        int q[32];
        search::affine_codes<W, 32, 15>(in.x, best.d.value, best.m.value, q);
        block->d.set_bits(best.d.bits);
        block->m.set_bits(best.m.bits);
        store_codes(q, block->qs);
    }
}

template <int W>
QUANT_INLINE void q5_1_body(const float* x, const float* importance, uint8_t* blocks, int64_t n) {
    auto* block = reinterpret_cast<BlockQ5_1*>(blocks);
    search::Block<32> in;
    for (int64_t i = 0; i < n; i += 32, ++block) {
        search::load_block<W>(in, x + i, importance ? importance + i : nullptr);
        const HalfAffine best = best_affine<W, 31>(in);
        int q[32];
        search::affine_codes<W, 32, 31>(in.x, best.d.value, best.m.value, q);
        block->d.set_bits(best.d.bits);
        block->m.set_bits(best.m.bits);
        store(block->qh, store_codes(q, block->qs));
    }
}

QUANT_ENCODER(thorough_q4_0, q4_0_body)
QUANT_ENCODER(thorough_q5_0, q5_0_body)

}  // namespace

void encode_q4_0(const RowPlace* place, const float* x, const float* importance, uint8_t* blocks, int64_t n) {
    if (importance) return thorough_q4_0(place, x, importance, blocks, n);
    unweighted_encoders().q4_0(x, blocks, n, {thorough_q4_0, decode_q4_0}, nullptr);
}
void encode_q4_0_measured(const float* x, uint8_t* blocks, int64_t n, EncodingError& sums) {
    unweighted_encoders().q4_0(x, blocks, n, {thorough_q4_0, decode_q4_0}, &sums);
}
QUANT_FAST_ENCODER(q5_0)
QUANT_ENCODER(encode_q4_1, q4_1_body)
QUANT_ENCODER(encode_q5_1, q5_1_body)

}  // namespace quant
