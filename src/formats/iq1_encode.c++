// Encoders of IQ1_S and IQ1_M: eight weights are s (g + shift), g a point of the grid of -1, 0, 1, shift 1/8 or -1/8.
#include <array>

#include "formats/blocks.h"
#include "formats/codecs.h"
#include "formats/grid_search.h"
#include "formats/grids.h"

namespace quant {

namespace {

using search::extent;
using search::Lines;

constexpr int kPatterns = 6561;  // 3^8; digit i of a pattern is the level of weight i, plus 1
constexpr int kPower[8] = {1, 3, 9, 27, 81, 243, 729, 2187};

// The points by their patterns, and their levels.
struct Patterns {
    std::array<int16_t, kPatterns> point;  // -1: not in the grid
    std::array<std::array<float, 8>, 2048> level;
};

const Patterns& patterns() {
    static const Patterns table = [] {
        Patterns all;
        all.point.fill(-1);
        for (size_t p = 0; p < 2048; ++p) {
            int pattern = 0;
            for (size_t i = 0; i < 8; ++i) {
                const int digit = static_cast<int>(kIq1Grid.points[p] >> (8 * i) & 255);
                pattern += digit * kPower[i];
                all.level[p][i] = static_cast<float>(digit - 1);
            }
            all.point[static_cast<size_t>(pattern)] = static_cast<int16_t>(p);
        }
        return all;
    }();
    return table;
}

// Eight weights rounded to free levels, and what other levels cost: for weight i the level next in cost adds near[i] to
// the squared error and near_step[i] to the pattern, the third one far[i] and far_step[i].
struct Rounded {
    int pattern;
    float near[8], far[8];
    int near_step[8], far_step[8];
};

// Levels for both shifts: t[0..7] is x / s - 1/8, t[8..15] x / s + 1/8; w the importances, twice.
template <int W>
QUANT_INLINE void round_free(const Vec<W>& t, const Vec<W>& w, Rounded* out) {
    const Vec<W> one = Vec<W>::all(1), zero = Vec<W>::all(0);
    const Vec<W> level = round_even(min(max(t, zero - one), one));
    const Vec<W> off = t - level, square = off * off;
    // Next in cost is the level on the side of t; from the ends it is 0, wherever t lies.
    const Vec<W> side = with_sign(one, off);
    const Vec<W> next = choose_below(magnitude(level), Vec<W>::all(0.5f), side, zero), third = zero - (level + next);
    const Vec<W> to_next = t - next, to_third = t - third;
    float near[kLanes], far[kLanes], levels[kLanes], nexts[kLanes];
    (w * (to_next * to_next - square)).store(near);
    (w * (to_third * to_third - square)).store(far);
    level.store(levels);
    next.store(nexts);
    for (int half = 0; half < 2; ++half) {
        Rounded& r = out[half];
        r.pattern = 0;
        for (int i = 0; i < 8; ++i) {
            const int at = 8 * half + i, l = static_cast<int>(levels[at]), n = static_cast<int>(nexts[at]);
            r.pattern += (l + 1) * kPower[i];
            r.near[i] = near[at];
            r.far[i] = far[at];
            r.near_step[i] = (n - l) * kPower[i];
            r.far_step[i] = (-2 * l - n) * kPower[i];
        }
    }
}

// The point of least cost among those that differ from the free levels in at most two weights; without one, among all.
int nearest_point(const Rounded& r, const Patterns& table) {
    auto point = [&](int pattern) { return table.point[static_cast<size_t>(pattern)]; };
    int best = point(r.pattern);
    if (best >= 0) return best;
    float least = 0x1p126f;
    auto consider = [&](int pattern, float cost) {
        if (cost < least && point(pattern) >= 0) least = cost, best = point(pattern);
    };
    for (int i = 0; i < 8; ++i) {
        consider(r.pattern + r.near_step[i], r.near[i]);
        consider(r.pattern + r.far_step[i], r.far[i]);
    }
    for (int i = 0; i < 8; ++i) {
        if (!(r.near[i] < least)) continue;
        for (int j = 0; j < 8; ++j) {
            if (j > i) consider(r.pattern + r.near_step[i] + r.near_step[j], r.near[i] + r.near[j]);
            if (j != i) consider(r.pattern + r.near_step[i] + r.far_step[j], r.near[i] + r.far[j]);
        }
    }
    if (best >= 0) return best;
    float cost[8][3];
    for (int i = 0; i < 8; ++i) {
        const int digit = r.pattern / kPower[i] % 3;
        cost[i][digit] = 0;
        cost[i][digit + r.near_step[i] / kPower[i]] = r.near[i];
        cost[i][digit + r.far_step[i] / kPower[i]] = r.far[i];
    }
    for (size_t p = 0; p < 2048; ++p) {
        float sum = 0;
        for (size_t i = 0; i < 8; ++i) sum += cost[i][static_cast<int>(table.level[p][i]) + 1];
        if (sum < least) least = sum, best = static_cast<int>(p);
    }
    return best;
}

constexpr float kShift = 0.125f;
constexpr float kAround[] = {0.65f, 0.82f, 1.0f, 1.2f, 1.55f};

// kEights groups of eight share a shift.
template <int W, class Shape>
struct ShiftedCost {
    static constexpr int kEights = Shape::kEights;
    static constexpr int kUnits = 32 / Shape::kSubs / kEights;  // choices of a shift in a sub-block
    Lines lines[32][2];

    QUANT_INLINE void prepare(const search::Block<256>& in, const float* guess) {
        const Patterns& table = patterns();
        const float* x = in.x;
        for (int g = 0; g < 32; ++g, x += 8) {
            const float* w = in.w + 8 * g;
            const float guessed = guess[g * Shape::kSubs / 32], s = guessed > 0 ? guessed : 1;
            float twice_x[kLanes], twice_w[kLanes], shift[kLanes];
            for (int i = 0; i < kLanes; ++i) {
                twice_x[i] = x[i % 8];
                twice_w[i] = w[i % 8];
                shift[i] = i < 8 ? kShift : -kShift;
            }
            const Vec<W> vx = Vec<W>::load(twice_x), vw = Vec<W>::load(twice_w), vs = Vec<W>::load(shift);
            lines[g][0].count = lines[g][1].count = 0;
            for (float around : kAround) {
                Rounded rounded[2];
                round_free<W>(vx * Vec<W>::all(1 / (s * around)) - vs, vw, rounded);
                for (int half = 0; half < 2; ++half) {
                    Lines& to = lines[g][half];
                    const int point = nearest_point(rounded[half], table);
                    if (to.count > 0 && to.point[to.count - 1] == point) continue;
                    const auto& level = table.level[static_cast<size_t>(point)];
                    float h = 0, q = 0;
                    for (int i = 0; i < 8; ++i) {
                        const float v = level[static_cast<size_t>(i)] + shift[8 * half];
                        h += 2 * w[i] * x[i] * v;
                        q += w[i] * v * v;
                    }
                    to.add(point, h, q);
                }
            }
        }
    }
    QUANT_INLINE Vec<W> at(int sub, const Vec<W>& s) const {
        Vec<W> sum = Vec<W>::all(0);
        for (int u = sub * kUnits; u < (sub + 1) * kUnits; ++u) {
            Vec<W> shifted[2] = {Vec<W>::all(0), Vec<W>::all(0)};
            for (int g = u * kEights; g < (u + 1) * kEights; ++g) {
                for (int half = 0; half < 2; ++half) {
                    shifted[half] = shifted[half] + search::lowest_at<W>(lines[g][half], s);
                }
            }
            sum = sum + min(shifted[1], shifted[0]);
        }
        return sum * s;
    }
    int better_shift(int u, float s) const {
        float sum[2] = {};
        for (int g = u * kEights; g < (u + 1) * kEights; ++g) {
            for (int half = 0; half < 2; ++half) sum[half] += lines[g][half].at(lines[g][half].lowest(s), s);
        }
        return sum[1] < sum[0];
    }
    void fit(int sub, float s, float& h, float& q) const {
        for (int u = sub * kUnits; u < (sub + 1) * kUnits; ++u) {
            const int half = better_shift(u, s);
            for (int g = u * kEights; g < (u + 1) * kEights; ++g) {
                const Lines& from = lines[g][half];
                const int place = from.lowest(s);
                h += from.h[place];
                q += from.q[place];
            }
        }
    }
};

// The scale in which N weights fit best if any levels may stand together.
template <int W, int N>
QUANT_INLINE float free_scale(const float* x, const float* w) {
    const float most = search::max_magnitude<W, N>(x);
    if (!(most > 0)) return 0;
    float inverse_scale[kLanes];
    float v = 0.8f / most;
    for (float& s : inverse_scale) s = v, v *= 1.13f;
    const Vec<W> inv = Vec<W>::load(inverse_scale), low = Vec<W>::all(-1), high = Vec<W>::all(1);
    float scale = 0, least = 0;
    for (float shift : {kShift, -kShift}) {
        const Vec<W> by = Vec<W>::all(shift);
        Vec<W> xq = Vec<W>::all(0), qq = xq;
        for (int i = 0; i < N; ++i) {
            const Vec<W> vx = Vec<W>::all(x[i]);
            const Vec<W> level = round_even(min(max(vx * inv - by, low), high)) + by, wq = Vec<W>::all(w[i]) * level;
            xq = xq + wq * vx;
            qq = qq + wq * level;
        }
        float h[kLanes], q[kLanes];
        xq.store(h);
        qq.store(q);
        for (int i = 0; i < kLanes; ++i) {
            const float error = q[i] > 0 && h[i] > 0 ? -(h[i] * (h[i] / q[i])) : 0;
            if (error < least) least = error, scale = h[i] / q[i];
        }
    }
    return scale;
}

struct ShapeS {
    static constexpr int kSubs = 8, kScales = 8, kTries = 24, kEights = 4;  // kEights share a shift
    static constexpr float kFirst = 1, kStep = 2, kFactor = 0.85f, kRatio = 1.03f;
};
struct ShapeM : ShapeS {
    static constexpr int kSubs = 16, kEights = 1;
};

struct Iq1Codes {
    uint16_t d;
    int scale[16];
    int point[32];
    int minus[32];  // shift -1/8
};

template <int W, class Shape>
QUANT_INLINE void best_block(const float* x, const float* importance, Iq1Codes& out) {
    constexpr int N = 256 / Shape::kSubs;
    search::Block<256> in;
    search::load_block<W>(in, x, importance);
    float guess[extent(Shape::kSubs)];
    for (int j = 0; j < Shape::kSubs; ++j) guess[j] = free_scale<W, N>(in.x + j * N, in.w + j * N);
    using Cost = ShiftedCost<W, Shape>;
    Cost cost;
    cost.prepare(in, guess);
    using Search = search::ScaleSearch<W, Shape, Cost>;
    auto best = Search(cost, in.up, in.down).best(guess);
    const float chosen = best.d.value;
    search::restore_energy<W>(in, best);
    out.d = best.d.bits;
    for (int j = 0; j < Shape::kSubs; ++j) out.scale[j] = best.k[j];
    for (int g = 0; g < 32; ++g) {
        const float s = chosen * Search::multiple(best.k[g * Shape::kSubs / 32]);
        out.minus[g] = cost.better_shift(g / Shape::kEights, s);
        const Lines& lines = cost.lines[g][out.minus[g]];
        out.point[g] = lines.point[lines.lowest(s)];
    }
}

template <int W>
QUANT_INLINE void iq1_s_body(const float* x, const float* importance, uint8_t* blocks, int64_t n) {
    auto* block = reinterpret_cast<BlockIQ1_S*>(blocks);
    Iq1Codes codes;
    for (int64_t i = 0; i < n; i += 256, ++block) {
        best_block<W, ShapeS>(x + i, importance ? importance + i : nullptr, codes);
        block->d.set_bits(codes.d);
        for (int g = 0; g < 32; ++g) block->qs[g] = static_cast<uint8_t>(codes.point[g]);
        for (int j = 0; j < 8; ++j) {
            int high = codes.scale[j] << 12 | codes.minus[4 * j] << 15;
            for (int l = 0; l < 4; ++l) high |= codes.point[4 * j + l] >> 8 << (3 * l);
            store(block->qh + 2 * j, static_cast<uint16_t>(high));
        }
    }
}

template <int W>
QUANT_INLINE void iq1_m_body(const float* x, const float* importance, uint8_t* blocks, int64_t n) {
    auto* block = reinterpret_cast<BlockIQ1_M*>(blocks);
    Iq1Codes codes;
    for (int64_t i = 0; i < n; i += 256, ++block) {
        best_block<W, ShapeM>(x + i, importance ? importance + i : nullptr, codes);
        for (int g = 0; g < 32; ++g) block->qs[g] = static_cast<uint8_t>(codes.point[g]);
        for (int g = 0; g < 32; g += 2) {
            const int low = codes.point[g] >> 8 | codes.minus[g] << 3;
            const int high = codes.point[g + 1] >> 8 | codes.minus[g + 1] << 3;
            block->qh[g / 2] = static_cast<uint8_t>(low | high << 4);
        }
        for (int j = 0; j < 4; ++j) {  // four scales and four bits of d in each word
            int bits = (codes.d >> (4 * j) & 15) << 12;
            for (int l = 0; l < 4; ++l) bits |= codes.scale[4 * j + l] << (3 * l);
            store(block->scales + 2 * j, static_cast<uint16_t>(bits));
        }
    }
}

}  // namespace

QUANT_ENCODER(encode_iq1_s, iq1_s_body)
QUANT_ENCODER(encode_iq1_m, iq1_m_body)

}  // namespace quant
