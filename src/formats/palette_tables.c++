// Tables of palettes: weighted k-means over a sample of each group's weights, every one divided by the scale of its block.
// Fixed order and fixed seeds: the same bytes on every machine and for any number of threads.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "base/bytes.h"
#include "base/rng.h"
#include "formats/palette.h"

namespace quant {

namespace {

constexpr int64_t kSampledScalars = 1 << 17, kSampledVectors = 1 << 15;  // weights, entries' worth of weights
constexpr int kRounds = 3;  // of k-means and of new scales for the blocks under its table

// Blocks of a group: evenly spaced rows, all their blocks.
struct Sample {
    std::vector<float> x, h;  // h empty: all 1
    int64_t blocks = 0;
};

Sample take_sample(const Palette& kind, const HeadInput& in, int64_t first, int64_t rows) {
    const int64_t wanted = kind.dim == 1 ? kSampledScalars : kSampledVectors * kind.dim;
    const int64_t step = std::max<int64_t>(1, (rows * in.cols + wanted - 1) / wanted);
    Sample out;
    std::vector<float> row(static_cast<size_t>(in.cols));
    for (int64_t r = first; r < first + rows; r += step) {
        in.read(r, 1, row.data());
        out.x.insert(out.x.end(), row.begin(), row.end());
        if (const float* h = in.importance_of(r)) out.h.insert(out.h.end(), h, h + in.cols);
    }
    out.blocks = static_cast<int64_t>(out.x.size()) / kind.weights();
    return out;
}

// Points of k-means: `dim` numbers each, component by component.
struct Points {
    std::vector<float> x[4];
    std::vector<double> weight;
    size_t size() const { return weight.size(); }
};

// A point counts as its weights do: importance times the square of what it was divided by.
Points points_of(const Palette& kind, const Sample& sample, const std::vector<double>& scales) {
    Points out;
    const int dim = kind.dim, per_block = kind.weights();
    for (int64_t b = 0; b < sample.blocks; ++b) {
        const double scale = scales[static_cast<size_t>(b)];
        if (!(scale > 0)) continue;
        for (int i = 0; i < 32; ++i) {
            const auto at = static_cast<size_t>(b * per_block + i * dim);
            double weight = 0;
            for (int d = 0; d < dim; ++d) {
                const size_t e = at + static_cast<size_t>(d);
                out.x[d].push_back(static_cast<float>(static_cast<double>(sample.x[e]) / scale));
                weight += sample.h.empty() ? 1.0 : static_cast<double>(sample.h[e]);
            }
            out.weight.push_back(weight * scale * scale);
        }
    }
    // Where nothing counts all count the same.
    const double sum = std::accumulate(out.weight.begin(), out.weight.end(), 0.0);
    if (!(sum > 0) || !std::isfinite(sum)) std::fill(out.weight.begin(), out.weight.end(), 1.0);
    return out;
}

double square_distance(const Points& points, size_t i, const PaletteTable& table, int entry) {
    double sum = 0;
    for (int d = 0; d < table.kind.dim; ++d) {
        const double off = static_cast<double>(points.x[d][i]) - static_cast<double>(table.level[d][entry]);
        sum += off * off;
    }
    return sum;
}

// k-means++ (Arthur & Vassilvitskii 2007): each further entry is a point, drawn by its weight times the square of the
// distance to the nearest entry so far.
void draw_start(const Points& points, Rng& rng, PaletteTable& table) {
    std::vector<double> nearest(points.size(), 1.0);
    for (int entry = 0; entry < table.kind.entries(); ++entry) {
        double sum = 0;
        for (size_t i = 0; i < points.size(); ++i) sum += points.weight[i] * nearest[i];
        double left = rng.uniform() * sum;
        size_t chosen = 0;
        for (; chosen + 1 < points.size(); ++chosen) {
            left -= points.weight[chosen] * nearest[chosen];
            if (left < 0) break;
        }
        for (int d = 0; d < table.kind.dim; ++d) table.level[d][entry] = points.x[d][chosen];
        for (size_t i = 0; i < points.size(); ++i) {
            const double distance = square_distance(points, i, table, entry);
            nearest[i] = entry ? std::min(nearest[i], distance) : distance;
        }
    }
}

// Points in rising order with sums up to each: a step of k-means is a search for the middles.
struct Line {
    std::vector<float> x;
    std::vector<double> weight, first, second;  // sums of w, w x, w x^2 over the points before

    explicit Line(const Points& points) {
        std::vector<size_t> order(points.size());
        std::iota(order.begin(), order.end(), size_t{0});
        std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return points.x[0][a] < points.x[0][b]; });
        weight.push_back(0), first.push_back(0), second.push_back(0);
        for (const size_t i : order) {
            const double w = points.weight[i], v = static_cast<double>(points.x[0][i]);
            x.push_back(points.x[0][i]);
            weight.push_back(weight.back() + w);
            first.push_back(first.back() + w * v);
            second.push_back(second.back() + w * v * v);
        }
    }

    // One step; returns the error of the table it was given.
    double step(PaletteTable& table) const {
        float* level = table.level[0];
        const int entries = table.kind.entries();
        std::sort(level, level + entries);
        double error = 0;
        size_t begin = 0;
        for (int e = 0; e < entries; ++e) {
            size_t end = x.size();
            if (e + 1 < entries) {
                const float middle = (level[e] + level[e + 1]) * 0.5f;
                end = static_cast<size_t>(std::upper_bound(x.begin() + static_cast<int64_t>(begin), x.end(), middle) - x.begin());
            }
            const double w = weight[end] - weight[begin], s = first[end] - first[begin], q = second[end] - second[begin];
            const double v = static_cast<double>(level[e]);
            error += q - 2 * v * s + v * v * w;
            if (w > 0) level[e] = static_cast<float>(s / w);
            begin = end;
        }
        std::sort(level, level + entries);
        return error;
    }
};

void improve_scalar(const Points& points, int steps, PaletteTable& table) {
    const Line line(points);
    double before = INFINITY;
    for (int i = 0; i < steps; ++i) {
        const double error = line.step(table);
        if (!(error < before * (1 - 1e-7))) break;
        before = error;
    }
}

// The best of some starts: drawn ones, and levels that share out the weight evenly.
void start_scalar(const Points& points, PaletteTable& table) {
    const Line line(points);
    PaletteTable best = table;
    double least = INFINITY;
    Rng rng(1);
    for (int start = 0; start < 4; ++start) {
        if (start > 0) {
            draw_start(points, rng, table);
        } else {
            for (int e = 0; e < table.kind.entries(); ++e) {
                const double wanted = line.weight.back() * (e + 0.5) / table.kind.entries();
                const auto at = std::upper_bound(line.weight.begin(), line.weight.end(), wanted) - line.weight.begin();
                table.level[0][e] = line.x[static_cast<size_t>(std::clamp<int64_t>(at - 1, 0, static_cast<int64_t>(line.x.size()) - 1))];
            }
        }
        double error = INFINITY;
        for (int i = 0; i < 40; ++i) error = line.step(table);
        if (error < least) {
            least = error;
            best = table;
        }
    }
    table = best;
}

// Steps of k-means in 2 or 4 dimensions: every point to its nearest entry, every entry to the mean of its points.
void improve_vectors(const Points& points, int steps, PaletteTable& table) {
    const int entries = table.kind.entries(), dim = table.kind.dim;
    std::vector<float> distance(static_cast<size_t>(entries));
    for (int s = 0; s < steps; ++s) {
        std::vector<double> weight(static_cast<size_t>(entries), 0), sum(static_cast<size_t>(entries * dim), 0);
        for (size_t i = 0; i < points.size(); ++i) {
            for (int e = 0; e < entries; ++e) distance[static_cast<size_t>(e)] = 0;
            for (int d = 0; d < dim; ++d) {
                const float x = points.x[d][i];
                for (int e = 0; e < entries; ++e) {
                    const float off = x - table.level[d][e];
                    distance[static_cast<size_t>(e)] += off * off;
                }
            }
            const auto nearest = static_cast<size_t>(std::min_element(distance.begin(), distance.end()) - distance.begin());
            weight[nearest] += points.weight[i];
            for (int d = 0; d < dim; ++d)
                sum[nearest * static_cast<size_t>(dim) + static_cast<size_t>(d)] += points.weight[i] * static_cast<double>(points.x[d][i]);
        }
        for (int e = 0; e < entries; ++e)
            for (int d = 0; d < dim; ++d)
                if (weight[static_cast<size_t>(e)] > 0)
                    table.level[d][e] = static_cast<float>(sum[static_cast<size_t>(e * dim + d)] / weight[static_cast<size_t>(e)]);
    }
}

// The scales under which the blocks of the sample come nearest to the table.
void fit_scales(const PaletteTable& table, const Sample& sample, std::vector<double>& scales) {
    const int per_block = table.kind.weights();
    for (int64_t b = 0; b < sample.blocks; ++b) {
        double& scale = scales[static_cast<size_t>(b)];
        if (!(scale > 1e-37) || !(scale < 3e38)) continue;
        const float* x = sample.x.data() + b * per_block;
        const float* h = sample.h.empty() ? nullptr : sample.h.data() + b * per_block;
        uint8_t indices[32];
        palette_indices(table, x, h, static_cast<float>(scale), indices);
        const double fitted = palette_fit(table, x, h, indices);
        if (fitted > scale * 0.5 && fitted < scale * 2) scale = fitted;
    }
}

// A table made without knowing the weights.
void spread(PaletteTable& table) {
    Rng rng(1);
    const int entries = table.kind.entries();
    for (int e = 0; e < entries; ++e)
        for (int d = 0; d < table.kind.dim; ++d)
            table.level[d][e] = static_cast<float>(table.kind.dim == 1 ? (2.0 * e + 1) / entries - 1 : rng.gaussian());
}

PaletteTable find_table(const Palette& kind, const HeadInput& in, int64_t first, int64_t rows) {
    PaletteTable table;
    table.kind = kind;
    std::memset(table.level, 0, sizeof table.level);
    const Sample sample = take_sample(kind, in, first, rows);
    std::vector<double> scales(static_cast<size_t>(sample.blocks));
    for (int64_t b = 0; b < sample.blocks; ++b) scales[static_cast<size_t>(b)] = palette_block_scale(kind, sample.x.data() + b * kind.weights());
    for (int round = 0; round < kRounds; ++round) {
        const Points points = points_of(kind, sample, scales);
        if (points.size() == 0) {  // nothing but zeros in the sample: something for the rows it left out
            spread(table);
            break;
        }
        if (round == 0) {
            Rng rng(1);
            if (kind.dim == 1) start_scalar(points, table);
            else draw_start(points, rng, table);
        }
        if (kind.dim == 1) improve_scalar(points, 40, table);
        else improve_vectors(points, round == 0 ? 6 : 3, table);
        if (round + 1 < kRounds) fit_scales(table, sample, scales);
    }
    table.measure();
    return table;
}

}  // namespace

void build_palette_head(const Palette& kind, const HeadInput& in, uint8_t* head) {
    const int64_t groups = (in.rows - 1) / in.group + 1;
    const uint64_t table_bytes = static_cast<uint64_t>(kind.table_bytes()), used = kGroupedHead + static_cast<uint64_t>(groups) * table_bytes;
    std::memset(head, 0, kGroupedHead);
    store(head, static_cast<uint32_t>(in.group));
    std::memset(head + used, 0, (used + 31) / 32 * 32 - used);
    in.pool->for_each_piece(groups, 1, [&](int64_t begin, int64_t end, int) {
        for (int64_t g = begin; g < end; ++g) {
            const int64_t first = g * in.group;
            const PaletteTable table = find_table(kind, in, first, std::min(in.group, in.rows - first));
            table.write(head + kGroupedHead + static_cast<uint64_t>(g) * table_bytes);
        }
    });
}

}  // namespace quant
