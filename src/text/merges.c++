// The pair table and the merge loop. Knows only numbers.
#include "text/merges.h"

#include <algorithm>
#include <bit>

namespace quant {

namespace {

uint64_t key_of(int32_t left, int32_t right) {
    return (static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) | static_cast<uint32_t>(right);
}

uint64_t mixed(uint64_t key) {
    key = (key ^ (key >> 29)) * 0xbf58476d1ce4e5b9;
    return key ^ (key >> 32);
}

}  // namespace

PairTable::PairTable(size_t expected) : slots_(std::bit_ceil(2 * expected + 2)) {}

size_t PairTable::place(uint64_t key) const {
    const size_t mask = slots_.size() - 1;
    size_t at = mixed(key) & mask;
    while (slots_[at].key != kEmpty && slots_[at].key != key) at = (at + 1) & mask;
    return at;
}

void PairTable::grow() {
    std::vector<Slot> old(2 * slots_.size());
    old.swap(slots_);
    for (const Slot& slot : old)
        if (slot.key != kEmpty) slots_[place(slot.key)] = slot;
}

bool PairTable::add(int32_t left, int32_t right, Entry entry) {
    if (2 * (size_ + 1) > slots_.size()) grow();
    Slot& slot = slots_[place(key_of(left, right))];
    if (slot.key != kEmpty) return false;
    slot = {key_of(left, right), entry};
    ++size_;
    return true;
}

const PairTable::Entry* PairTable::find(int32_t left, int32_t right) const {
    if (left < 0 || right < 0) return nullptr;
    const Slot& slot = slots_[place(key_of(left, right))];
    return slot.key == kEmpty ? nullptr : &slot.entry;
}

void Merger::consider(const PairTable& table, int32_t at) {
    const Symbol& left = symbols[static_cast<size_t>(at)];
    if (left.after < 0) return;
    const int32_t right = symbols[static_cast<size_t>(left.after)].id;
    if (const PairTable::Entry* entry = table.find(left.id, right)) {
        heap_.push_back(
            {(static_cast<uint64_t>(entry->rank) << 32) | static_cast<uint32_t>(at), left.id, right});
        std::push_heap(heap_.begin(), heap_.end(), Candidate::later);
    }
}

void Merger::run(const PairTable& table) {
    const auto count = static_cast<int32_t>(symbols.size());
    heap_.clear();
    for (int32_t i = 0; i < count; ++i) {
        symbols[static_cast<size_t>(i)].before = i - 1;
        symbols[static_cast<size_t>(i)].after = i + 1 < count ? i + 1 : -1;
    }
    for (int32_t i = 0; i + 1 < count; ++i) consider(table, i);
    while (!heap_.empty()) {
        std::pop_heap(heap_.begin(), heap_.end(), Candidate::later);
        const Candidate next = heap_.back();
        heap_.pop_back();
        const auto at = static_cast<int32_t>(next.order & 0xffffffff);
        Symbol& left = symbols[static_cast<size_t>(at)];
        // Candidates are not removed when a neighbour merges: those that no longer describe the symbols are
        // skipped.
        if (left.bytes == 0 || left.id != next.left || left.after < 0) continue;
        Symbol& right = symbols[static_cast<size_t>(left.after)];
        if (right.id != next.right) continue;
        left.id = table.find(next.left, next.right)->merged;
        left.bytes += right.bytes;
        left.after = right.after;
        right.bytes = 0;
        if (left.after >= 0) symbols[static_cast<size_t>(left.after)].before = at;
        if (left.before >= 0) consider(table, left.before);
        consider(table, at);
    }
}

}  // namespace quant
