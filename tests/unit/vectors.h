// Files of reference vectors, for the tests of the codecs.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "base/rng.h"
#include "formats/format.h"

namespace vectors {

// A whole file; empty when there is none.
inline std::vector<uint8_t> bytes(const std::string& path) {
    std::vector<uint8_t> data;
    std::FILE* file = std::fopen(path.c_str(), "rb");
    if (!file) return data;
    uint8_t buffer[65536];
    for (size_t got; (got = std::fread(buffer, 1, sizeof buffer, file)) > 0;) data.insert(data.end(), buffer, buffer + got);
    std::fclose(file);
    return data;
}

inline std::vector<float> floats(const std::string& path) {
    const auto data = bytes(path);
    std::vector<float> values(data.size() / sizeof(float));
    if (!values.empty()) std::memcpy(values.data(), data.data(), values.size() * sizeof(float));
    return values;
}

inline std::string lower(std::string text) {
    for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    return text;
}

// The name of a format's vectors: q4_0, q4_K.
inline std::string stem(const quant::Format& format) {
    std::string name = lower(format.name);
    if (name.size() == 4 && name.ends_with("_k")) name[3] = 'K';
    return name;
}

inline void fill(uint8_t* data, size_t count, quant::Rng& rng) {
    for (size_t i = 0; i < count; i += 8) {
        const uint64_t word = rng.next();
        std::memcpy(data + i, &word, count - i < 8 ? count - i : 8);
    }
}

}  // namespace vectors
