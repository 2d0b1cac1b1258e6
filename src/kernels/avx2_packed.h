// Activations as the inner loops of the x86 products with many rows want them. Included by the AVX2, AVX-VNNI and AVX-512
// files, everything in an unnamed namespace.
#pragma once

#include "kernels/avx2_panel.h"

namespace quant {
namespace {

// Activations of a tile of `columns` rows, one group of 32 after the other, so that a single pointer walks through them:
// kSteps times the four codes (or two widened ones) of each row, kStarts times what each row's runs of steps start at, then
// each row's scale, then each row's sum or both sums. For integer minima: both sums as int16, then their unit, that of 256 columns.
// For sums in pairs no starts, and of eight groups, instead of the scales: the factors of groups 2 i + 1 and 2 i as int16 (with group
// 2 i), their unit (with group 1), and what the sum of all starts at (with group 3).
template <PanelKind kind>
struct Packed {
    static constexpr int kSteps = kind.is_signed ? 16 : 8;
    static constexpr int kCenters = kind.center ? 8 / kind.steps : 0;  // what runs start at
    static constexpr int kStarts = kind.in_pairs ? 0 : kCenters;
    static constexpr int kSums = kind.minima();
    static constexpr int kWords = kSteps + kStarts + 1 + kSums;  // per row and group
};

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

// The sums of 256 columns, each 16, as int16 in the order of columns, and their unit.
struct alignas(32) IntegerSums {
    int32_t pairs[8];
    float unit;
};
inline IntegerSums integer_sums(const float* sums) {
    const __m256 low = _mm256_loadu_ps(sums), high = _mm256_loadu_ps(sums + 8), no_sign = _mm256_set1_ps(-0.0f);
    const float largest = largest_of(_mm256_max_ps(_mm256_andnot_ps(no_sign, low), _mm256_andnot_ps(no_sign, high)));
    const __m256 inverse = _mm256_set1_ps(largest > 0 ? 32767 / largest : 0);
    const __m256i packed = _mm256_packs_epi32(_mm256_cvtps_epi32(_mm256_mul_ps(low, inverse)), _mm256_cvtps_epi32(_mm256_mul_ps(high, inverse)));
    IntegerSums out;
    _mm256_store_si256(reinterpret_cast<__m256i*>(out.pairs), _mm256_permute4x64_epi64(packed, 0xd8));
    out.unit = largest / 32767;
    return out;
}

// What integer factors take of 256 columns of eight rows, a row in each lane: those of the groups (as multiples_of makes them), their
// unit, and what the sum of all starts at.
struct GroupFactors {
    __m256i of[8];
    __m256 unit;
    __m256i start;
};
// scales(i): the eight of row i.
template <class Scales>
inline GroupFactors factors_of(const Scales& scales) {
    const Words8 groups = turned([&](int64_t i) { return load256(scales(i)); });
    __m256 s[8], largest = _mm256_setzero_ps(), sum = largest;
    for (int g = 0; g < 8; ++g) {
        s[g] = _mm256_load_ps(reinterpret_cast<const float*>(groups.of[g]));
        largest = _mm256_max_ps(largest, s[g]);
        sum = _mm256_add_ps(sum, s[g]);  // NaN where a scale is
    }
    const __m256 top = _mm256_set1_ps(32767), finite = _mm256_cmp_ps(sum, sum, _CMP_ORD_Q), zero = _mm256_setzero_ps();
    const __m256 any = _mm256_and_ps(finite, _mm256_cmp_ps(largest, zero, _CMP_GT_OQ)), inverse = _mm256_div_ps(top, largest);
    GroupFactors out;
    for (int g = 0; g < 8; ++g) out.of[g] = _mm256_and_si256(_mm256_cvtps_epi32(_mm256_mul_ps(s[g], inverse)), bits(any));
    out.unit = _mm256_blendv_ps(_mm256_set1_ps(__builtin_nanf("")), _mm256_div_ps(largest, top), finite);
    out.start = _mm256_setzero_si256();
    return out;
}
// The words of group `group` of eight, to be asked for in order. `centers`: what makes sums of codes times activations those of weights.
inline __m256i factor_words(GroupFactors& f, int64_t group, __m256i centers) {
    f.start = _mm256_add_epi32(f.start, _mm256_mullo_epi32(f.of[group], _mm256_sub_epi32(centers, _mm256_set1_epi32(kRaisedPairs))));
    return group % 2 == 0 ? _mm256_or_si256(_mm256_slli_epi32(f.of[group], 16), f.of[group + 1]) : bits(f.unit);
}

// Packs rows [t, t + columns), of which there are at most 8 kEights, columns [k, k + count). Always stores 8 kEights words, in
// ascending order: what is too much is written over by what comes next, or lies within 8 kEights - 1 words past the end.
template <PanelKind kind, int kEights>
inline void pack_tile(const Q8Matrix& q, int64_t t, int64_t columns, int64_t k, int64_t count, int32_t* out) {
    using P = Packed<kind>;
    static_assert(kEights == 1 || !kind.is_signed);
    const int64_t cols = q.cols;
    [[maybe_unused]] IntegerSums sums[8 * kEights];
    [[maybe_unused]] GroupFactors factors[kEights];
    [[maybe_unused]] __m256i centers[kEights];
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
            Words8 words[kEights];
            for (int e = 0; e < kEights; ++e) words[e] = turned([&](int64_t i) { return codes(8 * e + i); });
            for (int i = 0; i < 8; ++i)
                for (int e = 0; e < kEights; ++e) store8(words[e].of[i], out + i * columns + 8 * e);
            for (int run = 0; run < P::kCenters; ++run)
                for (int e = 0; e < kEights; ++e) {
                    __m256i sum = _mm256_setzero_si256();
                    for (int i = run * kind.steps; i < (run + 1) * kind.steps; ++i)
                        sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(_mm256_set1_epi8(1), load256(words[e].of[i])));
                    const __m256i less = _mm256_set1_epi16(-kind.center);
                    const __m256i start = kind.in_32 ? _mm256_madd_epi16(sum, less) : _mm256_mullo_epi16(sum, less);
                    if constexpr (kind.in_pairs) centers[e] = start;
                    else _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + (8 + run) * columns + 8 * e), start);
                }
        }
        if constexpr (kind.in_pairs) {
            const int64_t group = (at - k) % 256 / 32;
            int32_t* words = out + P::kSteps * columns;
            for (int e = 0; e < kEights; ++e) {
                if (group == 0) factors[e] = factors_of([&](int64_t i) { return q.scales + ((t + (8 * e + i < columns ? 8 * e + i : 0)) * cols + at) / 32; });
                _mm256_storeu_si256(reinterpret_cast<__m256i*>(words + 8 * e), factor_words(factors[e], group, centers[e]));
            }
            if (group != 7) continue;
            for (int64_t i = 0; i < columns; ++i)
                __builtin_memcpy(words - 4 * P::kWords * columns + i, reinterpret_cast<const int32_t*>(&factors[i / 8].start) + i % 8, sizeof *words);
            continue;
        }
        auto* rest = reinterpret_cast<float*>(out + (P::kSteps + P::kStarts) * columns);
        for (int64_t i = 0; i < columns; ++i) {
            const int64_t first = (t + i) * cols + at;
            rest[i] = q.scales[first / 32];
            if constexpr (kind.integer_minima()) {
                if ((at - k) % 256 == 0) sums[i] = integer_sums(q.sums + first / 16);
                __builtin_memcpy(rest + columns + i, &sums[i].pairs[(at - k) % 256 / 32], sizeof(float));
                rest[2 * columns + i] = sums[i].unit;
            } else if constexpr (P::kSums == 1) {
                rest[columns + i] = q.block_sums[first / 32];
            } else if constexpr (P::kSums == 2) {
                rest[columns + i] = q.sums[first / 16];
                rest[2 * columns + i] = q.sums[first / 16 + 1];
            }
        }
    }
}

// The part of an engine (avx2_panel.h) that packs the tiles of its place into the scratch.
template <class Engine>
struct PackedTiles {
    template <PanelKind kind>
    static int32_t* packed_at(const MatmulArgs& args, const Place& at, int64_t t) {
        auto* packed = reinterpret_cast<int32_t*>(static_cast<uint8_t*>(args.scratch) + kPackedAt);
        return packed + (t - at.t0) * (at.count / 32) * Packed<kind>::kWords;
    }
    template <PanelKind kind>
    static void prepare(const MatmulArgs& args, const Place& at) {
        constexpr int kEights = (Engine::kTile + 7) / 8;
        constexpr int64_t kWords = Engine::kActivationRows * Engine::template chunk<kind>() / 32 * Packed<kind>::kWords + 8 * kEights - 1;
        static_assert(kPackedAt + kWords * 4 <= static_cast<int64_t>(kMatmulScratch));
        int64_t columns;
        for (int64_t t = at.t0; t < at.t1; t += columns) {
            columns = columns_next(at.t1 - t, Engine::kTile);
            pack_tile<kind, kEights>(*args.xq, t, columns, at.k, at.count, packed_at<kind>(args, at, t));
        }
    }
    template <PanelKind kind>
    static const int32_t* tile(const MatmulArgs& args, const Place& at, int64_t t) {
        return packed_at<kind>(args, at, t);
    }
};

}  // namespace
}  // namespace quant
