// Remembers how words of one text were cut: equal words need no second merge.
// Lives for one encode call; its views point into the text, its results into the output.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace quant {

class WordCache {
public:
    static constexpr size_t kLongestWord = 64;  // longer ones hardly repeat

    explicit WordCache(size_t text_bytes)
        : slots_(std::bit_ceil(std::clamp<size_t>(text_bytes / 16, 16, 1 << 15))) {}

    // Appends the tokens of a word seen before to `out`; false if it is not known.
    bool repeat(std::string_view word, std::vector<int32_t>& out) {
        if (word.size() > kLongestWord) return false;
        const Slot& slot = slot_of(word);
        if (slot.word != word || slot.count == 0) return false;
        const size_t end = out.size();
        out.resize(end + slot.count);
        std::copy_n(out.begin() + static_cast<std::ptrdiff_t>(slot.begin), slot.count,
                    out.begin() + static_cast<std::ptrdiff_t>(end));
        return true;
    }

    // Says that the tokens of `word` are those of `out` from `begin` on. A colliding word is forgotten.
    void remember(std::string_view word, size_t begin, const std::vector<int32_t>& out) {
        if (word.size() <= kLongestWord)
            slot_of(word) = {word, begin, static_cast<uint32_t>(out.size() - begin)};
    }

private:
    struct Slot {
        std::string_view word;
        size_t begin = 0;
        uint32_t count = 0;
    };
    Slot& slot_of(std::string_view word) {
        uint64_t hash = word.size();
        size_t i = 0;
        for (; i + 8 <= word.size(); i += 8)
            hash = (hash ^ load<uint64_t>(word.data() + i)) * 0x9fb21c651e98df25, hash ^= hash >> 29;
        uint64_t rest = 0;
        std::memcpy(&rest, word.data() + i, word.size() - i);
        hash = (hash ^ rest) * 0x9fb21c651e98df25;
        return slots_[(hash ^ (hash >> 32)) & (slots_.size() - 1)];
    }
    std::vector<Slot> slots_;
};

}  // namespace quant
