// Which codes a tile of rows gets, unit by unit, under the scales that its blocks have: what error feedback asks of a format.
// A unit is the weights that must be chosen together: one, or those that share a code. Knows no feedback.
#pragma once

#include <cstdint>
#include <memory>

#include "formats/format.h"
#include "formats/lanes.h"

namespace quant {

class Chooser {
public:
    static constexpr int64_t kRows = kLanes;  // of a tile
    static constexpr int kMostUnit = 8;

    virtual ~Chooser() = default;
    // For rows of `cols` weights. Null: the format has no codes.
    static std::unique_ptr<Chooser> create(const Format& format, int64_t cols);

    virtual int64_t unit() const = 0;
    // The scales of `block` of the tile's row r, from its bytes.
    virtual void read(const RowPlace& place, int64_t block, int64_t r, const uint8_t* bytes) = 0;
    // Codes of the unit at column j of row r so that d A dᵀ is small, d = target - value, A = metric [unit, unit], positive
    // definite. Writes the values.
    virtual void choose(int64_t j, int64_t r, const float* target, const float* metric, float* value) = 0;
    // Lowers value A valueᵀ - 2 linear valueᵀ from the codes and values there are. False: nothing changed.
    virtual bool improve(int64_t j, int64_t r, const float* linear, const float* metric, float* value) = 0;
    // Multiplies the scale of `block` of the tile's row r by about `factor`, in its bytes, and writes the values that its codes then
    // have. False: the format has no scale that stands for all of a block, and nothing changed.
    virtual bool rescale(const RowPlace&, int64_t /*block*/, int64_t /*r*/, double /*factor*/, uint8_t* /*bytes*/, float* /*values*/) {
        return false;
    }
    // Writes the codes of a block.
    virtual void put(int64_t block, int64_t r, uint8_t* bytes) const = 0;
};

// Of codes.h and of books.h.
std::unique_ptr<Chooser> plane_chooser(const Format& format, int64_t cols);
std::unique_ptr<Chooser> book_chooser(const Format& format, int64_t cols);

}  // namespace quant
