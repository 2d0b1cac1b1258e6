// The sampler. Knows logits and ids, no model: candidates are cut by thresholds so that a vocabulary is scanned, never sorted.
#include "model/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace quant {

namespace {

constexpr size_t kScanned = 64;  // logits looked at together
constexpr float kNever = -std::numeric_limits<float>::infinity();

constexpr auto kMoreLikely = [](const auto& a, const auto& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
};

// exp(logit - largest), also where both are infinite.
double weight(float logit, float largest, double temperature = 1.0) {
    if (logit == largest) return 1.0;
    return std::exp((static_cast<double>(logit) - static_cast<double>(largest)) / temperature);
}

float log_probability_of(std::span<const float> logits, int32_t id) {
    float largest = kNever;
    for (const float logit : logits) largest = logit > largest ? logit : largest;
    double sum = 0;
    for (const float logit : logits)
        if (!std::isnan(logit)) sum += weight(logit, largest);
    const float logit = logits[static_cast<size_t>(id)];
    return logit == largest ? static_cast<float>(-std::log(sum))
                            : static_cast<float>(static_cast<double>(logit) - static_cast<double>(largest) - std::log(sum));
}

}  // namespace

Sampler::Sampler(const SamplerOptions& options) : options_(options), rng_(options.seed) {
    options_.min_p = std::min(options_.min_p, 1.0f);  // the most likely token always remains
}

void Sampler::reset() {
    history_.clear();
    rng_ = Rng(options_.seed);
}

bool Sampler::penalizes() const {
    return options_.repeat_last_n != 0 &&
           (options_.repeat_penalty != 1.0f || options_.presence_penalty != 0.0f || options_.frequency_penalty != 0.0f);
}

void Sampler::accept(int32_t id) {
    if (penalizes()) history_.push_back(id);
}

// Logits with bias and penalties; the given ones when there is nothing to change.
std::span<const float> Sampler::adjust(std::span<const float> logits) {
    const bool penalties = penalizes() && !history_.empty();
    if (!penalties && options_.logit_bias.empty()) return logits;
    adjusted_.assign(logits.begin(), logits.end());
    for (const auto& [id, bias] : options_.logit_bias)
        if (id >= 0 && static_cast<size_t>(id) < adjusted_.size()) adjusted_[static_cast<size_t>(id)] += bias;
    if (!penalties) return adjusted_;

    const size_t window = options_.repeat_last_n < 0
                              ? history_.size()
                              : std::min(history_.size(), static_cast<size_t>(options_.repeat_last_n));
    std::vector<int32_t> recent(history_.end() - static_cast<std::ptrdiff_t>(window), history_.end());
    std::sort(recent.begin(), recent.end());
    for (size_t begin = 0, end = 0; begin < recent.size(); begin = end) {
        while (end < recent.size() && recent[end] == recent[begin]) ++end;
        if (recent[begin] < 0 || static_cast<size_t>(recent[begin]) >= adjusted_.size()) continue;
        float& logit = adjusted_[static_cast<size_t>(recent[begin])];
        // Keskar et al. 2019 divide; a negative logit is multiplied, so that the penalty always lowers it.
        logit = logit <= 0 ? logit * options_.repeat_penalty : logit / options_.repeat_penalty;
        logit -= static_cast<float>(end - begin) * options_.frequency_penalty + options_.presence_penalty;
    }
    return adjusted_;
}

int32_t Sampler::greedy(std::span<const float> logits) const {
    float largest = kNever;
    int32_t id = -1;
    for (size_t i = 0; i < logits.size(); ++i)
        if (logits[i] > largest) largest = logits[i], id = static_cast<int32_t>(i);
    return id;
}

void Sampler::keep_largest(size_t count) {
    if (candidates_.size() <= count) return;
    std::nth_element(candidates_.begin(), candidates_.begin() + static_cast<std::ptrdiff_t>(count) - 1,
                     candidates_.end(), kMoreLikely);
    candidates_.resize(count);
}

// Fills candidates_ with the top-k tokens, or, without top-k, with all that min-p lets pass; sorted.
void Sampler::collect(std::span<const float> logits) {
    candidates_.clear();
    float threshold = kNever;  // only larger ones can still be among the candidates
    size_t keep = logits.size();
    if (options_.top_k > 0) {
        keep = std::min(keep, static_cast<size_t>(options_.top_k));
    } else if (options_.min_p > 0) {
        const int32_t best = greedy(logits);
        if (best < 0) return;
        threshold = logits[static_cast<size_t>(best)] + std::log(options_.min_p);
        threshold = std::nextafter(threshold, kNever);  // equal passes
    }
    // The buffer may grow to a few times `keep` before it is cut: each cut raises the threshold, so cuts are few.
    const size_t room = keep < logits.size() ? 4 * keep + 256 : logits.size();
    for (size_t begin = 0; begin < logits.size(); begin += kScanned) {
        const size_t end = std::min(begin + kScanned, logits.size());
        int above = 0;  // compilers turn this into a few vector comparisons; nearly always nothing is above
        for (size_t i = begin; i < end; ++i) above |= logits[i] > threshold;
        if (!above) continue;
        for (size_t i = begin; i < end; ++i)
            if (logits[i] > threshold) candidates_.push_back({logits[i], static_cast<int32_t>(i)});
        if (candidates_.size() < room || keep == logits.size()) continue;
        keep_largest(keep);
        threshold = candidates_[keep - 1].logit;  // a later token that only equals it has the larger id and loses
    }
    keep_largest(keep);
    std::sort(candidates_.begin(), candidates_.end(), kMoreLikely);
}

// Top-p, then min-p: both keep a prefix of the sorted candidates, so the shorter prefix is what remains.
void Sampler::cut_tail(std::span<const float> logits) {
    const float largest = candidates_.front().logit;
    size_t keep = candidates_.size();
    if (options_.top_p < 1.0f) {
        double total = 0, sum = 0;
        if (options_.top_k > 0) {
            for (const Candidate& each : candidates_) total += weight(each.logit, largest);
        } else {
            for (const float logit : logits)
                if (!std::isnan(logit)) total += weight(logit, largest);
        }
        for (size_t i = 0; i < keep; ++i) {
            sum += weight(candidates_[i].logit, largest);
            if (sum >= static_cast<double>(options_.top_p) * total) keep = i + 1;
        }
    }
    if (options_.min_p > 0) {
        const float least = largest + std::log(options_.min_p);
        while (keep > 1 && candidates_[keep - 1].logit < least) --keep;
    }
    candidates_.resize(keep);
}

int32_t Sampler::draw() {
    const double temperature = static_cast<double>(options_.temperature);
    const float largest = candidates_.front().logit;
    double total = 0;
    for (const Candidate& each : candidates_) total += weight(each.logit, largest, temperature);
    double left = rng_.uniform() * total;
    for (const Candidate& each : candidates_) {
        left -= weight(each.logit, largest, temperature);
        if (left < 0) return each.id;
    }
    return candidates_.front().id;  // rounding ate the last bit
}

Sampler::Choice Sampler::sample(std::span<const float> logits) {
    const std::span<const float> adjusted = adjust(logits);
    int32_t id = -1;
    if (options_.temperature <= 0) {
        id = greedy(adjusted);
    } else {
        collect(adjusted);
        if (!candidates_.empty()) {
            cut_tail(adjusted);
            id = draw();
        }
    }
    return {id, id >= 0 && options_.log_probability ? log_probability_of(logits, id) : 0.0f};
}

}  // namespace quant
