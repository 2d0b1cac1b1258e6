// Scales for the channels between makers and readers, from what the channels carry and what reads them: one function
// for each method, each giving candidates among which loss decides. Knows figures only.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace quant {

// By channel: over the tokens of a text, or over the rows of all readers (and, of shared channels, their columns).
struct ChannelRange {
    std::vector<double> squares;   // mean of x^2
    std::vector<double> absolute;  // mean of |x|
    std::vector<double> low, high;
    explicit ChannelRange(size_t channels = 0) : squares(channels), absolute(channels), low(channels), high(channels) {}
    double largest(size_t channel) const { return high[channel] > -low[channel] ? high[channel] : -low[channel]; }
};

struct ScaleCandidate {
    std::string name;
    std::vector<float> s;  // readers' columns times s; geometric mean 1
};

// s = (mean |x|)^a, a = 0 ... 0.95 (Lin et al. 2024).
std::vector<ScaleCandidate> awq_scales(const ChannelRange& inputs);
// s = max |x|^a / max |w|^(1 - a), a = 0 ... 1 (Xiao et al. 2023).
std::vector<ScaleCandidate> smoothquant_scales(const ChannelRange& inputs, const ChannelRange& weights);
// s = sqrt(range x / range w), so that both are equal (Li et al. 2023).
std::vector<ScaleCandidate> aweq_scales(const ChannelRange& inputs, const ChannelRange& weights);
// Only channels whose s = sqrt(x / w), of root mean squares, is more than `threshold` times away from the median of all:
// moved there. The others stay as they are. Empty: none stands out.
std::vector<ScaleCandidate> outlier_scales(const ChannelRange& inputs, const ChannelRange& weights, double threshold = 4);

// Makes s usable: entries that are not finite or 0 become 1, the rest is normalised to a geometric mean of 1 and kept
// within 2^-40 ... 2^40.
std::vector<float> usable(const std::vector<double>& s);

}  // namespace quant
