// The parts of the AVX-512 table: each file fills its own slots. Shared by the AVX-512 files only.
#pragma once

// Must come before <immintrin.h>: GCC 12's own AVX-512 intrinsics read a variable that is undefined on purpose and warn
// about it (GCC bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include <immintrin.h>

#include "kernels/tables.h"

namespace quant {
namespace {

// A value that several operations use, kept in a register: the compiler would broadcast it from memory for each, and loads are
// what is short. Without AVX-512 (under emulation) there is no such register.
[[maybe_unused]] inline __m512i once(__m512i v) {
#if defined(__AVX512F__)
    asm("" : "+v"(v));
#endif
    return v;
}
[[maybe_unused]] inline __m512 once(__m512 v) {
#if defined(__AVX512F__)
    asm("" : "+v"(v));
#endif
    return v;
}

[[maybe_unused]] inline __mmask16 lanes_below(int64_t left) {
    return left >= 16 ? static_cast<__mmask16>(0xffff) : static_cast<__mmask16>((1u << left) - 1);
}

}  // namespace

void fill_avx512_float(Kernels& table);
void fill_avx512_operations(Kernels& table);
void fill_avx512_gemv(Kernels& table);
void fill_avx512_gemm(Kernels& table);
void fill_avx512_grid(Kernels& table);
void fill_avx512_levels(Kernels& table);
void fill_avx512_affine(Kernels& table);

}  // namespace quant
