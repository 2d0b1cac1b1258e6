// Open addressing over polynomial hashes. Knows only texts and ids.
#include "text/token_index.h"

#include <bit>
#include <cstring>

namespace quant {

namespace {

constexpr uint64_t kBase = 0x9e3779b97f4a7c15;  // odd, so that powers never vanish modulo 2^64

// The low bits of a polynomial hash depend on few bits of the text: mix before they choose a slot.
uint64_t mixed(uint64_t hash) {
    hash = (hash ^ (hash >> 32)) * 0xd6e8feb86659fd93;
    return hash ^ (hash >> 32);
}

uint64_t step(uint64_t hash, char byte) { return hash * kBase + static_cast<uint8_t>(byte) + 1; }

}  // namespace

void PrefixHashes::assign(std::string_view text) {
    prefix_.assign(text.size() + 1, 0);
    for (size_t i = 0; i < text.size(); ++i) prefix_[i + 1] = step(prefix_[i], text[i]);
    while (power_.size() <= text.size()) power_.push_back(power_.back() * kBase);
}

uint64_t TokenIndex::hash(std::string_view text) {
    uint64_t value = 0;
    for (const char byte : text) value = step(value, byte);
    return value;
}

TokenIndex::TokenIndex(size_t count) : slots_(std::bit_ceil(2 * count + 2)) {}

size_t TokenIndex::place(std::string_view text, uint64_t hash) const {
    const size_t mask = slots_.size() - 1;
    for (size_t at = mixed(hash) & mask;; at = (at + 1) & mask) {
        const Slot& slot = slots_[at];
        if (slot.id < 0) return at;
        if (slot.hash == hash && slot.bytes == text.size() &&
            std::memcmp(slot.text, text.data(), text.size()) == 0)
            return at;
    }
}

void TokenIndex::add(std::string_view text, uint64_t hash, int32_t id) {
    if (text.empty()) return;
    Slot& slot = slots_[place(text, hash)];
    if (slot.id < 0) slot = {text.data(), static_cast<uint32_t>(text.size()), id, hash};
}

int32_t TokenIndex::find(std::string_view text, uint64_t hash) const {
    return text.empty() ? -1 : slots_[place(text, hash)].id;
}

}  // namespace quant
