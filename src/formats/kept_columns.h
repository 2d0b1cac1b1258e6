// The stored layout of Q8_ROW_O: int8 with a scale per row, and a few columns of the whole tensor apart in f16 (LLM.int8,
// Dettmers et al. 2022). What they read are the large activations, which are then kept out of the int8 grid as well.
// Shared by the codec, the kernels and whoever rounds activations.
//
// Head:  | 8 x u32: the kept columns, rising |
// Row:   | 8 halves: the kept weights | d f32 | codes of 32 weights | codes of 32 weights | ...
//
//   x̂ = d * q, and in column c of the head the kept weight of its place is added. The encoder writes q = 0 there. A column
//   that the tensor does not have (files may hold anything) stands for nothing.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "formats/format.h"

namespace quant {

// As many as suffice for the models of the paper: at most seven features are outliers in models of up to 13 billion weights.
inline constexpr int kKeptColumns = 8;
inline constexpr uint32_t kKeptBytes = 2 * kKeptColumns;      // of a row, before its scale
inline constexpr uint32_t kKeptRowHead = kKeptBytes + 4;

std::array<uint32_t, kKeptColumns> kept_columns(const uint8_t* head);
// The columns of a tensor whose activations stay as they are; none where the format keeps none.
std::vector<uint32_t> columns_kept_by(const Format& format, const EncodedView& tensor);
// The kept weights of a row [cols], as stored in front of its scale. Those beyond the range of halves become its largest.
void store_kept(const uint8_t* head, const float* row, uint8_t* stored);

}  // namespace quant
