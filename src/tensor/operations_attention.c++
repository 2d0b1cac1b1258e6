// Keys and values into the cache, and attention over it with a softmax that runs on over blocks of keys
// (online softmax: Milakov & Gimelshein 2018), so that scores of a long context are never held at once.
// Few tokens: the query rows of heads that share keys against them as they are stored. Many: blocks of queries x blocks of keys as small matrix
// products.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/attention.h"
#include "tensor/operations.h"

namespace quant {
namespace {

constexpr int64_t kKeyBlock = 64;    // keys per product of the blocked form
constexpr int64_t kQueryRows = 128;  // at most so many query rows (tokens x heads of a group) per block
constexpr int64_t kManyBlocks = 64;  // fewer than so many blocks are halved, for the sake of many threads
constexpr int64_t kFewKeys = 128;    // keys per step of the form for few tokens: they stay in the first-level cache
constexpr int64_t kFewHeads = 4;     // at most so many heads together in that form, so that there is work for many threads
constexpr int64_t kBlockedFrom = 8;  // tokens from which blocks of queries pay

const Format& kv_format(KvType type) {
    return format_of(type == KvType::f32   ? FormatSlot::f32
                     : type == KvType::f16  ? FormatSlot::f16
                     : type == KvType::q8_0 ? FormatSlot::q8_0
                                            : FormatSlot::q4_0);
}

float dot(KvType type, const uint8_t* a, const float* b, int64_t n) {
    switch (type) {
        case KvType::f32: return kernels().dot_f32(reinterpret_cast<const float*>(a), b, n);
        case KvType::f16: return kernels().dot_f16(reinterpret_cast<const uint16_t*>(a), b, n);
        case KvType::q8_0: return kernels().dot_q8_0(a, b, n);
        case KvType::q4_0: return kernels().dot_q4_0(a, b, n);
    }
    return 0;
}

void axpy(KvType type, float scale, const uint8_t* x, float* y, int64_t n) {
    switch (type) {
        case KvType::f32: kernels().axpy_f32(scale, reinterpret_cast<const float*>(x), y, n); break;
        case KvType::f16: kernels().axpy_f16(scale, reinterpret_cast<const uint16_t*>(x), y, n); break;
        case KvType::q8_0: kernels().axpy_q8_0(scale, x, y, n); break;
        case KvType::q4_0: kernels().axpy_q4_0(scale, x, y, n); break;
    }
}

// In eight lanes, which compilers turn into vectors; n at least 1.
float largest(const float* values, int64_t n) {
    float lane[8];
    std::fill_n(lane, 8, values[0]);
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int64_t j = 0; j < 8; ++j) lane[j] = values[i + j] > lane[j] ? values[i + j] : lane[j];
    for (; i < n; ++i) lane[0] = values[i] > lane[0] ? values[i] : lane[0];
    return *std::max_element(lane, lane + 8);
}

// The running softmax of some query rows: sums so far are in units of exp(max).
template <size_t kRows>
struct Running {
    std::array<float, kRows> max, block_sum;
    std::array<double, kRows> sum{};
    Running() { max.fill(-INFINITY); }

    // Takes in n scores of each of `rows` rows from `first` on, `stride` apart, which become weights in units of exp(the new max).
    // What was summed of a row before is results[i * n_results ...], for the i-th of them, and is brought into the new unit.
    void take(int64_t first, int64_t rows, float* scores, int64_t stride, int64_t n, float* results, int64_t n_results) {
        const auto at = static_cast<size_t>(first);
        std::array<float, kRows> old;
        std::copy_n(&max[at], rows, old.begin());
        if (const AttentionKernels* fast = attention_kernels()) {
            fast->exps(scores, stride, rows, n, &max[at], &block_sum[at]);
        } else {
            for (int64_t i = 0; i < rows; ++i) take_plainly(at + static_cast<size_t>(i), scores + i * stride, n);
        }
        for (int64_t i = 0; i < rows; ++i) {
            const size_t r = at + static_cast<size_t>(i);
            const float was = old[static_cast<size_t>(i)], before = was == max[r] ? 1.0f : std::exp(was - max[r]);
            sum[r] = sum[r] * static_cast<double>(before) + static_cast<double>(block_sum[r]);
            if (before != 1.0f) kernels().scale(before, results + i * n_results, n_results);
        }
    }

    // Factor that turns the sum of a row into the result; a sink is one more score whose value is nothing.
    float finish(int64_t row, const float* sink) const {
        const size_t r = static_cast<size_t>(row);
        if (!sink) return static_cast<float>(1.0 / sum[r]);
        const float new_max = std::max(max[r], *sink);
        const double before = std::exp(static_cast<double>(max[r] - new_max));
        return static_cast<float>(before / (sum[r] * before + std::exp(static_cast<double>(*sink - new_max))));
    }

private:
    void take_plainly(size_t r, float* scores, int64_t n) {
        const float block_max = largest(scores, n);
        kernels().softmax(scores, n, nullptr);
        max[r] = std::max(max[r], block_max);
        block_sum[r] = std::exp(block_max - max[r]) / largest(scores, n);  // exp(0) / its weight
        kernels().scale(block_sum[r], scores, n);
    }
};

void cap_scores(float* scores, int64_t n, float cap) {
    if (cap <= 0) return;
    for (int64_t i = 0; i < n; ++i) scores[i] = cap * std::tanh(scores[i] / cap);
}

struct BlockScratch;

struct Attention {
    const StepContext& c;
    const AttentionParams& p;
    const KvSlot& kv;
    Rows q, out;
    const float* sinks;

    const uint8_t* k_at(int64_t head, int64_t position) const {
        return kv.k + static_cast<uint64_t>(head * kv.capacity + position) * kv.k_bytes;
    }
    const uint8_t* v_at(int64_t head, int64_t position) const {
        return kv.v + static_cast<uint64_t>(head * kv.capacity + position) * kv.v_bytes;
    }
    int64_t first_key(int64_t position) const {
        return p.window > 0 ? std::max<int64_t>(0, position - p.window + 1) : 0;
    }

    void few_queries(int64_t token, int64_t head, int64_t heads) const;
    void query_block(int64_t kv_head, int64_t first_token, int64_t tokens) const;
    void score_block(int64_t kv_head, int64_t key, int64_t keys, int64_t rows, const BlockScratch& s) const;
};

// out[q * stride + i] = key (or any stored row) i times x[q], and y[q] += factors[q * stride + i] * row i, for `count` rows.
// `next`: what the following call reads, as many rows; null: unknown.
void stored_dots(KvType type, const uint8_t* data, const uint8_t* next, uint64_t bytes, int64_t count, int64_t n, const float* x, int64_t queries, float* out,
                 int64_t stride) {
    const AttentionKernels* fast = attention_kernels();
    const bool alone = queries == 1 && (type == KvType::q8_0 || type == KvType::q4_0);  // decoding pays from two query rows on
    if (fast && n % kAttentionStep == 0 && !alone) return fast->dots[static_cast<size_t>(type)]({data, count, n, next}, x, queries, out, stride);
    for (int64_t q = 0; q < queries; ++q)
        for (int64_t i = 0; i < count; ++i) out[q * stride + i] = dot(type, data + static_cast<uint64_t>(i) * bytes, x + q * n, n);
}

void stored_sums(KvType type, const uint8_t* data, const uint8_t* next, uint64_t bytes, int64_t count, int64_t n, const float* factors, int64_t stride,
                 int64_t queries, float* y) {
    const AttentionKernels* fast = attention_kernels();
    if (fast && n % kAttentionStep == 0) return fast->sums[static_cast<size_t>(type)]({data, count, n, next}, factors, stride, queries, y);
    for (int64_t q = 0; q < queries; ++q)
        for (int64_t i = 0; i < count; ++i) axpy(type, factors[q * stride + i], data + static_cast<uint64_t>(i) * bytes, y + q * n, n);
}

// Heads [head, head + heads) of one token, which share keys and values.
void Attention::few_queries(int64_t token, int64_t head, int64_t heads) const {
    const int64_t position = c.frame.position + token, kv_head = head / (p.heads / p.kv_heads);
    auto* query = reinterpret_cast<float*>(c.scratch());
    float* scores = query + heads * p.k_dim;
    float* result = out.row(token) + head * p.v_dim;
    std::memcpy(query, q.row(token) + head * p.k_dim, static_cast<size_t>(heads * p.k_dim) * sizeof(float));
    kernels().scale(p.scale, query, heads * p.k_dim);
    std::fill_n(result, heads * p.v_dim, 0.0f);
    Running<kFewHeads> running;
    for (int64_t key = first_key(position); key <= position; key += kFewKeys) {
        const int64_t count = std::min(kFewKeys, position + 1 - key);
        stored_dots(kv.k_type, k_at(kv_head, key), v_at(kv_head, key), kv.k_bytes, count, p.k_dim, query, heads, scores, kFewKeys);
        for (int64_t h = 0; h < heads; ++h) cap_scores(scores + h * kFewKeys, count, p.cap);
        running.take(0, heads, scores, kFewKeys, count, result, p.v_dim);
        stored_sums(kv.v_type, v_at(kv_head, key), key + 2 * count <= position + 1 ? k_at(kv_head, key + count) : nullptr, kv.v_bytes, count, p.v_dim, scores, kFewKeys, heads, result);
    }
    for (int64_t h = 0; h < heads; ++h)
        kernels().scale(running.finish(h, sinks ? sinks + head + h : nullptr), result + h * p.v_dim, p.v_dim);
}

// out[rows, n_out] = x[rows, cols] * w[n_out, cols]^T, all f32.
void small_product(const StepContext& c, const float* w, int64_t n_out, int64_t cols, const float* x,
                   int64_t rows, float* y, int64_t y_stride) {
    MatmulArgs args;
    args.format = &format_of(FormatSlot::f32);
    args.w = {reinterpret_cast<const uint8_t*>(w), cols, n_out};
    args.x = x;
    args.x_stride = cols;
    args.n = rows;
    args.y = y;
    args.y_stride = y_stride;
    args.row_end = n_out;
    args.scratch = c.scratch();
    choose_matmul(*args.format, rows, c.frame.exact)(args);
}

// Memory of one block of queries, after the kernels' own scratch.
struct BlockScratch {
    float *query, *keys, *values, *scores, *sum;
    BlockScratch(uint8_t* at, int64_t k_dim, int64_t v_dim) {
        auto* next = reinterpret_cast<float*>(at + kMatmulScratch);
        auto take = [&next](int64_t n) { return std::exchange(next, next + (n + 15) / 16 * 16); };
        query = take(kQueryRows * k_dim);
        keys = take(kKeyBlock * k_dim);
        values = take(kKeyBlock * v_dim);
        scores = take(kQueryRows * kKeyBlock);
        sum = take(kQueryRows * v_dim);
    }
    static uint64_t bytes(int64_t k_dim, int64_t v_dim) {
        return static_cast<uint64_t>((kQueryRows + kKeyBlock) * (k_dim + v_dim) + kQueryRows * kKeyBlock + 5 * 16) * sizeof(float);
    }
};

// Keys [key, key + keys) of a head times the block's query rows. Turned once into columns, keys are the rows of a sum with the
// queries as factors, which needs no sums across lanes and no panel.
void Attention::score_block(int64_t kv_head, int64_t key, int64_t keys, int64_t rows, const BlockScratch& s) const {
    const AttentionKernels* fast = attention_kernels();
    if (fast && p.k_dim % kAttentionStep == 0) {
        fast->columns[static_cast<size_t>(kv.k_type)]({k_at(kv_head, key), keys, p.k_dim}, s.keys, kKeyBlock);
        std::fill_n(s.scores, rows * kKeyBlock, 0.0f);
        fast->sums[static_cast<size_t>(KvType::f32)]({reinterpret_cast<const uint8_t*>(s.keys), p.k_dim, kKeyBlock}, s.query, p.k_dim, rows, s.scores);
        return;
    }
    decode_kv(kv.k_type, k_at(kv_head, key), s.keys, keys * p.k_dim);
    small_product(c, s.keys, keys, p.k_dim, s.query, rows, s.scores, kKeyBlock);
}

// All heads that share one key head, for some tokens: row r is token r / group, head r % group.
void Attention::query_block(int64_t kv_head, int64_t first_token, int64_t tokens) const {
    const int64_t group = p.heads / p.kv_heads, rows = tokens * group;
    const BlockScratch s(c.scratch(), p.k_dim, p.v_dim);
    for (int64_t r = 0; r < rows; ++r) {
        const float* from = q.row(first_token + r / group) + (kv_head * group + r % group) * p.k_dim;
        std::memcpy(s.query + r * p.k_dim, from, static_cast<size_t>(p.k_dim) * sizeof(float));
    }
    kernels().scale(p.scale, s.query, rows * p.k_dim);
    std::fill_n(s.sum, rows * p.v_dim, 0.0f);
    Running<kQueryRows> running;

    const int64_t first_position = c.frame.position + first_token, end = first_position + tokens;
    for (int64_t key = first_key(first_position); key < end; key += kKeyBlock) {
        const int64_t keys = std::min(kKeyBlock, end - key);
        score_block(kv_head, key, keys, rows, s);
        decode_kv(kv.v_type, v_at(kv_head, key), s.values, keys * p.v_dim);
        const auto seen = [&](int64_t token) {  // by a token of the block
            const int64_t position = first_position + token;
            const int64_t low = std::clamp<int64_t>(first_key(position) - key, 0, keys);
            return std::pair(low, std::max(low, std::clamp<int64_t>(position + 1 - key, 0, keys)));
        };
        for (int64_t token = 0, next = 0; token < tokens; token = next) {
            const auto [low, high] = seen(token);
            for (next = token + 1; next < tokens && seen(next) == std::pair(low, high);) ++next;
            const int64_t first = token * group, count = (next - token) * group;
            for (int64_t r = first; r < first + count; ++r) {
                float* score = s.scores + r * kKeyBlock;
                std::fill_n(score, low, 0.0f);
                std::fill(score + high, score + keys, 0.0f);
                cap_scores(score + low, high - low, p.cap);
            }
            if (low < high) running.take(first, count, s.scores + first * kKeyBlock + low, kKeyBlock, high - low, s.sum + first * p.v_dim, p.v_dim);
        }
        stored_sums(KvType::f32, reinterpret_cast<const uint8_t*>(s.values), nullptr, static_cast<uint64_t>(p.v_dim) * sizeof(float), keys, p.v_dim,
                    s.scores, kKeyBlock, rows, s.sum);
    }
    for (int64_t r = 0; r < rows; ++r) {
        const int64_t head = kv_head * group + r % group;
        kernels().scale(running.finish(r, sinks ? sinks + head : nullptr), s.sum + r * p.v_dim, p.v_dim);
        std::memcpy(out.row(first_token + r / group) + head * p.v_dim, s.sum + r * p.v_dim,
                    static_cast<size_t>(p.v_dim) * sizeof(float));
    }
}

}  // namespace

void encode_kv(KvType type, const float* from, uint8_t* to, int64_t n) {
    switch (type) {
        case KvType::f32: std::memcpy(to, from, static_cast<size_t>(n) * sizeof(float)); break;
        case KvType::f16: kernels().f32_to_f16(from, reinterpret_cast<uint16_t*>(to), n); break;
        case KvType::q8_0:
        case KvType::q4_0: kv_format(type).encode(nullptr, from, nullptr, to, n); break;
    }
}

void decode_kv(KvType type, const uint8_t* from, float* to, int64_t n) {
    switch (type) {
        case KvType::f32: std::memcpy(to, from, static_cast<size_t>(n) * sizeof(float)); break;
        case KvType::f16: kernels().f16_to_f32(reinterpret_cast<const uint16_t*>(from), to, n); break;
        case KvType::q8_0:
        case KvType::q4_0: kv_format(type).decode(nullptr, from, to, n); break;
    }
}

void operations::kv_store(const StepContext& c) {
    const auto& params = std::get<CacheParams>(c.node.params);
    const KvSlot& kv = c.frame.kv[static_cast<size_t>(params.slot)];
    const Rows k = c.in(0), v = c.in(1);
    const auto [begin, end] = c.share(k.count);
    for (int64_t token = begin; token < end; ++token) {
        for (int64_t head = 0; head < params.kv_heads; ++head) {
            const auto at = static_cast<uint64_t>(head * kv.capacity + c.frame.position + token);
            encode_kv(kv.k_type, k.row(token) + head * kv.k_dim, kv.k + at * kv.k_bytes, kv.k_dim);
            encode_kv(kv.v_type, v.row(token) + head * kv.v_dim, kv.v + at * kv.v_bytes, kv.v_dim);
        }
    }
}

void operations::attention(const StepContext& c) {
    const auto& params = std::get<AttentionParams>(c.node.params);
    const Attention work{c,       params,  c.frame.kv[static_cast<size_t>(params.slot)],
                         c.in(0), c.out(), c.has(2) ? c.in(2).data : nullptr};
    const int64_t tokens = work.q.count, group = params.heads / params.kv_heads;
    const int64_t rows = tokens * params.heads < kQueryRows * kManyBlocks ? kQueryRows / 2 : kQueryRows;
    const int64_t block = rows / group;
    if (tokens < kBlockedFrom || block == 0 ||
        BlockScratch::bytes(params.k_dim, params.v_dim) > kAttentionScratch) {
        const int64_t parts = (group + kFewHeads - 1) / kFewHeads, per_token = params.kv_heads * parts;
        for (int64_t item = c.take(1); item < tokens * per_token; item = c.take(1)) {
            const int64_t part = item % parts, head = item % per_token / parts * group + part * kFewHeads;
            work.few_queries(item / per_token, head, std::min(kFewHeads, group - part * kFewHeads));
        }
        return;
    }
    // Late blocks see the most keys: they are handed out first, so that the threads end together.
    const int64_t blocks = (tokens + block - 1) / block;
    for (int64_t item = c.take(1); item < blocks * params.kv_heads; item = c.take(1)) {
        const int64_t first = (blocks - 1 - item / params.kv_heads) * block;
        work.query_block(item % params.kv_heads, first, std::min(block, tokens - first));
    }
}

}  // namespace quant
