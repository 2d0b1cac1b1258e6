// Checks and sums over rows of floats. Bit patterns instead of isnan: no compiler option can remove the check.
#include "convert/stream/row_checks.h"

#include <algorithm>
#include <bit>

namespace quant {

namespace {

constexpr uint32_t kMagnitude = 0x7FFFFFFF, kInfinity = 0x7F800000;
constexpr uint32_t kRoundsToInfinityInF16 = 0x477FF000;  // 65520, half a step above the largest half
constexpr int kLanes = 16;
constexpr int64_t kStretch = 1024;  // weights whose squares are summed in f32 before the sum goes to double

uint32_t magnitude(float value) { return std::bit_cast<uint32_t>(value) & kMagnitude; }

double lane_sum(const float (&lanes)[kLanes]) {
    double sum = 0;
    for (const float lane : lanes) sum += static_cast<double>(lane);
    return sum;
}

}  // namespace

bool any_unfit(const float* values, size_t count, const Format& format) {
    const uint32_t limit = format.slot == FormatSlot::f16 ? kRoundsToInfinityInF16 : kInfinity;
    uint32_t found = 0;
    for (size_t i = 0; i < count; ++i)
        found |= static_cast<uint32_t>(static_cast<int32_t>(magnitude(values[i])) >= static_cast<int32_t>(limit));
    return found != 0;
}

uint64_t zero_nonfinite(float* values, size_t count) {
    uint64_t zeroed = 0;
    for (size_t i = 0; i < count; ++i) {
        if (magnitude(values[i]) < kInfinity) continue;
        values[i] = 0;
        ++zeroed;
    }
    return zeroed;
}

void add_row_error(const float* values, const float* decoded, const float* importance, int64_t count, TensorError& sums) {
    for (int64_t begin = 0; begin < count; begin += kStretch) {
        const int64_t end = std::min(count, begin + kStretch);
        float error[kLanes] = {}, norm[kLanes] = {}, weighted_error[kLanes] = {}, weighted_norm[kLanes] = {};
        const auto add = [&](int64_t at, int lane) {
            const float square = values[at] * values[at];
            const float difference = values[at] - decoded[at];
            norm[lane] += square;
            error[lane] += difference * difference;
            if (!importance) return;
            weighted_norm[lane] += importance[at] * square;
            weighted_error[lane] += importance[at] * (difference * difference);
        };
        int64_t at = begin;
        for (; at + kLanes <= end; at += kLanes)
            for (int lane = 0; lane < kLanes; ++lane) add(at + lane, lane);
        for (; at < end; ++at) add(at, 0);
        sums.error += lane_sum(error);
        sums.norm += lane_sum(norm);
        sums.weighted_error += lane_sum(weighted_error);
        sums.weighted_norm += lane_sum(weighted_norm);
    }
}

}  // namespace quant
