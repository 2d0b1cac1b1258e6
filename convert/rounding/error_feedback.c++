// Tiles of 16 rows side by side: column k of a tile is one virtual vector, so all rows move together through
// the columns.
#include "convert/rounding/error_feedback.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "convert/rounding/books.h"
#include "convert/rounding/chooser.h"
#include "convert/rounding/codes.h"
#include "convert/rounding/factor.h"
#include "convert/rounding/kept_columns.h"
#include "convert/rounding/scale_choices.h"
#include "formats/lanes.h"
#include "formats/side_data.h"

namespace quant {

namespace {

constexpr int64_t kRows = kLanes;  // of a tile
constexpr int64_t kMostBlock = 256, kMostBytes = 512;
constexpr double kLeastFactor = 0.7;  // by which a scale changes afterwards at most
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

struct Problem {
    const Format& format;
    const uint8_t* head;  // of the tensor, where the format has one
    int64_t unit;         // weights that are chosen together
    const float* w;
    int64_t rows, cols, group;
    const std::vector<float>& gram;
    const std::vector<float>& factor;
    std::vector<float> importance;  // 1 / U_jj^2: the weight of an error that is not moved on
    std::vector<float> diagonal;    // of the damped H
    std::vector<float> metrics;     // [cols / unit, unit, unit]: what a unit's errors cost when the columns to come make up for them
    const FeedbackOptions& options;
};

// With U the factor's part of the unit the errors (w - value) inverse(U) are moved on, so that inverse(U) inverse(U)t is
// their metric. A unit of one weight needs none.
std::vector<float> metrics_of(const std::vector<float>& factor, int64_t cols, int64_t unit) {
    std::vector<float> out(static_cast<size_t>(cols * unit));
    double m[Chooser::kMostUnit][Chooser::kMostUnit];  // inverse(U), upper triangular
    for (int64_t begin = 0; begin < cols; begin += unit) {
        const auto u = [&](int64_t i, int64_t j) { return static_cast<double>(factor[static_cast<size_t>((begin + i) * cols + begin + j)]); };
        for (int64_t j = 0; j < unit; ++j)
            for (int64_t i = unit - 1; i >= 0; --i) {
                double sum = i == j ? 1 : 0;
                for (int64_t k = i + 1; k <= j; ++k) sum -= u(i, k) * m[k][j];
                m[i][j] = i > j ? 0 : sum / u(i, i);
            }
        for (int64_t i = 0; i < unit; ++i)
            for (int64_t j = 0; j < unit; ++j) {
                double sum = 0;
                for (int64_t k = std::max(i, j); k < unit; ++k) sum += m[i][k] * m[j][k];
                out[static_cast<size_t>(begin * unit + i * unit + j)] = static_cast<float>(sum);
            }
    }
    return out;
}

// One tile of up to 16 rows.
class Tile {
public:
    explicit Tile(const Problem& problem)
        : p_(problem),
          chooser_(Chooser::create(problem.format, problem.cols)),
          choices_(problem.options.chooses_scales ? scale_choices(problem.format.slot) : nullptr),
          weights_(cells()),
          value_(cells()),
          errors_(static_cast<size_t>(kSpan * kRows)),
          tried_(choices_ ? static_cast<size_t>(choices_->span * kRows) : 0),
          row_(static_cast<size_t>(problem.cols)) {}

    void round(int64_t first, uint8_t* blocks) {
        first_ = first;
        count_ = std::min(kRows, p_.rows - first);
        load(weights_);
        feed_back(blocks);
        if (p_.options.sweeps > 0) descend(blocks);
        for (int64_t r = 0; r < count_; ++r)
            for (int64_t b = 0; b < p_.cols / p_.format.block; ++b)
                chooser_->put(b, r, blocks + r * row_bytes() + p_.format.row_bytes(b * p_.format.block));
    }

private:
    size_t cells() const { return static_cast<size_t>(p_.cols * kRows); }
    int64_t row_bytes() const { return static_cast<int64_t>(p_.format.row_bytes(p_.cols)); }

    // Rows past the last are zeros.
    void load(std::vector<float>& to) const {
        std::fill(to.begin(), to.end(), 0.0f);
        for (int64_t r = 0; r < count_; ++r) {
            const float* from = p_.w + (first_ + r) * p_.cols;
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
            RowPlace place{p_.head, nullptr, p_.cols, p_.group, first_ + r, begin};
            if (count > 0)
                p_.format.encode(p_.head ? &place : nullptr, row_.data(), p_.importance.data() + begin, p_.format.row_head ? row : at, count);
            place.row_head = row;
            chooser_->read(place, block, r, at);
        }
    }

    // What rounding the span at column j would cost each row under the scales that it has: the squares of the errors that move on.
    void try_span(int64_t j, double* cost) {
        const int64_t n = choices_->span;
        std::copy_n(weights_.begin() + j * kRows, n * kRows, tried_.begin());
        std::fill_n(cost, kRows, 0.0);
        for (int64_t i = 0; i < n; ++i) {
            const float* u = p_.factor.data() + (j + i) * p_.cols + j;
            float* now = tried_.data() + i * kRows;
            float error[kRows] = {};
            for (int64_t r = 0; r < count_; ++r) {
                float value;
                chooser_->choose(j + i, r, now + r, p_.metrics.data() + j + i, &value);
                error[r] = (now[r] - value) / u[i];
                cost[r] += static_cast<double>(error[r]) * static_cast<double>(error[r]);
            }
            subtract_outer(now + kRows, error, u + i + 1, p_.cols, 1, n - i - 1);
        }
    }

    // Of the span at column j, whose weights have the errors of all columns before in them: of the scales around those that it
    // has, the best.
    void choose_scales(int64_t j, uint8_t* blocks) {
        const int64_t block = j / p_.format.block, begin = block * p_.format.block, span = (j - begin) / choices_->span;
        double least[kRows], cost[kRows];
        int best[kRows];
        uint8_t original[kRows][kMostBytes];
        const auto bytes = [&](int64_t r) { return blocks + r * row_bytes() + p_.format.row_bytes(begin); };
        const auto set = [&](int64_t r, int n) {
            std::memcpy(bytes(r), original[r], p_.format.bytes);
            if (n >= 0 && !choices_->set(original[r], span, n, bytes(r))) return false;
            chooser_->read({p_.head, blocks + r * row_bytes(), p_.cols, p_.group, first_ + r, begin}, block, r, bytes(r));
            return true;
        };
        for (int64_t r = 0; r < count_; ++r) {
            std::memcpy(original[r], bytes(r), p_.format.bytes);
            best[r] = -1;
        }
        try_span(j, least);
        for (int n = 0; n < choices_->count; ++n) {
            bool within[kRows] = {};
            for (int64_t r = 0; r < count_; ++r) within[r] = set(r, n);
            try_span(j, cost);
            for (int64_t r = 0; r < count_; ++r)
                if (within[r] && cost[r] < least[r]) least[r] = cost[r], best[r] = n;
        }
        for (int64_t r = 0; r < count_; ++r) set(r, best[r]);
    }

    // Once through the columns; a block gets its scales when it is reached.
    void feed_back(uint8_t* blocks) {
        for (int64_t begin = 0; begin < p_.cols; begin += kSpan) {
            const int64_t end = std::min(p_.cols, begin + kSpan);
            for (int64_t j = begin; j < end; ++j) {
                if (j % p_.format.block == 0) set_scales(j / p_.format.block, blocks);
                if (choices_ && j % choices_->span == 0) choose_scales(j, blocks);
                if (j % p_.unit == 0) round_unit(j);
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

    // One row's part of the unit at column j.
    void gather(const std::vector<float>& from, int64_t j, int64_t r, float* to) const {
        for (int64_t i = 0; i < p_.unit; ++i) to[i] = from[static_cast<size_t>((j + i) * kRows + r)];
    }
    void scatter(const float* from, int64_t j, int64_t r, std::vector<float>& to) const {
        for (int64_t i = 0; i < p_.unit; ++i) to[static_cast<size_t>((j + i) * kRows + r)] = from[i];
    }

    void round_unit(int64_t j) {
        float target[Chooser::kMostUnit], value[Chooser::kMostUnit];
        for (int64_t r = 0; r < count_; ++r) {
            gather(weights_, j, r, target);
            chooser_->choose(j, r, target, p_.metrics.data() + j * p_.unit, value);
            scatter(value, j, r, value_);
        }
    }

    // Coordinate descent on the whole objective: each unit to the best codes given all others, some rounds.
    void descend(uint8_t* blocks) {
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
        for (int64_t j = 0; j < p_.cols; ++j) subtract_damping(j, difference.data() + j * kRows, slope);
        const auto sweep = [&] {
            for (int64_t j = 0; j < p_.cols; j += p_.unit) improve_unit(j, slope);
        };
        for (int i = 0; i < p_.options.sweeps; ++i) sweep();
        for (int i = 0; i < p_.options.refits; ++i) {
            for (int64_t block = 0; block < p_.cols / p_.format.block; ++block)
                if (!refit_scales(block, slope, difference, blocks)) return;
            sweep();
        }
    }

    // The scales of one block of each row that are best for its codes and all other blocks: with v its values, e the error of
    // the row, v (1 + d) is best for d = (e H v) / (v H v). False: the format has no such scales.
    bool refit_scales(int64_t block, std::vector<float>& slope, std::vector<float>& change, uint8_t* blocks) {
        const int64_t n = p_.format.block, begin = block * n;
        double gain[kRows] = {}, cost[kRows] = {};
        for (int64_t j = begin; j < begin + n; ++j) {
            const float* own = value_.data() + j * kRows;
            float turned[kRows] = {};  // (H v) at j
            for (int64_t k = begin; k < begin + n; ++k) {
                const float h = j == k ? p_.diagonal[static_cast<size_t>(j)] : p_.gram[static_cast<size_t>(j * p_.cols + k)];
                for (int64_t r = 0; r < kRows; ++r) turned[r] += h * value_[static_cast<size_t>(k * kRows + r)];
            }
            for (int64_t r = 0; r < kRows; ++r) {
                gain[r] += static_cast<double>(own[r]) * static_cast<double>(slope[static_cast<size_t>(j * kRows + r)]);
                cost[r] += static_cast<double>(own[r]) * static_cast<double>(turned[r]);
            }
        }
        std::fill_n(change.begin() + begin * kRows, n * kRows, 0.0f);
        for (int64_t r = 0; r < count_; ++r) {
            const double factor = cost[r] > 0 ? 1 + gain[r] / cost[r] : 1;
            if (!(factor > kLeastFactor && factor < 1 / kLeastFactor)) continue;
            uint8_t* row = blocks + r * row_bytes();
            const RowPlace place{p_.head, row, p_.cols, p_.group, first_ + r, begin};
            float values[kMostBlock];
            if (!chooser_->rescale(place, block, r, factor, row + p_.format.row_bytes(begin), values)) return false;
            for (int64_t k = 0; k < n; ++k) {
                const auto at = static_cast<size_t>((begin + k) * kRows + r);
                change[at] = values[k] - value_[at];
                value_[at] = values[k];
            }
        }
        subtract_outer(slope.data(), change.data() + begin * kRows, p_.gram.data() + begin * p_.cols, p_.cols, n, p_.cols);
        for (int64_t j = begin; j < begin + n; ++j) subtract_damping(j, change.data() + j * kRows, slope);
        return true;
    }

    // What the damped H has more than H on its diagonal.
    void subtract_damping(int64_t j, const float* change, std::vector<float>& slope) const {
        const float extra = p_.diagonal[static_cast<size_t>(j)] - p_.gram[static_cast<size_t>(j * p_.cols + j)];
        for (int64_t r = 0; r < kRows; ++r) slope[static_cast<size_t>(j * kRows + r)] -= extra * change[r];
    }

    void improve_unit(int64_t j, std::vector<float>& slope) {
        const int64_t n = p_.unit;
        float metric[Chooser::kMostUnit * Chooser::kMostUnit], change[Chooser::kMostUnit * kRows] = {};
        for (int64_t i = 0; i < n; ++i)
            for (int64_t k = 0; k < n; ++k)
                metric[i * n + k] = i == k ? p_.diagonal[static_cast<size_t>(j + i)] : p_.gram[static_cast<size_t>((j + i) * p_.cols + j + k)];
        bool any = false;
        for (int64_t r = 0; r < count_; ++r) {
            float before[Chooser::kMostUnit], value[Chooser::kMostUnit], linear[Chooser::kMostUnit];
            gather(value_, j, r, before);
            gather(slope, j, r, linear);
            for (int64_t i = 0; i < n; ++i) {
                value[i] = before[i];
                for (int64_t k = 0; k < n; ++k) linear[i] += metric[i * n + k] * before[k];
            }
            if (!chooser_->improve(j, r, linear, metric, value)) continue;
            for (int64_t i = 0; i < n; ++i) change[i * kRows + r] = value[i] - before[i];
            scatter(value, j, r, value_);
            any = true;
        }
        if (!any) return;
        subtract_outer(slope.data(), change, p_.gram.data() + j * p_.cols, p_.cols, n, p_.cols);
        for (int64_t i = 0; i < n; ++i) subtract_damping(j + i, change + i * kRows, slope);
    }

    const Problem& p_;
    std::unique_ptr<Chooser> chooser_;
    const ScaleChoices* choices_;  // null: the scales stay
    std::vector<float> weights_;  // [cols, 16]: as feedback changes them; later the slope
    std::vector<float> value_;    // [cols, 16]: what the codes stand for
    std::vector<float> errors_;
    std::vector<float> tried_;    // [span, 16]
    std::vector<float> row_;
    int64_t first_ = 0, count_ = 0;
};

}  // namespace

FeedbackOptions damped_for(FeedbackOptions options, int64_t cols, double tokens) {
    constexpr double kShare = 3, kMost = 0.5;
    options.damping += tokens > 0 ? std::min(kMost, kShare * std::sqrt(static_cast<double>(cols) / tokens)) : kMost;
    return options;
}

Status round_with_feedback(const Format& format, const float* w, int64_t rows, int64_t cols, int64_t group,
                           const std::vector<float>& gram, const FeedbackOptions& options, ThreadPool& pool,
                           uint8_t* blocks) {
    std::vector<float> factor;
    if (code_planes(format.slot) || code_book(format.slot)) {
        LET(found, inverse_factor(gram, cols, options.damping, pool));
        factor = std::move(found);
    }
    round_with_factor(format, w, rows, cols, group, gram, factor, options, pool, blocks);
    return {};
}

void round_with_factor(const Format& format, const float* w, int64_t rows, int64_t cols, int64_t group,
                       const std::vector<float>& gram, const std::vector<float>& factor, const FeedbackOptions& options,
                       ThreadPool& pool, uint8_t* blocks) {
    if (format.keeps_columns && round_beside_kept(format, w, rows, cols, gram, options, pool, blocks)) return;
    const std::unique_ptr<Chooser> chooser = Chooser::create(format, cols);
    if (format.head && format.head->grouped && group == 0) group = rows;
    std::vector<float> importance(static_cast<size_t>(cols)), diagonal(static_cast<size_t>(cols));
    const double typical = typical_square(gram, cols);
    for (int64_t j = 0; j < cols; ++j) {
        const double own = static_cast<double>(gram[static_cast<size_t>(j * cols + j)]);
        diagonal[static_cast<size_t>(j)] = static_cast<float>((own > 0 ? own : typical) + options.damping * typical);
    }
    HeadInput input{cols, rows, group, {}, [&](int64_t) { return diagonal.data(); }, &pool};
    input.read = [&](int64_t row, int64_t count, float* out) { std::copy_n(w + row * cols, count * cols, out); };
    if (!chooser) {
        encode_tensor(format, input, blocks);
        return;
    }
    if (format.head) format.head->build(input, blocks);
    for (int64_t j = 0; j < cols; ++j) {
        const float u = factor[static_cast<size_t>(j * cols + j)];
        importance[static_cast<size_t>(j)] = 1 / (u * u);
    }
    std::vector<float> metrics = metrics_of(factor, cols, chooser->unit());
    const Problem problem{format, format.head ? blocks : nullptr, chooser->unit(), w, rows, cols, group, gram, factor,
                          std::move(importance), std::move(diagonal), std::move(metrics), options};
    uint8_t* first_row = blocks + format.head_bytes(cols, rows, group);
    std::vector<Tile> tiles;
    for (int t = 0; t < pool.size(); ++t) tiles.emplace_back(problem);
    pool.for_each_piece((rows + kRows - 1) / kRows, 1, [&](int64_t begin, int64_t, int thread) {
        tiles[static_cast<size_t>(thread)].round(begin * kRows, first_row + static_cast<uint64_t>(begin * kRows) * format.row_bytes(cols));
    });
}

}  // namespace quant
