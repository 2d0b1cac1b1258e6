// The transforms of FPTQuant (van Breugel et al. 2025) that fold into weights, set from the weights in closed form
// instead of being learned: T_k turns and scales the pairs of a key, T_v mixes and scales the values of a head, T_u
// scales what the gate multiplies.
#include <algorithm>
#include <cmath>

#include "convert/transforms/stages.h"
#include "model/architecture.h"

namespace quant {

namespace {

struct Matrix {
    int64_t cols = 0;
    std::vector<float> values;
    const float* row(int64_t r) const { return values.data() + r * cols; }
};

Matrix read(const Source& source, const std::string& name) {
    const auto& tensors = source.tensors();
    const auto found = std::find_if(tensors.begin(), tensors.end(), [&](const TensorInfo& each) { return each.name == name; });
    Matrix out{found->cols(), std::vector<float>(static_cast<size_t>(found->elements()))};
    source.read_rows(static_cast<size_t>(found - tensors.begin()), 0, found->rows(), out.values.data());
    return out;
}

double dot(const float* a, const float* b, int64_t count) {
    double sum = 0;
    for (int64_t i = 0; i < count; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    return sum;
}

// The first side that is a matrix.
const Place::Side& matrix_side(const std::vector<Place::Side>& sides, Fold::As as) {
    return *std::find_if(sides.begin(), sides.end(), [&](const Place::Side& side) { return side.as == as; });
}

// T_v of each kv head: a random orthogonal matrix, then factors that give its channels the same share of size in the
// rows of v and in the columns of the attention's output.
PlaceMap value_map(const Stage& stage, const Place& place) {
    const int64_t size = place.block, heads = place.channels / size;
    const Place::Side& maker = matrix_side(place.makers, Fold::As::maker_rows);
    const Matrix v = read(stage.source, maker.tensor), o = read(stage.source, place.readers.front().tensor);
    const int64_t o_rows = static_cast<int64_t>(o.values.size()) / o.cols;
    Rng rng(stage.request.seed + 0x5eed + static_cast<uint64_t>(place.layer));
    std::vector<BlockMatrix> blocks;
    for (int64_t h = 0; h < heads; ++h) {
        const std::vector<double> q = random_orthogonal(size, rng);  // column j of M before its factor: q[. , j]
        BlockMatrix block{std::vector<float>(q.size()), std::vector<float>(q.size())};
        for (int64_t j = 0; j < size; ++j) {
            double made = 0, read_by = 0;
            for (int64_t c = 0; c < v.cols; ++c) {
                double sum = 0;
                for (int64_t i = 0; i < size; ++i)
                    sum += q[static_cast<size_t>(i * size + j)] * static_cast<double>(v.row(maker.first + h * size + i)[c]);
                made += sum * sum;
            }
            for (int64_t at = 0; at < o.cols; at += size) {
                if (place.channel_of[static_cast<size_t>(at)] != h * size) continue;
                for (int64_t r = 0; r < o_rows; ++r) {
                    double sum = 0;
                    for (int64_t i = 0; i < size; ++i)
                        sum += q[static_cast<size_t>(i * size + j)] * static_cast<double>(o.row(r)[at + i]);
                    read_by += sum * sum;
                }
            }
            const double factor = made > 0 && read_by > 0 ? std::sqrt(std::sqrt(made / read_by)) : 1;
            for (int64_t i = 0; i < size; ++i) {
                block.matrix[static_cast<size_t>(i * size + j)] = static_cast<float>(q[static_cast<size_t>(i * size + j)] * factor);
                block.inverse[static_cast<size_t>(j * size + i)] = static_cast<float>(q[static_cast<size_t>(i * size + j)] / factor);
            }
        }
        blocks.push_back(std::move(block));
    }
    std::vector<BlockMatrix> read_by;
    for (int64_t at = 0; at < o.cols; at += size) read_by.push_back(blocks[static_cast<size_t>(place.channel_of[static_cast<size_t>(at)] / size)]);
    return {"T_v", matrix_map(size, std::move(blocks)), matrix_map(size, std::move(read_by))};
}

// T_k of a kv head: in the plane of each pair, which positions rotate, a rotation after which both rows of k have the
// same size, and the factor that gives rows of k and of q the same.
BlockMatrix key_block(const Outline& outline, const Matrix& k, int64_t k_first, const Matrix& q, const std::vector<int64_t>& q_first, int64_t size) {
    BlockMatrix block{std::vector<float>(static_cast<size_t>(size * size)), std::vector<float>(static_cast<size_t>(size * size))};
    const auto set = [&](int64_t i, int64_t j, double matrix, double inverse) {
        block.matrix[static_cast<size_t>(i * size + j)] = static_cast<float>(matrix);
        block.inverse[static_cast<size_t>(i * size + j)] = static_cast<float>(inverse);
    };
    const int64_t dims = outline.architecture->rope == RopeKind::none ? size / 2 * 2 : outline.config.rope.dims;
    for (int64_t i = 0; i < size; ++i) set(i, i, 1, 1);  // channels without positions stay
    for (int64_t p = 0; p < dims / 2; ++p) {
        const bool halves = outline.architecture->rope == RopeKind::neox;
        const int64_t a = halves ? p : 2 * p, b = halves ? p + dims / 2 : 2 * p + 1;
        const float *ka = k.row(k_first + a), *kb = k.row(k_first + b);
        const double aa = dot(ka, ka, k.cols), bb = dot(kb, kb, k.cols), ab = dot(ka, kb, k.cols);
        double queries = 0;
        for (const int64_t first : q_first)
            queries += dot(q.row(first + a), q.row(first + a), q.cols) + dot(q.row(first + b), q.row(first + b), q.cols);
        queries /= static_cast<double>(q_first.size());
        const double angle = std::atan2(bb - aa, 2 * ab) / 2, c = std::cos(angle), s = std::sin(angle);
        const double factor = aa + bb > 0 && queries > 0 ? std::sqrt(std::sqrt((aa + bb) / queries)) : 1;
        set(a, a, c * factor, c / factor);
        set(b, b, c * factor, c / factor);
        set(a, b, -s * factor, s / factor);
        set(b, a, s * factor, -s / factor);
    }
    return block;
}

PlaceMap key_map(const Stage& stage, const Place& place) {
    const int64_t size = place.block, heads = place.channels / size, group = static_cast<int64_t>(place.channel_of.size()) / place.channels;
    const Place::Side& maker = matrix_side(place.makers, Fold::As::maker_rows);
    const Place::Side& reader = matrix_side(place.readers, Fold::As::query_rows);
    const Matrix k = read(stage.source, maker.tensor), q = reader.tensor == maker.tensor ? k : read(stage.source, reader.tensor);
    std::vector<BlockMatrix> blocks, queries;
    for (int64_t h = 0; h < heads; ++h) {
        std::vector<int64_t> q_first;
        for (int64_t g = 0; g < group; ++g) q_first.push_back(reader.first + (h * group + g) * size);
        blocks.push_back(key_block(stage.outline, k, maker.first + h * size, q, q_first, size));
        for (int64_t g = 0; g < group; ++g) queries.push_back(blocks.back());
    }
    return {"T_k", matrix_map(size, std::move(blocks)), matrix_map(size, std::move(queries))};
}

}  // namespace

Result<PlaceChoices> fptquant_stage(const Stage& stage) {
    return stage.search({PlaceKind::keys, PlaceKind::value, PlaceKind::up}, [&](const PlaceFacts& facts) -> std::vector<PlaceMap> {
        if (facts.place.kind == PlaceKind::keys) return {key_map(stage, facts.place)};
        if (facts.place.kind == PlaceKind::value) return {value_map(stage, facts.place)};
        std::vector<ScaleCandidate> scales = aweq_scales(facts.inputs, facts.weights);
        scales.front().name = "T_u";
        return {scale_map_of(facts.place, std::move(scales.front()))};
    });
}

}  // namespace quant
