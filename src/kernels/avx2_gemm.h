// Block formats times many activation rows (AVX2): the inner loop over the panels of avx2_panel.h. Included by AVX2
// files only, everything in an unnamed namespace.
//
// vpmaddubsw multiplies four broadcast activation bytes into 8 rows, vpmaddwd adds each row's two halves.
// Codes of at most 15 stay in int16 for a whole group of 32: 8 steps * 2 * 15 * 127 < 2^15; 31: half a group; 63: two
// steps; 127: one. Signed codes and their activations are widened to int16, for vpmaddwd alone.
#pragma once

#include "kernels/avx2_panel.h"

namespace quant {
namespace {

// Steps of four k that stay in int16.
constexpr int steps_in_16(PanelKind kind) { return kind.max <= 15 ? 8 : kind.max <= 31 ? 4 : kind.max <= 63 ? 2 : 1; }

// Activations of a tile of `columns` rows, one group of 32 after the other, so that a single pointer walks through them:
// kSteps times the four codes (or two widened ones) of each row, then each row's scale, then each row's sum or both sums.
template <PanelKind kind>
struct Packed {
    static constexpr int kSteps = kind.is_signed ? 16 : 8;
    static constexpr int kSums = kind.per16() ? 2 : 1;
    static constexpr int kWords = kSteps + 1 + kSums;  // per row and group
};

// Makes the compiler finish this sum before the next: GCC would regroup integer additions into a tree, whose leaves do
// not fit the registers.
inline void keep_here(__m256i& v) { __asm__("" : "+x"(v)); }

struct alignas(32) Words8 {
    int32_t of[8][8];
};
// Word i of 8 rows: one(row) makes 8 words of it.
template <class One>
inline Words8 turned(const One& one) {
    __m256i rows[8];
    for (int64_t i = 0; i < 8; ++i) rows[i] = one(i);
    Words8 out;
    transpose8(rows, reinterpret_cast<uint8_t*>(out.of), 32);
    return out;
}
inline void store8(const int32_t* words, int32_t* out) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm256_load_si256(reinterpret_cast<const __m256i*>(words)));
}

// Packs rows [t, t + columns), columns [k, k + count). Always stores 8 words, in ascending order: what is too much is written
// over by what comes next, or lies within 7 words past the end.
template <PanelKind kind>
inline void pack_tile(const Q8Matrix& q, int64_t t, int64_t columns, int64_t k, int64_t count, int32_t* out) {
    using P = Packed<kind>;
    const int64_t cols = q.cols;
    for (int64_t at = k; at < k + count; at += 32, out += P::kWords * columns) {
        const auto codes = [&](int64_t i) { return load256(q.codes + (t + (i < columns ? i : 0)) * cols + at); };
        if constexpr (kind.is_signed) {
            const Words8 even = turned([&](int64_t i) { return _mm256_srai_epi16(_mm256_slli_epi16(codes(i), 8), 8); });
            const Words8 odd = turned([&](int64_t i) { return _mm256_srai_epi16(codes(i), 8); });
            for (int i = 0; i < 8; ++i) {
                store8(even.of[i], out + 2 * i * columns);
                store8(odd.of[i], out + (2 * i + 1) * columns);
            }
        } else {
            const Words8 words = turned(codes);
            for (int i = 0; i < 8; ++i) store8(words.of[i], out + i * columns);
        }
        auto* rest = reinterpret_cast<float*>(out + P::kSteps * columns);
        for (int64_t i = 0; i < columns; ++i) {
            const int64_t first = (t + i) * cols + at;
            rest[i] = q.scales[first / 32];
            if constexpr (P::kSums == 1) {
                rest[columns + i] = q.block_sums[first / 32];
            } else {
                rest[columns + i] = q.sums[first / 16];
                rest[2 * columns + i] = q.sums[first / 16 + 1];
            }
        }
    }
}

// int32 sums of kSteps * 4 columns: sum[half][t] over both halves of 8 rows; multipliers are 1 or the integer scales.
template <PanelKind kind, int kSteps, int kColumns>
inline void multiply_steps(const __m256i* w, const int32_t* x, const __m256i (&factor)[2], bool add, __m256i (&sum)[2][kColumns]) {
    constexpr int kTogether = steps_in_16(kind) < kSteps ? steps_in_16(kind) : kSteps;
#pragma GCC unroll 8
    for (int s = 0; s < kSteps; s += kTogether) {
        __m256i pairs[2][kColumns];
#pragma GCC unroll 8
        for (int i = 0; i < kTogether; ++i) {
            const __m256i w0 = _mm256_load_si256(w + 2 * (s + i)), w1 = _mm256_load_si256(w + 2 * (s + i) + 1);
#pragma GCC unroll 8
            for (int t = 0; t < kColumns; ++t) {
                const __m256i xt = _mm256_set1_epi32(x[(s + i) * kColumns + t]);
                const __m256i p0 = _mm256_maddubs_epi16(w0, xt), p1 = _mm256_maddubs_epi16(w1, xt);
                pairs[0][t] = i ? _mm256_add_epi16(pairs[0][t], p0) : p0;
                pairs[1][t] = i ? _mm256_add_epi16(pairs[1][t], p1) : p1;
                keep_here(pairs[0][t]);
                keep_here(pairs[1][t]);
            }
        }
#pragma GCC unroll 8
        for (int t = 0; t < kColumns; ++t) {
            const __m256i s0 = _mm256_madd_epi16(pairs[0][t], factor[0]), s1 = _mm256_madd_epi16(pairs[1][t], factor[1]);
            sum[0][t] = s || add ? _mm256_add_epi32(sum[0][t], s0) : s0;
            sum[1][t] = s || add ? _mm256_add_epi32(sum[1][t], s1) : s1;
            keep_here(sum[0][t]);
            keep_here(sum[1][t]);
        }
    }
}

// The same for 32 columns of signed codes.
template <int kColumns>
inline void multiply_wide(const __m256i* w, const int32_t* x, __m256i (&sum)[2][kColumns]) {
#pragma GCC unroll 16
    for (int s = 0; s < 16; ++s) {
        __m256i w0 = _mm256_load_si256(w + s / 2 * 2), w1 = _mm256_load_si256(w + s / 2 * 2 + 1);
        if (s % 2 == 0) w0 = _mm256_slli_epi16(w0, 8), w1 = _mm256_slli_epi16(w1, 8);
        w0 = _mm256_srai_epi16(w0, 8), w1 = _mm256_srai_epi16(w1, 8);
#pragma GCC unroll 8
        for (int t = 0; t < kColumns; ++t) {
            const __m256i xt = _mm256_set1_epi32(x[s * kColumns + t]);
            const __m256i p0 = _mm256_madd_epi16(w0, xt), p1 = _mm256_madd_epi16(w1, xt);
            sum[0][t] = s ? _mm256_add_epi32(sum[0][t], p0) : p0;
            sum[1][t] = s ? _mm256_add_epi32(sum[1][t], p1) : p1;
            keep_here(sum[0][t]);
            keep_here(sum[1][t]);
        }
    }
}

// Where the parts of a group's result lie: kMinima minima with the sums they meet.
struct GroupEnd {
    const float* scale;            // [16]
    const float (*minima)[kRows];  // [kMinima]
    const float* xs;               // [columns]
    const float* sums;             // [kMinima][columns]
};

// out[t] += scale * (sum * xs) + minima * sums, for both halves of 8 rows. Minima join group by group, not in the end:
// the running sum stays as small as the result.
template <int kMinima, int kColumns>
inline void end_group(const GroupEnd& at, const __m256i (&sum)[2][kColumns], float (*out)[kRows]) {
    // Keeps the compiler from loading `out` before the integer sums are done with the registers.
    __asm__ volatile("" : : "r"(out) : "memory");
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
        const __m256 scale = _mm256_load_ps(at.scale + 8 * half);
        __m256 minima[2];
        for (int i = 0; i < kMinima; ++i) minima[i] = _mm256_load_ps(at.minima[i] + 8 * half);
#pragma GCC unroll 8
        for (int t = 0; t < kColumns; ++t) {
            // What does not need the integer sum comes first: it is ready long before.
            __m256 total = _mm256_load_ps(out[t] + 8 * half);
            for (int i = 0; i < kMinima; ++i) total = _mm256_fmadd_ps(minima[i], _mm256_set1_ps(at.sums[i * kColumns + t]), total);
            const __m256 factor = _mm256_mul_ps(scale, _mm256_set1_ps(at.xs[t]));
            _mm256_store_ps(out[t] + 8 * half, _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum[half][t]), factor, total));
        }
    }
    // And from carrying it in registers after all.
    __asm__ volatile("" : : "r"(out) : "memory");
}

// out[t][16] = panel times kColumns activation rows over `groups` groups of 32. The sums of floats stay in memory: the
// registers are all taken by the sums of integers, and one load and store per group costs less than spilling those.
template <PanelKind kind, int kColumns>
inline void multiply_panel(const Panel& panel, int64_t groups, const int32_t* x, float (*out)[kRows]) {
    using P = Packed<kind>;
    for (int t = 0; t < kColumns; ++t) {
        _mm256_store_ps(out[t], _mm256_setzero_ps());
        _mm256_store_ps(out[t] + 8, _mm256_setzero_ps());
    }
    const __m256i one = _mm256_set1_epi16(1);
    for (int64_t g = 0; g < groups; ++g, x += P::kWords * kColumns) {
        const auto* w = reinterpret_cast<const __m256i*>(panel.codes + g * 32 * kRows);
        const auto* xs = reinterpret_cast<const float*>(x + P::kSteps * kColumns);
        const float* sums = xs + kColumns;
        __m256i sum[2][kColumns];
        if constexpr (kind.integer_scales) {
            const auto* s = reinterpret_cast<const __m256i*>(panel.scale16[2 * g]);
            multiply_steps<kind, 4, kColumns>(w, x, {s[0], s[1]}, false, sum);
            multiply_steps<kind, 4, kColumns>(w + 8, x + 4 * kColumns, {s[2], s[3]}, true, sum);
            end_group<2, kColumns>({panel.scale[g], &panel.minimum[2 * g], xs, sums}, sum, out);
        } else if constexpr (kind.float_scales) {
            for (int64_t half = 0; half < 2; ++half) {
                multiply_steps<kind, 4, kColumns>(w + 8 * half, x + 4 * half * kColumns, {one, one}, false, sum);
                const auto* scale = reinterpret_cast<const float*>(panel.scale16[2 * g + half]);
                end_group<1, kColumns>({scale, &panel.minimum[2 * g + half], xs, sums + half * kColumns}, sum, out);
            }
        } else if constexpr (kind.is_signed) {
            multiply_wide<kColumns>(w, x, sum);
            end_group<kind.signed_minimum, kColumns>({panel.scale[g], &panel.minimum[g], xs, sums}, sum, out);
        } else {
            multiply_steps<kind, 8, kColumns>(w, x, {one, one}, false, sum);
            end_group<1, kColumns>({panel.scale[g], &panel.minimum[g], xs, sums}, sum, out);
        }
    }
}

struct Avx2 {
    static constexpr Style kStyle = Style::pairs16;
    static constexpr int kTile = 6;

    template <PanelKind kind>
    static constexpr int64_t chunk() {
        return kind.is_signed ? kChunk / 2 : kChunk;
    }
    template <PanelKind kind>
    static int32_t* packed_at(const MatmulArgs& args, const Place& at, int64_t t) {
        auto* packed = reinterpret_cast<int32_t*>(static_cast<uint8_t*>(args.scratch) + kPackedAt);
        return packed + (t - at.t0) * (at.count / 32) * Packed<kind>::kWords;
    }
    template <PanelKind kind>
    static void prepare(const MatmulArgs& args, const Place& at) {
        static_assert(kPackedAt + (kColumnBlock * chunk<kind>() / 32 * Packed<kind>::kWords + 7) * 4 <= static_cast<int64_t>(kMatmulScratch));
        int64_t columns;
        for (int64_t t = at.t0; t < at.t1; t += columns) {
            columns = columns_next(at.t1 - t, kTile);
            pack_tile<kind>(*args.xq, t, columns, at.k, at.count, packed_at<kind>(args, at, t));
        }
    }
    template <PanelKind kind>
    static const int32_t* tile(const MatmulArgs& args, const Place& at, int64_t t) {
        return packed_at<kind>(args, at, t);
    }
    template <PanelKind kind, int kColumns>
    static void multiply(const Panel& panel, int64_t groups, const int32_t* x, float (*out)[kRows]) {
        multiply_panel<kind, kColumns>(panel, groups, x, out);
    }
};

}  // namespace
}  // namespace quant
