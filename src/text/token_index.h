// Token text -> id: a hash table over the texts of a vocabulary, whose hash of any part of a text costs O(1)
// once the text's prefixes are hashed. Keeps references to the texts; knows nothing of token types.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace quant {

// Polynomial hashes of all prefixes of one text; parts of it are hashed by subtraction.
class PrefixHashes {
public:
    void assign(std::string_view text);
    uint64_t part(size_t begin, size_t end) const {
        return prefix_[end] - prefix_[begin] * power_[end - begin];
    }

private:
    std::vector<uint64_t> prefix_;       // [bytes + 1]
    std::vector<uint64_t> power_ = {1};  // powers of the base, grown on demand
};

class TokenIndex {
public:
    static uint64_t hash(std::string_view text);  // equal to PrefixHashes::part over the same bytes

    // Room for `count` texts; slots are never moved.
    explicit TokenIndex(size_t count = 0);
    // Of two equal texts the first stays. Empty texts are not kept. `text` must outlive the index.
    void add(std::string_view text, int32_t id) { add(text, hash(text), id); }
    void add(std::string_view text, uint64_t hash, int32_t id);
    int32_t find(std::string_view text) const { return find(text, hash(text)); }  // -1: none
    int32_t find(std::string_view text, uint64_t hash) const;

private:
    struct Slot {
        const char* text = nullptr;
        uint32_t bytes = 0;
        int32_t id = -1;
        uint64_t hash = 0;
    };
    size_t place(std::string_view text, uint64_t hash) const;
    std::vector<Slot> slots_;  // a power of two, at most half full
};

}  // namespace quant
