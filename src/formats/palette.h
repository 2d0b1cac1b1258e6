// Palettes as the codecs and the search of tables see them (layout in palette_layout.h).
#pragma once

#include <cstdint>
#include <vector>

#include "formats/palette_layout.h"
#include "formats/side_data.h"

namespace quant {

// A table as floats, component by component: level[d][entry]. Scalar tables are in rising order.
struct PaletteTable {
    Palette kind;
    float level[4][256];
    float largest = 0;  // magnitude

    // From what is stored, and what is stored from floats (which are rounded by it).
    static PaletteTable read(const Palette& kind, const uint8_t* stored);
    void write(uint8_t* stored) const;
    void measure();
};

// Where the table of a row's group is stored.
const uint8_t* palette_table_at(const Palette& kind, const RowPlace& place);

// 32 indices of `bits` bits as planes.
void write_palette_indices(int bits, const uint8_t* indices, uint8_t* planes);

// The scale that a block would take on its own: what the weights are divided by before k-means.
double palette_block_scale(const Palette& kind, const float* x);

// The best indices for a block of finite weights under `scale` (not 0): fills 32 and returns the sum of h (x - x̂)^2.
// `importance` is null where all weights count the same.
double palette_indices(const PaletteTable& table, const float* x, const float* importance, float scale, uint8_t* indices);

// The scale under which weighted squared error is least for these indices; not positive where there is none.
double palette_fit(const PaletteTable& table, const float* x, const float* importance, const uint8_t* indices);

// Tables for all groups of rows: weighted k-means over weights divided by their block's scale, from k-means++ starts.
void build_palette_head(const Palette& kind, const HeadInput& input, uint8_t* head);

}  // namespace quant
