// Formats in which several weights share a point of a code book. Under a full metric the points and the signs of a unit
// are improved in turn: for given signs all points are tried, for a given point the changes of one sign or two.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "convert/rounding/books.h"
#include "convert/rounding/chooser.h"
#include "formats/grid_search.h"

namespace quant {

namespace {

constexpr int kMostBlock = 256, kMostBytes = 512, kRounds = 3;

// The point g with the least sum over i of g_i (linear_i + sum over j <= i of square_ij g_j); of equals the first.
// level [D, points]; square [D, D], only its lower half is read.
template <int W, int D>
QUANT_INLINE int lowest_point(const float* level, int points, const float* square, const float* linear) {
    float first[kLanes];
    for (int i = 0; i < kLanes; ++i) first[i] = static_cast<float>(i);
    Vec<W> place = Vec<W>::load(first);
    search::Lowest<W> lowest;
    for (int p = 0; p < points; p += kLanes) {
        Vec<W> g[search::extent(D)], sum = Vec<W>::all(0);
        for (int i = 0; i < D; ++i) {
            g[i] = Vec<W>::load(level + i * points + p);
            Vec<W> factor = Vec<W>::all(linear[i]);
            for (int j = 0; j <= i; ++j) factor = factor + Vec<W>::all(square[i * D + j]) * g[j];
            sum = sum + factor * g[i];
        }
        lowest.consider(sum, place);
        place = place + Vec<W>::all(kLanes);
    }
    return lowest.result();
}

template <int W>
QUANT_INLINE int lowest_point_body(int dims, const float* level, int points, const float* square, const float* linear) {
    if (dims == 8) return lowest_point<W, 8>(level, points, square, linear);
    if (dims == 4) return lowest_point<W, 4>(level, points, square, linear);
    return lowest_point<W, 2>(level, points, square, linear);
}

#if defined(__x86_64__) && !defined(QUANT_SANITIZED)
[[gnu::target("avx2")]] int lowest_point_wide(int dims, const float* level, int points, const float* square, const float* linear) {
    return lowest_point_body<8>(dims, level, points, square, linear);
}
#endif

int lowest_point(int dims, const float* level, int points, const float* square, const float* linear) {
#if defined(__x86_64__) && !defined(QUANT_SANITIZED)
    if (wide_lanes()) return lowest_point_wide(dims, level, points, square, linear);
#endif
    return lowest_point_body<4>(dims, level, points, square, linear);
}

class BookChooser : public Chooser {
public:
    BookChooser(const Format& format, const CodeBook& book, int64_t cols)
        : format_(format), book_(book), book_size_(static_cast<size_t>(book.dims * book.points)),
          level_(book_size_ * (format.head ? kRows : 1)), points_(static_cast<size_t>(cols / book.dims * kRows)),
          negative_(static_cast<size_t>((cols + 7) / 8 * kRows)), scale_(static_cast<size_t>(cols / book.unit * kRows)), offset_(scale_.size()) {
        if (!format.head) book.levels({}, level_.data());
    }

    int64_t unit() const override { return book_.unit; }

    // Two points decoded give scale and offset of each unit.
    void read(const RowPlace& place, int64_t block, int64_t r, const uint8_t* bytes) override {
        float* level = level_.data() + (format_.head ? static_cast<size_t>(r) * book_size_ : 0);
        if (format_.head && block == 0) book_.levels(place, level);
        const auto [least, most] = std::minmax_element(level, level + book_.points);
        const auto width = static_cast<int64_t>(format_.block);
        uint8_t copy[kMostBytes], negative[kMostBlock / 8] = {};
        uint16_t points[kMostBlock];
        float low[kMostBlock], high[kMostBlock];
        std::memcpy(copy, bytes, format_.bytes);
        std::fill_n(points, kMostBlock, static_cast<uint16_t>(least - level));
        book_.put(points, negative, copy);
        format_.decode(format_.plain() ? nullptr : &place, copy, low, width);
        std::fill_n(points, kMostBlock, static_cast<uint16_t>(most - level));
        book_.put(points, negative, copy);
        format_.decode(format_.plain() ? nullptr : &place, copy, high, width);
        for (int64_t e = 0; e < width; e += book_.unit) {
            const size_t at = static_cast<size_t>((block * width + e) / book_.unit * kRows + r);
            const float scale = *most > *least ? (high[e] - low[e]) / (*most - *least) : 0.0f;
            scale_[at] = scale;
            offset_[at] = book_.signs == Signs::none ? low[e] - scale * *least : 0.0f;
        }
    }

    void choose(int64_t j, int64_t r, const float* target, const float* metric, float* value) override {
        const int n = book_.unit;
        float linear[kMostUnit];
        for (int i = 0; i < n; ++i) {
            linear[i] = 0;
            for (int k = 0; k < n; ++k) linear[i] += metric[i * n + k] * target[k];
        }
        Unit now = unit_at(j, r, value);
        *now.negative = start_signs(now, target, metric);
        for (int i = 0; i < n; ++i) value[i] = 0;
        for (int first = 0; first < n; first += book_.dims) {
            now.points[first / book_.dims * kRows] = 0;
            fill(now, first);
        }
        descend(now, linear, metric);
    }

    bool improve(int64_t j, int64_t r, const float* linear, const float* metric, float* value) override {
        Unit now = unit_at(j, r, value);
        return descend(now, linear, metric);
    }

    void put(int64_t block, int64_t r, uint8_t* bytes) const override {
        uint16_t points[kMostBlock];
        uint8_t negative[kMostBlock / 8];
        const auto width = static_cast<int64_t>(format_.block);
        for (int64_t i = 0; i < width / book_.dims; ++i) points[i] = points_[static_cast<size_t>((block * width / book_.dims + i) * kRows + r)];
        for (int64_t i = 0; i < width / 8; ++i) negative[i] = negative_[static_cast<size_t>((block * width / 8 + i) * kRows + r)];
        book_.put(points, negative, bytes);
    }

private:
    // One unit of one row: where its codes are kept, and what they stand for.
    struct Unit {
        const float* level;
        float scale, offset;
        uint16_t* points;   // kRows apart
        uint8_t* negative;  // of a unit of eight
        float* value;
    };

    Unit unit_at(int64_t j, int64_t r, float* value) {
        const size_t at = static_cast<size_t>(j / book_.unit * kRows + r);
        return {level_.data() + (format_.head ? static_cast<size_t>(r) * book_size_ : 0), scale_[at], offset_[at],
                points_.data() + (j / book_.dims * kRows + r), negative_.data() + (j / 8 * kRows + r), value};
    }

    float sign(const Unit& u, int i) const { return book_.signs != Signs::none && (*u.negative >> i & 1) ? -1.0f : 1.0f; }

    // The values of the point at weight `first` of the unit.
    void fill(const Unit& u, int first) const {
        const int point = u.points[first / book_.dims * kRows];
        for (int i = 0; i < book_.dims; ++i)
            u.value[first + i] = sign(u, first + i) * u.level[i * book_.points + point] * u.scale + u.offset;
    }

    // The targets' own signs; where their number must be even and is not, the one that matters least is changed.
    uint8_t start_signs(const Unit& u, const float* target, const float* metric) const {
        if (book_.signs == Signs::none) return 0;
        int bits = 0, cheapest = 0;
        float least = INFINITY;
        for (int i = 0; i < book_.unit; ++i) {
            bits |= ((target[i] < 0) != (u.scale < 0) ? 1 : 0) << i;
            const float cost = std::fabs(target[i]) * metric[i * book_.unit + i];
            if (cost < least) least = cost, cheapest = i;
        }
        if (book_.signs == Signs::even && __builtin_popcount(static_cast<unsigned>(bits)) % 2) bits ^= 1 << cheapest;
        return static_cast<uint8_t>(bits);
    }

    // Points and signs in turn until nothing changes, a few rounds at most.
    bool descend(Unit& u, const float* linear, const float* metric) {
        if (u.scale == 0) return false;
        bool any = false;
        for (int round = 0; round < kRounds; ++round) {
            bool changed = false;
            for (int first = 0; first < book_.unit; first += book_.dims) changed |= better_point(u, first, linear, metric);
            const bool signs = book_.signs != Signs::none && better_signs(u, linear, metric);
            any |= changed || signs;
            if (!signs && (!changed || book_.unit == book_.dims)) break;
        }
        return any;
    }

    // All points for the weights from `first` on, the rest of the unit as it is.
    bool better_point(Unit& u, int first, const float* linear, const float* metric) const {
        const int n = book_.unit, dims = book_.dims;
        float square[kMostBookDims * kMostBookDims], part[kMostBookDims];
        for (int i = 0; i < dims; ++i) {
            const float* row = metric + (first + i) * n;
            float at_zero = -linear[first + i];  // half of the slope where the level is 0
            for (int k = 0; k < n; ++k) {
                const bool own = k >= first && k < first + dims;
                at_zero += row[k] * (own ? u.offset : u.value[k]);
            }
            const float s = u.scale * sign(u, first + i);
            part[i] = 2 * s * at_zero;
            for (int k = 0; k <= i; ++k)
                square[i * dims + k] = (k < i ? 2.0f : 1.0f) * s * u.scale * sign(u, first + k) * row[first + k];
        }
        const int point = lowest_point(dims, u.level, book_.points, square, part);
        uint16_t& now = u.points[first / dims * kRows];
        if (point == now) return false;
        now = static_cast<uint16_t>(point);
        fill(u, first);
        return true;
    }

    static void flip(Unit& u, int i) {
        *u.negative = static_cast<uint8_t>(*u.negative ^ 1 << i);
        u.value[i] = -u.value[i];
    }

    // Changes one sign, or two where their number must stay even, while that lowers the cost.
    bool better_signs(Unit& u, const float* linear, const float* metric) const {
        const int n = book_.unit;
        bool any = false;
        for (int round = 0; round < n; ++round) {
            float change[kMostUnit];  // of the cost, by a change of this sign alone
            for (int i = 0; i < n; ++i) {
                float slope = -linear[i];
                for (int k = 0; k < n; ++k) slope += metric[i * n + k] * u.value[k];
                change[i] = 4 * u.value[i] * (u.value[i] * metric[i * n + i] - slope);
            }
            int a = -1, b = -1;
            float least = 0;
            for (int i = 0; i < n; ++i) {
                if (book_.signs == Signs::free && change[i] < least) least = change[i], a = b = i;
                for (int k = 0; k < i; ++k) {
                    const float both = change[i] + change[k] + 8 * u.value[i] * u.value[k] * metric[i * n + k];
                    if (both < least) least = both, a = i, b = k;
                }
            }
            if (a < 0) break;
            any = true;
            flip(u, a);
            if (b != a) flip(u, b);
        }
        return any;
    }

    const Format& format_;
    const CodeBook& book_;
    size_t book_size_;
    std::vector<float> level_;      // [dims, points], for each row where the book lies in the tensor's head
    std::vector<uint16_t> points_;  // [cols / dims, 16]
    std::vector<uint8_t> negative_;
    std::vector<float> scale_, offset_;  // [cols / unit, 16]
};

}  // namespace

std::unique_ptr<Chooser> book_chooser(const Format& format, int64_t cols) {
    const CodeBook* book = code_book(format.slot);
    return book ? std::make_unique<BookChooser>(format, *book, cols) : nullptr;
}

}  // namespace quant
