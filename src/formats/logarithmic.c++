// L4: a sign and a power of two (or zero) per weight, under a scale per 32.
#include "formats/blocks.h"
#include "formats/codecs.h"
#include "formats/search.h"

namespace quant {

void decode_l4(const RowPlace*, const uint8_t* blocks, float* out, int64_t n) {
    const auto* block = reinterpret_cast<const BlockL4*>(blocks);
    for (int64_t i = 0; i < n; i += 32, ++block) {
        const float d = block->d.value();
        for (int j = 0; j < 16; ++j) {
            out[i + j] = d * static_cast<float>(kL4Levels[block->qs[j] & 15]);
            out[i + j + 16] = d * static_cast<float>(kL4Levels[block->qs[j] >> 4]);
        }
    }
}

namespace {

// 0 and +-2^k, k 0 to 6, found by counting the midpoints below the size.
struct Powers {
    static constexpr float kLow = -64, kStep = 1;
    template <int W>
    QUANT_INLINE static Vec<W> nearest(const Vec<W>& v) {
        constexpr float kMid[7] = {0.5f, 1.5f, 3, 6, 12, 24, 48};
        constexpr float kGap[7] = {1, 1, 2, 4, 8, 16, 32};
        const Vec<W> a = magnitude(v);
        Vec<W> level = Vec<W>::all(0);
        for (int i = 0; i < 7; ++i) level = level + if_above(a, Vec<W>::all(kMid[i]), Vec<W>::all(kGap[i]));
        return with_sign(level, v);
    }
};

int code_of(int level) {
    int code = 0;
    while (kL4Levels[code] != level) ++code;
    return code;
}

template <int W>
QUANT_INLINE void l4_body(const float* x, const float* importance, uint8_t* blocks, int64_t n) {
    auto* block = reinterpret_cast<BlockL4*>(blocks);
    search::Block<32> in;
    for (int64_t i = 0; i < n; i += 32, ++block) {
        search::load_block<W>(in, x + i, importance ? importance + i : nullptr);
        // From the largest weight at 3/4 of the last level to where it is cut to half.
        const search::HalfScale d = search::best_scale<W, Powers, 32>(in, {48, 1.03f, 34, 34});
        int level[32];
        search::choose_levels<W, Powers, 32>(in.x, d.value, level);
        block->d.set_bits(d.bits);
        for (int j = 0; j < 16; ++j) block->qs[j] = static_cast<uint8_t>(code_of(level[j]) | code_of(level[j + 16]) << 4);
    }
}

}  // namespace

QUANT_ENCODER(encode_l4, l4_body)

}  // namespace quant
