// Small integers (and minima) of super-blocks go some steps up and down. Halves of small blocks are left alone: some hundredths up
// and down lowered the sum that feedback minimises by a fifth, and the KL on held-out text not at all.
#include "convert/rounding/scale_choices.h"

#include <array>

#include "formats/blocks.h"

namespace quant {

namespace {

constexpr int kNear = 5;  // scales and minima from two less to two more

template <class Block>
Block& as(uint8_t* block) {
    return *reinterpret_cast<Block*>(block);
}
template <class Block>
const Block& as(const uint8_t* block) {
    return *reinterpret_cast<const Block*>(block);
}

// `mask`'s bits of `to` become those of `bits`.
void put_bits(uint8_t& to, int mask, int bits) { to = static_cast<uint8_t>((to & ~mask) | (bits & mask)); }

bool within(int value, int least, int most) { return value >= least && value <= most; }

// The nth pair of (scale, min) around one, each from 0 to `most`.
bool next_pair(int n, int most, int& scale, int& min) {
    const int other = n < kNear * kNear / 2 ? n : n + 1;  // not the middle
    scale += other / kNear - kNear / 2;
    min += other % kNear - kNear / 2;
    return within(scale, 0, most) && within(min, 0, most);
}

// The nth of `count` scales around one, in steps of `step`.
bool next_scale(int n, int count, int step, int least, int most, int& scale) {
    scale += step * (n < count / 2 ? n - count / 2 : n - count / 2 + 1);
    return within(scale, least, most);
}

template <class Block>  // Q4_K, Q5_K
bool set_six_bit_pair(const uint8_t* original, int64_t span, int n, uint8_t* block) {
    const uint8_t* from = as<Block>(original).scales;
    uint8_t* to = as<Block>(block).scales;
    int scale, min;
    if (span < 4) scale = from[span] & 63, min = from[span + 4] & 63;
    else scale = (from[span + 4] & 15) | (from[span - 4] >> 6) << 4, min = (from[span + 4] >> 4) | (from[span] >> 6) << 4;
    if (!next_pair(n, 63, scale, min)) return false;
    if (span < 4) {
        put_bits(to[span], 63, scale);
        put_bits(to[span + 4], 63, min);
    } else {
        to[span + 4] = static_cast<uint8_t>((scale & 15) | (min & 15) << 4);
        put_bits(to[span - 4], 0xc0, scale >> 4 << 6);
        put_bits(to[span], 0xc0, min >> 4 << 6);
    }
    return true;
}

bool set_q2_k(const uint8_t* original, int64_t span, int n, uint8_t* block) {
    const uint8_t from = as<BlockQ2_K>(original).scales[span];
    int scale = from & 15, min = from >> 4;
    if (!next_pair(n, 15, scale, min)) return false;
    as<BlockQ2_K>(block).scales[span] = static_cast<uint8_t>(scale | min << 4);
    return true;
}

constexpr int kEightBitScales = 8, kSixBitScales = 4;

bool set_q6_k(const uint8_t* original, int64_t span, int n, uint8_t* block) {
    int scale = as<BlockQ6_K>(original).scales[span];
    if (!next_scale(n, kEightBitScales, 2, -128, 127, scale)) return false;
    as<BlockQ6_K>(block).scales[span] = static_cast<int8_t>(scale);
    return true;
}

bool set_q3_k(const uint8_t* original, int64_t span, int n, uint8_t* block) {
    const uint8_t* from = as<BlockQ3_K>(original).scales;
    uint8_t* to = as<BlockQ3_K>(block).scales;
    const auto high = static_cast<int>(span / 4 * 2), low = static_cast<int>(span / 8 * 4);
    int scale = (from[span % 8] >> low & 15) | (from[8 + span % 4] >> high & 3) << 4;
    if (!next_scale(n, kSixBitScales, 1, 0, 63, scale)) return false;
    put_bits(to[span % 8], 15 << low, (scale & 15) << low);
    put_bits(to[8 + span % 4], 3 << high, scale >> 4 << high);
    return true;
}

bool set_iq4_xs(const uint8_t* original, int64_t span, int n, uint8_t* block) {
    const BlockIQ4_XS& from = as<BlockIQ4_XS>(original);
    BlockIQ4_XS& to = as<BlockIQ4_XS>(block);
    const auto high = static_cast<int>(span % 4 * 2), low = static_cast<int>(span % 2 * 4);
    int scale = (from.scales_l[span / 2] >> low & 15) | (from.scales_h[span / 4] >> high & 3) << 4;
    if (!next_scale(n, kSixBitScales, 1, 0, 63, scale)) return false;
    put_bits(to.scales_l[span / 2], 15 << low, (scale & 15) << low);
    put_bits(to.scales_h[span / 4], 3 << high, scale >> 4 << high);
    return true;
}

using Table = std::array<ScaleChoices, kFormatCount>;

Table make_table() {
    Table table;
    const auto set = [&](FormatSlot slot, int count, int64_t span, auto* function) { table[static_cast<size_t>(slot)] = {count, span, function}; };
    set(FormatSlot::q2_k, kNear * kNear - 1, 16, set_q2_k);
    set(FormatSlot::q4_k, kNear * kNear - 1, 32, set_six_bit_pair<BlockQ4_K>);
    set(FormatSlot::q5_k, kNear * kNear - 1, 32, set_six_bit_pair<BlockQ5_K>);
    set(FormatSlot::q3_k, kSixBitScales, 16, set_q3_k);
    set(FormatSlot::q6_k, kEightBitScales, 16, set_q6_k);
    set(FormatSlot::iq4_xs, kSixBitScales, 32, set_iq4_xs);
    return table;
}

}  // namespace

const ScaleChoices* scale_choices(FormatSlot slot) {
    static const Table table = make_table();
    const ScaleChoices& choices = table[static_cast<size_t>(slot)];
    return choices.set ? &choices : nullptr;
}

}  // namespace quant
