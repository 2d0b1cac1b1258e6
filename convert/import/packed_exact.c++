// Codes of other programs as blocks of ours, where the grids are the same: no weight is rounded twice.
#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "base/bytes.h"
#include "base/log.h"
#include "convert/import/packed_schemes.h"
#include "formats/affine.h"
#include "formats/format.h"

namespace quant {

namespace {

constexpr int64_t kBlock = 32;  // of Q4_0 and Q8_0

// Block formats that mean scale * (code - offset), with an F16 scale before the codes.
struct BlockGrid {
    FormatSlot format;
    int low, high;  // of code - offset
};
constexpr BlockGrid kGrids[] = {{FormatSlot::q4_0, -8, 7}, {FormatSlot::q8_0, -128, 127}};

bool exact_in_f16(float value) { return std::isfinite(value) && f16_to_f32(f32_to_f16(value)) == value; }

FormatSlot affine_slot(size_t index) { return static_cast<FormatSlot>(static_cast<size_t>(FormatSlot::affine) + index); }

// The affine formats hold integer codes with or without a zero point; groups need F16 scales, whole rows do not.
bool affine_fits(const AffineLayout& layout, const ExactCodes& codes, int64_t cols, bool half_scales) {
    if (codes.run == 0 || layout.bits != codes.bits || layout.zero != (codes.zeros != nullptr) || cols % layout.block() != 0) return false;
    return layout.group ? half_scales && codes.run % layout.group == 0 : codes.run >= cols;
}

// One stored row: headers of scale and zero point, codes counted from 0.
void write_affine_row(const AffineLayout& layout, const ExactCodes& codes, int64_t row, int64_t cols, uint8_t* out) {
    const auto groups = static_cast<size_t>((cols - 1) / codes.run + 1);
    std::vector<float> scales(groups);
    std::vector<int> zeros(groups, 1 << (layout.bits - 1));
    std::vector<int16_t> line(static_cast<size_t>(cols));
    codes.scales(row, scales.data());
    if (codes.zeros) codes.zeros(row, zeros.data());
    codes.codes(row, line.data());
    const auto put_header = [&](size_t run) {
        const float zero = static_cast<float>(zeros[run] + layout.lowest());
        if (layout.group) {
            store<uint16_t>(out, f32_to_f16(scales[run]));
            if (layout.zero) store<uint16_t>(out + 2, f32_to_f16(zero));
        } else {
            store<float>(out, scales[run]);
            if (layout.zero) store<float>(out + 4, zero);
        }
    };
    if (!layout.group) put_header(0), out += layout.row_head();
    std::vector<uint8_t> counted(static_cast<size_t>(layout.block()));
    for (int64_t c = 0; c < cols; c += layout.block(), out += layout.block_bytes()) {
        const auto run = static_cast<size_t>(c / codes.run);
        if (layout.group) put_header(run);
        for (size_t i = 0; i < counted.size(); ++i) counted[i] = static_cast<uint8_t>(line[static_cast<size_t>(c) + i] + zeros[run]);
        put_affine_codes(layout, counted.data(), out);
    }
}

bool scales_fit(const ExactCodes& codes, int64_t rows, int64_t groups) {
    std::vector<float> scales(static_cast<size_t>(groups));
    for (int64_t row = 0; row < rows; ++row) {
        codes.scales(row, scales.data());
        if (!std::all_of(scales.begin(), scales.end(), exact_in_f16)) return false;
    }
    return true;
}

void write_block(const BlockGrid& grid, float scale, const int16_t* codes, uint8_t* block) {
    store<uint16_t>(block, f32_to_f16(scale));
    block += sizeof(uint16_t);
    if (grid.format == FormatSlot::q8_0) {
        for (int64_t i = 0; i < kBlock; ++i) block[i] = static_cast<uint8_t>(codes[i]);
        return;
    }
    for (int64_t i = 0; i < kBlock / 2; ++i)
        block[i] = static_cast<uint8_t>((codes[i] - grid.low) | (codes[i + kBlock / 2] - grid.low) << 4);
}

// Why no format holds the codes.
std::string misfit(const ExactCodes& codes, int64_t cols, bool half_scales) {
    if (codes.run == 0) return "its groups are not in order (act-order)";
    if (codes.run % kBlock != 0 || cols % kBlock != 0)
        return format_text("its groups of %lld are no multiple of 32", static_cast<long long>(codes.run));
    return half_scales ? "it has zero points that no format can say" : "F16 cannot hold its scales";
}

}  // namespace

void find_exact_formats(RowStream& rows, ExactCodes given) {
    const int64_t cols = rows.cols, groups = given.run ? (cols - 1) / given.run + 1 : 0;
    const bool half_scales = groups > 0 && scales_fit(given, rows.rows, groups);
    const bool blocks = half_scales && given.run % kBlock == 0 && cols % kBlock == 0;
    const auto codes = std::make_shared<const ExactCodes>(std::move(given));
    for (const BlockGrid& grid : kGrids) {
        if (!blocks || codes->low < grid.low || codes->high > grid.high) continue;
        rows.exact.push_back({grid.format, [codes, grid, cols, groups](int64_t row, int64_t count, uint8_t* out) {
                                  std::vector<float> scales(static_cast<size_t>(groups));
                                  std::vector<int16_t> line(static_cast<size_t>(cols));
                                  for (int64_t r = row; r < row + count; ++r) {
                                      codes->scales(r, scales.data());
                                      codes->codes(r, line.data());
                                      for (int64_t c = 0; c < cols; c += kBlock, out += format_of(grid.format).bytes)
                                          write_block(grid, scales[static_cast<size_t>(c / codes->run)], line.data() + c, out);
                                  }
                              }});
    }
    // Behind the stock formats, the largest groups first.
    for (size_t index = kAffineCount; index-- > 0;) {
        const AffineLayout layout = affine_layout(index);
        if (!affine_fits(layout, *codes, cols, half_scales)) continue;
        rows.exact.push_back({affine_slot(index), [codes, layout, cols, index](int64_t row, int64_t count, uint8_t* out) {
                                  const uint64_t bytes = format_of(affine_slot(index)).row_bytes(cols);
                                  for (int64_t r = row; r < row + count; ++r, out += bytes) write_affine_row(layout, *codes, r, cols, out);
                              }});
    }
    if (rows.exact.empty()) rows.inexact = misfit(*codes, cols, half_scales);
}

}  // namespace quant
