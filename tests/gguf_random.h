// Random valid GGUF contents, and comparison of what was written with what was read.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/rng.h"
#include "gguf/gguf.h"

namespace gguf_random {

struct File {
    quant::Metadata metadata;
    std::vector<quant::TensorInfo> tensors;   // data points into `data`
    std::vector<std::vector<uint8_t>> data;   // by tensor
};

inline std::string random_text(quant::Rng& rng, size_t longest) {
    std::string text(rng.below(longest + 1), ' ');
    for (char& letter : text) letter = static_cast<char>(rng.below(256));
    return text;
}

inline std::string random_name(quant::Rng& rng, const char* start, size_t number) {
    std::string name = start + std::to_string(number);
    for (size_t i = rng.below(12); i > 0; --i) name += static_cast<char>('a' + rng.below(26));
    return name;
}

inline quant::Value random_value(quant::Rng& rng) {
    using quant::Value, quant::ValueType;
    static constexpr uint64_t kSizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    Value value;
    value.type = static_cast<ValueType>(rng.below(13));
    switch (value.type) {
        case ValueType::string: value.text = random_text(rng, 40); break;
        case ValueType::f32: value.real = static_cast<double>(static_cast<float>(rng.gaussian() * 1e6)); break;
        case ValueType::f64: value.real = rng.below(8) ? rng.gaussian() : std::numeric_limits<double>::infinity(); break;
        case ValueType::boolean: value.bits = rng.below(2); break;
        case ValueType::i8: value.bits = static_cast<uint64_t>(int64_t{static_cast<int8_t>(rng.next())}); break;
        case ValueType::i16: value.bits = static_cast<uint64_t>(int64_t{static_cast<int16_t>(rng.next())}); break;
        case ValueType::i32: value.bits = static_cast<uint64_t>(int64_t{static_cast<int32_t>(rng.next())}); break;
        case ValueType::u8: value.bits = static_cast<uint8_t>(rng.next()); break;
        case ValueType::u16: value.bits = static_cast<uint16_t>(rng.next()); break;
        case ValueType::u32: value.bits = static_cast<uint32_t>(rng.next()); break;
        case ValueType::u64:
        case ValueType::i64: value.bits = rng.next(); break;
        case ValueType::array: {
            do value.element = static_cast<ValueType>(rng.below(13));
            while (value.element == ValueType::array);
            const size_t count = rng.below(20);
            if (value.element == ValueType::string) {
                std::vector<std::string> texts;
                for (size_t i = 0; i < count; ++i) texts.push_back(random_text(rng, 20));
                return quant::Value::of_strings(texts);
            }
            value.raw.resize(count * kSizes[static_cast<size_t>(value.element)]);
            for (uint8_t& byte : value.raw)
                byte = static_cast<uint8_t>(value.element == ValueType::boolean ? rng.below(2) : rng.below(256));
            break;
        }
    }
    return value;
}

// Up to `most` tensors of up to `most_rows` rows of a few blocks each; `own`: also in formats that only this program reads.
inline File random_file(quant::Rng& rng, size_t most = 6, size_t most_rows = 3, bool own = true) {
    File file;
    const size_t keys = rng.below(8);
    for (size_t i = 0; i < keys; ++i) file.metadata.set(random_name(rng, "key.", i), random_value(rng));
    if (rng.below(3) == 0) file.metadata.set("general.alignment", quant::Value::of_u32(8u << rng.below(6)));
    const size_t tensors = rng.below(most + 1);
    for (size_t i = 0; i < tensors; ++i) {
        quant::TensorInfo info;
        info.name = random_name(rng, "blk.", i);
        do info.format = &quant::formats()[rng.below(quant::formats().size())];
        while (!own && !info.format->stock);
        info.n_dims = static_cast<uint32_t>(rng.below(5));
        // A scalar has no dimensions, and one element: only formats without blocks allow it.
        if (info.n_dims == 0 && info.format->block > 1) info.n_dims = 1;
        if (info.n_dims > 0) info.ne[0] = static_cast<int64_t>(info.format->block * (1 + rng.below(3)));
        for (uint32_t d = 1; d < info.n_dims; ++d) info.ne[d] = static_cast<int64_t>(1 + rng.below(most_rows));
        const bool grouped = info.format->head && info.format->head->grouped;
        if (grouped) info.group = static_cast<int64_t>(1 + rng.below(static_cast<uint64_t>(info.rows())));
        std::vector<uint8_t> data(info.format->tensor_bytes(info.cols(), info.rows(), info.group));
        for (uint8_t& byte : data) byte = static_cast<uint8_t>(rng.next());
        if (grouped) {
            std::fill_n(data.begin(), quant::kGroupedHead, uint8_t{0});
            quant::store(data.data(), static_cast<uint32_t>(info.group));
        }
        file.data.push_back(std::move(data));
        file.tensors.push_back(std::move(info));
    }
    for (size_t i = 0; i < tensors; ++i) file.tensors[i].data = file.data[i].data();
    return file;
}

inline bool same_value(const quant::Value& a, const quant::Value& b) {
    return a.type == b.type && (a.type != quant::ValueType::array || a.element == b.element) && a.bits == b.bits &&
           std::memcmp(&a.real, &b.real, sizeof a.real) == 0 && a.text == b.text && a.raw == b.raw && a.texts == b.texts;
}

inline bool same_metadata(const quant::Metadata& a, const quant::Metadata& b) {
    if (a.entries().size() != b.entries().size()) return false;
    for (size_t i = 0; i < a.entries().size(); ++i)
        if (a.entries()[i].first != b.entries()[i].first || !same_value(a.entries()[i].second, b.entries()[i].second))
            return false;
    return true;
}

inline bool same_tensors(const std::vector<quant::TensorInfo>& a, const std::vector<quant::TensorInfo>& b) {
    if (a.size() != b.size()) return false;
    for (size_t i = 0; i < a.size(); ++i) {
        const uint64_t bytes = a[i].format->tensor_bytes(a[i].cols(), a[i].rows(), a[i].group);
        if (a[i].name != b[i].name || a[i].format != b[i].format || a[i].n_dims != b[i].n_dims || a[i].ne != b[i].ne ||
            bytes != b[i].bytes || std::memcmp(a[i].data, b[i].data, bytes) != 0)
            return false;
    }
    return true;
}

// Writes all tensors with the product's writer.
inline quant::Status write_file(const std::string& path, const quant::Metadata& metadata,
                                const std::vector<quant::TensorInfo>& tensors, const quant::GgufWriter::Options& options) {
    LET(writer, quant::GgufWriter::create(path, metadata, tensors, options));
    for (const quant::TensorInfo& tensor : tensors)
        TRY(writer.write({tensor.data, tensor.format->tensor_bytes(tensor.cols(), tensor.rows(), tensor.group)}));
    return writer.finish();
}

}  // namespace gguf_random
