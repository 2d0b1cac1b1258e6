// Little-endian loads from untrusted bytes: a cursor that cannot leave its span.
// The only place where file bytes become integers (alignment, aliasing, byte order).
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>

namespace quant {

static_assert(std::endian::native == std::endian::little, "big-endian hosts are not supported");

template <class T>
T load(const void* at) {
    T value;
    std::memcpy(&value, at, sizeof value);
    return value;
}

template <class T>
void store(void* at, T value) {
    std::memcpy(at, &value, sizeof value);
}

class Cursor {
public:
    explicit Cursor(std::span<const uint8_t> bytes) : bytes_(bytes) {}

    uint64_t offset() const { return offset_; }
    uint64_t remaining() const { return bytes_.size() - offset_; }

    template <class T>
    std::optional<T> take() {
        if (remaining() < sizeof(T)) return std::nullopt;
        T value = load<T>(bytes_.data() + offset_);
        offset_ += sizeof(T);
        return value;
    }

    std::optional<std::span<const uint8_t>> take_bytes(uint64_t count) {
        if (count > remaining()) return std::nullopt;
        auto part = bytes_.subspan(offset_, count);
        offset_ += count;
        return part;
    }

    std::optional<std::string_view> take_text(uint64_t count) {
        auto part = take_bytes(count);
        if (!part) return std::nullopt;
        return std::string_view(reinterpret_cast<const char*>(part->data()), part->size());
    }

private:
    std::span<const uint8_t> bytes_;
    uint64_t offset_ = 0;
};

}  // namespace quant
