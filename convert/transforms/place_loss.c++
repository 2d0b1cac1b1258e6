// The error is taken back into the original channels, where the Gram matrix is at hand.
#include "convert/transforms/place_loss.h"

#include <algorithm>
#include <numeric>

#include "convert/rounding/error_feedback.h"
#include "kernels/kernels.h"

namespace quant {

namespace {

constexpr int64_t kRows = 64;  // of a matrix, or as many whole blocks

// Rows of a matrix that stand for all: whole blocks where a map mixes them.
std::vector<int64_t> sample(int64_t first, int64_t count, int64_t block) {
    const int64_t blocks = count / block, taken = std::clamp<int64_t>(kRows / block, 1, blocks);
    std::vector<int64_t> rows;
    for (int64_t b = 0; b < taken; ++b)
        for (int64_t r = 0; r < block; ++r) rows.push_back(first + (b * blocks / taken) * block + r);
    return rows;
}

// e H eT over all rows e.
double energy(const std::vector<float>& e, const std::vector<float>& gram, int64_t cols, ThreadPool& pool) {
    constexpr int64_t kPiece = 16;  // of columns of H
    const auto rows = static_cast<int64_t>(e.size()) / cols;
    std::vector<double> sums(static_cast<size_t>((cols + kPiece - 1) / kPiece));
    const size_t scratch = kMatmulScratch / sizeof(float), own = scratch + static_cast<size_t>(rows * cols) + 16;
    std::vector<float> space(own * static_cast<size_t>(pool.size()));
    pool.for_each_piece(cols, kPiece, [&](int64_t begin, int64_t end, int thread) {
        float* at = space.data() + static_cast<size_t>(thread) * own;
        at = reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(at) + 63) & ~uintptr_t{63});
        MatmulArgs args;
        args.format = &format_of(FormatSlot::f32);
        args.w = {reinterpret_cast<const uint8_t*>(gram.data()), cols, cols};
        args.x = e.data();
        args.x_stride = cols;
        args.n = rows;
        args.scratch = at;
        args.y = at + scratch;
        args.y_stride = cols;
        args.row_begin = begin;
        args.row_end = end;
        kernels().matmul_exact(args);
        double sum = 0;
        for (int64_t r = 0; r < rows; ++r)
            for (int64_t j = begin; j < end; ++j)
                sum += static_cast<double>(args.y[r * cols + j]) * static_cast<double>(e[static_cast<size_t>(r * cols + j)]);
        sums[static_cast<size_t>(begin / kPiece)] = sum;
    });
    return std::accumulate(sums.begin(), sums.end(), 0.0);
}

// The Gram matrix of inverse(M) x.
std::vector<float> mapped(std::vector<float> gram, int64_t cols, const ChannelMap& map) {
    std::vector<float> column(static_cast<size_t>(cols), 1.0f);
    if (map.block() == 1) {
        map.on_maker(column.data(), cols, 0);
        for (size_t i = 0; i < column.size(); ++i)
            for (size_t j = 0; j < column.size(); ++j) gram[i * column.size() + j] *= column[i] * column[j];
        return gram;
    }
    for (int64_t i = 0; i < cols; ++i) map.on_maker(gram.data() + i * cols, cols, 0);
    for (int64_t j = 0; j < cols; ++j) {
        for (int64_t i = 0; i < cols; ++i) column[static_cast<size_t>(i)] = gram[static_cast<size_t>(i * cols + j)];
        map.on_maker(column.data(), cols, 0);
        for (int64_t i = 0; i < cols; ++i) gram[static_cast<size_t>(i * cols + j)] = column[static_cast<size_t>(i)];
    }
    return gram;
}

struct Sampled {
    const PlannedTensor& planned;
    int64_t cols;
    std::vector<float> rows;  // [n, cols]
};

void mix_rows(const Place::Side& side, const ChannelMap& map, const std::vector<int64_t>& which, int64_t cols, std::vector<float>& rows) {
    const int64_t block = map.block();
    std::vector<float> column(static_cast<size_t>(block));
    for (size_t at = 0; at < which.size(); at += static_cast<size_t>(block))
        for (int64_t c = 0; c < cols; ++c) {
            float* from = rows.data() + static_cast<int64_t>(at) * cols + c;
            for (int64_t r = 0; r < block; ++r) column[static_cast<size_t>(r)] = from[r * cols];
            if (side.as == Fold::As::maker_rows) map.on_maker(column.data(), block, which[at] - side.first);
            else map.on_reader(column.data(), block, which[at] - side.first);
            for (int64_t r = 0; r < block; ++r) from[r * cols] = column[static_cast<size_t>(r)];
        }
}

// Rounds rows in place.
Status round(Sampled& s, const std::vector<float>& gram, bool feedback, ThreadPool& pool) {
    const Format& format = *s.planned.out.format;
    const int64_t cols = s.cols, count = static_cast<int64_t>(s.rows.size()) / cols;
    if (feedback || !format.plain()) {
        const int64_t group = std::min(s.planned.out.group, count);
        std::vector<uint8_t> blocks(format.tensor_bytes(cols, count, group));
        TRY(round_with_feedback(format, s.rows.data(), count, cols, group, gram, {}, pool, blocks.data()));
        decode_rows(format, {blocks.data(), cols, count, format.head_bytes(cols, count, group), group, 0}, 0, count, s.rows.data());
        return {};
    }
    std::vector<float> importance(static_cast<size_t>(cols));
    for (int64_t j = 0; j < cols; ++j) importance[static_cast<size_t>(j)] = gram[static_cast<size_t>(j * cols + j)];
    pool.for_each_piece(count, 1, [&](int64_t r, int64_t, int) {
        std::vector<uint8_t> blocks(format.row_bytes(cols));
        format.encode(nullptr, s.rows.data() + r * cols, importance.data(), blocks.data(), cols);
        format.decode(nullptr, blocks.data(), s.rows.data() + r * cols, cols);
    });
    return {};
}

}  // namespace

Result<double> PlaceLoss::of(const Place& place, const PlaceMap& map, bool feedback) const {
    double sum = 0, count = 0;
    const int64_t block = map.for_makers ? map.for_makers->block() : place.block;
    std::vector<Place::Side> sides = place.readers;
    // Rows of the makers are rounded otherwise only where they mix: a factor of a row is one of its scales.
    if (block > 1) sides.insert(sides.end(), place.makers.begin(), place.makers.end());
    for (const Place::Side& side : sides) {
        const TensorInfo* tensor = model.gguf().find(side.tensor);
        const auto found = planned.find(side.tensor);
        const InputStatistics* read = inputs(side.tensor);
        if (!tensor || !read || tensor->rows() == 1 || found == planned.end()) continue;
        const PlannedTensor& to = *found->second;
        if (to.out.format->kind != FormatKind::block || side.per_matrix) continue;
        const bool columns = side.as == Fold::As::reader;
        const int64_t cols = tensor->cols();
        const auto which = sample(side.first, side.count ? side.count : tensor->rows(), columns ? 1 : block);
        Sampled work{to, cols, std::vector<float>(which.size() * static_cast<size_t>(cols))};
        for (size_t i = 0; i < which.size(); ++i)
            decode_rows(*tensor->format, tensor->view(), which[i], 1, work.rows.data() + static_cast<int64_t>(i) * cols);
        const std::vector<float>& judged = feedback ? read->held_out : read->learned;
        const double norm = energy(work.rows, judged, cols, pool);
        const std::vector<float> original = work.rows;
        const ChannelMap* reading = columns ? map.for_readers.get() : nullptr;
        const ChannelMap* mixing = columns ? nullptr : side.as == Fold::As::maker_rows ? map.for_makers.get() : map.for_readers.get();
        if (reading)
            for (size_t i = 0; i < which.size(); ++i) reading->on_reader(work.rows.data() + static_cast<int64_t>(i) * cols, cols, 0);
        if (mixing) mix_rows(side, *mixing, which, cols, work.rows);
        const std::vector<float> changed = work.rows;
        TRY(round(work, reading ? mapped(read->learned, cols, *reading) : read->learned, feedback, pool));
        for (size_t i = 0; i < work.rows.size(); ++i) work.rows[i] -= changed[i];
        if (reading)
            for (size_t i = 0; i < which.size(); ++i) reading->on_reader_inverse(work.rows.data() + static_cast<int64_t>(i) * cols, cols, 0);
        double error = energy(work.rows, judged, cols, pool);
        if (mixing) {  // rows that mix by no rotation have another norm
            const double mixed = energy(changed, judged, cols, pool);
            error *= mixed > 0 ? norm / mixed : 1;
        }
        if (norm > 0) sum += error / norm, ++count;
    }
    return count > 0 ? sum / count : 0.0;
}

}  // namespace quant
