// The affine family: planes of bits, and the choice of scales and zero points per group or row.
#include "formats/affine.h"

#include <cstring>
#include <vector>

#include "base/bytes.h"
#include "formats/affine_search.h"
#include "formats/codecs.h"

namespace quant {

namespace {

// Planes of a code: bits of each, the lowest of the code first.
struct Planes {
    int width[3], count;
};
constexpr Planes planes_of(int bits) {
    Planes planes{{0, 0, 0}, 0};
    for (int width : {8, 4, 2, 1})
        if (bits & width) planes.width[planes.count++] = width;
    return planes;
}

// 32 codes as bytes; of 8 bits the bytes themselves.
template <int bits>
void unpack(const uint8_t* at, uint8_t* codes) {
    constexpr Planes planes = planes_of(bits);
    std::memset(codes, 0, 32);
    int low = 0;
    for (int p = 0; p < planes.count; ++p) {
        const int width = planes.width[p], bytes = 4 * width, mask = (1 << width) - 1;
        for (int e = 0; e < 32; ++e) {
            codes[e] = static_cast<uint8_t>(codes[e] | (at[e % bytes] >> (width * (e / bytes)) & mask) << low);
        }
        at += bytes;
        low += width;
    }
}

void pack(int bits, const uint8_t* codes, uint8_t* at) {
    const Planes planes = planes_of(bits);
    std::memset(at, 0, static_cast<size_t>(4 * bits));
    int low = 0;
    for (int p = 0; p < planes.count; ++p) {
        const int width = planes.width[p], bytes = 4 * width, mask = (1 << width) - 1;
        for (int e = 0; e < 32; ++e) {
            uint8_t& byte = at[e % bytes];
            byte = static_cast<uint8_t>(byte | (codes[e] >> low & mask) << (width * (e / bytes)));
        }
        at += bytes;
        low += width;
    }
}

// Weights of a group: exactly the formulas of affine.h.
template <int bits>
void decode_codes(const AffineLayout& layout, const uint8_t* header, const uint8_t* at, float* out, int64_t n) {
    const float d = layout.group ? f16_to_f32(load<uint16_t>(header)) : load<float>(header);
    float z = static_cast<float>(layout.center());
    if (layout.zero) z = layout.group ? f16_to_f32(load<uint16_t>(header + 2)) : load<float>(header + 4);
    for (int64_t i = 0; i < n; i += 32, at += layout.codes32()) {
        uint8_t codes[32];
        unpack<bits>(at, codes);
        for (int e = 0; e < 32; ++e) {
            const float q = static_cast<float>(bits == 8 ? static_cast<int>(static_cast<int8_t>(codes[e])) : codes[e]);
            out[i + e] = bits == 1 && !layout.zero ? (codes[e] ? d : -d) : d * (q - z);
        }
    }
}

template <int bits>
void decode_row(const AffineLayout& layout, const RowPlace* place, const uint8_t* blocks, float* out, int64_t n) {
    if (layout.group == 0) return decode_codes<bits>(layout, place->row_head, blocks, out, n);
    for (int64_t i = 0; i < n; i += layout.group, blocks += layout.block_bytes())
        decode_codes<bits>(layout, blocks, blocks + layout.header(), out + i, layout.group);
}

void store_number(bool half, uint32_t bits, uint8_t* at) {
    if (half) store(at, static_cast<uint16_t>(bits));
    else store(at, bits);
}

// The codes nearest to the weights under the scale and zero point chosen.
template <int W>
QUANT_INLINE void encode_codes(const AffineLayout& layout, const affine::Span& s, float d, float z, uint8_t* at) {
    const Vec<W> inv = Vec<W>::all(search::inverse(d)), vz = Vec<W>::all(z);
    const affine::Levels range = {static_cast<float>(layout.lowest()), static_cast<float>(layout.highest())};
    for (int64_t i = 0; i < s.n; i += 32, at += layout.codes32()) {
        float chosen[32];
        uint8_t codes[32];
        for (int e = 0; e < 32; e += kLanes) affine::code_of<W>(Vec<W>::load(s.x + i + e), inv, vz, range).store(chosen + e);
        for (int e = 0; e < 32; ++e) {
            codes[e] = static_cast<uint8_t>(static_cast<int>(chosen[e]));
            if (layout.bits == 1 && !layout.zero) codes[e] = s.x[i + e] >= 0;
        }
        pack(layout.bits, codes, at);
    }
}

template <int W>
QUANT_INLINE void encode_group(const AffineLayout& layout, affine::Span s, const float* x, const float* importance,
                               uint8_t* header, uint8_t* codes) {
    affine::normalize<W>(s, x, importance);
    const bool half = layout.group != 0;
    affine::Line line;
    if (layout.zero) {
        line = affine::best_zero_and_scale<W>(s, layout);
    } else {
        line.d = layout.bits == 1 ? affine::best_size<W>(s, half) : affine::best_scale<W>(s, layout);
        line.z.value = static_cast<float>(layout.center());
    }
    store_number(half, line.d.bits, header);
    if (layout.zero) store_number(half, line.z.bits, header + (half ? 2 : 4));
    encode_codes<W>(layout, s, line.d.value, line.z.value, codes);
}

template <int W>
QUANT_INLINE void encode_body(const AffineLayout& layout, const float* x, const float* importance, uint8_t* row, int64_t n) {
    if (layout.group == 0) {
        std::vector<float> numbers(static_cast<size_t>(2 * n));
        encode_group<W>(layout, {numbers.data(), numbers.data() + n, n}, x, importance, row, row + layout.row_head());
        return;
    }
    float numbers[2 * 128];
    for (int64_t i = 0; i < n; i += layout.group, row += layout.block_bytes())
        encode_group<W>(layout, {numbers, numbers + layout.group, layout.group}, x + i, importance ? importance + i : nullptr, row,
                        row + layout.header());
}

#if defined(__x86_64__) && !defined(QUANT_SANITIZED)
[[gnu::target("avx2")]] void encode_wide(const AffineLayout& layout, const float* x, const float* importance, uint8_t* row,
                                         int64_t n) {
    encode_body<8>(layout, x, importance, row, n);
}
#endif

void encode_row(const AffineLayout& layout, const float* x, const float* importance, uint8_t* row, int64_t n) {
#if defined(__x86_64__) && !defined(QUANT_SANITIZED)
    if (wide_lanes()) return encode_wide(layout, x, importance, row, n);
#endif
    encode_body<4>(layout, x, importance, row, n);
}

}  // namespace

template <size_t index>
void decode_affine(const RowPlace* place, const uint8_t* blocks, float* out, int64_t n) {
    constexpr AffineLayout layout = affine_layout(index);
    decode_row<layout.bits>(layout, place, blocks, out, n);
}

template <size_t index>
void encode_affine(const RowPlace*, const float* x, const float* importance, uint8_t* row, int64_t n) {
    encode_row(affine_layout(index), x, importance, row, n);
}

void put_affine_codes(const AffineLayout& layout, const uint8_t* codes, uint8_t* block) {
    if (layout.group) block += layout.header();
    for (int e = 0; e < layout.block(); e += 32, block += layout.codes32()) {
        uint8_t stored[32];
        for (int i = 0; i < 32; ++i) stored[i] = static_cast<uint8_t>(codes[e + i] + layout.lowest());
        pack(layout.bits, stored, block);
    }
}

#define QUANT_AFFINE_CODEC(i)          \
    template DecodeFn decode_affine<i>; \
    template EncodeFn encode_affine<i>;
#define QUANT_AFFINE_EIGHT(i)                                                                              \
    QUANT_AFFINE_CODEC(i) QUANT_AFFINE_CODEC(i + 1) QUANT_AFFINE_CODEC(i + 2) QUANT_AFFINE_CODEC(i + 3)    \
    QUANT_AFFINE_CODEC(i + 4) QUANT_AFFINE_CODEC(i + 5) QUANT_AFFINE_CODEC(i + 6) QUANT_AFFINE_CODEC(i + 7)
QUANT_AFFINE_EIGHT(0)
QUANT_AFFINE_EIGHT(8)
QUANT_AFFINE_EIGHT(16)
QUANT_AFFINE_EIGHT(24)
QUANT_AFFINE_EIGHT(32)
QUANT_AFFINE_EIGHT(40)
QUANT_AFFINE_EIGHT(48)
QUANT_AFFINE_EIGHT(56)

}  // namespace quant
