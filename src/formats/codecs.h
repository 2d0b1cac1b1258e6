// The codec functions that the list of formats refers to; contracts in format.h.
#pragma once

#include "formats/format.h"
#include "formats/palette_layout.h"

namespace quant {

// plain.c++
DecodeFn decode_f32, decode_f16, decode_bf16, decode_f64, decode_i8, decode_i16, decode_i32, decode_i64;
EncodeFn encode_f32, encode_f16, encode_bf16;
// q8.c++
DecodeFn decode_q8_0, decode_q8_1, decode_q8_k;
EncodeFn encode_q8_0;
// q4_q5.c++
DecodeFn decode_q4_0, decode_q4_1, decode_q5_0, decode_q5_1;
EncodeFn encode_q4_0, encode_q4_1, encode_q5_0, encode_q5_1;
MeasuredEncodeFn encode_q4_0_measured;
// q2k_q3k.c++
DecodeFn decode_q2_k, decode_q3_k;
EncodeFn encode_q2_k, encode_q3_k;
// q4k_q5k.c++
DecodeFn decode_q4_k, decode_q5_k;
EncodeFn encode_q4_k, encode_q5_k;
// q6k.c++
DecodeFn decode_q6_k;
EncodeFn encode_q6_k;
// iq4.c++
DecodeFn decode_iq4_nl, decode_iq4_xs;
EncodeFn encode_iq4_nl, encode_iq4_xs;
// iq1.c++, iq2.c++, iq3.c++; encoders in iq1_encode.c++, iq2_encode.c++, iq3_encode.c++
DecodeFn decode_iq1_s, decode_iq1_m, decode_iq2_xxs, decode_iq2_xs, decode_iq2_s, decode_iq3_xxs, decode_iq3_s;
EncodeFn encode_iq1_s, encode_iq1_m, encode_iq2_xxs, encode_iq2_xs, encode_iq2_s, encode_iq3_xxs, encode_iq3_s;
// ternary.c++
DecodeFn decode_tq1_0, decode_tq2_0;
EncodeFn encode_tq1_0, encode_tq2_0;
// fp4.c++
DecodeFn decode_mxfp4, decode_nvfp4;
EncodeFn encode_mxfp4, encode_nvfp4;
// nf4.c++
DecodeFn decode_nf4, decode_nf4_fast, decode_nf4_dq, decode_nf4_dq_fast;
EncodeFn encode_nf4, encode_nf4_dq;
extern const HeadCodec kNf4DqHead;
// palette.c++: an int8 table is the same to int8 kernels
#define DECLARE(slot, bits, dim, int8)                    \
    DecodeFn decode_##slot, decode_##slot##_fast;         \
    EncodeFn encode_##slot;                               \
    extern const HeadCodec kHead_##slot;
QUANT_PALETTES(DECLARE)
#undef DECLARE
// q1_q2.c++
DecodeFn decode_q1_0, decode_q2_0;
EncodeFn encode_q1_0, encode_q2_0;

// affine.c++: by place in the list of affine formats (affine.h)
template <size_t index>
void decode_affine(const RowPlace* place, const uint8_t* blocks, float* out, int64_t n);
template <size_t index>
void encode_affine(const RowPlace* place, const float* x, const float* importance, uint8_t* row, int64_t n);
// fp8.c++
DecodeFn decode_fp8_e4m3, decode_fp8_e4m3_row, decode_fp8_e5m2, decode_fp8_e5m2_row;
EncodeFn encode_fp8_e4m3, encode_fp8_e4m3_row, encode_fp8_e5m2, encode_fp8_e5m2_row;
// kept_columns.c++
DecodeFn decode_q8_row_o, decode_q8_row_o_fast;
EncodeFn encode_q8_row_o;
extern const HeadCodec kKeptHead;
// logarithmic.c++
DecodeFn decode_l4;
EncodeFn encode_l4;

}  // namespace quant
