// Finds the position of a name in a list. A sorted list of positions: no hash that a hostile file could make collide,
// 4 bytes per name, n log n to build. Knows nothing of what is named.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <string_view>
#include <vector>

namespace quant {

class NameIndex {
public:
    // `name_of(position)` gives the name at a position, as a string_view that stays valid during the call.
    // Returns the position of the second of two equal names (the first such in the list), or nothing.
    template <class NameOf>
    std::optional<size_t> build(size_t count, NameOf name_of) {
        order_.resize(count);
        std::iota(order_.begin(), order_.end(), uint32_t{0});
        std::sort(order_.begin(), order_.end(), [&](uint32_t a, uint32_t b) {
            const int order = name_of(a).compare(name_of(b));
            return order != 0 ? order < 0 : a < b;
        });
        std::optional<size_t> repeated;
        for (size_t i = 1; i < count; ++i)
            if (name_of(order_[i - 1]) == name_of(order_[i]) && (!repeated || order_[i] < *repeated)) repeated = order_[i];
        return repeated;
    }

    template <class NameOf>
    std::optional<size_t> find(std::string_view name, NameOf name_of) const {
        const auto at = lower_bound(name, name_of);
        if (at == order_.end() || name_of(*at) != name) return std::nullopt;
        return *at;
    }

    // The name at `position`, the last of the list, is new.
    template <class NameOf>
    void append(size_t position, NameOf name_of) {
        order_.insert(lower_bound(name_of(position), name_of), static_cast<uint32_t>(position));
    }

    void erase(size_t position) {
        std::erase(order_, static_cast<uint32_t>(position));
        for (uint32_t& other : order_)
            if (other > position) --other;
    }

private:
    template <class NameOf>
    std::vector<uint32_t>::const_iterator lower_bound(std::string_view name, NameOf name_of) const {
        return std::lower_bound(order_.begin(), order_.end(), name,
                                [&](uint32_t at, std::string_view wanted) { return name_of(at) < wanted; });
    }

    std::vector<uint32_t> order_;
};

}  // namespace quant
