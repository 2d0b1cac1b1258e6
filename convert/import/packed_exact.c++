// Codes of other programs as blocks of ours, where the grids are the same: no weight is rounded twice.
#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "base/bytes.h"
#include "base/log.h"
#include "convert/import/packed_schemes.h"
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

// Why no grid fits; empty when one may.
std::string misfit(const ExactCodes& codes, int64_t cols) {
    if (codes.run == 0) return "its groups are not in order (act-order)";
    if (codes.run % kBlock != 0 || cols % kBlock != 0)
        return format_text("its groups of %lld are no multiple of 32", static_cast<long long>(codes.run));
    if (codes.low < kGrids[1].low || codes.high > kGrids[1].high) return "it has zero points that no stock format can say";
    return "";
}

bool scales_fit(const ExactCodes& codes, int64_t rows, int64_t groups) {
    std::vector<float> scales(static_cast<size_t>(groups));
    for (int64_t row = 0; row < rows; ++row) {
        codes.scales(row, scales.data());
        if (!std::all_of(scales.begin(), scales.end(), exact_in_f16)) return false;
    }
    return true;
}

void write_block(const BlockGrid& grid, float scale, const int8_t* codes, uint8_t* block) {
    store<uint16_t>(block, f32_to_f16(scale));
    block += sizeof(uint16_t);
    if (grid.format == FormatSlot::q8_0) {
        for (int64_t i = 0; i < kBlock; ++i) block[i] = static_cast<uint8_t>(codes[i]);
        return;
    }
    for (int64_t i = 0; i < kBlock / 2; ++i)
        block[i] = static_cast<uint8_t>((codes[i] - grid.low) | (codes[i + kBlock / 2] - grid.low) << 4);
}

}  // namespace

void find_exact_formats(Rows& rows, ExactCodes given) {
    rows.inexact = misfit(given, rows.cols);
    const int64_t cols = rows.cols, groups = given.run ? (cols - 1) / given.run + 1 : 0;
    if (rows.inexact.empty() && !scales_fit(given, rows.rows, groups)) rows.inexact = "F16 cannot hold its scales";
    if (!rows.inexact.empty()) return;
    const auto codes = std::make_shared<const ExactCodes>(std::move(given));
    for (const BlockGrid& grid : kGrids) {
        if (codes->low < grid.low || codes->high > grid.high) continue;
        rows.exact.push_back({grid.format, [codes, grid, cols, groups](int64_t row, int64_t count, uint8_t* out) {
                                  std::vector<float> scales(static_cast<size_t>(groups));
                                  std::vector<int8_t> line(static_cast<size_t>(cols));
                                  for (int64_t r = row; r < row + count; ++r) {
                                      codes->scales(r, scales.data());
                                      codes->codes(r, line.data());
                                      for (int64_t c = 0; c < cols; c += kBlock, out += format_of(grid.format).bytes)
                                          write_block(grid, scales[static_cast<size_t>(c / codes->run)], line.data() + c, out);
                                  }
                              }});
    }
}

}  // namespace quant
