// The largest sizes a file may claim, each with its reason. A larger claim is an error, never an allocation.
#pragma once

#include <cstdint>

namespace quant::limits {

inline constexpr uint64_t kKeyBytes = 65535;             // the specification's own limit
inline constexpr uint64_t kStringBytes = uint64_t{16} << 20;   // the longest real chat templates are below 100 KiB
inline constexpr uint64_t kArrayElements = uint64_t{1} << 28;  // merges of the largest vocabularies: below 2^19
inline constexpr uint64_t kKeys = uint64_t{1} << 19;  // smallest ones take 136 bytes each: 64 MiB beside 4 x header
inline constexpr uint64_t kTensors = uint64_t{1} << 20;
inline constexpr uint32_t kTensorNameBytes = 63;         // stock readers keep 64 with the terminator
inline constexpr uint32_t kDims = 4;
inline constexpr uint32_t kMaxAlignment = uint32_t{1} << 20;
inline constexpr uint32_t kLayers = 4096;
inline constexpr uint32_t kExperts = 4096;
inline constexpr uint32_t kVocab = uint32_t{1} << 24;
inline constexpr uint32_t kShards = 1000;
inline constexpr uint32_t kJsonDepth = 64;
inline constexpr int64_t kContext = int64_t{1} << 24;    // tokens

}  // namespace quant::limits
