// Sixteen floats as one value: the virtual vector in which all encoders compute.
// Vec<16> is one register of 16 (AVX-512), Vec<8> two of 8 (AVX2), Vec<4> four of 4 (SSE2, NEON): the same operations on the
// same lanes and one tree for sums, hence the same bytes whichever is used. Knows nothing of formats.
#pragma once

#include <cstddef>
#include <cstdint>

#include "formats/format.h"

#if defined(QUANT_ENCODERS_AVX512)
#include <immintrin.h>
#endif

namespace quant {

// Under a sanitizer nothing is inlined by force and only the narrow width is built: with both, checks included, one
// encoder takes minutes to compile.
#if defined(QUANT_SANITIZED)
#define QUANT_INLINE inline
#define QUANT_LAMBDA
#else
#define QUANT_INLINE [[gnu::always_inline]] inline
#define QUANT_LAMBDA __attribute__((always_inline))
#endif

inline constexpr int kLanes = 16;

template <int W>
struct Vec;

template <>
struct Vec<4> {
    typedef float Part __attribute__((vector_size(16)));
    typedef float Stored __attribute__((vector_size(16), aligned(4), may_alias));
    Part a, b, c, d;

    QUANT_INLINE static Vec all(float v) {
        const Part p = {v, v, v, v};
        return {p, p, p, p};
    }
    QUANT_INLINE static Vec load(const float* at) {
        const Stored* from = reinterpret_cast<const Stored*>(at);
        return {from[0], from[1], from[2], from[3]};
    }
    QUANT_INLINE void store(float* at) const {
        Stored* to = reinterpret_cast<Stored*>(at);
        to[0] = a;
        to[1] = b;
        to[2] = c;
        to[3] = d;
    }
    QUANT_INLINE float sum() const {
        const Part t = (a + c) + (b + d);
        return (t[0] + t[2]) + (t[1] + t[3]);
    }
    QUANT_INLINE float least() const {
        const Part s = a < c ? a : c, u = b < d ? b : d, t = s < u ? s : u;
        const float v = t[0] < t[2] ? t[0] : t[2], w = t[1] < t[3] ? t[1] : t[3];
        return v < w ? v : w;
    }
};

template <>
struct Vec<8> {
    typedef float Part __attribute__((vector_size(32)));
    typedef float Stored __attribute__((vector_size(32), aligned(4), may_alias));
    typedef float Half __attribute__((vector_size(16)));
    Part a, b;

    QUANT_INLINE static Vec all(float v) {
        const Part p = {v, v, v, v, v, v, v, v};
        return {p, p};
    }
    QUANT_INLINE static Vec load(const float* at) {
        const Stored* from = reinterpret_cast<const Stored*>(at);
        return {from[0], from[1]};
    }
    QUANT_INLINE void store(float* at) const {
        Stored* to = reinterpret_cast<Stored*>(at);
        to[0] = a;
        to[1] = b;
    }
    QUANT_INLINE float sum() const {
        const Part s = a + b;
        Half low, high;
        __builtin_memcpy(&low, &s, sizeof low);
        __builtin_memcpy(&high, reinterpret_cast<const char*>(&s) + sizeof low, sizeof high);
        const Half t = low + high;
        return (t[0] + t[2]) + (t[1] + t[3]);
    }
    QUANT_INLINE float least() const {
        const Part s = a < b ? a : b;
        Half low, high;
        __builtin_memcpy(&low, &s, sizeof low);
        __builtin_memcpy(&high, reinterpret_cast<const char*>(&s) + sizeof low, sizeof high);
        const Half t = low < high ? low : high;
        const float v = t[0] < t[2] ? t[0] : t[2], w = t[1] < t[3] ? t[1] : t[3];
        return v < w ? v : w;
    }
};

template <>
struct Vec<16> {
    typedef float Part __attribute__((vector_size(64)));
    typedef float Stored __attribute__((vector_size(64), aligned(4), may_alias));
    Part a;

    QUANT_INLINE static Vec all(float v) {
        const Part p = {v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v};
        return {p};
    }
    QUANT_INLINE static Vec load(const float* at) { return {*reinterpret_cast<const Stored*>(at)}; }
    QUANT_INLINE void store(float* at) const { *reinterpret_cast<Stored*>(at) = a; }
    QUANT_INLINE Vec<8> halves() const {
        Vec<8> out;
        __builtin_memcpy(&out.a, &a, sizeof out.a);
        __builtin_memcpy(&out.b, reinterpret_cast<const char*>(&a) + sizeof out.a, sizeof out.b);
        return out;
    }
    QUANT_INLINE float sum() const { return halves().sum(); }
    QUANT_INLINE float least() const { return halves().least(); }
};

// One operation on the parts X, Y, Z, T of up to four operands, for all widths.
#define QUANT_LANES(name, expression)                                                 \
    template <class V>                                                                \
    QUANT_INLINE V name(const V& x, const V& y = V(), const V& z = V(), const V& t = V()) { \
        V out;                                                                        \
        QUANT_PART(a, expression)                                                     \
        if constexpr (requires { out.b; }) {                                          \
            QUANT_PART(b, expression)                                                 \
        }                                                                             \
        if constexpr (requires { out.c; }) {                                          \
            QUANT_PART(c, expression)                                                 \
            QUANT_PART(d, expression)                                                 \
        }                                                                             \
        return out;                                                                   \
    }
#define QUANT_PART(part, expression)                                                  \
    {                                                                                 \
        [[maybe_unused]] const auto &X = x.part, &Y = y.part, &Z = z.part, &T = t.part; \
        out.part = expression;                                                        \
    }
QUANT_LANES(add, X + Y)
QUANT_LANES(subtract, X - Y)
QUANT_LANES(multiply, X * Y)
QUANT_LANES(divide, X / Y)
QUANT_LANES(min, X < Y ? X : Y)
QUANT_LANES(max, X > Y ? X : Y)
QUANT_LANES(magnitude, X < -X ? -X : X)
QUANT_LANES(if_above, X > Y ? Z : Y * 0)    // z where x > y, else 0; y finite
QUANT_LANES(choose_below, X < Y ? Z : T)     // z where x < y, else t
QUANT_LANES(with_sign, Y < Y * 0 ? -X : X)  // x with its sign turned where y < 0
// To the nearest integer, ties to even, for |x| < 2^22: adding 1.5 * 2^23 leaves no bits for the fraction.
QUANT_LANES(round_even, (X + 12582912.0f) - 12582912.0f)
#undef QUANT_LANES
#undef QUANT_PART
#if defined(QUANT_ENCODERS_AVX512)  // the same, which g++ 12 makes a comparison and a choice
QUANT_INLINE Vec<16> min(const Vec<16>& x, const Vec<16>& y) { return {reinterpret_cast<Vec<16>::Part>(_mm512_min_ps(reinterpret_cast<__m512>(x.a), reinterpret_cast<__m512>(y.a)))}; }
QUANT_INLINE Vec<16> max(const Vec<16>& x, const Vec<16>& y) { return {reinterpret_cast<Vec<16>::Part>(_mm512_max_ps(reinterpret_cast<__m512>(x.a), reinterpret_cast<__m512>(y.a)))}; }
#endif

template <int W>
QUANT_INLINE Vec<W> operator+(const Vec<W>& x, const Vec<W>& y) { return add(x, y); }
template <int W>
QUANT_INLINE Vec<W> operator-(const Vec<W>& x, const Vec<W>& y) { return subtract(x, y); }
template <int W>
QUANT_INLINE Vec<W> operator*(const Vec<W>& x, const Vec<W>& y) { return multiply(x, y); }
template <int W>
QUANT_INLINE Vec<W> operator/(const Vec<W>& x, const Vec<W>& y) { return divide(x, y); }

// Floats in a register of the encoders: 4, 8 (AVX2) or 16 (AVX-512 VNNI). As the processor has them at start, or as QUANT_ISA
// says; set by the test that compares them.
int lane_width();
void set_lane_width(int width);  // or the widest below that the processor has
inline bool wide_lanes() { return lane_width() > 4; }

// Defines `void name(place, x, importance, blocks, n)`, which calls body<8> compiled for AVX2 where there is AVX2,
// otherwise body<4>.
#if defined(__x86_64__) && !defined(QUANT_SANITIZED)
#define QUANT_ENCODER(name, body)                                                                              \
    [[gnu::target("avx2")]] static void name##_wide(const float* x, const float* importance, uint8_t* blocks,  \
                                                    int64_t n) {                                               \
        body<8>(x, importance, blocks, n);                                                                     \
    }                                                                                                          \
    void name(const RowPlace*, const float* x, const float* importance, uint8_t* blocks, int64_t n) {              \
        if (wide_lanes()) return name##_wide(x, importance, blocks, n);                                        \
        body<4>(x, importance, blocks, n);                                                                     \
    }
#else
#define QUANT_ENCODER(name, body)                                                                              \
    void name(const RowPlace*, const float* x, const float* importance, uint8_t* blocks, int64_t n) {              \
        body<4>(x, importance, blocks, n);                                                                     \
    }
#endif

}  // namespace quant
