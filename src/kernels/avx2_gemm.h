// Block formats times many activation rows (AVX2): the inner loop over the panels of avx2_panel.h. Included by AVX2
// files only, everything in an unnamed namespace.
//
// vpmaddubsw multiplies four broadcast activation bytes into 8 rows, two sums per row that stay in int16 for the kind's
// steps; vpmaddwd adds them, times the integer scale where there is one. Where the kind has a center, a run of steps starts
// at -center * sum of x instead of 0. Signed codes and their activations are widened to int16, for vpmaddwd alone.
//
// The instructions are written out because their order decides: compilers regroup integer additions into trees that spill,
// and move what must wait for a register before what could run. One statement is a column of a step.
#pragma once

#include "kernels/avx2_packed.h"

namespace quant {
namespace {

// Eight rows of the panel and the other eight, for one column.
struct Pair {
    __m256i low, high;
};
// Where such a pair lies in memory; for a type that covers what an instruction reads there.
struct alignas(32) Half32 {
    int32_t of[8];
};
struct Pair32 {
    Half32 low, high;
};
inline const Pair32& pair_at(const void* at) { return *static_cast<const Pair32*>(at); }

// sum = products of two vectors of codes and the activation's word.
inline void multiply_first(const Pair& w, const int32_t& x, Pair& sum) {
    __asm__ volatile("vpbroadcastd %[x], %[high]\n\t"
                     "vpmaddubsw %[high], %[w0], %[low]\n\t"
                     "vpmaddubsw %[high], %[w1], %[high]"
                     : [low] "=&x"(sum.low), [high] "=&x"(sum.high)
                     : [w0] "x"(w.low), [w1] "x"(w.high), [x] "m"(x));
}
// The same, started at `start`.
inline void multiply_from(const Pair& w, const int32_t& x, const int32_t& start, Pair& sum) {
    __m256i a, b;
    __asm__ volatile("vpbroadcastd %[start], %[high]\n\t"
                     "vpbroadcastd %[x], %[a]\n\t"
                     "vpmaddubsw %[a], %[w0], %[b]\n\t"
                     "vpmaddubsw %[a], %[w1], %[a]\n\t"
                     "vpaddw %[b], %[high], %[low]\n\t"
                     "vpaddw %[a], %[high], %[high]"
                     : [low] "=&x"(sum.low), [high] "=&x"(sum.high), [a] "=&x"(a), [b] "=&x"(b)
                     : [w0] "x"(w.low), [w1] "x"(w.high), [x] "m"(x), [start] "m"(start));
}
inline void multiply_add(const Pair& w, const int32_t& x, Pair& sum) {
    __m256i a, b;
    __asm__ volatile("vpbroadcastd %[x], %[a]\n\t"
                     "vpmaddubsw %[a], %[w0], %[b]\n\t"
                     "vpmaddubsw %[a], %[w1], %[a]\n\t"
                     "vpaddw %[b], %[low], %[low]\n\t"
                     "vpaddw %[a], %[high], %[high]"
                     : [low] "+x"(sum.low), [high] "+x"(sum.high), [a] "=&x"(a), [b] "=&x"(b)
                     : [w0] "x"(w.low), [w1] "x"(w.high), [x] "m"(x));
}
// The same for codes in int16, sums in int32.
inline void multiply_wide_first(const Pair& w, const int32_t& x, Pair& sum) {
    __asm__ volatile("vpbroadcastd %[x], %[high]\n\t"
                     "vpmaddwd %[high], %[w0], %[low]\n\t"
                     "vpmaddwd %[high], %[w1], %[high]"
                     : [low] "=&x"(sum.low), [high] "=&x"(sum.high)
                     : [w0] "x"(w.low), [w1] "x"(w.high), [x] "m"(x));
}
inline void multiply_wide_add(const Pair& w, const int32_t& x, Pair& sum) {
    __m256i a, b;
    __asm__ volatile("vpbroadcastd %[x], %[a]\n\t"
                     "vpmaddwd %[a], %[w0], %[b]\n\t"
                     "vpmaddwd %[a], %[w1], %[a]\n\t"
                     "vpaddd %[b], %[low], %[low]\n\t"
                     "vpaddd %[a], %[high], %[high]"
                     : [low] "+x"(sum.low), [high] "+x"(sum.high), [a] "=&x"(a), [b] "=&x"(b)
                     : [w0] "x"(w.low), [w1] "x"(w.high), [x] "m"(x));
}
// int16 pairs times `factor`, to int32.
inline void widen(const Pair32& factor, Pair& sum) {
    __asm__ volatile("vpmaddwd %[factor0], %[low], %[low]\n\t"
                     "vpmaddwd %[factor1], %[high], %[high]"
                     : [low] "+x"(sum.low), [high] "+x"(sum.high)
                     : [factor0] "m"(factor.low), [factor1] "m"(factor.high));
}
inline void add_to(const Pair32& more, Pair& sum) {
    __asm__ volatile("vpaddd %[more0], %[low], %[low]\n\t"
                     "vpaddd %[more1], %[high], %[high]"
                     : [low] "+x"(sum.low), [high] "+x"(sum.high)
                     : [more0] "m"(more.low), [more1] "m"(more.high));
}
inline void keep(const Pair& sum, Pair32& out) {
    __asm__ volatile("vmovdqa %[low], %[out0]\n\t"
                     "vmovdqa %[high], %[out1]"
                     : [out0] "=m"(out.low), [out1] "=m"(out.high)
                     : [low] "x"(sum.low), [high] "x"(sum.high));
}
// sum = total + scale * xs * sum, as floats.
inline void scale_sum(const Pair& scale, const float& xs, const Pair32& total, Pair& sum) {
    __m256i a, b;
    __asm__ volatile("vbroadcastss %[xs], %[a]\n\t"
                     "vcvtdq2ps %[low], %[low]\n\t"
                     "vcvtdq2ps %[high], %[high]\n\t"
                     "vmulps %[a], %[s0], %[b]\n\t"
                     "vmulps %[a], %[s1], %[a]\n\t"
                     "vfmadd213ps %[total0], %[b], %[low]\n\t"
                     "vfmadd213ps %[total1], %[a], %[high]"
                     : [low] "+x"(sum.low), [high] "+x"(sum.high), [a] "=&x"(a), [b] "=&x"(b)
                     : [s0] "x"(scale.low), [s1] "x"(scale.high), [xs] "m"(xs), [total0] "m"(total.low), [total1] "m"(total.high));
}
inline void add_minimum(const Pair32& minimum, const float& x, Pair& sum) {
    __m256i a;
    __asm__ volatile("vbroadcastss %[x], %[a]\n\t"
                     "vfmadd231ps %[minimum0], %[a], %[low]\n\t"
                     "vfmadd231ps %[minimum1], %[a], %[high]"
                     : [low] "+x"(sum.low), [high] "+x"(sum.high), [a] "=&x"(a)
                     : [minimum0] "m"(minimum.low), [minimum1] "m"(minimum.high), [x] "m"(x));
}

inline Pair load_pair(const void* at) {
    const auto* v = static_cast<const __m256i*>(at);
    return {_mm256_load_si256(v), _mm256_load_si256(v + 1)};
}

// Sums of kSteps * 4 columns that stay in int16.
template <int kSteps, bool centered, int kColumns>
inline void run_steps(const uint8_t* w, const int32_t* x, const int32_t* start, Pair (&sum)[kColumns]) {
#pragma GCC unroll 8
    for (int s = 0; s < kSteps; ++s) {
        const Pair codes = load_pair(w + 64 * s);
#pragma GCC unroll 8
        for (int t = 0; t < kColumns; ++t) {
            const int32_t& word = x[s * kColumns + t];
            if (s > 0) multiply_add(codes, word, sum[t]);
            else if (centered) multiply_from(codes, word, start[t], sum[t]);
            else multiply_first(codes, word, sum[t]);
        }
    }
}

// Where the parts of a group's result lie: kMinima minima with the sums they meet.
struct GroupEnd {
    const void* scale;      // [16]
    const void* minima[2];  // [16] each
    const float* xs;        // [columns]
    const float* sums;      // [kMinima][columns]
};

// out[t] += scale * (sum * xs) + minima * sums. Minima join group by group, not in the end: the running sum stays as small
// as the result.
template <int kMinima, int kColumns>
inline void end_group(const GroupEnd& at, Pair (&sum)[kColumns], Pair32* out) {
    const Pair scale = load_pair(at.scale);
#pragma GCC unroll 8
    for (int t = 0; t < kColumns; ++t) {
        scale_sum(scale, at.xs[t], out[t], sum[t]);
#pragma GCC unroll 2
        for (int i = 0; i < kMinima; ++i) add_minimum(pair_at(at.minima[i]), at.sums[i * kColumns + t], sum[t]);
        keep(sum[t], out[t]);
    }
}

alignas(32) constexpr int16_t kOnes[32] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                           1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

// out[t][16] = panel times kColumns activation rows over `groups` groups of 32. The sums of floats stay in memory: the
// registers are all taken by the sums of integers, and one load and store per group costs less than spilling those. So do
// the sums in int32 of all runs of steps but the last.
template <PanelKind kind, int kColumns>
[[gnu::always_inline]] inline void multiply_panel(const Panel& panel, int64_t groups, const int32_t* x, float (*totals)[kRows]) {
    using P = Packed<kind>;
    constexpr int kMinima = P::kSums;
    auto* out = reinterpret_cast<Pair32*>(totals);
    for (int t = 0; t < kColumns; ++t) keep({_mm256_setzero_si256(), _mm256_setzero_si256()}, out[t]);
    for (int64_t g = 0; g < groups; ++g, x += P::kWords * kColumns) {
        const int32_t* start = x + P::kSteps * kColumns;
        const auto* xs = reinterpret_cast<const float*>(start + P::kStarts * kColumns);
        const float* sums = xs + kColumns;
        Pair sum[kColumns];
        if constexpr (kind.is_signed) {
#pragma GCC unroll 16
            for (int s = 0; s < 16; ++s) {
                const Pair codes = load_pair(panel.codes + (16 * g + s) * 64);
#pragma GCC unroll 8
                for (int t = 0; t < kColumns; ++t) {
                    if (s > 0) multiply_wide_add(codes, x[s * kColumns + t], sum[t]);
                    else multiply_wide_first(codes, x[s * kColumns + t], sum[t]);
                }
            }
            end_group<kMinima>({panel.scale[g], {panel.minimum[g]}, xs, sums}, sum, out);
        } else {
            constexpr bool kCentered = kind.center != 0;
            constexpr int kRuns = 8 / kind.steps;
            const uint8_t* w = panel.codes + g * 32 * kRows;
            Pair32 before[kColumns];
#pragma GCC unroll 8
            for (int run = 0; run < kRuns; ++run) {
                constexpr int kSteps = kind.steps;
                run_steps<kSteps, kCentered, kColumns>(w + run * kSteps * 64, x + run * kSteps * kColumns, start + run * kColumns, sum);
                const void* factor = kOnes;
                if constexpr (kind.integer_scales) factor = panel.scale16[2 * g + run * 2 / kRuns];
#pragma GCC unroll 8
                for (int t = 0; t < kColumns; ++t) {
                    widen(pair_at(factor), sum[t]);
                    if (kind.float_scales) continue;
                    if (run > 0) add_to(before[t], sum[t]);
                    if (run + 1 < kRuns) keep(sum[t], before[t]);
                }
                if constexpr (kind.float_scales) {
                    static_assert(kRuns == 2 && kMinima != 1);
                    end_group<kMinima / 2>({panel.scale16[2 * g + run], {panel.minimum[2 * g + run]}, xs, sums + run * kColumns}, sum, out);
                }
            }
            if constexpr (kind.integer_scales) {
                end_group<kMinima>({panel.scale[g], {panel.minimum[2 * g], panel.minimum[2 * g + 1]}, xs, sums}, sum, out);
            } else if constexpr (!kind.float_scales) {
                end_group<kMinima>({panel.scale[g], {panel.minimum[g]}, xs, sums}, sum, out);
            }
        }
    }
}

struct Avx2 : PackedTiles<Avx2> {
    static constexpr Style kStyle = Style::pairs16;
    static constexpr int kTile = 6, kPanels = 1;
    static constexpr int64_t kActivationRows = 256;

    template <PanelKind kind>
    static constexpr int64_t chunk() {
        return kind.is_signed ? kChunk / 2 : kChunk;  // 32 KiB of codes: starting a tile costs more than the second-level cache
    }
    template <PanelKind kind, int kColumns>
    static void multiply(const Panel& panel, int64_t groups, const int32_t* x, float (*out)[kRows]) {
        multiply_panel<kind, kColumns>(panel, groups, x, out);
    }
};

}  // namespace
}  // namespace quant
