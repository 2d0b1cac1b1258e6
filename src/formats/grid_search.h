// Search for the formats whose levels stand together in a grid (IQ1_S to IQ3_S): best points for any scale, cheaply.
// Knows no layout; the encoders pack what comes out.
//
// A group of weights x with importances w, written as the point g of the grid under scale s, has the squared error
//     sum w x^2 - s (h - s q),   h = 2 sum w x g,  q = sum w g^2,
// so that the best point for scale s is the lowest of the straight lines s q - h. Of hundreds of points only a handful
// are lowest anywhere: once these are found, the best points for any scale cost a few operations, and the scales of a
// block can be searched as if the grid were not there. Signs: where they are free, x counts as |x|; where their
// number must be even and is not, the cheapest change costs 4 s min w |x| g, which makes h smaller and leaves a line.
#pragma once

#include <bit>
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
QUANT_INLINE void grid_lines(const GridLevels& grid, const float* doubled, const float* w, float* h, float* q,
                             float* flip) {
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

// The lines lowest at some scales around s, a multiple of 3. Between these scales other lines may be lowest,
// but hardly lower.
inline constexpr float kSixScales[] = {0.55f, 0.75f, 0.95f, 1.15f, 1.35f, 1.75f};
inline constexpr float kNineScales[] = {0.55f, 0.7f, 0.82f, 0.93f, 1.03f, 1.13f, 1.25f, 1.45f, 1.8f};

template <int W, size_t n>
QUANT_INLINE void lowest_lines(const float (&around)[n], const float* h, const float* q, int points, float s,
                               Lines& lines) {
    constexpr size_t kAtOnce = 3;
    static_assert(n % kAtOnce == 0);
    lines.count = 0;
    float first[kLanes];
    for (int i = 0; i < kLanes; ++i) first[i] = static_cast<float>(i);
    for (size_t k = 0; k < n; k += kAtOnce) {
        Vec<W> scale[kAtOnce];
        Lowest<W> lowest[kAtOnce];
        for (size_t i = 0; i < kAtOnce; ++i) scale[i] = Vec<W>::all(s * around[k + i]);
        Vec<W> place = Vec<W>::load(first);
        for (int p = 0; p < points; p += kLanes) {
            const Vec<W> vh = Vec<W>::load(h + p), vq = Vec<W>::load(q + p);
            for (size_t i = 0; i < kAtOnce; ++i) lowest[i].consider(scale[i] * vq - vh, place);
            place = place + Vec<W>::all(kLanes);
        }
        for (const auto& each : lowest) {
            const int point = each.result();
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
//     Vec<W> at(int sub, const Vec<W>& s) for 16 scales;  void fit(int sub, float s, float& h, float& q) adds the sums
//     of the best points for s: of least squares the scale is h / 2 q.
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

// Least squares leaves weights too small by the share of the energy that is lost, all in the same direction, and what
// is lost alike adds up in the products where random errors do not: a fourth of the output at 1.6 bits. So the scale
// grows by half of what would restore the energy. That costs a few percent of squared error; with IQ1_S the KL
// divergence of the bundled model falls by a fifth.
template <int W, class Scales>
QUANT_INLINE void restore_energy(const Block<256>& in, Scales& scales) {
    Vec<W> energy = Vec<W>::all(0);
    for (int i = 0; i < 256; i += kLanes) {
        const Vec<W> x = Vec<W>::load(in.x + i);
        energy = energy + Vec<W>::load(in.w + i) * x * x;
    }
    const float kept = -scales.cost;
    if (!(kept > 0)) return;
    scales.d = half_scale(scales.d.value * clamp(0.5f + 0.5f * (energy.sum() / kept), 1, 1.4f), in.up, in.down);
}

// ---- blocks of 256 with signs ---------------------------------------------------------------------------------

// Eight weights: one group of 8, or two of 4 that share a rule for their signs.
// Shape: kDims (8 or 4), kEven (the number of negative signs of eight weights is even), and what ScaleSearch wants.
template <class Shape>
struct SignedEight {
    static constexpr int kDims = Shape::kDims, kGroups = 8 / kDims;
    float doubled[8];
    unsigned negative;  // bit i: weight i
    bool odd;           // a sign must change
    Lines plain[extent(kGroups)], changed[extent(kGroups)];  // changed: with a changed sign, where odd

    template <int W, size_t n>
    QUANT_INLINE void prepare(const GridLevels& grid, const float (&around)[n], const float* x, const float* w,
                              float s) {
        alignas(64) float h[kMostPoints], q[kMostPoints], flip[kMostPoints];
        negative = 0;
        for (int i = 0; i < 8; ++i) {
            doubled[i] = std::fabs(x[i]) * w[i] * 2;
            negative |= (x[i] < 0 ? 1u : 0u) << i;
        }
        odd = Shape::kEven && std::popcount(negative) % 2 != 0;
        for (int g = 0; g < kGroups; ++g) {
            grid_lines<W, kDims>(grid, doubled + g * kDims, w + g * kDims, h, q, odd ? flip : nullptr);
            if (kGroups > 1 || !odd) lowest_lines<W>(around, h, q, grid.points, s, plain[g]);
            if (odd) lowest_lines<W>(around, flip, q, grid.points, s, changed[g]);
        }
    }
    template <int W>
    QUANT_INLINE Vec<W> at(const Vec<W>& s) const {
        if constexpr (kGroups == 1) {
            return lowest_at<W>(odd ? changed[0] : plain[0], s);
        } else {
            const Vec<W> a = lowest_at<W>(plain[0], s), b = lowest_at<W>(plain[1], s);
            if (!odd) return a + b;
            return min(lowest_at<W>(changed[0], s) + b, lowest_at<W>(changed[1], s) + a);
        }
    }
    // The lines that stand for the groups at scale s, and the lowest of each; returns the group with a changed sign.
    int pick(float s, const Lines** line, int* place) const {
        int which = odd ? 0 : -1;
        if constexpr (kGroups == 2) {
            if (odd) {
                const float first = changed[0].at(changed[0].lowest(s), s) + plain[1].at(plain[1].lowest(s), s);
                const float second = changed[1].at(changed[1].lowest(s), s) + plain[0].at(plain[0].lowest(s), s);
                which = second < first;
            }
        }
        for (int g = 0; g < kGroups; ++g) {
            line[g] = g == which ? &changed[g] : &plain[g];
            place[g] = line[g]->lowest(s);
        }
        return which;
    }
    void fit(float s, float& h, float& q) const {
        const Lines* line[extent(kGroups)];
        int place[extent(kGroups)];
        pick(s, line, place);
        for (int g = 0; g < kGroups; ++g) h += line[g]->h[place[g]], q += line[g]->q[place[g]];
    }
    // The points for scale s, returns the signs.
    unsigned codes(const GridLevels& grid, float s, int* point) const {
        const Lines* line[extent(kGroups)];
        int place[extent(kGroups)];
        const int which = pick(s, line, place);
        for (int g = 0; g < kGroups; ++g) point[g] = line[g]->point[place[g]];
        if (which < 0) return negative;
        int cheapest = 0;
        float least = 0x1p120f;
        for (int i = 0; i < kDims; ++i) {
            const float part = doubled[which * kDims + i] * grid.level[i * grid.points + point[which]];
            if (part < least) least = part, cheapest = i;
        }
        return negative ^ 1u << (which * kDims + cheapest);
    }
};

// What is written of a block, beside the scales: the point of each group, the signs of each eight.
struct GridCodes {
    int point[64];
    uint8_t negative[32];
};

template <int W, class Shape>
struct SignedCost {
    static constexpr int kPerSub = 32 / Shape::kSubs;
    SignedEight<Shape> eight[32];

    QUANT_INLINE void prepare(const GridLevels& grid, const Block<256>& in, const float* guess) {
        for (int u = 0; u < 32; ++u) {
            const float s = guess[u / kPerSub];
            eight[u].template prepare<W>(grid, Shape::kAround, in.x + 8 * u, in.w + 8 * u, s > 0 ? s : 1);
        }
    }
    QUANT_INLINE Vec<W> at(int sub, const Vec<W>& s) const {
        Vec<W> sum = Vec<W>::all(0);
        for (int u = sub * kPerSub; u < (sub + 1) * kPerSub; ++u) sum = sum + eight[u].template at<W>(s);
        return sum * s;
    }
    void fit(int sub, float s, float& h, float& q) const {
        for (int u = sub * kPerSub; u < (sub + 1) * kPerSub; ++u) eight[u].fit(s, h, q);
    }
    void codes(const GridLevels& grid, const GridScales<Shape::kSubs>& scales, GridCodes& out) const {
        for (int u = 0; u < 32; ++u) {
            const float multiple = Shape::kFirst + Shape::kStep * static_cast<float>(scales.k[u / kPerSub]);
            int* point = out.point + u * SignedEight<Shape>::kGroups;
            const unsigned signs = eight[u].codes(grid, scales.d.value * multiple, point);
            out.negative[u] = static_cast<uint8_t>(signs);
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
QUANT_INLINE GridScales<Shape::kSubs> best_signed_block(const GridLevels& grid, const float* x, const float* importance,
                                                        GridCodes& codes) {
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
    auto scales = search.best(guess);
    cost.codes(grid, scales, codes);
    restore_energy<W>(in, scales);
    return scales;
}

}  // namespace quant::search
