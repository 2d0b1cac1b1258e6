// Walks the double array. A unit holds: bits 0-7 its label, bit 8 "a value follows", bits 10-30 the distance
// to its children (times 256 if bit 9 is set), bit 31 "this is a value" (Darts-clone 0.32).
#include "text/charsmap.h"

#include "base/bytes.h"

namespace quant {

namespace {

uint32_t label(uint32_t unit) { return unit & (uint32_t{1} << 31 | 0xff); }
bool has_value(uint32_t unit) { return (unit >> 8) & 1; }
uint32_t value(uint32_t unit) { return unit & 0x7fffffff; }
uint32_t distance(uint32_t unit) { return (unit >> 10) << ((unit & (1 << 9)) >> 6); }

}  // namespace

Result<Charsmap> Charsmap::create(std::string_view blob) {
    Charsmap map;
    if (blob.empty()) return map;
    const std::string key = "tokenizer.ggml.precompiled_charsmap: ";
    if (blob.size() < 4)
        return input_error(key + "expected at least 4 bytes, found " + std::to_string(blob.size()));
    const auto trie = load<uint32_t>(blob.data());
    if (trie % 4 != 0 || trie == 0 || trie > blob.size() - 4)
        return input_error(key + "expected a trie of a multiple of 4 and at most " +
                           std::to_string(blob.size() - 4) + " bytes, found " + std::to_string(trie));
    for (uint32_t i = 0; i < trie / 4; ++i) map.units_.push_back(load<uint32_t>(blob.data() + 4 + 4 * i));
    map.replacements_ = blob.substr(4 + trie);
    return map;
}

Charsmap::Match Charsmap::find(std::string_view text) const {
    Match best;
    if (units_.empty()) return best;
    uint32_t at = distance(units_[0]);
    for (size_t i = 0; i < text.size(); ++i) {
        const uint32_t byte = static_cast<uint8_t>(text[i]);
        at ^= byte;
        if (at >= units_.size() || label(units_[at]) != byte) break;
        const uint32_t unit = units_[at];
        at ^= distance(unit);
        if (!has_value(unit)) continue;
        if (at >= units_.size()) break;
        const uint32_t begin = value(units_[at]);
        if (begin >= replacements_.size()) break;
        const size_t end = replacements_.find('\0', begin);
        best = {i + 1,
                std::string_view(replacements_).substr(begin, end == std::string::npos ? end : end - begin)};
    }
    return best;
}

}  // namespace quant
