// Q4_0 Q4_1 Q5_0 Q5_1: 32 weights with one scale, and in the _1 forms a minimum.
#include "formats/blocks.h"
#include "formats/codecs.h"

namespace quant {

namespace {

// Code of element e: nibble, and bit e of `high` as bit 4.
int code_of(const uint8_t* qs, uint32_t high, int e) {
    const int nibble = e < 16 ? qs[e] & 15 : qs[e - 16] >> 4;
    return nibble | static_cast<int>((high >> e) & 1) << 4;
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

}  // namespace quant
