// Search for the formats whose levels stand together in a grid (IQ1_S to IQ3_S): exact for any scale, without trying each.
// Knows no layout; the encoders pack what comes out.
//
// A group of weights x with importances w, written as the point g of the grid under scale s, has the squared error
//     sum w x^2 - s (h - s q),   h = 2 sum w x g,  q = sum w g^2,
// so that the best point for scale s is the lowest of the straight lines s q - h. Of hundreds of points only a handful are
// lowest anywhere: once these are found, the best points for any scale cost a few operations, and the scales of a block can
// be searched as if the grid were not there. Signs belong to the points: where they are free, x counts as |x|; where their
// number must be even and is not, the cheapest change costs 4 s min w |x| g, which makes h smaller and leaves a line.
#pragma once

#include <cmath>
#include <cstdint>
#include <utility>

#include "formats/superblock.h"

namespace quant::search {

// The levels of a grid as floats: of its point p in dimension i, level[i * points + p].
struct GridLevels {
    int points;
    const float* level;
};

constexpr int kMostPoints = 1024, kMostLines = 9;

// The lines of one group that are lowest somewhere, from small scales to large ones.
struct Lines {
    int count = 0;
    float h[kMostLines], q[kMostLines];
    int point[kMostLines];

    float at(int i, float s) const { return s * q[i] - h[i]; }
    void add(int from, float its_h, float its_q) {
        h[count] = its_h;
        q[count] = its_q;
        point[count++] = from;
    }
    int lowest(float s) const {
        int best = 0;
        for (int i = 1; i < count; ++i) best = at(i, s) < at(best, s) ? i : best;
        return best;
    }
};

// h, q and, where flip is given, h with the sign changed that costs least, of all points of a group.
// doubled = 2 w |x|.
template <int W, int DIMS>
QUANT_INLINE void grid_lines(const GridLevels& grid, const float* doubled, const float* w, float* h, float* q, float* flip) {
    for (int p = 0; p < grid.points; p += kLanes) {
        Vec<W> vh = Vec<W>::all(0), vq = vh, least = Vec<W>::all(0x1p120f);
        for (int i = 0; i < DIMS; ++i) {
            const Vec<W> g = Vec<W>::load(grid.level + i * grid.points + p);
            const Vec<W> part = Vec<W>::all(doubled[i]) * g;
            vh = vh + part;
            vq = vq + Vec<W>::all(w[i]) * g * g;
            if (flip) least = min(part, least);
        }
        vh.store(h + p);
        vq.store(q + p);
        if (flip) (vh - (least + least)).store(flip + p);
    }
}

// The lanes' lowest value and its place; of equals the first.
template <int W>
struct Lowest {
    Vec<W> value = Vec<W>::all(0x1p126f), place = Vec<W>::all(0);
    QUANT_INLINE void consider(const Vec<W>& v, const Vec<W>& at) {
        place = choose_below(v, value, at, place);
        value = min(v, value);
    }
    QUANT_INLINE int result() const {
        const Vec<W> never = Vec<W>::all(0x1p24f);
        return static_cast<int>(choose_below(Vec<W>::all(value.least()), value, never, place).least());
    }
};

// The lines lowest at some scales around s, a multiple of 3 of them: between these scales other lines may be lowest, but
// hardly lower.
inline constexpr float kSixScales[] = {0.55f, 0.75f, 0.95f, 1.15f, 1.35f, 1.75f};
inline constexpr float kNineScales[] = {0.55f, 0.7f, 0.82f, 0.93f, 1.03f, 1.13f, 1.25f, 1.45f, 1.8f};

template <int W, size_t n>
QUANT_INLINE void lowest_lines(const float (&around)[n], const float* h, const float* q, int points, float s, Lines& lines) {
    lines.count = 0;
    float first[kLanes];
    for (int i = 0; i < kLanes; ++i) first[i] = static_cast<float>(i);
    for (size_t k = 0; k < n; k += 3) {
        const Vec<W> s0 = Vec<W>::all(s * around[k]), s1 = Vec<W>::all(s * around[k + 1]), s2 = Vec<W>::all(s * around[k + 2]);
        Lowest<W> at0, at1, at2;
        Vec<W> place = Vec<W>::load(first);
        for (int p = 0; p < points; p += kLanes) {
            const Vec<W> vh = Vec<W>::load(h + p), vq = Vec<W>::load(q + p);
            at0.consider(s0 * vq - vh, place);
            at1.consider(s1 * vq - vh, place);
            at2.consider(s2 * vq - vh, place);
            place = place + Vec<W>::all(kLanes);
        }
        for (int point : {at0.result(), at1.result(), at2.result()}) {
            if (lines.count == 0 || lines.point[lines.count - 1] != point) lines.add(point, h[point], q[point]);
        }
    }
}

// The lowest line at each of 16 scales.
template <int W>
QUANT_INLINE Vec<W> lowest_at(const Lines& lines, const Vec<W>& s) {
    Vec<W> least = s * Vec<W>::all(lines.q[0]) - Vec<W>::all(lines.h[0]);
    for (int i = 1; i < lines.count; ++i) least = min(s * Vec<W>::all(lines.q[i]) - Vec<W>::all(lines.h[i]), least);
    return least;
}

// ---- scales of a super-block: d * (kFirst + kStep * k) for sub-block, k < kScales -------------------------------

template <int SUBS>
struct GridScales {
    HalfScale d;
    int k[extent(SUBS)] = {};
    float cost = 0;  // squared error less that of zeros
};

// Cost is what a sub-block costs, squared error less that of zeros:
//     Vec<W> at(int sub, const Vec<W>& s) for 16 scales;  void fit(int sub, float s, float& h, float& q) adds the sums of
//     the best points for s: of least squares the scale is h / 2 q.
template <int W, class Shape, class Cost>
struct ScaleSearch {
    static constexpr int kSubs = Shape::kSubs, kScales = Shape::kScales, kAtOnce = kLanes / kScales;
    using Scales = GridScales<kSubs>;
    const Cost& cost;
    float up, down;
    Vec<W> multiples;

    QUANT_INLINE ScaleSearch(const Cost& c, float u, float d) : cost(c), up(u), down(d) {
        float m[kLanes];
        for (int i = 0; i < kLanes; ++i) m[i] = multiple(i % kScales);
        multiples = Vec<W>::load(m);
    }
    static constexpr float multiple(int k) { return Shape::kFirst + Shape::kStep * static_cast<float>(k); }

    // The sum over all sub-blocks of the least cost, for kAtOnce values of d.
    QUANT_INLINE void totals(const float* d, float* total) const {
        float each[kLanes];
        for (int i = 0; i < kLanes; ++i) each[i] = d[i / kScales];
        const Vec<W> s = Vec<W>::load(each) * multiples;
        for (int i = 0; i < kAtOnce; ++i) total[i] = 0;
        for (int j = 0; j < kSubs; ++j) {
            float c[kLanes];
            cost.at(j, s).store(c);
            if constexpr (kAtOnce == 1) {
                total[0] += cost.at(j, s).least();
                continue;
            }
            for (int step = kScales / 2; step > 0; step /= 2) {
                for (int i = 0; i < kLanes - step; ++i) c[i] = c[i + step] < c[i] ? c[i + step] : c[i];
            }
            for (int i = 0; i < kAtOnce; ++i) total[i] += c[i * kScales];
        }
    }
    QUANT_INLINE Scales choose(HalfScale d) const {
        Scales out;
        out.d = d;
        const Vec<W> s = Vec<W>::all(d.value) * multiples;
        for (int j = 0; j < kSubs; ++j) {
            float c[kLanes];
            cost.at(j, s).store(c);
            for (int i = 1; i < kScales; ++i) out.k[j] = c[i] < c[out.k[j]] ? i : out.k[j];
            out.cost += c[out.k[j]];
        }
        return out;
    }
    // The scale in which a sub-block fits best, between guess / 8 and guess * 8.
    QUANT_INLINE float ideal(int j, float guess) const {
        float s = guess;
        for (float ratio : {1.2f, 1.02f}) {
            float at[kLanes], c[kLanes];
            at[kLanes / 2] = s;
            for (int i = kLanes / 2 + 1; i < kLanes; ++i) at[i] = at[i - 1] * ratio;
            for (int i = kLanes / 2 - 1; i >= 0; --i) at[i] = at[i + 1] / ratio;
            cost.at(j, Vec<W>::load(at)).store(c);
            int best = kLanes / 2;
            for (int i = 0; i < kLanes; ++i) best = c[i] < c[best] ? i : best;
            s = at[best];
        }
        return s;
    }
    QUANT_INLINE Scales best(const float* guess) const {
        float most = 0;
        for (int j = 0; j < kSubs; ++j) {
            if (!(guess[j] > 0)) continue;
            const float s = ideal(j, guess[j]);
            most = s > most ? s : most;
        }
        if (!(most > 0)) return {};
        float wish = most / multiple(kScales - 1), chosen = wish, least = 0;
        wish *= Shape::kFactor;
        for (int i = 0; i < Shape::kTries; i += kAtOnce) {
            float d[extent(kAtOnce)], total[extent(kAtOnce)];
            for (float& v : d) v = super_scale(wish, up, down).value, wish *= Shape::kRatio;
            totals(d, total);
            for (int a = 0; a < kAtOnce; ++a) {
                if (total[a] < least) least = total[a], chosen = d[a];
            }
        }
        Scales now = choose(super_scale(chosen, up, down));
        for (int round = 0; round < 3; ++round) {
            float h = 0, q = 0;
            for (int j = 0; j < kSubs; ++j) {
                const float m = multiple(now.k[j]);
                float part_h = 0, part_q = 0;
                cost.fit(j, now.d.value * m, part_h, part_q);
                h += m * part_h;
                q += m * m * part_q;
            }
            if (!(q > 0)) break;
            const Scales next = choose(super_scale(h / (2 * q), up, down));
            if (!(next.cost < now.cost)) break;
            now = next;
        }
        for (int step : {1, -1}) {
            const Scales next = choose(half_neighbor(now.d, step, down));
            if (next.cost < now.cost) now = next;
        }
        return now;
    }
};

// ---- blocks of 256 with signs ---------------------------------------------------------------------------------

// What is written of a block, beside the scales: the point of each group, the signs of each eight.
struct GridCodes {
    int point[64];
    uint8_t negative[32];  // bit i: weight i
};

// Shape: kDims (8 or 4), kEven (the number of negative signs of eight weights is even), kSubs, and those of ScaleSearch.
template <int W, class Shape>
struct SignedCost {
    static constexpr int kGroups = 256 / Shape::kDims, kPer = 8 / Shape::kDims;  // groups in eight weights
    alignas(64) float doubled[256];
    uint8_t negative[32];
    bool odd[32];                    // a sign must change
    Lines plain[extent(kGroups)], changed[extent(kGroups)];  // changed: with a changed sign, where odd

    QUANT_INLINE void prepare(const GridLevels& grid, const Block<256>& in, const float* guess) {
        const Vec<W> two = Vec<W>::all(2);
        for (int i = 0; i < 256; i += kLanes) {
            (magnitude(Vec<W>::load(in.x + i)) * Vec<W>::load(in.w + i) * two).store(doubled + i);
        }
        alignas(64) float h[kMostPoints], q[kMostPoints], flip[kMostPoints];
        for (int u = 0; u < 32; ++u) {
            unsigned bits = 0;
            for (unsigned i = 0; i < 8; ++i) bits |= (in.x[8 * u + static_cast<int>(i)] < 0 ? 1u : 0u) << i;
            negative[u] = static_cast<uint8_t>(bits);
            odd[u] = Shape::kEven && std::popcount(bits) % 2 != 0;
            const float guessed = guess[u * Shape::kSubs / 32], s = guessed > 0 ? guessed : 1;
            for (int g = u * kPer; g < (u + 1) * kPer; ++g) {
                const int first = g * Shape::kDims;
                grid_lines<W, Shape::kDims>(grid, doubled + first, in.w + first, h, q, odd[u] ? flip : nullptr);
                if (kPer > 1 || !odd[u]) lowest_lines<W>(Shape::kAround, h, q, grid.points, s, plain[g]);
                if (odd[u]) lowest_lines<W>(Shape::kAround, flip, q, grid.points, s, changed[g]);
            }
        }
    }
    QUANT_INLINE Vec<W> unit(int u, const Vec<W>& s) const {
        if constexpr (kPer == 1) return lowest_at<W>(odd[u] ? changed[u] : plain[u], s);
        const Vec<W> a = lowest_at<W>(plain[2 * u], s), b = lowest_at<W>(plain[2 * u + 1], s);
        if (!odd[u]) return a + b;
        return min(lowest_at<W>(changed[2 * u], s) + b, lowest_at<W>(changed[2 * u + 1], s) + a);
    }
    QUANT_INLINE Vec<W> at(int sub, const Vec<W>& s) const {
        constexpr int kUnits = 32 / Shape::kSubs;
        Vec<W> sum = Vec<W>::all(0);
        for (int u = sub * kUnits; u < (sub + 1) * kUnits; ++u) sum = sum + unit(u, s);
        return sum * s;
    }
    // The lines that stand for the groups of eight weights at scale s.
    void pick(int u, float s, const Lines** line, int* place) const {
        for (int g = 0; g < kPer; ++g) line[g] = &plain[u * kPer + g];
        if (odd[u]) {
            int which = 0;
            if constexpr (kPer == 2) {
                const Lines *p = &plain[2 * u], *c = &changed[2 * u];
                const float first = c[0].at(c[0].lowest(s), s) + p[1].at(p[1].lowest(s), s);
                const float second = c[1].at(c[1].lowest(s), s) + p[0].at(p[0].lowest(s), s);
                which = second < first;
            }
            line[which] = &changed[u * kPer + which];
        }
        for (int g = 0; g < kPer; ++g) place[g] = line[g]->lowest(s);
    }
    void fit(int sub, float s, float& h, float& q) const {
        constexpr int kUnits = 32 / Shape::kSubs;
        for (int u = sub * kUnits; u < (sub + 1) * kUnits; ++u) {
            const Lines* line[extent(kPer)];
            int place[extent(kPer)];
            pick(u, s, line, place);
            for (int g = 0; g < kPer; ++g) h += line[g]->h[place[g]], q += line[g]->q[place[g]];
        }
    }
    void codes(const GridLevels& grid, const GridScales<Shape::kSubs>& scales, GridCodes& out) const {
        for (int u = 0; u < 32; ++u) {
            const float s = scales.d.value * (Shape::kFirst + Shape::kStep * static_cast<float>(scales.k[u * Shape::kSubs / 32]));
            const Lines* line[extent(kPer)];
            int place[extent(kPer)];
            pick(u, s, line, place);
            unsigned bits = negative[u];
            for (int g = 0; g < kPer; ++g) {
                const int group = u * kPer + g, point = line[g]->point[place[g]];
                out.point[group] = point;
                if (line[g] != &changed[group]) continue;
                int cheapest = 0;
                float least = 0x1p120f;
                for (int i = 0; i < Shape::kDims; ++i) {
                    const float part = doubled[group * Shape::kDims + i] * grid.level[i * grid.points + point];
                    if (part < least) least = part, cheapest = i;
                }
                bits ^= 1u << (g * Shape::kDims + cheapest);
            }
            out.negative[u] = static_cast<uint8_t>(bits);
        }
    }
};

// The scale in which N weights fit best if any levels may stand together, close to the best one of the grid.
template <int W, class Levels, int N>
QUANT_INLINE float free_scale(const float* x, const float* w) {
    const float most = max_magnitude<W, N>(x);
    if (!(most > 0)) return 0;
    float inverse_scale[kLanes], error[kLanes];
    float v = 0.8f * Levels::kHigh / most;
    for (float& s : inverse_scale) s = v, v *= 1.12f;
    const Vec<W> inv = Vec<W>::load(inverse_scale);
    Vec<W> xq = Vec<W>::all(0), qq = xq;
    for (int i = 0; i < N; ++i) {
        const float a = std::fabs(x[i]);
        const Vec<W> level = Levels::nearest(Vec<W>::all(a) * inv), wq = Vec<W>::all(w[i]) * level;
        xq = xq + wq * Vec<W>::all(a);
        qq = qq + wq * level;
    }
    float h[kLanes], q[kLanes];
    xq.store(h);
    qq.store(q);
    for (int i = 0; i < kLanes; ++i) error[i] = q[i] > 0 ? -(h[i] * (h[i] / q[i])) : 0;
    int best = 0;
    for (int i = 1; i < kLanes; ++i) best = error[i] < error[best] ? i : best;
    return error[best] < 0 ? h[best] / q[best] : 0;
}

// Encodes a block: importance may be null.
template <int W, class Shape>
QUANT_INLINE GridScales<Shape::kSubs> best_signed_block(const GridLevels& grid, const float* x, const float* importance, GridCodes& codes) {
    constexpr int N = 256 / Shape::kSubs;
    Block<256> in;
    load_block<W>(in, x, importance);
    float guess[Shape::kSubs];
    for (int j = 0; j < Shape::kSubs; ++j) {
        guess[j] = free_scale<W, typename Shape::Levels, N>(in.x + j * N, in.w + j * N) * Shape::kUnit;
    }
    SignedCost<W, Shape> cost;
    cost.prepare(grid, in, guess);
    const ScaleSearch<W, Shape, SignedCost<W, Shape>> search(cost, in.up, in.down);
    const auto scales = search.best(guess);
    cost.codes(grid, scales, codes);
    return scales;
}

}  // namespace quant::search
