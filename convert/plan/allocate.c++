// A price for a byte finds every choice on the lower convex hull; the rest of the budget is filled by local search.
#include "convert/plan/allocate.h"

#include <cmath>

namespace quant {

namespace {

using Items = std::vector<std::vector<Choice>>;

size_t cheapest(const std::vector<Choice>& choices, double price) {
    size_t best = 0;
    double least = INFINITY;
    for (size_t i = 0; i < choices.size(); ++i) {
        const double cost = choices[i].loss + price * static_cast<double>(choices[i].bytes);
        const bool smaller = cost == least && choices[i].bytes < choices[best].bytes;
        if (cost < least || smaller) best = i, least = cost;
    }
    return best;
}

std::vector<size_t> at_price(const Items& items, double price) {
    std::vector<size_t> chosen(items.size());
    for (size_t i = 0; i < items.size(); ++i) chosen[i] = cheapest(items[i], price);
    return chosen;
}

uint64_t bytes_of(const Items& items, const std::vector<size_t>& chosen) {
    uint64_t sum = 0;
    for (size_t i = 0; i < items.size(); ++i) sum += items[i][chosen[i]].bytes;
    return sum;
}

// A change of one item's choice, as seen from the choice at hand.
struct Change {
    size_t item = 0, choice = 0;
    int64_t bytes = 0;
    double gain = 0;
};

std::vector<Change> changes_from(const Items& items, const std::vector<size_t>& chosen) {
    std::vector<Change> changes;
    for (size_t i = 0; i < items.size(); ++i) {
        const Choice& now = items[i][chosen[i]];
        for (size_t c = 0; c < items[i].size(); ++c) {
            if (c == chosen[i]) continue;
            changes.push_back({i, c, static_cast<int64_t>(items[i][c].bytes) - static_cast<int64_t>(now.bytes),
                               now.loss - items[i][c].loss});
        }
    }
    return changes;
}

// The best single change or exchange that fits into `room` bytes; false: none gains anything worth mentioning.
bool improve(const Items& items, std::vector<size_t>& chosen, int64_t room, double least_gain) {
    const std::vector<Change> changes = changes_from(items, chosen);
    const Change *first = nullptr, *second = nullptr;
    double most = least_gain;
    for (const Change& up : changes) {
        if (up.gain <= 0) continue;
        if (up.bytes <= room && up.gain > most) most = up.gain, first = &up, second = nullptr;
        for (const Change& down : changes) {
            if (down.item == up.item || down.bytes >= 0) continue;
            if (up.bytes + down.bytes <= room && up.gain + down.gain > most)
                most = up.gain + down.gain, first = &up, second = &down;
        }
    }
    if (!first) return false;
    const Change one = *first, two = second ? *second : *first;
    chosen[one.item] = one.choice;
    chosen[two.item] = two.choice;
    return true;
}

}  // namespace

std::vector<size_t> allocate(const std::vector<std::vector<Choice>>& items, uint64_t budget) {
    constexpr int kHalvings = 200;
    constexpr double kWorthIt = 1e-9;  // of the total loss
    double low = 1e-30, high = 1e30;   // loss per byte
    std::vector<size_t> chosen = at_price(items, high);
    if (bytes_of(items, chosen) > budget) return {};
    for (int i = 0; i < kHalvings; ++i) {
        const double price = std::sqrt(low) * std::sqrt(high);
        std::vector<size_t> tried = at_price(items, price);
        if (bytes_of(items, tried) <= budget) {
            high = price;
            chosen = std::move(tried);
        } else {
            low = price;
        }
    }
    double total = 0;
    for (size_t i = 0; i < items.size(); ++i) total += items[i][chosen[i]].loss;
    while (improve(items, chosen, static_cast<int64_t>(budget - bytes_of(items, chosen)), total * kWorthIt)) {
    }
    return chosen;
}

}  // namespace quant
