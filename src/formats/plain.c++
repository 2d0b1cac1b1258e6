// Formats that store numbers one by one: floats, and integers that are only carried.
#include <cstring>

#include "base/bytes.h"
#include "formats/codecs.h"
#include "formats/format.h"

namespace quant {

namespace {

template <class T>
void decode_numbers(const uint8_t* blocks, float* out, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
        out[i] = static_cast<float>(load<T>(blocks + static_cast<size_t>(i) * sizeof(T)));
    }
}

}  // namespace

void decode_f32(const RowPlace*, const uint8_t* blocks, float* out, int64_t n) {
    std::memcpy(out, blocks, static_cast<size_t>(n) * sizeof(float));
}

void decode_f16(const RowPlace*, const uint8_t* blocks, float* out, int64_t n) {
    for (int64_t i = 0; i < n; ++i) out[i] = f16_to_f32(load<uint16_t>(blocks + 2 * i));
}

void decode_bf16(const RowPlace*, const uint8_t* blocks, float* out, int64_t n) {
    for (int64_t i = 0; i < n; ++i) out[i] = bf16_to_f32(load<uint16_t>(blocks + 2 * i));
}

void decode_f64(const RowPlace*, const uint8_t* blocks, float* out, int64_t n) { decode_numbers<double>(blocks, out, n); }
void decode_i8(const RowPlace*, const uint8_t* blocks, float* out, int64_t n) { decode_numbers<int8_t>(blocks, out, n); }
void decode_i16(const RowPlace*, const uint8_t* blocks, float* out, int64_t n) { decode_numbers<int16_t>(blocks, out, n); }
void decode_i32(const RowPlace*, const uint8_t* blocks, float* out, int64_t n) { decode_numbers<int32_t>(blocks, out, n); }
void decode_i64(const RowPlace*, const uint8_t* blocks, float* out, int64_t n) { decode_numbers<int64_t>(blocks, out, n); }

void encode_f32(const RowPlace*, const float* x, const float*, uint8_t* blocks, int64_t n) {
    std::memcpy(blocks, x, static_cast<size_t>(n) * sizeof(float));
}

void encode_f16(const RowPlace*, const float* x, const float*, uint8_t* blocks, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
        uint16_t half = f32_to_f16(x[i]);
        // A finite value beyond the range becomes the largest half, not infinity: finite in, finite out.
        if ((half & 0x7fff) == 0x7c00 && (x[i] - x[i]) == 0.0f) half = static_cast<uint16_t>(half - 1);
        store(blocks + 2 * i, half);
    }
}

void encode_bf16(const RowPlace*, const float* x, const float*, uint8_t* blocks, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
        uint16_t value = f32_to_bf16(x[i]);
        if ((value & 0x7fff) == 0x7f80 && (x[i] - x[i]) == 0.0f) value = static_cast<uint16_t>(value - 1);
        store(blocks + 2 * i, value);
    }
}

}  // namespace quant
