// Palettes: reading and writing of rows under given tables. How tables are found: palette_tables.c++.
#include "formats/palette.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>

#include "base/bytes.h"
#include "formats/codecs.h"

namespace quant {

namespace {

void read_indices(int bits, const uint8_t* planes, uint8_t* out) {
    int shift = 0;
    for (int i = 0; i < 32; ++i) out[i] = 0;
    if (bits == 8) {
        std::memcpy(out, planes, 32);
        return;
    }
    if (bits >= 4) {
        for (int j = 0; j < 16; ++j) {
            out[j] = planes[j] & 15;
            out[j + 16] = planes[j] >> 4;
        }
        planes += 16, shift = 4;
    }
    if (bits % 4 >= 2) {
        for (int i = 0; i < 32; ++i) out[i] = static_cast<uint8_t>(out[i] | (planes[i % 8] >> (i / 8 * 2) & 3) << shift);
        planes += 8, shift += 2;
    }
    if (bits % 2)
        for (int i = 0; i < 32; ++i) out[i] = static_cast<uint8_t>(out[i] | (planes[i / 8] >> i % 8 & 1) << shift);
}

// What int8 kernels make of the table: levels of at most 127 under one scale. Repeated in kernels/palette_stage.h.
void round_to_int8(PaletteTable& table) {
    if (table.kind.int8) return;  // these are
    const float unit = table.largest * (1.0f / 127.0f);
    const float inverse = table.largest > 0 ? 127.0f / table.largest : 0.0f;
    for (int d = 0; d < table.kind.dim; ++d)
        for (int i = 0; i < table.kind.entries(); ++i) {
            const float scaled = table.level[d][i] * inverse;
            const float code = scaled == scaled ? std::nearbyint(std::clamp(scaled, -127.0f, 127.0f)) : 0.0f;
            table.level[d][i] = code * unit;
        }
}

void decode(const Palette& kind, const RowPlace& place, const uint8_t* blocks, float* out, int64_t n, bool fast) {
    PaletteTable table = PaletteTable::read(kind, palette_table_at(kind, place));
    if (fast) round_to_int8(table);
    const auto row_scale = load<float>(place.row_head);
    for (int64_t at = 0; at < n; at += kind.weights(), blocks += kind.block_bytes()) {
        uint8_t indices[32];
        read_indices(kind.bits, blocks + 1, indices);
        const float scale = row_scale * (static_cast<float>(blocks[0] * blocks[0]) * kPaletteUnit);
        for (int i = 0; i < 32; ++i)
            for (int d = 0; d < kind.dim; ++d) *out++ = table.level[d][indices[i]] * scale;
    }
}

// The best of some scales of a block, as the code it is stored by.
class BlockSearch {
public:
    BlockSearch(const PaletteTable& table, const float* x, const float* importance, float row_scale)
        : table_(table), x_(x), importance_(importance), row_scale_(row_scale) {
        // The code 0 makes all weights 0.
        for (int i = 0; i < table.kind.weights(); ++i) {
            const double value = static_cast<double>(x[i]);
            error_ = error_ + (importance ? static_cast<double>(importance[i]) : 1.0) * value * value;
        }
    }

    void try_scale(double wanted) {
        if (!(wanted > 0) || !(row_scale_ > 0)) return;
        const double root = std::sqrt(wanted / static_cast<double>(row_scale_)) * 255;
        const int code = static_cast<int>(std::clamp(std::nearbyint(root), 1.0, 255.0));
        if (tried_[code]) return;
        tried_[code] = true;
        const float scale = row_scale_ * (static_cast<float>(code * code) * kPaletteUnit);
        if (!(scale > 1e-37f)) return;
        uint8_t indices[32];
        const double error = palette_indices(table_, x_, importance_, scale, indices);
        if (!(error < error_)) return;
        error_ = error;
        code_ = code;
        std::memcpy(indices_, indices, sizeof indices);
    }
    void refit() {
        if (code_ > 0) try_scale(palette_fit(table_, x_, importance_, indices_));
    }
    void write(uint8_t* block) const {
        block[0] = static_cast<uint8_t>(code_);
        write_palette_indices(table_.kind.bits, indices_, block + 1);
    }

private:
    const PaletteTable& table_;
    const float* x_;
    const float* importance_;
    float row_scale_;
    double error_ = 0;
    int code_ = 0;
    uint8_t indices_[32] = {};
    bool tried_[256] = {};
};

// How far from a block's own scale the search goes; large tables have little to win and are slow to search.
constexpr double kFewScales[] = {1.0, 0.9};
constexpr double kManyScales[] = {1.0, 0.94, 0.88, 0.82, 0.76, 0.7, 1.06};
constexpr double kReach = 1.25;  // room for fits above the largest block's own scale

void encode(const Palette& kind, const RowPlace& place, const float* x, const float* importance, uint8_t* row, int64_t n) {
    const PaletteTable table = PaletteTable::read(kind, palette_table_at(kind, place));
    const int weights = kind.weights();
    double most = 0;
    for (int64_t at = 0; at < n; at += weights) most = std::max(most, palette_block_scale(kind, x + at));
    const double limit = 3e38 / std::max(1.0, static_cast<double>(table.largest));
    const auto row_scale = static_cast<float>(std::min(most * kReach, limit));
    store(row, row_scale);
    uint8_t* block = row + kPaletteRowHead;
    for (int64_t at = 0; at < n; at += weights, block += kind.block_bytes()) {
        const float* h = importance ? importance + at : nullptr;
        BlockSearch search(table, x + at, h, row_scale);
        const double own = palette_block_scale(kind, x + at);
        const bool many = kind.entries() <= 16 && kind.dim == 1;
        for (const double factor : many ? std::span<const double>(kManyScales) : std::span<const double>(kFewScales))
            search.try_scale(own * factor);
        search.refit();
        search.refit();
        search.write(block);
    }
}

uint64_t head_bytes(const Palette& kind, int64_t rows, int64_t group) {
    const uint64_t tables = group > 0 ? static_cast<uint64_t>((rows - 1) / group) + 1 : 1;
    return (kGroupedHead + tables * static_cast<uint64_t>(kind.table_bytes()) + 31) / 32 * 32;
}

}  // namespace

const uint8_t* palette_table_at(const Palette& kind, const RowPlace& place) {
    return place.head + kGroupedHead + static_cast<uint64_t>(place.row / place.group) * static_cast<uint64_t>(kind.table_bytes());
}

void write_palette_indices(int bits, const uint8_t* indices, uint8_t* planes) {
    int shift = 0;
    std::memset(planes, 0, static_cast<size_t>(4 * bits));
    if (bits == 8) {
        std::memcpy(planes, indices, 32);
        return;
    }
    if (bits >= 4) {
        for (int j = 0; j < 16; ++j) planes[j] = static_cast<uint8_t>((indices[j] & 15) | (indices[j + 16] & 15) << 4);
        planes += 16, shift = 4;
    }
    if (bits % 4 >= 2) {
        for (int i = 0; i < 32; ++i) planes[i % 8] = static_cast<uint8_t>(planes[i % 8] | (indices[i] >> shift & 3) << (i / 8 * 2));
        planes += 8, shift += 2;
    }
    if (bits % 2)
        for (int i = 0; i < 32; ++i) planes[i / 8] = static_cast<uint8_t>(planes[i / 8] | (indices[i] >> shift & 1) << i % 8);
}

void PaletteTable::measure() {
    largest = 0;
    for (int d = 0; d < kind.dim; ++d)
        for (int i = 0; i < kind.entries(); ++i) largest = std::max(largest, std::fabs(level[d][i]));
}

PaletteTable PaletteTable::read(const Palette& kind, const uint8_t* stored) {
    PaletteTable out;
    out.kind = kind;
    const auto scale = kind.int8 ? load<float>(stored) : 0.0f;
    for (int i = 0; i < kind.entries(); ++i)
        for (int d = 0; d < kind.dim; ++d) {
            const int at = i * kind.dim + d;
            out.level[d][i] = kind.int8 ? scale * static_cast<float>(static_cast<int8_t>(stored[4 + at])) : f16_to_f32(load<uint16_t>(stored + 2 * at));
        }
    out.measure();
    return out;
}

void PaletteTable::write(uint8_t* stored) const {
    const float scale = largest * (1.0f / 127.0f), inverse = largest > 0 ? 127.0f / largest : 0.0f;
    if (kind.int8) store(stored, scale);
    for (int i = 0; i < kind.entries(); ++i)
        for (int d = 0; d < kind.dim; ++d) {
            const int at = i * kind.dim + d;
            if (kind.int8) stored[4 + at] = static_cast<uint8_t>(static_cast<int8_t>(std::nearbyint(level[d][i] * inverse)));
            else store(stored + 2 * at, f32_to_f16(level[d][i]));
        }
}

double palette_block_scale(const Palette& kind, const float* x) {
    double most = 0, sum = 0;
    for (int i = 0; i < kind.weights(); ++i) {
        const double size = std::fabs(static_cast<double>(x[i]));
        most = std::max(most, size);
        sum += size * size;
    }
    if (most < 1e-37) return 0;
    return kind.dim == 1 ? most : std::sqrt(sum / kind.weights());
}

namespace {

// Rising levels: the number of middles below a weight is its index.
void nearest_levels(const PaletteTable& table, const float* scaled, uint8_t* indices) {
    const int entries = table.kind.entries();
    if (entries > 16) {
        for (int i = 0; i < 32; ++i) {
            const float* found = std::lower_bound(table.level[0], table.level[0] + entries, scaled[i]);
            int at = static_cast<int>(found - table.level[0]);
            if (at == entries || (at > 0 && scaled[i] - table.level[0][at - 1] < table.level[0][at] - scaled[i])) --at;
            indices[i] = static_cast<uint8_t>(at);
        }
        return;
    }
    int32_t count[32] = {};
    for (int level = 0; level + 1 < entries; ++level) {
        const float middle = (table.level[0][level] + table.level[0][level + 1]) * 0.5f;
        for (int i = 0; i < 32; ++i) count[i] += scaled[i] > middle ? 1 : 0;
    }
    for (int i = 0; i < 32; ++i) indices[i] = static_cast<uint8_t>(count[i]);
}

// The entry with the least sum of h c^2 - 2 h x c: eight lanes of entries, the first of equals wins.
uint8_t nearest_entry(const PaletteTable& table, const float* x, const float* h) {
    constexpr int kLanes = 8;
    float best[kLanes];
    int32_t at[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) best[lane] = INFINITY, at[lane] = lane;
    for (int i = 0; i < table.kind.entries(); i += kLanes) {
        float sum[kLanes] = {};
        for (int d = 0; d < table.kind.dim; ++d) {
            const float weight = h[d], twice = 2.0f * x[d];
            for (int lane = 0; lane < kLanes; ++lane) {
                const float c = table.level[d][i + lane];
                sum[lane] += weight * (c * (c - twice));
            }
        }
        for (int lane = 0; lane < kLanes; ++lane) {
            const bool better = sum[lane] < best[lane];
            best[lane] = better ? sum[lane] : best[lane];
            at[lane] = better ? i + lane : at[lane];
        }
    }
    int found = 0;
    for (int lane = 1; lane < kLanes; ++lane)
        if (best[lane] < best[found] || (best[lane] == best[found] && at[lane] < at[found])) found = lane;
    return static_cast<uint8_t>(at[found]);
}

}  // namespace

double palette_indices(const PaletteTable& table, const float* x, const float* importance, float scale, uint8_t* indices) {
    const int dim = table.kind.dim, weights = table.kind.weights();
    float scaled[128], h[128];
    const float inverse = 1.0f / scale;
    for (int i = 0; i < weights; ++i) scaled[i] = x[i] * inverse;
    if (dim == 1) {
        nearest_levels(table, scaled, indices);
    } else {
        // Only ratios within an entry count: large or tiny weights are brought to where floats have room.
        for (int i = 0; i < 32; ++i) {
            float most = 0;
            for (int d = 0; d < dim; ++d) most = std::max(most, importance ? importance[i * dim + d] : 0.0f);
            for (int d = 0; d < dim; ++d) h[d] = most > 0 ? importance[i * dim + d] / most : 1.0f;
            indices[i] = nearest_entry(table, scaled + i * dim, h);
        }
    }
    double error = 0;
    for (int i = 0; i < weights; ++i) {
        const double off = static_cast<double>(x[i]) - static_cast<double>(table.level[i % dim][indices[i / dim]] * scale);
        error += (importance ? static_cast<double>(importance[i]) : 1.0) * off * off;
    }
    return error;
}

double palette_fit(const PaletteTable& table, const float* x, const float* importance, const uint8_t* indices) {
    const int dim = table.kind.dim;
    double product = 0, square = 0;
    for (int i = 0; i < table.kind.weights(); ++i) {
        const double level = static_cast<double>(table.level[i % dim][indices[i / dim]]);
        const double weight = importance ? static_cast<double>(importance[i]) : 1.0;
        product += weight * static_cast<double>(x[i]) * level;
        square += weight * level * level;
    }
    return square > 0 ? product / square : 0;
}

#define DEFINE(slot, bits, dim, int8)                                                                                     \
    static constexpr Palette kind_##slot{bits, dim, int8};                                                                \
    void decode_##slot(const RowPlace* place, const uint8_t* blocks, float* out, int64_t n) {                             \
        decode(kind_##slot, *place, blocks, out, n, false);                                                               \
    }                                                                                                                     \
    void decode_##slot##_fast(const RowPlace* place, const uint8_t* blocks, float* out, int64_t n) {                      \
        decode(kind_##slot, *place, blocks, out, n, true);                                                                \
    }                                                                                                                     \
    void encode_##slot(const RowPlace* place, const float* x, const float* importance, uint8_t* row, int64_t n) {         \
        encode(kind_##slot, *place, x, importance, row, n);                                                               \
    }                                                                                                                     \
    const HeadCodec kHead_##slot = {true, [](int64_t, int64_t rows, int64_t group) { return head_bytes(kind_##slot, rows, group); }, \
                                    [](const HeadInput& input, uint8_t* head) { build_palette_head(kind_##slot, input, head); }};
QUANT_PALETTES(DEFINE)
#undef DEFINE

}  // namespace quant
