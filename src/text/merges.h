// Byte-pair merging over symbol ids, shared by both kinds of BPE: the table of pairs that merge, and the
// loop. Knows no texts: whoever builds the table gives symbols their ids.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace quant {

// (left symbol, right symbol) -> what they become and how early. Also serves as the edges of a trie.
class PairTable {
public:
    struct Entry {
        uint32_t rank = 0;  // lower merges first
        int32_t merged = -1;
    };
    explicit PairTable(size_t expected = 0);
    // Of two equal pairs the first stays; true if this one was new.
    bool add(int32_t left, int32_t right, Entry entry);
    const Entry* find(int32_t left, int32_t right) const;  // nullptr: the pair does not merge
    size_t size() const { return size_; }

private:
    struct Slot {
        uint64_t key = kEmpty;
        Entry entry;
    };
    static constexpr uint64_t kEmpty = ~uint64_t{0};
    size_t place(uint64_t key) const;
    void grow();
    std::vector<Slot> slots_;  // a power of two, at most half full
    size_t size_ = 0;
};

// Merges neighbours, always the pair of the lowest rank and the leftmost of equals, until none merges.
// O(n log n). Holds its working memory, so that one Merger serves many words.
class Merger {
public:
    struct Symbol {
        int32_t id;      // -1: merges with nothing
        uint32_t bytes;  // length of the text that it covers; 0: merged into the one before
        int32_t before, after;
    };
    // Symbols of the word, in order; links are set by run().
    std::vector<Symbol> symbols;
    // Afterwards the symbols with bytes > 0 are the result.
    void run(const PairTable& table);

private:
    struct Candidate {
        uint64_t order;  // rank, then place: the smallest is next
        int32_t left, right;
        static bool later(const Candidate& a, const Candidate& b) { return a.order > b.order; }
    };
    void consider(const PairTable& table, int32_t at);
    std::vector<Candidate> heap_;
};

}  // namespace quant
