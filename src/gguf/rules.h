// What reader and writer of GGUF must agree on: value sizes, alignment, tensor shapes, names of split files.
// Internal to this folder.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "gguf/gguf.h"

namespace quant {

inline constexpr std::string_view kMagic = "GGUF";
inline constexpr uint32_t kVersion3 = 3;
inline constexpr uint32_t kDefaultAlignment = 32;
inline constexpr std::string_view kAlignmentKey = "general.alignment";
inline constexpr std::string_view kSplitNumberKey = "split.no";
inline constexpr std::string_view kSplitCountKey = "split.count";
inline constexpr std::string_view kSplitTensorsKey = "split.tensors.count";

size_t value_type_bytes(ValueType type);  // 0: string, array, unknown
// An integer or bool of this type, sign-extended.
uint64_t load_integer(ValueType type, const uint8_t* at);

// The alignment that `metadata` asks for: u32, a power of two from 8 (the specification's unit) to kMaxAlignment.
Result<uint32_t> alignment_of(const Metadata& metadata);
// Fills `tensor.bytes`; the error starts with `where` and says which rule the name or shape breaks.
Status check_tensor(const std::string& where, TensorInfo& tensor);
std::string too_many_dims(uint32_t dims);

// NAME of NAME-00001-of-00003.gguf with number and count; nothing for other names.
struct SplitName {
    std::string prefix;
    uint32_t number = 1, count = 1;  // number counts from 1
};
std::optional<SplitName> parse_split_name(const std::string& path);
std::string split_path(const std::string& prefix, uint32_t number, uint32_t count);

}  // namespace quant
