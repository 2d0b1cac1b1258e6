// A second GGUF reader, written for the tests from the format's description alone and sharing nothing with the product:
// no type list, no cursor, no checked arithmetic (its inputs are valid). Keys and values become text, tensors places in the file.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace independent {

struct Tensor {
    std::string name;
    std::vector<uint64_t> dims;
    uint32_t type;
    uint64_t begin, bytes;  // in the file
};

struct File {
    uint32_t version = 0;
    std::vector<std::pair<std::string, std::string>> keys;
    std::vector<Tensor> tensors;
};

class Reader {
public:
    explicit Reader(const std::vector<uint8_t>& bytes) : at_(bytes.data()), start_(bytes.data()) {}

    File read() {
        File file;
        at_ += 4;
        file.version = take<uint32_t>();
        const auto tensor_count = take<uint64_t>(), key_count = take<uint64_t>();
        uint64_t alignment = 32;
        for (uint64_t i = 0; i < key_count; ++i) {
            std::string name = text();
            std::string value = typed_value(take<uint32_t>());
            if (name == "general.alignment") alignment = std::stoull(value.substr(value.find(' ') + 1));
            file.keys.emplace_back(std::move(name), std::move(value));
        }
        std::vector<uint64_t> offsets;
        for (uint64_t i = 0; i < tensor_count; ++i) {
            Tensor tensor;
            tensor.name = text();
            tensor.dims.resize(take<uint32_t>());
            uint64_t elements = 1;
            for (uint64_t& dim : tensor.dims) elements *= dim = take<uint64_t>();
            tensor.type = take<uint32_t>();
            offsets.push_back(take<uint64_t>());
            const auto [block, bytes] = block_of(tensor.type);
            tensor.bytes = elements / block * bytes;
            file.tensors.push_back(tensor);
        }
        uint64_t base = static_cast<uint64_t>(at_ - start_);
        while (base % alignment != 0) ++base;
        for (uint64_t i = 0; i < tensor_count; ++i) file.tensors[i].begin = base + offsets[i];
        return file;
    }

    // Weights and bytes of a block, by type id: gguf's published list.
    static std::pair<uint64_t, uint64_t> block_of(uint32_t type) {
        switch (type) {
            case 0: return {1, 4};
            case 1: return {1, 2};
            case 2: return {32, 18};
            case 3: return {32, 20};
            case 6: return {32, 22};
            case 7: return {32, 24};
            case 8: return {32, 34};
            case 9: return {32, 36};
            case 10: return {256, 84};
            case 11: return {256, 110};
            case 12: return {256, 144};
            case 13: return {256, 176};
            case 14: return {256, 210};
            case 15: return {256, 292};
            case 16: return {256, 66};
            case 17: return {256, 74};
            case 18: return {256, 98};
            case 19: return {256, 50};
            case 20: return {32, 18};
            case 21: return {256, 110};
            case 22: return {256, 82};
            case 23: return {256, 136};
            case 24: return {1, 1};
            case 25: return {1, 2};
            case 26: return {1, 4};
            case 27: return {1, 8};
            case 28: return {1, 8};
            case 29: return {256, 56};
            case 30: return {1, 2};
            case 34: return {256, 54};
            case 35: return {256, 66};
            case 39: return {32, 17};
            case 40: return {64, 36};
            case 41: return {128, 18};
            case 42: return {64, 18};
            default: return {1, 0};
        }
    }

private:
    template <class T>
    T take() {
        T value;
        std::memcpy(&value, at_, sizeof value);
        at_ += sizeof value;
        return value;
    }

    std::string text() {
        const auto length = take<uint64_t>();
        std::string found(reinterpret_cast<const char*>(at_), length);
        at_ += length;
        return found;
    }

    static std::string real_text(const char* type, double value) {
        char digits[64];
        std::snprintf(digits, sizeof digits, "%s %a", type, value);
        return digits;
    }

    std::string typed_value(uint32_t type) {
        switch (type) {
            case 0: return "u8 " + std::to_string(take<uint8_t>());
            case 1: return "i8 " + std::to_string(take<int8_t>());
            case 2: return "u16 " + std::to_string(take<uint16_t>());
            case 3: return "i16 " + std::to_string(take<int16_t>());
            case 4: return "u32 " + std::to_string(take<uint32_t>());
            case 5: return "i32 " + std::to_string(take<int32_t>());
            case 6: return real_text("f32", static_cast<double>(take<float>()));
            case 7: return take<uint8_t>() ? "bool true" : "bool false";
            case 8: return "string " + text();
            case 9: {
                const auto element = take<uint32_t>();
                const auto count = take<uint64_t>();
                std::string all = "array " + std::to_string(element) + " " + std::to_string(count);
                for (uint64_t i = 0; i < count; ++i) all += "; " + typed_value(element);
                return all;
            }
            case 10: return "u64 " + std::to_string(take<uint64_t>());
            case 11: return "i64 " + std::to_string(take<int64_t>());
            case 12: return real_text("f64", take<double>());
            default: return "?";
        }
    }

    const uint8_t* at_;
    const uint8_t* start_;
};

}  // namespace independent
