// The C interface: number formats, rows quantized and dequantized.
#include <cmath>

#include "abi/guard.h"
#include "base/log.h"

using namespace quant;
using namespace quant::abi;

int32_t quant_format_count(void) { return static_cast<int32_t>(formats().size()); }

const quant_format* quant_format_at(int32_t index) {
    return index < 0 || index >= quant_format_count() ? nullptr : handle_of(&formats()[static_cast<size_t>(index)]);
}

const quant_format* quant_find_format(const char* name) {
    const quant_format* found = nullptr;
    static_cast<void>(guarded([&]() -> Status {
        if (name) found = handle_of(find_format(std::string_view(name)));
        return {};
    }));
    return found;
}

const quant_format* quant_find_format_id(uint32_t id) { return handle_of(find_format(id)); }

quant_status quant_format_get(const quant_format* handle, quant_format_info* out) {
    return guarded([&]() -> Status {
        if (!handle || !out) return missing(!handle ? "format" : "out");
        const Format& format = *format_behind(handle);
        *out = {format.name, format.purpose, format.id, format.block, format.bytes, format.bits_per_weight(),
                format.stock, format.encodes && !format.head, format.needs_importance};
        return {};
    });
}

uint64_t quant_row_bytes(const quant_format* handle, int64_t cols) {
    if (!handle || cols < 0 || cols % format_behind(handle)->block != 0) return 0;
    return format_behind(handle)->row_bytes(cols);
}

namespace {

// Formats with side data have tables over the whole tensor: they exist only in files.
Status check_rows(const quant_format* handle, const void* from, const void* to, int64_t rows, int64_t cols) {
    if (!handle || !from || !to) return missing(!handle ? "format" : !from ? "the source" : "the destination");
    const Format& format = *format_behind(handle);
    if (rows < 0 || cols < 1 || cols % format.block != 0)
        return usage_error(format_text("%s: expected rows of a multiple of %u values, found %lld rows of %lld", format.name,
                                       format.block, static_cast<long long>(rows), static_cast<long long>(cols)));
    if (format.head || !format.decode)
        return usage_error(std::string(format.name) + ": keeps tables of the whole tensor, rows mean nothing by themselves");
    return {};
}

Status check_finite(const Format& format, const float* x, const float* importance, int64_t rows, int64_t cols) {
    for (int64_t i = 0; i < rows * cols; ++i)
        if (!std::isfinite(x[i]))
            return usage_error(format_text("%s: the value at row %lld, column %lld is not finite", format.name,
                                           static_cast<long long>(i / cols), static_cast<long long>(i % cols)));
    for (int64_t i = 0; importance && i < cols; ++i)
        if (!(importance[i] >= 0) || !std::isfinite(importance[i]))
            return usage_error(format_text("%s: the importance of column %lld is negative or not finite", format.name,
                                           static_cast<long long>(i)));
    return {};
}

}  // namespace

quant_status quant_quantize_rows(const quant_format* handle, const float* x, const float* importance, int64_t rows, int64_t cols,
                                 void* out) {
    return guarded([&]() -> Status {
        TRY(check_rows(handle, x, out, rows, cols));
        const Format& format = *format_behind(handle);
        if (!format.encodes) return usage_error(std::string(format.name) + ": can be read, not written");
        if (format.needs_importance && !importance) return usage_error(std::string(format.name) + ": needs importance weights");
        TRY(check_finite(format, x, importance, rows, cols));
        for (int64_t row = 0; row < rows; ++row)
            format.encode(nullptr, x + row * cols, importance, static_cast<uint8_t*>(out) + static_cast<uint64_t>(row) * format.row_bytes(cols),
                          cols);
        return {};
    });
}

quant_status quant_dequantize_rows(const quant_format* handle, const void* blocks, int64_t rows, int64_t cols, float* out) {
    return guarded([&]() -> Status {
        TRY(check_rows(handle, blocks, out, rows, cols));
        decode_rows(*format_behind(handle), {static_cast<const uint8_t*>(blocks), cols, rows}, 0, rows, out);
        return {};
    });
}
