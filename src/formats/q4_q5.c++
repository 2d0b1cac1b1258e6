// Q4_0 Q4_1 Q5_0 Q5_1: 32 weights with one scale, and in the _1 forms a minimum.
#include "formats/blocks.h"
#include "formats/codecs.h"
#include "formats/search.h"

namespace quant {

namespace {

// Code of element e: nibble, and bit e of `high` as bit 4.
int code_of(const uint8_t* qs, uint32_t high, int e) {
    const int nibble = e < 16 ? qs[e] & 15 : qs[e - 16] >> 4;
    return nibble | static_cast<int>((high >> e) & 1) << 4;
}

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

// Rounds scale and offset to halves, the offset first: it then asks for a scale of its own.
template <int TOP>
HalfAffine stored_affine(const search::Block<32>& in, float d, float m) {
    HalfAffine out;
    out.m = search::half_scale(m, in.up, in.down);
    const search::AffineFit fit = search::fit_affine<32, TOP>(in.x, in.w, search::inverse(d), out.m.value);
    out.d = search::half_scale(fit.scale_for(out.m.value), in.up, in.down);
    out.error = search::affine_error<32, TOP>(in.x, in.w, out.d.value, out.m.value);
    return out;
}

// Tries widths of the code range around that of the data, alternating codes and least squares.
template <int TOP>
HalfAffine best_affine(const search::Block<32>& in) {
    float low = in.x[0], high = in.x[0];
    for (float v : in.x) low = v < low ? v : low, high = v > high ? v : high;
    HalfAffine best = stored_affine<TOP>(in, (high - low) / TOP, low);
    if (high == low) return best;
    for (int k = -8; k <= 16; ++k) {
        float inv = (TOP + 0.125f * static_cast<float>(k)) / (high - low), m = low;
        for (int round = 0; round < 3; ++round) {
            const search::AffineFit fit = search::fit_affine<32, TOP>(in.x, in.w, inv, m);
            if (!fit.regular()) break;
            const float d = fit.scale();
            m = fit.offset(d);
            inv = search::inverse(d);
            const HalfAffine candidate = stored_affine<TOP>(in, d, m);
            if (candidate.error < best.error) best = candidate;
        }
    }
    return best;
}

}  // namespace

void decode_q4_0(const void*, const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockQ4_0*>(blocks);
    for (int64_t i = 0; i < n; i += 32, ++block) {
        const float d = block->d.value();
        for (int e = 0; e < 32; ++e) out[i + e] = d * static_cast<float>(code_of(block->qs, 0, e) - 8);
    }
}

void decode_q4_1(const void*, const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockQ4_1*>(blocks);
    for (int64_t i = 0; i < n; i += 32, ++block) {
        const float d = block->d.value(), m = block->m.value();
        for (int e = 0; e < 32; ++e) out[i + e] = d * static_cast<float>(code_of(block->qs, 0, e)) + m;
    }
}

void decode_q5_0(const void*, const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockQ5_0*>(blocks);
    for (int64_t i = 0; i < n; i += 32, ++block) {
        const float d = block->d.value();
        const uint32_t high = load<uint32_t>(block->qh);
        for (int e = 0; e < 32; ++e) out[i + e] = d * static_cast<float>(code_of(block->qs, high, e) - 16);
    }
}

void decode_q5_1(const void*, const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockQ5_1*>(blocks);
    for (int64_t i = 0; i < n; i += 32, ++block) {
        const float d = block->d.value(), m = block->m.value();
        const uint32_t high = load<uint32_t>(block->qh);
        for (int e = 0; e < 32; ++e) out[i + e] = d * static_cast<float>(code_of(block->qs, high, e)) + m;
    }
}

void encode_q4_0(const void*, const float* x, const float* importance, uint8_t* blocks, int64_t n) {
    auto* block = reinterpret_cast<BlockQ4_0*>(blocks);
    search::Block<32> in;
    for (int64_t i = 0; i < n; i += 32, ++block) {
        search::load_block(in, x + i, importance ? importance + i : nullptr);
        const search::HalfScale d = search::best_scale<search::Uniform<-8, 7>, 32>(in.x, in.w, in.up, in.down, {6.3f, 1.025f, 20});
        int q[32];
        search::choose_levels<search::Uniform<-8, 7>, 32>(in.x, d.value, q);
        block->d.set_bits(d.bits);
        for (int& code : q) code += 8;
        store_codes(q, block->qs);
    }
}

void encode_q5_0(const void*, const float* x, const float* importance, uint8_t* blocks, int64_t n) {
    auto* block = reinterpret_cast<BlockQ5_0*>(blocks);
    search::Block<32> in;
    for (int64_t i = 0; i < n; i += 32, ++block) {
        search::load_block(in, x + i, importance ? importance + i : nullptr);
        const search::HalfScale d = search::best_scale<search::Uniform<-16, 15>, 32>(in.x, in.w, in.up, in.down, {14.4f, 1.0125f, 20});
        int q[32];
        search::choose_levels<search::Uniform<-16, 15>, 32>(in.x, d.value, q);
        block->d.set_bits(d.bits);
        for (int& code : q) code += 16;
        store(block->qh, store_codes(q, block->qs));
    }
}

void encode_q4_1(const void*, const float* x, const float* importance, uint8_t* blocks, int64_t n) {
    auto* block = reinterpret_cast<BlockQ4_1*>(blocks);
    search::Block<32> in;
    for (int64_t i = 0; i < n; i += 32, ++block) {
        search::load_block(in, x + i, importance ? importance + i : nullptr);
        const HalfAffine best = best_affine<15>(in);
        int q[32];
        search::affine_codes<32, 15>(in.x, best.d.value, best.m.value, q);
        block->d.set_bits(best.d.bits);
        block->m.set_bits(best.m.bits);
        store_codes(q, block->qs);
    }
}

void encode_q5_1(const void*, const float* x, const float* importance, uint8_t* blocks, int64_t n) {
    auto* block = reinterpret_cast<BlockQ5_1*>(blocks);
    search::Block<32> in;
    for (int64_t i = 0; i < n; i += 32, ++block) {
        search::load_block(in, x + i, importance ? importance + i : nullptr);
        const HalfAffine best = best_affine<31>(in);
        int q[32];
        search::affine_codes<32, 31>(in.x, best.d.value, best.m.value, q);
        block->d.set_bits(best.d.bits);
        block->m.set_bits(best.m.bits);
        store(block->qh, store_codes(q, block->qs));
    }
}

}  // namespace quant
