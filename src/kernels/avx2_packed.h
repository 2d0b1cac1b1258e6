// Activations as the inner loops of the x86 products with many rows want them. Included by the AVX2, AVX-VNNI and AVX-512
// files, everything in an unnamed namespace.
#pragma once

#include "kernels/avx2_panel.h"

namespace quant {
namespace {

// Activations of a tile of `columns` rows, one group of 32 after the other, so that a single pointer walks through them:
// kSteps times the four codes (or two widened ones) of each row, kStarts times what each row's runs of steps start at, then
// each row's scale, then each row's sum or both sums.
template <PanelKind kind>
struct Packed {
    static constexpr int kSteps = kind.is_signed ? 16 : 8;
    static constexpr int kStarts = kind.center ? 8 / kind.steps : 0;
    static constexpr int kSums = kind.minima();
    static constexpr int kWords = kSteps + kStarts + 1 + kSums;  // per row and group
};

struct alignas(32) Words8 {
    int32_t of[8][8];
};
// Word i of 8 rows: one(row) makes 8 words of it.
template <class One>
[[maybe_unused]] inline Words8 turned(const One& one) {
    __m256i rows[8];
    for (int64_t i = 0; i < 8; ++i) rows[i] = one(i);
    Words8 out;
    transpose8(rows, reinterpret_cast<uint8_t*>(out.of), 32);
    return out;
}
inline void store8(const int32_t* words, int32_t* out) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm256_load_si256(reinterpret_cast<const __m256i*>(words)));
}

#if defined(QUANT_KERNELS_AVX512)
// Six rows of eight words lie in three registers, 16 words each: where words [16 part, 16 part + 16) of the turned ones come from,
// of which word i is word i / columns * step of row i % columns.
struct alignas(64) Turn {
    int32_t of_four[16], of_two[16];  // of the first two registers; of the third
    __mmask16 from_two;
};
constexpr Turn turn(int columns, int part, int step) {
    Turn turn{};
    for (int i = 0; i < 16; ++i) {
        const int word = (16 * part + i) / columns * step, row = (16 * part + i) % columns;
        if (word >= 8) break;
        (row < 4 ? turn.of_four : turn.of_two)[i] = row % 4 * 8 + word;
        if (row >= 4) turn.from_two = static_cast<__mmask16>(turn.from_two | 1 << i);
    }
    return turn;
}
struct Turns {
    Turn codes[7][3], sums[7];  // by columns
};
constexpr Turns kTurns = [] {
    Turns all{};
    for (int columns = 1; columns <= 6; ++columns) {
        for (int part = 0; part < 3; ++part) all.codes[columns][part] = turn(columns, part, 1);
        all.sums[columns] = turn(columns, 0, 4);
    }
    return all;
}();
inline void store_turned(const __m512i (&rows)[3], const Turn& turn, int32_t factor, int32_t* out) {
    const __m512i four = _mm512_permutex2var_epi32(rows[0], _mm512_load_si512(turn.of_four), rows[1]);
    const __m512i words = _mm512_mask_permutexvar_epi32(four, turn.from_two, _mm512_load_si512(turn.of_two), rows[2]);
    _mm512_storeu_si512(out, factor == 1 ? words : _mm512_mullo_epi32(words, _mm512_set1_epi32(factor)));
}

// The codes of 32 columns of `columns` rows, which code(i) gives, and where their runs start. Stores whole registers.
template <PanelKind kind, class Codes>
inline void pack_codes(const Codes& code, int64_t columns, int32_t* out) {
    using P = Packed<kind>;
    __m512i rows[3];
    for (int64_t i = 0; i < 3; ++i) rows[i] = _mm512_inserti64x4(_mm512_castsi256_si512(code(2 * i)), code(2 * i + 1), 1);
    for (int64_t part = 0; 2 * part < columns; ++part) store_turned(rows, kTurns.codes[columns][part], 1, out + 16 * part);
    if constexpr (P::kStarts != 0) {
        for (__m512i& row : rows) {
            __m512i sum = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(1), row);
            sum = _mm512_add_epi32(sum, _mm512_shuffle_epi32(sum, _MM_PERM_CDAB));
            sum = _mm512_add_epi32(sum, _mm512_shuffle_epi32(sum, _MM_PERM_BADC));
            row = P::kStarts == 2 ? sum : _mm512_add_epi32(sum, _mm512_shuffle_i32x4(sum, sum, 0xb1));
        }
        store_turned(rows, kTurns.sums[columns], -kind.center, out + 8 * columns);
    }
}
#endif

// Packs rows [t, t + columns), of which there are at most 8 kEights, columns [k, k + count). Always stores 8 kEights words, or 16, in
// ascending order: what is too much is written over by what comes next, or lies within kPastEnd words past the end.
template <int kEights>
constexpr int kPastEnd = kEights == 1 ? 15 : 8 * kEights - 1;
template <PanelKind kind, int kEights>
inline void pack_tile(const Q8Matrix& q, int64_t t, int64_t columns, int64_t k, int64_t count, int32_t* out) {
    using P = Packed<kind>;
    static_assert(kEights == 1 || !kind.is_signed);
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
#if defined(QUANT_KERNELS_AVX512)
            static_assert(kEights == 1);
            pack_codes<kind>(codes, columns, out);
#else
            Words8 words[kEights];
            for (int e = 0; e < kEights; ++e) words[e] = turned([&](int64_t i) { return codes(8 * e + i); });
            for (int i = 0; i < 8; ++i)
                for (int e = 0; e < kEights; ++e) store8(words[e].of[i], out + i * columns + 8 * e);
            for (int run = 0; run < P::kStarts; ++run)
                for (int e = 0; e < kEights; ++e) {
                    __m256i sum = _mm256_setzero_si256();
                    for (int i = run * kind.steps; i < (run + 1) * kind.steps; ++i)
                        sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(_mm256_set1_epi8(1), load256(words[e].of[i])));
                    const __m256i less = _mm256_set1_epi16(-kind.center);
                    const __m256i start = kind.in_32 ? _mm256_madd_epi16(sum, less) : _mm256_mullo_epi16(sum, less);
                    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + (8 + run) * columns + 8 * e), start);
                }
#endif
        }
        auto* rest = reinterpret_cast<float*>(out + (P::kSteps + P::kStarts) * columns);
        for (int64_t i = 0; i < columns; ++i) {
            const int64_t first = (t + i) * cols + at;
            rest[i] = q.scales[first / 32];
            if constexpr (P::kSums == 1) {
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
        constexpr int64_t kWords = Engine::kActivationRows * Engine::template chunk<kind>() / 32 * Packed<kind>::kWords + kPastEnd<kEights>;
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
