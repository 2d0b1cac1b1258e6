// Eight-bit floats E4M3 and E5M2 under a float scale, per 128 weights or per row (layouts in blocks.h).
#include <bit>
#include <vector>

#include "formats/affine_search.h"
#include "formats/blocks.h"
#include "formats/codecs.h"

namespace quant {

namespace {

using affine::Span;

// bias of the exponent, bits of the mantissa, largest finite value.
struct E4M3 {
    static constexpr int kBias = 7, kMantissa = 3;
    static constexpr float kLargest = 448;
};
struct E5M2 {
    static constexpr int kBias = 15, kMantissa = 2;
    static constexpr float kLargest = 57344;
};

template <class F>
void decode_numbers(float scale, const uint8_t* at, float* out, int64_t n) {
    for (int64_t i = 0; i < n; ++i) out[i] = scale * fp8_value<F::kMantissa == 3>(at[i]);
}

// The nearest number of the format, ties to even: normal ones keep kMantissa + 1 bits, which adding and taking away a
// multiple leaves (Dekker's splitting); below the smallest normal one they are multiples of one step.
template <class F, int W>
QUANT_INLINE Vec<W> nearest(const Vec<W>& v) {
    constexpr float kSplit = static_cast<float>((1 << (23 - F::kMantissa)) + 1);
    constexpr float kSmallest = 1.0f / static_cast<float>(1 << (F::kBias - 1));
    constexpr float kMagic = 1.5f * kSmallest * static_cast<float>(1 << (23 - F::kMantissa));
    const Vec<W> most = Vec<W>::all(F::kLargest);
    const Vec<W> a = min(magnitude(v), most), zero = Vec<W>::all(0), least = Vec<W>::all(kSmallest);
    const Vec<W> t = a * Vec<W>::all(kSplit), normal = min(t - (t - a), most);
    const Vec<W> magic = Vec<W>::all(kMagic), small = (a + magic) - magic;
    // One of the two: a < smallest, or not.
    const Vec<W> below = if_above(least, a, small);
    return with_sign(below + (normal - if_above(least, a, normal)) + zero, v);
}

template <class F, int W>
QUANT_INLINE float error_of(const Span& s, float d) {
    Vec<W> error = Vec<W>::all(0);
    const Vec<W> inv = Vec<W>::all(search::inverse(d)), vd = Vec<W>::all(d);
    for (int64_t i = 0; i < s.n; i += kLanes) {
        const Vec<W> x = Vec<W>::load(s.x + i), r = x - vd * nearest<F, W>(x * inv);
        error = error + Vec<W>::load(s.w + i) * (r * r);
    }
    return error.sum();
}

template <class F>
uint8_t code_of(float number) {
    const uint32_t bits = std::bit_cast<uint32_t>(number);
    const uint32_t sign = bits >> 24 & 0x80, size = bits & 0x7fffffff;
    const int exponent = static_cast<int>(size >> 23) - 127 + F::kBias;
    if (exponent >= 1) return static_cast<uint8_t>(sign | ((size >> (23 - F::kMantissa)) - (static_cast<uint32_t>(127 - F::kBias) << F::kMantissa)));
    const float steps = std::bit_cast<float>(size) * static_cast<float>(1 << (F::kBias - 1 + F::kMantissa));
    return static_cast<uint8_t>(sign | static_cast<uint32_t>(steps));
}

// The scale is searched among those that bring the largest weight to the top of the range and up to an eighth below it: in
// between lie all positions of the mantissas' steps.
template <class F, int W>
QUANT_INLINE void encode_numbers(Span s, const float* x, const float* importance, uint8_t* scale, uint8_t* out) {
    affine::normalize<W>(s, x, importance);
    const float most = affine::largest<W>(s.x, s.n);
    affine::Number chosen;
    if (most > 0) {
        float least = error_of<F, W>(s, 0);
        for (int k = 0; k < 24; ++k) {
            const float d = most / (F::kLargest * (1.0f - 0.0225f * static_cast<float>(k - 2)));
            const affine::Number next = affine::stored(false, d, s.up, s.down);
            const float error = error_of<F, W>(s, next.value);
            if (error < least) least = error, chosen = next;
        }
    }
    store(scale, chosen.bits);
    const Vec<W> inv = Vec<W>::all(search::inverse(chosen.value));
    for (int64_t i = 0; i < s.n; i += kLanes) {
        float numbers[kLanes];
        nearest<F, W>(Vec<W>::load(s.x + i) * inv).store(numbers);
        for (int e = 0; e < kLanes; ++e) out[i + e] = code_of<F>(numbers[e]);
    }
}

template <class F, int W>
QUANT_INLINE void block_body(const float* x, const float* importance, uint8_t* blocks, int64_t n) {
    auto* block = reinterpret_cast<BlockFp8*>(blocks);
    float numbers[2 * 128];
    for (int64_t i = 0; i < n; i += 128, ++block)
        encode_numbers<F, W>({numbers, numbers + 128, 128}, x + i, importance ? importance + i : nullptr, block->d, block->qs);
}

template <class F, int W>
QUANT_INLINE void row_body(const float* x, const float* importance, uint8_t* row, int64_t n) {
    std::vector<float> numbers(static_cast<size_t>(2 * n));
    encode_numbers<F, W>({numbers.data(), numbers.data() + n, n}, x, importance, row, row + 4);
}

template <int W>
QUANT_INLINE void e4m3_body(const float* x, const float* importance, uint8_t* blocks, int64_t n) { block_body<E4M3, W>(x, importance, blocks, n); }
template <int W>
QUANT_INLINE void e5m2_body(const float* x, const float* importance, uint8_t* blocks, int64_t n) { block_body<E5M2, W>(x, importance, blocks, n); }
template <int W>
QUANT_INLINE void e4m3_row_body(const float* x, const float* importance, uint8_t* blocks, int64_t n) { row_body<E4M3, W>(x, importance, blocks, n); }
template <int W>
QUANT_INLINE void e5m2_row_body(const float* x, const float* importance, uint8_t* blocks, int64_t n) { row_body<E5M2, W>(x, importance, blocks, n); }

template <class F>
void decode_blocks(const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockFp8*>(blocks);
    for (int64_t i = 0; i < n; i += 128, ++block) decode_numbers<F>(load<float>(block->d), block->qs, out + i, 128);
}

}  // namespace

void decode_fp8_e4m3(const RowPlace*, const uint8_t* blocks, float* out, int64_t n) { decode_blocks<E4M3>(blocks, out, n); }
void decode_fp8_e5m2(const RowPlace*, const uint8_t* blocks, float* out, int64_t n) { decode_blocks<E5M2>(blocks, out, n); }
void decode_fp8_e4m3_row(const RowPlace* place, const uint8_t* blocks, float* out, int64_t n) {
    decode_numbers<E4M3>(load<float>(place->row_head), blocks, out, n);
}
void decode_fp8_e5m2_row(const RowPlace* place, const uint8_t* blocks, float* out, int64_t n) {
    decode_numbers<E5M2>(load<float>(place->row_head), blocks, out, n);
}

QUANT_ENCODER(encode_fp8_e4m3, e4m3_body)
QUANT_ENCODER(encode_fp8_e5m2, e5m2_body)
QUANT_ENCODER(encode_fp8_e4m3_row, e4m3_row_body)
QUANT_ENCODER(encode_fp8_e5m2_row, e5m2_row_body)

}  // namespace quant
