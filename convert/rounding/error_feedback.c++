// Tiles of 16 rows side by side: column k of a tile is one virtual vector, so all rows move together through
// the columns.
#include "convert/rounding/error_feedback.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "convert/rounding/codes.h"
#include "convert/rounding/factor.h"
#include "formats/lanes.h"
#include "formats/side_data.h"

namespace quant {

namespace {

constexpr int64_t kRows = kLanes;  // of a tile
constexpr int64_t kSpan = 256;     // columns whose errors are collected before they move on

// y[k] -= sum over j of e[j] * m[j * stride + k], for `count` columns of a tile.
template <int W>
QUANT_INLINE void subtract_outer_body(float* y, const float* e, const float* m, int64_t stride, int64_t terms,
                                      int64_t count) {
    constexpr int64_t kTerms = 8;  // few enough for their rows of m to stay in the first-level cache together
    for (int64_t first = 0; first < terms; first += kTerms) {
        const int64_t last = first + kTerms < terms ? first + kTerms : terms;
        for (int64_t k = 0; k < count; ++k) {
            Vec<W> value = Vec<W>::load(y + k * kRows);
            for (int64_t j = first; j < last; ++j)
                value = value - Vec<W>::load(e + j * kRows) * Vec<W>::all(m[j * stride + k]);
            value.store(y + k * kRows);
        }
    }
}

#if defined(__x86_64__)
[[gnu::target("avx2")]] void subtract_outer_wide(float* y, const float* e, const float* m, int64_t stride,
                                                 int64_t terms, int64_t count) {
    subtract_outer_body<8>(y, e, m, stride, terms, count);
}
#endif

void subtract_outer(float* y, const float* e, const float* m, int64_t stride, int64_t terms, int64_t count) {
#if defined(__x86_64__)
    if (wide_lanes()) return subtract_outer_wide(y, e, m, stride, terms, count);
#endif
    subtract_outer_body<4>(y, e, m, stride, terms, count);
}

// What the codes of a block stand for under the scales it has, for each of the tile's rows.
struct Levels {
    const CodePlanes* planes;
    int64_t block;
    std::vector<float> value;  // uniform: [2, block] first level and step; otherwise [levels, block]; per row

    // row_head: of the block's row, where the format has such.
    void read(const Format& format, const uint8_t* row_head, const uint8_t* bytes, float* at) const {
        const RowPlace place{nullptr, row_head, block, 0, 0, 0};
        uint8_t copy[512], codes[256];
        std::memcpy(copy, bytes, format.bytes);
        const int count = planes->uniform ? 2 : planes->levels;
        for (int c = 0; c < count; ++c) {
            std::memset(codes, c, sizeof codes);
            planes->put(codes, copy);
            format.decode(format.plain() ? nullptr : &place, copy, at + c * block, block);
        }
        if (planes->uniform)
            for (int64_t e = 0; e < block; ++e) at[block + e] -= at[e];
    }

    // The code nearest to x for element e, and its value.
    int nearest(const float* at, int64_t e, float x, float& found) const {
        if (planes->uniform) {
            const float first = at[e], step = at[block + e];
            const float ideal = step != 0 ? (x - first) / step : 0.0f;
            const float most = static_cast<float>(planes->levels - 1);
            const float code = std::nearbyint(ideal < 0 ? 0.0f : ideal > most ? most : ideal);
            found = first + code * step;
            return static_cast<int>(code);
        }
        int best = 0;
        float least = -1;
        for (int c = 0; c < planes->levels; ++c) {
            const float distance = std::fabs(x - at[c * block + e]);
            if (least < 0 || distance < least) least = distance, best = c;
        }
        found = at[best * block + e];
        return best;
    }

    int64_t row_stride() const { return (planes->uniform ? 2 : planes->levels) * block; }
};

struct Problem {
    const Format& format;
    const CodePlanes& planes;
    const float* w;
    int64_t rows, cols;
    const std::vector<float>& gram;
    const std::vector<float>& factor;
    std::vector<float> importance;  // 1 / U_jj^2: the weight of an error that is not moved on
    std::vector<float> diagonal;    // of the damped H
    const FeedbackOptions& options;
};

// One tile of up to 16 rows.
class Tile {
public:
    explicit Tile(const Problem& problem)
        : p_(problem),
          levels_{&problem.planes, problem.format.block, {}},
          weights_(cells()),
          value_(cells()),
          errors_(static_cast<size_t>(kSpan * kRows)),
          codes_(cells()),
          row_(static_cast<size_t>(problem.cols)) {
        levels_.value.resize(
            static_cast<size_t>(levels_.row_stride() * (problem.cols / problem.format.block) * kRows));
    }

    void round(int64_t first, uint8_t* blocks) {
        first_ = first;
        count_ = std::min(kRows, p_.rows - first);
        load(weights_);
        feed_back(blocks);
        if (p_.options.sweeps > 0) descend();
        put_codes(blocks);
    }

private:
    size_t cells() const { return static_cast<size_t>(p_.cols * kRows); }
    int64_t row_bytes() const { return static_cast<int64_t>(p_.format.row_bytes(p_.cols)); }
    float* levels_of(int64_t block, int64_t r) {
        return levels_.value.data() + (block * kRows + r) * levels_.row_stride();
    }

    void load(std::vector<float>& to) const {
        for (int64_t r = 0; r < kRows; ++r) {
            const float* from = p_.w + (first_ + std::min(r, count_ - 1)) * p_.cols;
            for (int64_t k = 0; k < p_.cols; ++k) to[static_cast<size_t>(k * kRows + r)] = from[k];
        }
    }

    // Scales of one block of each row, from its weights as they are now.
    void set_scales(int64_t block, uint8_t* blocks) {
        const int64_t begin = block * p_.format.block;
        for (int64_t r = 0; r < count_; ++r) {
            uint8_t* row = blocks + r * row_bytes();
            uint8_t* at = row + p_.format.row_bytes(begin);
            // A row with one scale gets it from all its weights, before any has moved.
            const int64_t count = p_.format.row_head == 0 ? p_.format.block : begin == 0 ? p_.cols : 0;
            for (int64_t k = 0; k < count; ++k)
                row_[static_cast<size_t>(k)] = weights_[static_cast<size_t>((begin + k) * kRows + r)];
            if (count > 0)
                p_.format.encode(nullptr, row_.data(), p_.importance.data() + begin, p_.format.row_head ? row : at, count);
            levels_.read(p_.format, row, at, levels_of(block, r));
        }
    }

    // Once through the columns; a block gets its scales when it is reached.
    void feed_back(uint8_t* blocks) {
        for (int64_t begin = 0; begin < p_.cols; begin += kSpan) {
            const int64_t end = std::min(p_.cols, begin + kSpan);
            for (int64_t j = begin; j < end; ++j) {
                if (j % p_.format.block == 0) set_scales(j / p_.format.block, blocks);
                round_column(j);
                const float* u = p_.factor.data() + j * p_.cols;
                float* error = errors_.data() + (j - begin) * kRows;
                for (int64_t r = 0; r < kRows; ++r) {
                    const size_t at = static_cast<size_t>(j * kRows + r);
                    error[r] = (weights_[at] - value_[at]) / u[j];
                }
                subtract_outer(weights_.data() + (j + 1) * kRows, error, u + j + 1, p_.cols, 1, end - j - 1);
            }
            subtract_outer(weights_.data() + end * kRows, errors_.data(),
                           p_.factor.data() + begin * p_.cols + end, p_.cols, end - begin, p_.cols - end);
        }
    }

    void round_column(int64_t j) {
        const int64_t block = j / p_.format.block, e = j % p_.format.block;
        for (int64_t r = 0; r < kRows; ++r) {
            const size_t at = static_cast<size_t>(j * kRows + r);
            const float* levels = levels_of(block, std::min(r, count_ - 1));
            codes_[at] = static_cast<uint8_t>(levels_.nearest(levels, e, weights_[at], value_[at]));
        }
    }

    // Coordinate descent on the whole objective: each code to the best value given all others, some rounds.
    void descend() {
        std::vector<float>& slope = weights_;  // (w - value) H, per row
        std::vector<float> difference(cells());
        load(slope);
        for (size_t i = 0; i < cells(); ++i) difference[i] = value_[i] - slope[i];
        std::fill(slope.begin(), slope.end(), 0.0f);
        for (int64_t begin = 0; begin < p_.cols; begin += kSpan) {
            const int64_t count = std::min(kSpan, p_.cols - begin);
            subtract_outer(slope.data(), difference.data() + begin * kRows, p_.gram.data() + begin * p_.cols,
                           p_.cols, count, p_.cols);
        }
        for (size_t i = 0; i < cells(); ++i) {
            const size_t j = i / static_cast<size_t>(kRows);
            slope[i] -= (p_.diagonal[j] - p_.gram[j * static_cast<size_t>(p_.cols) + j]) * difference[i];
        }
        for (int sweep = 0; sweep < p_.options.sweeps; ++sweep)
            for (int64_t j = 0; j < p_.cols; ++j) improve_column(j, slope);
    }

    void improve_column(int64_t j, std::vector<float>& slope) {
        const int64_t block = j / p_.format.block, e = j % p_.format.block;
        const float own = p_.diagonal[static_cast<size_t>(j)];
        float change[kRows];
        bool any = false;
        for (int64_t r = 0; r < kRows; ++r) {
            const size_t at = static_cast<size_t>(j * kRows + r);
            float found;
            const float* levels = levels_of(block, std::min(r, count_ - 1));
            const int code = levels_.nearest(levels, e, value_[at] + slope[at] / own, found);
            change[r] = 0;
            if (code == codes_[at]) continue;
            change[r] = found - value_[at];
            codes_[at] = static_cast<uint8_t>(code);
            value_[at] = found;
            any = true;
        }
        if (!any) return;
        subtract_outer(slope.data(), change, p_.gram.data() + j * p_.cols, p_.cols, 1, p_.cols);
        const float extra = own - p_.gram[static_cast<size_t>(j * p_.cols + j)];
        for (int64_t r = 0; r < kRows; ++r) slope[static_cast<size_t>(j * kRows + r)] -= extra * change[r];
    }

    void put_codes(uint8_t* blocks) {
        uint8_t codes[256];
        for (int64_t r = 0; r < count_; ++r) {
            for (int64_t b = 0; b < p_.cols / p_.format.block; ++b) {
                for (int64_t e = 0; e < p_.format.block; ++e)
                    codes[e] = codes_[static_cast<size_t>((b * p_.format.block + e) * kRows + r)];
                p_.planes.put(codes, blocks + r * row_bytes() + p_.format.row_bytes(b * p_.format.block));
            }
        }
    }

    const Problem& p_;
    Levels levels_;
    std::vector<float> weights_;  // [cols, 16]: as feedback changes them; later the slope
    std::vector<float> value_;    // [cols, 16]: what the codes stand for
    std::vector<float> errors_;
    std::vector<uint8_t> codes_;
    std::vector<float> row_;
    int64_t first_ = 0, count_ = 0;
};

}  // namespace

Status round_with_feedback(const Format& format, const float* w, int64_t rows, int64_t cols, int64_t group,
                           const std::vector<float>& gram, const FeedbackOptions& options, ThreadPool& pool,
                           uint8_t* blocks) {
    const CodePlanes* planes = code_planes(format.slot);
    std::vector<float> importance(static_cast<size_t>(cols)), diagonal(static_cast<size_t>(cols));
    double mean = 0;
    for (int64_t j = 0; j < cols; ++j) mean += static_cast<double>(gram[static_cast<size_t>(j * cols + j)]);
    mean = mean > 0 ? mean / static_cast<double>(cols) : 1.0;
    for (int64_t j = 0; j < cols; ++j) {
        const double own = static_cast<double>(gram[static_cast<size_t>(j * cols + j)]);
        diagonal[static_cast<size_t>(j)] =
            static_cast<float>((own > 0 ? own : mean) + options.damping * mean);
    }
    if (!planes) {
        HeadInput input{cols, rows, group, {}, [&](int64_t) { return diagonal.data(); }, &pool};
        input.read = [&](int64_t row, int64_t count, float* out) { std::copy_n(w + row * cols, count * cols, out); };
        encode_tensor(format, input, blocks);
        return {};
    }
    LET(factor, inverse_factor(gram, cols, options.damping, pool));
    for (int64_t j = 0; j < cols; ++j) {
        const float u = factor[static_cast<size_t>(j * cols + j)];
        importance[static_cast<size_t>(j)] = 1 / (u * u);
    }
    const Problem problem{
        format, *planes, w, rows, cols, gram, factor, std::move(importance), std::move(diagonal), options};
    std::vector<Tile> tiles;
    for (int t = 0; t < pool.size(); ++t) tiles.emplace_back(problem);
    pool.for_each_piece((rows + kRows - 1) / kRows, 1, [&](int64_t begin, int64_t, int thread) {
        tiles[static_cast<size_t>(thread)].round(
            begin * kRows, blocks + static_cast<uint64_t>(begin * kRows) * format.row_bytes(cols));
    });
    return {};
}

}  // namespace quant
