// Builds GGUF files byte by byte, valid ones and every kind of broken one. Independent of the product's writer.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gguf_bytes {

// Ids as the format defines them.
enum : uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };

struct Builder {
    std::vector<uint8_t> bytes;

    template <class T>
    Builder& number(T value) {
        const auto* start = reinterpret_cast<const uint8_t*>(&value);
        bytes.insert(bytes.end(), start, start + sizeof value);
        return *this;
    }
    Builder& raw(std::string_view text) {
        bytes.insert(bytes.end(), text.begin(), text.end());
        return *this;
    }
    Builder& fill(size_t count, uint8_t value = 0) {
        bytes.insert(bytes.end(), count, value);
        return *this;
    }
    Builder& text(std::string_view value) { return number<uint64_t>(value.size()).raw(value); }
    Builder& header(uint64_t tensors, uint64_t keys, uint32_t version = 3) {
        return raw("GGUF").number(version).number(tensors).number(keys);
    }
    Builder& key(std::string_view name, uint32_t type) { return text(name).number(type); }
    template <class T>
    Builder& key(std::string_view name, uint32_t type, T value) {
        return key(name, type).number(value);
    }
    Builder& key_text(std::string_view name, std::string_view value) { return key(name, string).text(value); }
    Builder& tensor(std::string_view name, const std::vector<uint64_t>& dims, uint32_t type, uint64_t offset) {
        text(name).number(static_cast<uint32_t>(dims.size()));
        for (const uint64_t dim : dims) number(dim);
        return number(type).number(offset);
    }
    Builder& align(size_t alignment = 32) { return fill((alignment - bytes.size() % alignment) % alignment); }
    Builder& cut(size_t count) {
        bytes.resize(bytes.size() - count);
        return *this;
    }
};

}  // namespace gguf_bytes
