// Checks and sums over rows of floats. Bit patterns instead of isnan: no compiler option can remove the check.
#include "convert/stream/row_checks.h"

#include <algorithm>
#include <bit>
#include <iterator>

#include "formats/lanes.h"

namespace quant {

namespace {

constexpr uint32_t kMagnitude = 0x7FFFFFFF, kInfinity = 0x7F800000;
constexpr uint32_t kRoundsToInfinityInF16 = 0x477FF000;  // 65520, half a step above the largest half
constexpr int64_t kStretch = 1024;  // weights whose squares are summed in f32 before the sum goes to double

QUANT_INLINE uint32_t magnitude_bits(float value) { return std::bit_cast<uint32_t>(value) & kMagnitude; }

QUANT_INLINE bool any_above_body(const float* values, size_t count, int32_t limit) {
    uint32_t found[kLanes] = {};
    size_t i = 0;
    for (; i + kLanes <= count; i += kLanes)
        for (size_t lane = 0; lane < kLanes; ++lane)
            found[lane] |= static_cast<uint32_t>(static_cast<int32_t>(magnitude_bits(values[i + lane])) >= limit);
    for (; i < count; ++i) found[0] |= static_cast<uint32_t>(static_cast<int32_t>(magnitude_bits(values[i])) >= limit);
    return std::any_of(std::begin(found), std::end(found), [](uint32_t lane) { return lane != 0; });
}

// The four sums of a whole number of 16 weights, at most kStretch.
template <int W>
QUANT_INLINE void add_stretch(const float* values, const float* decoded, const float* importance, int64_t count,
                              TensorError& sums) {
    using V = Vec<W>;
    V error = V::all(0), norm = error, weighted_error = error, weighted_norm = error, largest = error;
    for (int64_t i = 0; i < count; i += kLanes) {
        const V x = V::load(values + i), difference = x - V::load(decoded + i);
        const V square = x * x, error_square = difference * difference;
        norm = norm + square;
        error = error + error_square;
        largest = max(largest, magnitude(difference));  // numbers that differ have a difference
        if (!importance) continue;
        const V h = V::load(importance + i);
        weighted_norm = weighted_norm + h * square;
        weighted_error = weighted_error + h * error_square;
    }
    if (largest.sum() > 0) sums.exact = false;
    sums.error += static_cast<double>(error.sum());
    sums.norm += static_cast<double>(norm.sum());
    sums.weighted_error += static_cast<double>(weighted_error.sum());
    sums.weighted_norm += static_cast<double>(weighted_norm.sum());
}

template <int W>
QUANT_INLINE void add_row_body(const float* values, const float* decoded, const float* importance, int64_t count,
                               TensorError& sums) {
    const int64_t whole = count / kLanes * kLanes;
    for (int64_t begin = 0; begin < whole; begin += kStretch)
        add_stretch<W>(values + begin, decoded + begin, importance ? importance + begin : nullptr,
                       std::min(whole - begin, kStretch), sums);
    for (int64_t i = whole; i < count; ++i) {
        const float square = values[i] * values[i], difference = values[i] - decoded[i];
        if (values[i] != decoded[i]) sums.exact = false;
        sums.norm += static_cast<double>(square);
        sums.error += static_cast<double>(difference * difference);
        if (!importance) continue;
        sums.weighted_norm += static_cast<double>(importance[i] * square);
        sums.weighted_error += static_cast<double>(importance[i] * (difference * difference));
    }
}

#if defined(__x86_64__)
[[gnu::target("avx2")]] bool any_above_wide(const float* values, size_t count, int32_t limit) {
    return any_above_body(values, count, limit);
}
[[gnu::target("avx2")]] void add_row_wide(const float* values, const float* decoded, const float* importance, int64_t count,
                                          TensorError& sums) {
    add_row_body<8>(values, decoded, importance, count, sums);
}
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] void add_row_widest(const float* values, const float* decoded, const float* importance,
                                                                          int64_t count, TensorError& sums) {
    add_row_body<16>(values, decoded, importance, count, sums);
}
#endif

bool any_above(const float* values, size_t count, int32_t limit) {
#if defined(__x86_64__)
    if (wide_lanes()) return any_above_wide(values, count, limit);
#endif
    return any_above_body(values, count, limit);
}

}  // namespace

bool any_unfit(const float* values, size_t count, const Format& format) {
    return any_above(values, count, format.slot == FormatSlot::f16 ? kRoundsToInfinityInF16 : kInfinity);
}

uint64_t zero_nonfinite(float* values, size_t count) {
    uint64_t zeroed = 0;
    for (size_t i = 0; i < count; ++i) {
        if (magnitude_bits(values[i]) < kInfinity) continue;
        values[i] = 0;
        ++zeroed;
    }
    return zeroed;
}

void add_row_error(const float* values, const float* decoded, const float* importance, int64_t count, TensorError& sums) {
#if defined(__x86_64__)
    if (lane_width() == 16) return add_row_widest(values, decoded, importance, count, sums);
    if (lane_width() == 8) return add_row_wide(values, decoded, importance, count, sums);
#endif
    add_row_body<4>(values, decoded, importance, count, sums);
}

}  // namespace quant
