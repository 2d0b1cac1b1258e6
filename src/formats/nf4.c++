// NF4 with an f32 absmax per block, and NF4_DQ, whose absmaxes are quantized themselves (layouts in own_blocks.h).
//
// Without importance weights the codes are those of bitsandbytes: the level nearest to x / absmax. With them each block
// searches the scale under which the weighted squared error is least, and the absmax stored is that scale.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "formats/codecs.h"
#include "formats/own_blocks.h"
#include "formats/side_data.h"

namespace quant {

namespace {

constexpr int kBlock = 64;

constexpr float between(int i) { return (kNf4Levels[i] + kNf4Levels[i + 1]) / 2; }

// Counting the middles below x gives the code without a branch; the compiler takes several weights at once.
void nearest_codes(const float* x, float inverse, uint8_t* codes) {
    int32_t count[kBlock];
    float scaled[kBlock];
    for (int i = 0; i < kBlock; ++i) {
        scaled[i] = x[i] * inverse;
        count[i] = 0;
    }
    for (int level = 0; level < 15; ++level) {
        const float middle = between(level);
        for (int i = 0; i < kBlock; ++i) count[i] += scaled[i] > middle ? 1 : 0;
    }
    for (int i = 0; i < kBlock; ++i) codes[i] = static_cast<uint8_t>(count[i]);
}

float absmax_of(const float* x) {
    float most = 0;
    for (int i = 0; i < kBlock; ++i) most = std::max(most, std::fabs(x[i]));
    return most;
}

// 1 / scale where that is a number to multiply by; blocks below it count as zeros.
float inverse_of(float scale) { return std::fabs(scale) > 1e-37f ? 1.0f / scale : 0.0f; }

// Sums over a block for codes and weights h: h x level and h level^2.
struct Fit {
    double product = 0, square = 0;
};
Fit fit_of(const float* x, const float* h, const uint8_t* codes) {
    Fit fit;
    for (int i = 0; i < kBlock; ++i) {
        const double level = static_cast<double>(kNf4Levels[codes[i]]), weight = static_cast<double>(h[i]);
        fit.product += weight * static_cast<double>(x[i]) * level;
        fit.square += weight * level * level;
    }
    return fit;
}

// With the best scale for given codes the error falls by product^2 / square: the largest is the best. Clips the largest
// weights down to 0.6 of them, or leaves room above; each start is fitted twice. `signs`: negative ones too,
// for the levels are not symmetric.
float best_scale(const float* x, const float* h, float absmax, bool signs, uint8_t* codes) {
    float best = absmax;
    double most = -1;
    uint8_t tried[kBlock];
    for (int step = 0; step < (signs ? 42 : 21); ++step) {
        float scale = absmax * (0.6f + 0.025f * static_cast<float>(step % 21));
        if (step > 20) scale = -scale;
        for (int pass = 0; pass < 2; ++pass) {
            nearest_codes(x, inverse_of(scale), tried);
            const Fit fit = fit_of(x, h, tried);
            if (!(fit.square > 0)) break;
            scale = static_cast<float>(fit.product / fit.square);
            if (!(std::fabs(scale) > 0) || (scale < 0 && !signs) || !std::isfinite(scale)) break;
            const double gain = fit.product / fit.square * fit.product;
            if (gain <= most) continue;
            most = gain;
            best = scale;
            std::memcpy(codes, tried, sizeof tried);
        }
    }
    if (most < 0) nearest_codes(x, inverse_of(absmax), codes);
    return best;
}

// Scale and codes of one block. Codes for scales (NF4_DQ) suit scales of one sign.
float choose(const float* x, const float* importance, bool signs, uint8_t* codes) {
    const float absmax = absmax_of(x);
    if (importance && absmax > 1e-30f) {
        // Rows of weights that nothing reads would leave the scale open.
        bool any = false;
        for (int i = 0; i < kBlock; ++i) any = any || (importance[i] > 0 && x[i] != 0);
        if (any) return best_scale(x, importance, absmax, signs, codes);
    }
    nearest_codes(x, inverse_of(absmax), codes);
    return absmax;
}

void store_codes(const uint8_t* codes, uint8_t (*qs)[16]) {
    for (int half = 0; half < 2; ++half)
        for (int j = 0; j < 16; ++j)
            qs[half][j] = static_cast<uint8_t>(codes[32 * half + j] | codes[32 * half + 16 + j] << 4);
}

template <class Level>
void decode_block(const uint8_t (*qs)[16], float scale, const Level* levels, float* out) {
    for (int half = 0; half < 2; ++half, out += 32) {
        for (int j = 0; j < 16; ++j) {
            out[j] = static_cast<float>(levels[qs[half][j] & 15]) * scale;
            out[j + 16] = static_cast<float>(levels[qs[half][j] >> 4]) * scale;
        }
    }
}

template <class Level>
void decode_nf4_by(const uint8_t* blocks, float* out, int64_t n, const Level* levels, float unit) {
    const auto* block = reinterpret_cast<const BlockNF4*>(blocks);
    for (int64_t i = 0; i < n; i += kBlock, ++block) decode_block(block->qs, load<float>(block->absmax) * unit, levels, out + i);
}

template <class Level>
void decode_nf4_dq_by(const RowPlace& place, const uint8_t* blocks, float* out, int64_t n, const Level* levels, float unit) {
    const auto* block = reinterpret_cast<const BlockNF4_DQ*>(blocks);
    const int64_t first = (place.row * place.cols + place.col) / kBlock;
    for (int64_t i = 0; i < n; i += kBlock, ++block)
        decode_block(block->qs, HeadNF4_DQ::absmax(place.head, first + i / kBlock, block->code) * unit, levels, out + i);
}

// The map that bitsandbytes uses for signed 8-bit codes (dynamic tree quantization, Dettmers 2015): for each power of ten
// from 10^-6 to 1 the middles of 1, 2, 4 ... 64 equal parts of [0.1, 1], both signs, and 0 and 1.
void dynamic_map(float* map) {
    constexpr float kPowers[7] = {1e-6f, 1e-5f, 1e-4f, 1e-3f, 1e-2f, 1e-1f, 1.0f};
    int count = 0;
    for (int e = 0; e < 7; ++e) {
        // In floats and counted from both ends, each rounded once: then all 256 agree to the last bit.
        const int parts = 1 << e;
        const float step = (1.0f - 0.1f) / static_cast<float>(parts), power = kPowers[e];
        const auto boundary = [&](int i) {
            return i < (parts + 1) / 2 ? std::fma(step, static_cast<float>(i), 0.1f) : std::fma(-step, static_cast<float>(parts - i), 1.0f);
        };
        for (int i = 0; i < parts; ++i) {
            const float middle = (boundary(i) + boundary(i + 1)) / 2.0f;
            map[count++] = power * middle;
            map[count++] = -power * middle;
        }
    }
    map[count++] = 0;
    map[count++] = 1;
    std::sort(map, map + count);
}

uint8_t nearest_in(const float* map, float x) {
    const float* above = std::lower_bound(map, map + 256, x);
    if (above == map) return 0;
    if (above == map + 256) return 255;
    return static_cast<uint8_t>(above - map - (x - above[-1] < *above - x ? 1 : 0));
}

uint64_t nf4_dq_head_bytes(int64_t cols, int64_t rows, int64_t) { return HeadNF4_DQ::bytes(cols, rows); }

// The scales of all blocks as the rows will be encoded, a run of rows at a time: 256 blocks never lie in memory at once
// as weights, only as scales.
void build_nf4_dq_head(const HeadInput& in, uint8_t* head) {
    const int64_t per_row = in.cols / kBlock, blocks = HeadNF4_DQ::blocks(in.cols, in.rows);
    std::memset(head, 0, HeadNF4_DQ::bytes(in.cols, in.rows));
    std::vector<float> scales(static_cast<size_t>(blocks));
    in.pool->for_each_piece(in.rows, std::max<int64_t>(1, 16384 / in.cols), [&](int64_t begin, int64_t end, int) {
        std::vector<float> row(static_cast<size_t>(in.cols));
        uint8_t codes[kBlock];
        for (int64_t r = begin; r < end; ++r) {
            in.read(r, 1, row.data());
            const float* importance = in.importance_of(r);
            for (int64_t b = 0; b < per_row; ++b)
                scales[static_cast<size_t>(r * per_row + b)] =
                    choose(row.data() + b * kBlock, importance ? importance + b * kBlock : nullptr, false, codes);
        }
    });
    double sum = 0;
    for (const float scale : scales) sum += static_cast<double>(scale);
    const auto offset = static_cast<float>(sum / static_cast<double>(blocks));
    store(head, offset);
    float map[256];
    dynamic_map(map);
    std::memcpy(head + HeadNF4_DQ::kMap, map, sizeof map);
    for (int64_t b = 0; b < blocks; b += HeadNF4_DQ::kNestedBlock) {
        float most = 0;
        for (int64_t i = b; i < std::min(blocks, b + HeadNF4_DQ::kNestedBlock); ++i)
            most = std::max(most, std::fabs(scales[static_cast<size_t>(i)] - offset));
        store(head + HeadNF4_DQ::kNested + 4 * static_cast<uint64_t>(b / HeadNF4_DQ::kNestedBlock), most);
    }
}

}  // namespace

const HeadCodec kNf4DqHead = {false, nf4_dq_head_bytes, build_nf4_dq_head};

void decode_nf4(const RowPlace*, const uint8_t* blocks, float* out, int64_t n) { decode_nf4_by(blocks, out, n, kNf4Levels, 1.0f); }
void decode_nf4_fast(const RowPlace*, const uint8_t* blocks, float* out, int64_t n) {
    decode_nf4_by(blocks, out, n, kNf4Levels8, kNf4Unit8);
}
void decode_nf4_dq(const RowPlace* place, const uint8_t* blocks, float* out, int64_t n) {
    decode_nf4_dq_by(*place, blocks, out, n, kNf4Levels, 1.0f);
}
void decode_nf4_dq_fast(const RowPlace* place, const uint8_t* blocks, float* out, int64_t n) {
    decode_nf4_dq_by(*place, blocks, out, n, kNf4Levels8, kNf4Unit8);
}

void encode_nf4(const RowPlace*, const float* x, const float* importance, uint8_t* row, int64_t n) {
    auto* block = reinterpret_cast<BlockNF4*>(row);
    uint8_t codes[kBlock];
    for (int64_t i = 0; i < n; i += kBlock, ++block) {
        store(block->absmax, choose(x + i, importance ? importance + i : nullptr, true, codes));
        store_codes(codes, block->qs);
    }
}

// The codes of the weights go by the scale before it is rounded, as in bitsandbytes; with importance weights by the
// rounded one, under which they are read.
void encode_nf4_dq(const RowPlace* place, const float* x, const float* importance, uint8_t* row, int64_t n) {
    auto* block = reinterpret_cast<BlockNF4_DQ*>(row);
    float map[256];
    std::memcpy(map, place->head + HeadNF4_DQ::kMap, sizeof map);
    const auto offset = load<float>(place->head);
    uint8_t codes[kBlock];
    for (int64_t i = 0; i < n; i += kBlock, ++block) {
        const int64_t number = (place->row * place->cols + place->col + i) / kBlock;
        const auto nested = load<float>(place->head + HeadNF4_DQ::kNested + 4 * static_cast<uint64_t>(number / HeadNF4_DQ::kNestedBlock));
        const float scale = choose(x + i, importance ? importance + i : nullptr, false, codes);
        block->code = nearest_in(map, (scale - offset) * inverse_of(nested));
        if (importance) nearest_codes(x + i, inverse_of(HeadNF4_DQ::absmax(place->head, number, block->code)), codes);
        store_codes(codes, block->qs);
    }
}

}  // namespace quant
