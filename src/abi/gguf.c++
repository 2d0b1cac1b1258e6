// The C interface: metadata and tensors of GGUF files.
#include <limits>

#include "abi/guard.h"
#include "base/bytes.h"
#include "gguf/gguf.h"

using namespace quant;
using namespace quant::abi;

struct quant_gguf {
    Gguf file;
};

quant_status quant_gguf_open(const char* path, quant_gguf** out) {
    return guarded([&]() -> Status {
        if (!path || !out) return missing(!path ? "path" : "out");
        LET(file, Gguf::open(path));
        *out = new quant_gguf{std::move(file)};
        return {};
    });
}

void quant_gguf_free(quant_gguf* gguf) { delete gguf; }

int64_t quant_gguf_key_count(const quant_gguf* gguf) {
    return gguf ? static_cast<int64_t>(gguf->file.metadata().entries().size()) : 0;
}

const char* quant_gguf_key_at(const quant_gguf* gguf, int64_t index) {
    if (index < 0 || index >= quant_gguf_key_count(gguf)) return nullptr;
    return gguf->file.metadata().entries()[static_cast<size_t>(index)].first.c_str();
}

namespace {

Result<const Value*> value_of(const quant_gguf* gguf, const char* key, const void* out) {
    if (!gguf || !key || !out) return missing(!gguf ? "gguf" : !key ? "key" : "out");
    const Value* value = gguf->file.metadata().find(key);
    if (!value) return usage_error(gguf->file.path() + ": no key '" + key + "'");
    return value;
}

Result<const Value*> array_of(const quant_gguf* gguf, const char* key, int64_t index, const void* out) {
    LET(value, value_of(gguf, key, out));
    if (value->type != ValueType::array) return input_error(gguf->file.path() + ": key '" + key + "' is no array");
    if (index < 0 || static_cast<uint64_t>(index) >= value->count())
        return usage_error(gguf->file.path() + ": key '" + key + "' has no element " + std::to_string(index));
    return value;
}

Error wrong_type(const quant_gguf* gguf, const char* key, const char* expected, ValueType found) {
    return input_error(gguf->file.path() + ": key '" + key + "': expected " + expected + ", found " + value_type_name(found));
}

// A scalar Value of the array's element, so that single values and elements convert by the same rules.
Value element_of(const Value& array, int64_t index) {
    Value out;
    out.type = array.element;
    const auto take = [&]<class T>(T) { return load<T>(array.raw.data() + static_cast<size_t>(index) * sizeof(T)); };
    const auto sign_extended = [](int64_t value) { return static_cast<uint64_t>(value); };
    switch (array.element) {
        case ValueType::u8:
        case ValueType::boolean: out.bits = take(uint8_t{}); break;
        case ValueType::u16: out.bits = take(uint16_t{}); break;
        case ValueType::u32: out.bits = take(uint32_t{}); break;
        case ValueType::u64: out.bits = take(uint64_t{}); break;
        case ValueType::i8: out.bits = sign_extended(take(int8_t{})); break;
        case ValueType::i16: out.bits = sign_extended(take(int16_t{})); break;
        case ValueType::i32: out.bits = sign_extended(take(int32_t{})); break;
        case ValueType::i64: out.bits = sign_extended(take(int64_t{})); break;
        case ValueType::f32: out.real = static_cast<double>(take(float{})); break;
        case ValueType::f64: out.real = take(double{}); break;
        case ValueType::string:
        case ValueType::array: break;
    }
    return out;
}

Status to_integer(const quant_gguf* gguf, const char* key, const Value& value, int64_t* out) {
    if (value.type == ValueType::f32 || value.type == ValueType::f64 || value.type == ValueType::string || value.type == ValueType::array)
        return wrong_type(gguf, key, "an integer", value.type);
    if (value.type == ValueType::u64 && value.bits > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
        return input_error(gguf->file.path() + ": key '" + key + "': " + std::to_string(value.bits) + " does not fit");
    *out = static_cast<int64_t>(value.bits);
    return {};
}

Status to_real(const quant_gguf* gguf, const char* key, const Value& value, double* out) {
    if (value.type != ValueType::f32 && value.type != ValueType::f64) return wrong_type(gguf, key, "a real", value.type);
    *out = value.real;
    return {};
}

void give_text(std::string_view text, const char** out, size_t* bytes) {  // with a NUL behind it
    *out = text.data();
    if (bytes) *bytes = text.size();
}

}  // namespace

int32_t quant_gguf_has(const quant_gguf* gguf, const char* key) {
    bool found = false;
    static_cast<void>(guarded([&]() -> Status {
        found = gguf && key && gguf->file.metadata().find(key);
        return {};
    }));
    return found;
}

quant_status quant_gguf_get_integer(const quant_gguf* gguf, const char* key, int64_t* out) {
    return guarded([&]() -> Status {
        LET(value, value_of(gguf, key, out));
        return to_integer(gguf, key, *value, out);
    });
}

quant_status quant_gguf_get_real(const quant_gguf* gguf, const char* key, double* out) {
    return guarded([&]() -> Status {
        LET(value, value_of(gguf, key, out));
        return to_real(gguf, key, *value, out);
    });
}

quant_status quant_gguf_get_text(const quant_gguf* gguf, const char* key, const char** out, size_t* bytes) {
    return guarded([&]() -> Status {
        LET(value, value_of(gguf, key, out));
        if (value->type != ValueType::string) return wrong_type(gguf, key, "a text", value->type);
        give_text(value->text, out, bytes);
        return {};
    });
}

quant_status quant_gguf_get_count(const quant_gguf* gguf, const char* key, int64_t* out) {
    return guarded([&]() -> Status {
        LET(value, value_of(gguf, key, out));
        if (value->type != ValueType::array) return wrong_type(gguf, key, "an array", value->type);
        *out = static_cast<int64_t>(value->count());
        return {};
    });
}

quant_status quant_gguf_get_integer_at(const quant_gguf* gguf, const char* key, int64_t index, int64_t* out) {
    return guarded([&]() -> Status {
        LET(array, array_of(gguf, key, index, out));
        return to_integer(gguf, key, element_of(*array, index), out);
    });
}

quant_status quant_gguf_get_real_at(const quant_gguf* gguf, const char* key, int64_t index, double* out) {
    return guarded([&]() -> Status {
        LET(array, array_of(gguf, key, index, out));
        return to_real(gguf, key, element_of(*array, index), out);
    });
}

quant_status quant_gguf_get_text_at(const quant_gguf* gguf, const char* key, int64_t index, const char** out, size_t* bytes) {
    return guarded([&]() -> Status {
        LET(array, array_of(gguf, key, index, out));
        if (array->element != ValueType::string) return wrong_type(gguf, key, "texts", array->element);
        give_text(array->texts[static_cast<size_t>(index)], out, bytes);
        return {};
    });
}

namespace {

quant_tensor_info info_of(const TensorInfo& tensor) {
    return {tensor.name.c_str(), handle_of(tensor.format), static_cast<int32_t>(tensor.n_dims),
            {tensor.ne[0], tensor.ne[1], tensor.ne[2], tensor.ne[3]}, tensor.data, tensor.bytes};
}

}  // namespace

int64_t quant_gguf_tensor_count(const quant_gguf* gguf) { return gguf ? static_cast<int64_t>(gguf->file.tensors().size()) : 0; }

quant_status quant_gguf_tensor_at(const quant_gguf* gguf, int64_t index, quant_tensor_info* out) {
    return guarded([&]() -> Status {
        if (!gguf || !out) return missing(!gguf ? "gguf" : "out");
        if (index < 0 || index >= quant_gguf_tensor_count(gguf))
            return usage_error(gguf->file.path() + ": no tensor number " + std::to_string(index));
        *out = info_of(gguf->file.tensors()[static_cast<size_t>(index)]);
        return {};
    });
}

quant_status quant_gguf_find_tensor(const quant_gguf* gguf, const char* name, quant_tensor_info* out) {
    return guarded([&]() -> Status {
        if (!gguf || !name || !out) return missing(!gguf ? "gguf" : !name ? "name" : "out");
        const TensorInfo* tensor = gguf->file.find(name);
        if (!tensor) return usage_error(gguf->file.path() + ": no tensor '" + name + "'");
        *out = info_of(*tensor);
        return {};
    });
}
