// Packing of points and signs, one function per layout; pictures of the bits are in formats/blocks.h.
#include "convert/rounding/books.h"

#include <array>

#include "formats/blocks.h"
#include "formats/grids.h"
#include "formats/palette.h"

namespace quant {

namespace {

template <class Block>
Block& as(uint8_t* block) {
    return *reinterpret_cast<Block*>(block);
}

uint8_t low(int value) { return static_cast<uint8_t>(value & 255); }

template <const auto& grid, int dims>
void grid_levels(const RowPlace&, float* out) {
    constexpr size_t points = sizeof grid.points / sizeof grid.points[0];
    for (size_t p = 0; p < points; ++p)
        for (size_t i = 0; i < dims; ++i) out[i * points + p] = static_cast<float>(grid.points[p] >> (8 * i) & 255);
}

void iq1_s_levels(const RowPlace& place, float* out) {
    grid_levels<kIq1Grid, 8>(place, out);
    for (int i = 0; i < 8 * 2048; ++i) out[i] -= 1;
}
// Each weight group has its own shift: two points for one of the grid, the second with 2048 added.
void iq1_m_levels(const RowPlace&, float* out) {
    for (size_t p = 0; p < 2048; ++p)
        for (size_t i = 0; i < 8; ++i) {
            const float level = static_cast<float>(kIq1Grid.points[p] >> (8 * i) & 255) - 1;
            out[i * 4096 + p] = level + 0.125f;
            out[i * 4096 + 2048 + p] = level - 0.125f;
        }
}

// The shift of each 32 weights stays.
void put_iq1_s(const uint16_t* points, const uint8_t*, uint8_t* block) {
    BlockIQ1_S& b = as<BlockIQ1_S>(block);
    for (int g = 0; g < 32; ++g) b.qs[g] = low(points[g]);
    for (int j = 0; j < 8; ++j) {
        int high = load<uint16_t>(b.qh + 2 * j) & 0xf000;
        for (int l = 0; l < 4; ++l) high |= points[4 * j + l] >> 8 << (3 * l);
        store(b.qh + 2 * j, static_cast<uint16_t>(high));
    }
}
void put_iq1_m(const uint16_t* points, const uint8_t*, uint8_t* block) {
    BlockIQ1_M& b = as<BlockIQ1_M>(block);
    for (int g = 0; g < 32; ++g) b.qs[g] = low(points[g]);
    for (int g = 0; g < 32; g += 2) b.qh[g / 2] = low((points[g] >> 8 & 15) | (points[g + 1] >> 8 & 15) << 4);
}
void put_iq2_xxs(const uint16_t* points, const uint8_t* negative, uint8_t* block) {
    uint8_t* qs = as<BlockIQ2_XXS>(block).qs;
    for (int j = 0; j < 8; ++j) {
        uint32_t signs = load<uint32_t>(qs + 8 * j + 4) & 0xf0000000u;
        for (int l = 0; l < 4; ++l) {
            qs[8 * j + l] = low(points[4 * j + l]);
            signs |= static_cast<uint32_t>(negative[4 * j + l] & 127) << (7 * l);
        }
        store(qs + 8 * j + 4, signs);
    }
}
void put_iq2_xs(const uint16_t* points, const uint8_t* negative, uint8_t* block) {
    for (int u = 0; u < 32; ++u)
        store(as<BlockIQ2_XS>(block).qs + 2 * u, static_cast<uint16_t>(points[u] | (negative[u] & 127) << 9));
}
void put_iq2_s(const uint16_t* points, const uint8_t* negative, uint8_t* block) {
    BlockIQ2_S& b = as<BlockIQ2_S>(block);
    for (int u = 0; u < 32; ++u) b.qs[u] = low(points[u]), b.signs[u] = negative[u];
    for (int j = 0; j < 8; ++j) {
        int high = 0;
        for (int l = 0; l < 4; ++l) high |= points[4 * j + l] >> 8 << (2 * l);
        b.qh[j] = low(high);
    }
}
void put_iq3_xxs(const uint16_t* points, const uint8_t* negative, uint8_t* block) {
    BlockIQ3_XXS& b = as<BlockIQ3_XXS>(block);
    for (int g = 0; g < 64; ++g) b.qs[g] = low(points[g]);
    for (int j = 0; j < 8; ++j) {
        uint32_t signs = load<uint32_t>(b.signs + 4 * j) & 0xf0000000u;
        for (int l = 0; l < 4; ++l) signs |= static_cast<uint32_t>(negative[4 * j + l] & 127) << (7 * l);
        store(b.signs + 4 * j, signs);
    }
}
void put_iq3_s(const uint16_t* points, const uint8_t* negative, uint8_t* block) {
    BlockIQ3_S& b = as<BlockIQ3_S>(block);
    for (int g = 0; g < 64; ++g) b.qs[g] = low(points[g]);
    for (int j = 0; j < 8; ++j) {
        int high = 0;
        for (int l = 0; l < 8; ++l) high |= points[8 * j + l] >> 8 << l;
        b.qh[j] = low(high);
    }
    for (int u = 0; u < 32; ++u) b.signs[u] = negative[u];
}

template <int bits, int dim, bool int8>
void palette_levels(const RowPlace& place, float* out) {
    constexpr Palette kind{bits, dim, int8};
    const PaletteTable table = PaletteTable::read(kind, palette_table_at(kind, place));
    for (int d = 0; d < dim; ++d)
        for (int p = 0; p < kind.entries(); ++p) out[d * kind.entries() + p] = table.level[d][p];
}
template <int bits>
void put_palette(const uint16_t* points, const uint8_t*, uint8_t* block) {
    uint8_t indices[32];
    for (int i = 0; i < 32; ++i) indices[i] = low(points[i]);
    write_palette_indices(bits, indices, block + 1);
}

using Table = std::array<CodeBook, kFormatCount>;

Table make_table() {
    Table table;
    const auto at = [&](FormatSlot slot) -> CodeBook& { return table[static_cast<size_t>(slot)]; };
    at(FormatSlot::iq1_s) = {8, 8, 2048, Signs::none, iq1_s_levels, put_iq1_s};
    at(FormatSlot::iq1_m) = {8, 8, 4096, Signs::none, iq1_m_levels, put_iq1_m};
    at(FormatSlot::iq2_xxs) = {8, 8, 256, Signs::even, grid_levels<kIq2XxsGrid, 8>, put_iq2_xxs};
    at(FormatSlot::iq2_xs) = {8, 8, 512, Signs::even, grid_levels<kIq2XsGrid, 8>, put_iq2_xs};
    at(FormatSlot::iq2_s) = {8, 8, 1024, Signs::free, grid_levels<kIq2SGrid, 8>, put_iq2_s};
    at(FormatSlot::iq3_xxs) = {4, 8, 256, Signs::even, grid_levels<kIq3XxsGrid, 4>, put_iq3_xxs};
    at(FormatSlot::iq3_s) = {4, 8, 512, Signs::free, grid_levels<kIq3SGrid, 4>, put_iq3_s};
#define BOOK(slot, bits, dim, int8) \
    if (dim > 1) at(FormatSlot::slot) = {dim, dim, 1 << (bits), Signs::none, palette_levels<bits, dim, int8>, put_palette<bits>};
    QUANT_PALETTES(BOOK)
#undef BOOK
    return table;
}

}  // namespace

const CodeBook* code_book(FormatSlot slot) {
    static const Table table = make_table();
    const CodeBook& book = table[static_cast<size_t>(slot)];
    return book.put ? &book : nullptr;
}

}  // namespace quant
