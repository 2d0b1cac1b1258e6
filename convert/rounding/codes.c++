// Packing of codes, one function per layout; pictures of the bits are in formats/blocks.h.
#include "convert/rounding/codes.h"

#include <array>
#include <cstring>
#include <utility>

#include "formats/affine.h"
#include "formats/blocks.h"
#include "formats/own_blocks.h"
#include "formats/palette.h"

namespace quant {

namespace {

// Two nibbles in a byte: elements j and j + 16.
void put_nibbles(const uint8_t* codes, uint8_t* qs) {
    for (int j = 0; j < 16; ++j) qs[j] = static_cast<uint8_t>((codes[j] & 15) | (codes[j + 16] & 15) << 4);
}

void put_fifth_bits(const uint8_t* codes, uint8_t* qh) {
    uint32_t bits = 0;
    for (int e = 0; e < 32; ++e) bits |= static_cast<uint32_t>(codes[e] >> 4 & 1) << e;
    store(qh, bits);
}

// Bits 0 and 1 of 256 codes as 2-bit planes.
void put_two_bits(const uint8_t* codes, uint8_t* qs) {
    for (int b = 0; b < 64; ++b) {
        const uint8_t* at = codes + 128 * (b / 32) + b % 32;
        qs[b] = static_cast<uint8_t>((at[0] & 3) | (at[32] & 3) << 2 | (at[64] & 3) << 4 | (at[96] & 3) << 6);
    }
}

// Bits 0 to 3 of 256 codes as nibble planes.
void put_nibble_planes(const uint8_t* codes, uint8_t* qs) {
    for (int b = 0; b < 128; ++b) {
        const uint8_t* at = codes + 64 * (b / 32) + b % 32;
        qs[b] = static_cast<uint8_t>((at[0] & 15) | (at[32] & 15) << 4);
    }
}

// One bit of 256 codes: bit e / 32 of byte e % 32.
void put_bit_columns(const uint8_t* codes, int bit, uint8_t* out) {
    for (int l = 0; l < 32; ++l) {
        int byte = 0;
        for (int j = 0; j < 8; ++j) byte |= (codes[32 * j + l] >> bit & 1) << j;
        out[l] = static_cast<uint8_t>(byte);
    }
}

template <class Block>
Block& as(uint8_t* block) {
    return *reinterpret_cast<Block*>(block);
}

void put_q8_0(const uint8_t* codes, uint8_t* block) {
    for (int j = 0; j < 32; ++j) as<BlockQ8_0>(block).qs[j] = static_cast<int8_t>(codes[j] - 128);
}
void put_q4_0(const uint8_t* codes, uint8_t* block) { put_nibbles(codes, as<BlockQ4_0>(block).qs); }
void put_q4_1(const uint8_t* codes, uint8_t* block) { put_nibbles(codes, as<BlockQ4_1>(block).qs); }
void put_q5_0(const uint8_t* codes, uint8_t* block) {
    put_nibbles(codes, as<BlockQ5_0>(block).qs);
    put_fifth_bits(codes, as<BlockQ5_0>(block).qh);
}
void put_q5_1(const uint8_t* codes, uint8_t* block) {
    put_nibbles(codes, as<BlockQ5_1>(block).qs);
    put_fifth_bits(codes, as<BlockQ5_1>(block).qh);
}
void put_q2_k(const uint8_t* codes, uint8_t* block) { put_two_bits(codes, as<BlockQ2_K>(block).qs); }
void put_q3_k(const uint8_t* codes, uint8_t* block) {
    put_two_bits(codes, as<BlockQ3_K>(block).qs);
    put_bit_columns(codes, 2, as<BlockQ3_K>(block).hmask);
}
void put_q4_k(const uint8_t* codes, uint8_t* block) { put_nibble_planes(codes, as<BlockQ4_K>(block).qs); }
void put_q5_k(const uint8_t* codes, uint8_t* block) {
    put_nibble_planes(codes, as<BlockQ5_K>(block).qs);
    put_bit_columns(codes, 4, as<BlockQ5_K>(block).qh);
}
void put_q6_k(const uint8_t* codes, uint8_t* block) {
    BlockQ6_K& b = as<BlockQ6_K>(block);
    std::memset(b.ql, 0, sizeof b.ql);
    std::memset(b.qh, 0, sizeof b.qh);
    for (int e = 0; e < 256; ++e) {
        const int h = e / 128, g = e / 32 % 4, l = e % 32;
        uint8_t& low = b.ql[64 * h + 32 * (g % 2) + l];
        uint8_t& high = b.qh[32 * h + l];
        low = static_cast<uint8_t>(low | (codes[e] & 15) << (g < 2 ? 0 : 4));
        high = static_cast<uint8_t>(high | codes[e] >> 4 << (2 * g));
    }
}
void put_iq4_nl(const uint8_t* codes, uint8_t* block) { put_nibbles(codes, as<BlockIQ4_NL>(block).qs); }
void put_iq4_xs(const uint8_t* codes, uint8_t* block) {
    for (int j = 0; j < 8; ++j) put_nibbles(codes + 32 * j, as<BlockIQ4_XS>(block).qs + 16 * j);
}
uint8_t pack_trits(const uint8_t* codes, int stride, int count) {
    int value = 0;
    for (int t = 0; t < 5; ++t) value = 3 * value + (t < count ? codes[t * stride] : 0);
    return static_cast<uint8_t>((value * 256 + 242) / 243);
}
void put_tq1_0(const uint8_t* codes, uint8_t* block) {
    BlockTQ1_0& b = as<BlockTQ1_0>(block);
    for (int i = 0; i < 32; ++i) b.qs[i] = pack_trits(codes + i, 32, 5);
    for (int i = 0; i < 16; ++i) b.qs[32 + i] = pack_trits(codes + 160 + i, 16, 5);
    for (int i = 0; i < 4; ++i) b.qh[i] = pack_trits(codes + 240 + i, 4, 4);
}
void put_tq2_0(const uint8_t* codes, uint8_t* block) { put_two_bits(codes, as<BlockTQ2_0>(block).qs); }
void put_mxfp4(const uint8_t* codes, uint8_t* block) { put_nibbles(codes, as<BlockMXFP4>(block).qs); }
void put_nvfp4(const uint8_t* codes, uint8_t* block) {
    uint8_t* qs = as<BlockNVFP4>(block).qs;
    for (int g = 0; g < 4; ++g)
        for (int j = 0; j < 8; ++j)
            qs[8 * g + j] =
                static_cast<uint8_t>((codes[16 * g + j] & 15) | (codes[16 * g + j + 8] & 15) << 4);
}
void put_q1_0(const uint8_t* codes, uint8_t* block) {
    for (int b = 0; b < 16; ++b) {
        int byte = 0;
        for (int i = 0; i < 8; ++i) byte |= (codes[8 * b + i] & 1) << i;
        as<BlockQ1_0>(block).qs[b] = static_cast<uint8_t>(byte);
    }
}
void put_q2_0(const uint8_t* codes, uint8_t* block) {
    for (int b = 0; b < 16; ++b) {
        int byte = 0;
        for (int i = 0; i < 4; ++i) byte |= (codes[4 * b + i] & 3) << (2 * i);
        as<BlockQ2_0>(block).qs[b] = static_cast<uint8_t>(byte);
    }
}

// NF4 and NF4_DQ: two runs of nibbles after the scale.
void put_nf4(const uint8_t* codes, uint8_t* block) {
    for (int half = 0; half < 2; ++half) put_nibbles(codes + 32 * half, as<BlockNF4>(block).qs[half]);
}
void put_nf4_dq(const uint8_t* codes, uint8_t* block) {
    for (int half = 0; half < 2; ++half) put_nibbles(codes + 32 * half, as<BlockNF4_DQ>(block).qs[half]);
}
void put_fp8(const uint8_t* codes, uint8_t* block) { std::memcpy(as<BlockFp8>(block).qs, codes, 128); }
void put_fp8_row(const uint8_t* codes, uint8_t* block) { std::memcpy(block, codes, 32); }
template <int bits>
void put_palette(const uint8_t* codes, uint8_t* block) {
    write_palette_indices(bits, codes, block + 1);
}
void put_l4(const uint8_t* codes, uint8_t* block) { put_nibbles(codes, as<BlockL4>(block).qs); }

template <size_t index>
void put_affine(const uint8_t* codes, uint8_t* block) {
    put_affine_codes(affine_layout(index), codes, block);
}

using Table = std::array<CodePlanes, kFormatCount>;

Table make_table() {
    Table table;
    const auto set = [&](FormatSlot slot, int levels, bool uniform, void (*put)(const uint8_t*, uint8_t*), int span = 0, int scale_bytes = 0) {
        table[static_cast<size_t>(slot)] = {levels, uniform, span, scale_bytes, put};
    };
    set(FormatSlot::q8_0, 256, true, put_q8_0);
    set(FormatSlot::q4_0, 16, true, put_q4_0);
    set(FormatSlot::q4_1, 16, true, put_q4_1);
    set(FormatSlot::q5_0, 32, true, put_q5_0);
    set(FormatSlot::q5_1, 32, true, put_q5_1);
    set(FormatSlot::q2_k, 4, true, put_q2_k, 16);
    set(FormatSlot::q3_k, 8, true, put_q3_k, 16);
    set(FormatSlot::q4_k, 16, true, put_q4_k, 32);
    set(FormatSlot::q5_k, 32, true, put_q5_k, 32);
    set(FormatSlot::q6_k, 64, true, put_q6_k, 16);
    set(FormatSlot::iq4_nl, 16, false, put_iq4_nl);
    set(FormatSlot::iq4_xs, 16, false, put_iq4_xs, 32);
    set(FormatSlot::tq1_0, 3, true, put_tq1_0);
    set(FormatSlot::tq2_0, 3, true, put_tq2_0);
    set(FormatSlot::mxfp4, 16, false, put_mxfp4);
    set(FormatSlot::nvfp4, 16, false, put_nvfp4, 16);
    set(FormatSlot::q1_0, 2, true, put_q1_0);
    set(FormatSlot::q2_0, 4, true, put_q2_0);
    set(FormatSlot::l4, 16, false, put_l4, 0, 2);
    set(FormatSlot::nf4, 16, false, put_nf4, 0, 4);
    set(FormatSlot::nf4_dq, 16, false, put_nf4_dq);
    set(FormatSlot::fp8_e4m3, 256, false, put_fp8);
    set(FormatSlot::fp8_e4m3_row, 256, false, put_fp8_row);
    set(FormatSlot::fp8_e5m2, 256, false, put_fp8);
    set(FormatSlot::fp8_e5m2_row, 256, false, put_fp8_row);
#define PALETTE(slot, bits, dim, int8) \
    if (dim == 1) set(FormatSlot::slot, 1 << (bits), false, put_palette<bits>);
    QUANT_PALETTES(PALETTE)
#undef PALETTE
    [&]<size_t... index>(std::index_sequence<index...>) {
        (set(static_cast<FormatSlot>(static_cast<size_t>(FormatSlot::affine) + index), 1 << affine_layout(index).bits, true, put_affine<index>, 0,
             affine_layout(index).group && !affine_layout(index).zero ? 2 : 0), ...);
    }(std::make_index_sequence<kAffineCount>());
    return table;
}

}  // namespace

const CodePlanes* code_planes(FormatSlot slot) {
    static const Table table = make_table();
    const CodePlanes& planes = table[static_cast<size_t>(slot)];
    return planes.put ? &planes : nullptr;
}

}  // namespace quant
