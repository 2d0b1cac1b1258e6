// Block formats times many activation rows with vpdpbusd: four broadcast activation bytes times 16 rows, added in int32, where
// nothing in between can overflow. It takes unsigned weight codes: signed ones come raised by 128. A center, or those 128, is
// where a sum starts. Included by AVX-VNNI and AVX-512 files only, everything in an unnamed namespace.
#pragma once

#include "kernels/avx2_packed.h"

namespace quant {
namespace {

// Rows is a number of 32 bits for each row of kPanels panels and what is done with them, kColumns the most that fit its registers,
// kKeepsTotals whether twice as many do.
template <class Rows, int kColumns>
struct Vnni : PackedTiles<Vnni<Rows, kColumns>> {
    static constexpr Style kStyle = Style::sums32;
    static constexpr int kTile = kColumns, kPanels = Rows::kPanels;
    static constexpr int64_t kActivationRows = Rows::kActivationRows;

    template <PanelKind kind>
    static constexpr int64_t chunk() {
        return Rows::kChunk;
    }
    // Where registers are few, the sums of integers take them all, and those of floats stay in `out`. Where 256 columns share a scale,
    // only theirs are in registers, and meet it in the end.
    template <PanelKind kind, int kCount>
    static void multiply(const Panel& panel, int64_t groups, const int32_t* x, float (*out)[kPanels * kRows]) {
        if constexpr (kind.in_pairs) return multiply_in_pairs<kind, kCount>(panel, groups, x, out);
        constexpr bool kKeeps = Rows::kKeepsTotals || kind.merged;
        Rows kept[kCount];
        for (int t = 0; t < kCount; ++t) {
            kept[t] = Rows::zero();
            if (!kKeeps || kind.merged) kept[t].store(out[t]);
        }
        for (int64_t g = 0; g < groups; ++g, x += Packed<kind>::kWords * kCount) {
            add_group<kind, kCount, kKeeps>(panel, g, x, kept, out);
            if (!kind.merged || g % 8 != 7) continue;
            const Rows scale = Rows::load_panels(panel.scale[g]);
#pragma GCC unroll 16
            for (int t = 0; t < kCount; ++t) {
                Rows total = Rows::load(out[t]);
                total.add_floats(kept[t], scale);
                total.store(out[t]);
                kept[t] = Rows::zero();
            }
            if constexpr (kind.integer_minima()) add_minima<kind, kCount>(panel, g - 7, x - 7 * Packed<kind>::kWords * kCount, out);
        }
        if constexpr (kKeeps && !kind.merged)
            for (int t = 0; t < kCount; ++t) kept[t].store(out[t]);
    }

private:
    // Two groups' sums lie in the halves of a number: the first is made, turned, and the second added below it.
    template <PanelKind kind, int kCount>
    [[gnu::always_inline]] static void multiply_in_pairs(const Panel& panel, int64_t groups, const int32_t* x, float (*out)[kPanels * kRows]) {
        constexpr int64_t kGroup = Packed<kind>::kWords * kCount;
        for (int t = 0; t < kCount; ++t) Rows::zero().store(out[t]);
        for (int64_t g = 0; g < groups; g += 8, x += 8 * kGroup) {
            const int32_t* words = x + 8 * kCount;
            Rows kept[kCount];
            for (int t = 0; t < kCount; ++t) kept[t] = Rows::all(words[3 * kGroup + t]);
            for (int pair = 0; pair < 8; pair += 2) {
                Rows sum[kCount];
                for (int t = 0; t < kCount; ++t) sum[t] = Rows::all(kRaisedPairs << 16 | kRaisedPairs);
#pragma GCC unroll 16
                for (int s = 0; s < 16; ++s) {
                    const Rows codes = Rows::load_panels(panel.codes + (8 * (g + pair) + s) * 64);
#pragma GCC unroll 16
                    for (int t = 0; t < kCount; ++t) {
                        if (s == 8) sum[t].turn_halves();
                        sum[t].add_products(codes, x[(pair + s / 8) * kGroup + s % 8 * kCount + t]);
                    }
                }
#pragma GCC unroll 16
                for (int t = 0; t < kCount; ++t) kept[t].add_pairs(sum[t], words[pair * kGroup + t]);
            }
            const Rows scale = Rows::load_panels(panel.scale[g]);
#pragma GCC unroll 16
            for (int t = 0; t < kCount; ++t) {
                float unit;
                __builtin_memcpy(&unit, words + kGroup + t, sizeof unit);
                Rows total = Rows::load(out[t]);
                total.add_floats(kept[t].as_floats(), scale.times(unit));
                total.store(out[t]);
            }
        }
    }
    // Adds the minima of the eight groups from g on, whose activations are at x.
    template <PanelKind kind, int kCount>
    [[gnu::always_inline]] static void add_minima(const Panel& panel, int64_t g, const int32_t* x, float (*out)[kPanels * kRows]) {
        using P = Packed<kind>;
        const int32_t* pairs = x + (P::kSteps + P::kStarts + 1) * kCount;
        Rows sum[kCount];
        for (int t = 0; t < kCount; ++t) sum[t] = Rows::zero();
        for (int i = 0; i < 8; ++i) {
            const Rows minima = Rows::load_panels(panel.minimum[2 * g + i]);
#pragma GCC unroll 16
            for (int t = 0; t < kCount; ++t) sum[t].add_pairs(minima, pairs[i * P::kWords * kCount + t]);
        }
        const Rows unit = Rows::load_panels(panel.minimum[2 * g + 8]);
#pragma GCC unroll 16
        for (int t = 0; t < kCount; ++t) {
            float of_sums;
            __builtin_memcpy(&of_sums, pairs + kCount + t, sizeof of_sums);
            Rows total = Rows::load(out[t]);
            total.add_floats(sum[t].as_floats(), unit.times(of_sums));
            total.store(out[t]);
        }
    }

    // Adds the products of group g to `kept`, or to `out`.
    template <PanelKind kind, int kCount, bool kKeeps>
    [[gnu::always_inline]] static void add_group(const Panel& panel, int64_t g, const int32_t* x, Rows (&kept)[kCount],
                                                 float (*out)[kPanels * kRows]) {
        using P = Packed<kind>;
        constexpr int kParts = kind.per16() ? 2 : 1, kSteps = 8 / kParts, kMinima = kind.integer_minima() ? 0 : kind.minima() / kParts;
        const int32_t* start = x + P::kSteps * kCount;
        const auto* xs = reinterpret_cast<const float*>(start + P::kStarts * kCount);
#pragma GCC unroll 2
        for (int part = 0; part < kParts; ++part) {
            const int64_t at = kParts * g + part;
            Rows sum[kCount];
#pragma GCC unroll 16
            for (int t = 0; t < kCount; ++t) sum[t] = kind.center ? Rows::all(start[part * kCount + t]) : Rows::zero();
#pragma GCC unroll 8
            for (int s = 0; s < kSteps; ++s) {
                const Rows codes = Rows::load_panels(panel.codes + (8 * g + part * kSteps + s) * 64);
#pragma GCC unroll 16
                for (int t = 0; t < kCount; ++t) sum[t].add_products(codes, x[(part * kSteps + s) * kCount + t]);
            }
            [[maybe_unused]] Rows scale = Rows::zero();
            if constexpr (!kind.merged)
                scale = Rows::load_panels(kind.per16() ? static_cast<const void*>(panel.scale16[at]) : panel.scale[at]);
#pragma GCC unroll 16
            for (int t = 0; t < kCount; ++t) {
                Rows total = kept[t];
                if constexpr (!kKeeps) total = Rows::load(out[t]);
                if constexpr (kind.merged) total.add_floats(sum[t].as_floats(), Rows::all_floats(xs[t]));
                else total.add_floats(sum[t].as_floats(), scale.times(xs[t]));
                for (int i = part * kMinima; i < (part + 1) * kMinima; ++i)
                    total.add_floats(Rows::load_panels(panel.minimum[kParts * kMinima * g + i]), Rows::all_floats(xs[(1 + i) * kCount + t]));
                if constexpr (kKeeps) kept[t] = total;
                else total.store(out[t]);
            }
        }
    }
};

}  // namespace
}  // namespace quant
