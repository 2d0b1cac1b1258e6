// Everything but products with weights: activations to int8, dots and axpys of the cache, norms, softmax, gates, rope (NEON).
// Any length: the last 1 to 3 elements go through a padded copy.
#if defined(__aarch64__)
#include <arm_neon.h>

#include "kernels/neon.h"

namespace quant {
namespace {

inline float32x4_t load_tail(const float* at, int64_t left) {
    float padded[4] = {0, 0, 0, 0};
    for (int64_t i = 0; i < left; ++i) padded[i] = at[i];
    return vld1q_f32(padded);
}
inline void store_tail(float* at, int64_t left, float32x4_t v) {
    float padded[4];
    vst1q_f32(padded, v);
    for (int64_t i = 0; i < left; ++i) at[i] = padded[i];
}
inline float32x4_t load_half(const uint16_t* at) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(at))); }
inline float32x4_t load_half_tail(const uint16_t* at, int64_t left) {
    uint16_t padded[4] = {0, 0, 0, 0};
    for (int64_t i = 0; i < left; ++i) padded[i] = at[i];
    return load_half(padded);
}

inline double sum_in_double(float32x4_t v) {
    const float64x2_t sum = vaddq_f64(vcvt_f64_f32(vget_low_f32(v)), vcvt_high_f64_f32(v));
    return vaddvq_f64(sum);
}

// exp(x) to about 1 ulp: x = n ln 2 + r, |r| <= ln 2 / 2, a polynomial for exp(r) (Taylor terms to r^7: the rest is below
// 2^-27), then two steps of scaling so that subnormal results are right too. Below -104 it is 0, above 88.8 infinity.
inline float32x4_t exp4(float32x4_t x) {
    const float32x4_t clamped = vminq_f32(vmaxq_f32(x, vdupq_n_f32(-104.0f)), vdupq_n_f32(89.0f));
    const float32x4_t n = vrndnq_f32(vmulq_n_f32(clamped, 1.44269504088896341f));
    // ln 2 in two parts, the first with zeros at its end, so that n times it is exact.
    float32x4_t r = vfmsq_n_f32(clamped, n, 0.693145751953125f);
    r = vfmsq_n_f32(r, n, 1.42860682030941723212e-6f);
    float32x4_t p = vdupq_n_f32(1.0f / 5040);
    p = vfmaq_f32(vdupq_n_f32(1.0f / 720), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.0f / 120), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.0f / 24), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.0f / 6), p, r);
    p = vfmaq_f32(vdupq_n_f32(0.5f), p, r);
    p = vfmaq_f32(r, p, vmulq_f32(r, r));
    p = vaddq_f32(p, vdupq_n_f32(1.0f));
    const int32x4_t exponent = vcvtq_s32_f32(n), first = vshrq_n_s32(exponent, 1);
    const auto power = [](int32x4_t e) { return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(e, vdupq_n_s32(127)), 23)); };
    const float32x4_t value = vmulq_f32(vmulq_f32(p, power(first)), power(vsubq_s32(exponent, first)));
    return vbslq_f32(vceqq_f32(x, x), value, x);  // NaN stays NaN
}

void quantize_q8_neon(const float* x, int64_t x_stride, Q8Matrix out, int64_t row_begin, int64_t row_end) {
    const int64_t blocks = out.cols / 32;
    for (int64_t row = row_begin; row < row_end; ++row) {
        const float* from = x + row * x_stride;
        int8_t* codes = out.codes + row * out.stride;
        float* scales = out.scales + row * (out.stride / 32);
        float* sums = out.sums + row * (out.stride / 16);
        float* block_sums = out.block_sums + row * (out.stride / 32);
        for (int64_t block = 0; block < blocks; ++block, from += 32, codes += 32) {
            float32x4_t v[8];
            uint32x4_t m = vdupq_n_u32(0);
            // Magnitudes order as the integers of their bits; NaN is above infinity.
            for (int i = 0; i < 8; ++i) {
                v[i] = vld1q_f32(from + 4 * i);
                m = vmaxq_u32(m, vandq_u32(vreinterpretq_u32_f32(v[i]), vdupq_n_u32(0x7fffffff)));
            }
            const uint32_t largest = vmaxvq_u32(m);
            if (largest < kQ8TinyBits || largest >= kQ8InfinityBits) {
                const uint32_t bits = largest < kQ8TinyBits ? 0u : kQ8NanBits;
                float scale;
                __builtin_memcpy(&scale, &bits, sizeof scale);
                vst1q_s8(codes, vdupq_n_s8(0));
                vst1q_s8(codes + 16, vdupq_n_s8(0));
                scales[block] = sums[2 * block] = sums[2 * block + 1] = block_sums[block] = scale;
                continue;
            }
            float max;
            __builtin_memcpy(&max, &largest, sizeof max);
            const float scale = max / 127.0f, inverse = 127.0f / max;
            int total[2];
            for (int half = 0; half < 2; ++half) {
                int16x8_t q[2];
                for (int i = 0; i < 2; ++i) {
                    const int32x4_t low = vcvtnq_s32_f32(vmulq_n_f32(v[4 * half + 2 * i], inverse));
                    const int32x4_t high = vcvtnq_s32_f32(vmulq_n_f32(v[4 * half + 2 * i + 1], inverse));
                    q[i] = vcombine_s16(vmovn_s32(low), vmovn_s32(high));
                }
                total[half] = vaddvq_s16(vaddq_s16(q[0], q[1]));
                vst1q_s8(codes + 16 * half, vcombine_s8(vmovn_s16(q[0]), vmovn_s16(q[1])));
            }
            scales[block] = scale;
            sums[2 * block] = scale * static_cast<float>(total[0]);
            sums[2 * block + 1] = scale * static_cast<float>(total[1]);
            block_sums[block] = scale * static_cast<float>(total[0] + total[1]);
        }
    }
}

float dot_f32_neon(const float* a, const float* b, int64_t n) {
    float32x4_t s[4];
    for (float32x4_t& each : s) each = vdupq_n_f32(0);
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        for (int j = 0; j < 4; ++j) s[j] = vfmaq_f32(s[j], vld1q_f32(a + i + 4 * j), vld1q_f32(b + i + 4 * j));
    }
    for (; i + 4 <= n; i += 4) s[0] = vfmaq_f32(s[0], vld1q_f32(a + i), vld1q_f32(b + i));
    if (i < n) s[1] = vfmaq_f32(s[1], load_tail(a + i, n - i), load_tail(b + i, n - i));
    return vaddvq_f32(vaddq_f32(vaddq_f32(s[0], s[1]), vaddq_f32(s[2], s[3])));
}

float dot_f16_neon(const uint16_t* a, const float* b, int64_t n) {
    float32x4_t s[4];
    for (float32x4_t& each : s) each = vdupq_n_f32(0);
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        for (int j = 0; j < 4; ++j) s[j] = vfmaq_f32(s[j], load_half(a + i + 4 * j), vld1q_f32(b + i + 4 * j));
    }
    for (; i + 4 <= n; i += 4) s[0] = vfmaq_f32(s[0], load_half(a + i), vld1q_f32(b + i));
    if (i < n) s[1] = vfmaq_f32(s[1], load_half_tail(a + i, n - i), load_tail(b + i, n - i));
    return vaddvq_f32(vaddq_f32(vaddq_f32(s[0], s[1]), vaddq_f32(s[2], s[3])));
}

constexpr int64_t kQ80Bytes = 34;  // an f16 scale, then 32 codes

inline float block_scale(const uint8_t* block) {
    __fp16 half;
    __builtin_memcpy(&half, block, sizeof half);
    return static_cast<float>(half);
}

// Codes 8i .. 8i+7 of a block as floats.
inline void eight_codes(const uint8_t* block, int i, float32x4_t& low, float32x4_t& high) {
    const int16x8_t wide = vmovl_s8(vld1_s8(reinterpret_cast<const int8_t*>(block + 2 + 8 * i)));
    low = vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide)));
    high = vcvtq_f32_s32(vmovl_s16(vget_high_s16(wide)));
}

float dot_q8_0_neon(const uint8_t* a, const float* b, int64_t n) {
    float32x4_t sum = vdupq_n_f32(0);
    for (int64_t i = 0; i < n; i += 32, a += kQ80Bytes, b += 32) {
        float32x4_t part = vdupq_n_f32(0);
        for (int j = 0; j < 4; ++j) {
            float32x4_t low, high;
            eight_codes(a, j, low, high);
            part = vfmaq_f32(vfmaq_f32(part, low, vld1q_f32(b + 8 * j)), high, vld1q_f32(b + 8 * j + 4));
        }
        sum = vfmaq_n_f32(sum, part, block_scale(a));
    }
    return vaddvq_f32(sum);
}

constexpr int64_t kQ40Bytes = 18;  // an f16 scale, then 16 bytes: codes 0 to 15 in the low nibbles, 16 to 31 in the high ones

// Codes 8i to 8i + 7, less 8, as floats.
inline void eight_nibbles(const uint8_t* block, int i, float32x4_t& low, float32x4_t& high) {
    const uint8x8_t bytes = vld1_u8(block + 2 + 8 * (i & 1));
    const uint8x8_t codes = i < 2 ? vand_u8(bytes, vdup_n_u8(15)) : vshr_n_u8(bytes, 4);
    const int16x8_t wide = vmovl_s8(vsub_s8(vreinterpret_s8_u8(codes), vdup_n_s8(8)));
    low = vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide)));
    high = vcvtq_f32_s32(vmovl_s16(vget_high_s16(wide)));
}

float dot_q4_0_neon(const uint8_t* a, const float* b, int64_t n) {
    float32x4_t sum = vdupq_n_f32(0);
    for (int64_t i = 0; i < n; i += 32, a += kQ40Bytes, b += 32) {
        float32x4_t part = vdupq_n_f32(0);
        for (int j = 0; j < 4; ++j) {
            float32x4_t low, high;
            eight_nibbles(a, j, low, high);
            part = vfmaq_f32(vfmaq_f32(part, low, vld1q_f32(b + 8 * j)), high, vld1q_f32(b + 8 * j + 4));
        }
        sum = vfmaq_n_f32(sum, part, block_scale(a));
    }
    return vaddvq_f32(sum);
}

void axpy_f32_neon(float scale, const float* x, float* y, int64_t n) {
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) vst1q_f32(y + i, vfmaq_n_f32(vld1q_f32(y + i), vld1q_f32(x + i), scale));
    if (i < n) store_tail(y + i, n - i, vfmaq_n_f32(load_tail(y + i, n - i), load_tail(x + i, n - i), scale));
}

void axpy_f16_neon(float scale, const uint16_t* x, float* y, int64_t n) {
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) vst1q_f32(y + i, vfmaq_n_f32(vld1q_f32(y + i), load_half(x + i), scale));
    if (i < n) store_tail(y + i, n - i, vfmaq_n_f32(load_tail(y + i, n - i), load_half_tail(x + i, n - i), scale));
}

void axpy_q8_0_neon(float scale, const uint8_t* x, float* y, int64_t n) {
    for (int64_t i = 0; i < n; i += 32, x += kQ80Bytes, y += 32) {
        const float factor = scale * block_scale(x);
        for (int j = 0; j < 4; ++j) {
            float32x4_t low, high;
            eight_codes(x, j, low, high);
            vst1q_f32(y + 8 * j, vfmaq_n_f32(vld1q_f32(y + 8 * j), low, factor));
            vst1q_f32(y + 8 * j + 4, vfmaq_n_f32(vld1q_f32(y + 8 * j + 4), high, factor));
        }
    }
}

void axpy_q4_0_neon(float scale, const uint8_t* x, float* y, int64_t n) {
    for (int64_t i = 0; i < n; i += 32, x += kQ40Bytes, y += 32) {
        const float factor = scale * block_scale(x);
        for (int j = 0; j < 4; ++j) {
            float32x4_t low, high;
            eight_nibbles(x, j, low, high);
            vst1q_f32(y + 8 * j, vfmaq_n_f32(vld1q_f32(y + 8 * j), low, factor));
            vst1q_f32(y + 8 * j + 4, vfmaq_n_f32(vld1q_f32(y + 8 * j + 4), high, factor));
        }
    }
}

void f32_to_f16_neon(const float* x, uint16_t* out, int64_t n) {
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) vst1_u16(out + i, vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(x + i))));
    if (i < n) {
        uint16_t padded[4];
        vst1_u16(padded, vreinterpret_u16_f16(vcvt_f16_f32(load_tail(x + i, n - i))));
        for (int64_t j = i; j < n; ++j) out[j] = padded[j - i];
    }
}

void f16_to_f32_neon(const uint16_t* x, float* out, int64_t n) {
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) vst1q_f32(out + i, load_half(x + i));
    if (i < n) store_tail(out + i, n - i, load_half_tail(x + i, n - i));
}

// out[i] = f(a[i], b[i]), four at a time, the tail through copies.
template <class Function>
inline void map2(const float* a, const float* b, float* out, int64_t n, Function f) {
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) vst1q_f32(out + i, f(vld1q_f32(a + i), vld1q_f32(b + i)));
    if (i < n) store_tail(out + i, n - i, f(load_tail(a + i, n - i), load_tail(b + i, n - i)));
}

void add_neon(const float* a, const float* b, float* out, int64_t n) {
    map2(a, b, out, n, [](float32x4_t u, float32x4_t v) { return vaddq_f32(u, v); });
}

void multiply_neon(const float* a, const float* b, float* out, int64_t n) {
    map2(a, b, out, n, [](float32x4_t u, float32x4_t v) { return vmulq_f32(u, v); });
}

void scale_neon(float factor, float* x, int64_t n) {
    map2(x, x, x, n, [factor](float32x4_t u, float32x4_t) { return vmulq_n_f32(u, factor); });
}

void rms_norm_neon(const float* x, const float* weight, float eps, float* out, int64_t n) {
    float32x4_t s[4];
    for (float32x4_t& each : s) each = vdupq_n_f32(0);
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        for (int j = 0; j < 4; ++j) {
            const float32x4_t v = vld1q_f32(x + i + 4 * j);
            s[j] = vfmaq_f32(s[j], v, v);
        }
    }
    for (; i < n; i += 4) {
        const float32x4_t v = n - i >= 4 ? vld1q_f32(x + i) : load_tail(x + i, n - i);
        s[0] = vfmaq_f32(s[0], v, v);
    }
    const double sum = sum_in_double(s[0]) + sum_in_double(s[1]) + sum_in_double(s[2]) + sum_in_double(s[3]);
    const double mean = sum / static_cast<double>(n) + static_cast<double>(eps);
    const auto factor = static_cast<float>(1.0 / vget_lane_f64(vsqrt_f64(vdup_n_f64(mean)), 0));
    if (weight) {
        map2(x, weight, out, n, [factor](float32x4_t v, float32x4_t w) { return vmulq_f32(vmulq_n_f32(v, factor), w); });
    } else {
        map2(x, x, out, n, [factor](float32x4_t v, float32x4_t) { return vmulq_n_f32(v, factor); });
    }
}

void softmax_neon(float* x, int64_t n, const float* sink) {
    constexpr float kLowest = -__builtin_inff();
    float max = sink ? *sink : kLowest;
    int64_t i = 0;
    float32x4_t largest = vdupq_n_f32(max);
    for (; i + 4 <= n; i += 4) largest = vmaxnmq_f32(largest, vld1q_f32(x + i));
    max = vmaxnmvq_f32(largest);
    for (; i < n; ++i) max = x[i] > max ? x[i] : max;
    if (max == kLowest) max = 0;  // nothing visible: all zero
    const float32x4_t shift = vdupq_n_f32(max);
    double total = sink ? static_cast<double>(vgetq_lane_f32(exp4(vdupq_n_f32(*sink - max)), 0)) : 0.0;
    float32x4_t sum = vdupq_n_f32(0);
    int64_t part = 0;  // lanes add up at most 1024 values before they go to the double
    for (i = 0; i + 4 <= n; i += 4) {
        const float32x4_t e = exp4(vsubq_f32(vld1q_f32(x + i), shift));
        vst1q_f32(x + i, e);
        sum = vaddq_f32(sum, e);
        if (++part == 1024) {
            total += sum_in_double(sum);
            sum = vdupq_n_f32(0);
            part = 0;
        }
    }
    total += sum_in_double(sum);
    if (i < n) {
        store_tail(x + i, n - i, exp4(vsubq_f32(load_tail(x + i, n - i), shift)));
        for (; i < n; ++i) total += static_cast<double>(x[i]);
    }
    scale_neon(total > 0 ? static_cast<float>(1.0 / total) : 0.0f, x, n);
}

// g / (1 + exp(-u))
inline float32x4_t times_sigmoid(float32x4_t g, float32x4_t u) {
    return vdivq_f32(g, vaddq_f32(vdupq_n_f32(1.0f), exp4(vnegq_f32(u))));
}

void gated_neon(Gate kind, const float* gate, const float* up, float* out, int64_t n) {
    switch (kind) {
        case Gate::silu:
            map2(gate, up, out, n, [](float32x4_t g, float32x4_t u) { return vmulq_f32(times_sigmoid(g, g), u); });
            break;
        case Gate::gelu_tanh:
            // 0.5 g (1 + tanh(v)) = g / (1 + exp(-2v)), v = sqrt(2/pi) (g + 0.044715 g^3)  (Hendrycks & Gimpel 2016)
            map2(gate, up, out, n, [](float32x4_t g, float32x4_t u) {
                const float32x4_t inner = vfmaq_f32(g, vmulq_n_f32(vmulq_f32(g, g), 0.044715f), g);
                return vmulq_f32(times_sigmoid(g, vmulq_n_f32(inner, 2 * 0.7978845608028654f)), u);
            });
            break;
        case Gate::relu2:
            map2(gate, up, out, n, [](float32x4_t g, float32x4_t u) {
                const float32x4_t positive = vmaxnmq_f32(g, vdupq_n_f32(0));
                return vmulq_f32(vmulq_f32(positive, positive), u);
            });
            break;
    }
}

inline void rotate1(float* first, float* second, const float* cos_sin) {
    const float a = *first, b = *second;
    *first = a * cos_sin[0] - b * cos_sin[1];
    *second = a * cos_sin[1] + b * cos_sin[0];
}

void rope_neon(float* x, const float* cos_sin, int64_t heads, int64_t head_dim, int64_t n_rot, bool neox) {
    const int64_t half = n_rot / 2;
    for (int64_t head = 0; head < heads; ++head, x += head_dim) {
        int64_t i = 0;
        for (; i + 4 <= half; i += 4) {
            const float32x4x2_t turn = vld2q_f32(cos_sin + 2 * i);  // cosines, sines
            float32x4_t a, b;
            if (neox) {
                a = vld1q_f32(x + i);
                b = vld1q_f32(x + half + i);
            } else {
                const float32x4x2_t pairs = vld2q_f32(x + 2 * i);
                a = pairs.val[0];
                b = pairs.val[1];
            }
            const float32x4_t first = vfmsq_f32(vmulq_f32(a, turn.val[0]), b, turn.val[1]);
            const float32x4_t second = vfmaq_f32(vmulq_f32(b, turn.val[0]), a, turn.val[1]);
            if (neox) {
                vst1q_f32(x + i, first);
                vst1q_f32(x + half + i, second);
            } else {
                vst2q_f32(x + 2 * i, {{first, second}});
            }
        }
        for (; i < half; ++i) {
            rotate1(neox ? x + i : x + 2 * i, neox ? x + half + i : x + 2 * i + 1, cos_sin + 2 * i);
        }
    }
}

}  // namespace

void fill_neon_operations(Kernels& table) {
    table.quantize_q8 = quantize_q8_neon;
    table.dot_f32 = dot_f32_neon;
    table.dot_f16 = dot_f16_neon;
    table.dot_q8_0 = dot_q8_0_neon;
    table.dot_q4_0 = dot_q4_0_neon;
    table.axpy_f32 = axpy_f32_neon;
    table.axpy_f16 = axpy_f16_neon;
    table.axpy_q8_0 = axpy_q8_0_neon;
    table.axpy_q4_0 = axpy_q4_0_neon;
    table.f32_to_f16 = f32_to_f16_neon;
    table.f16_to_f32 = f16_to_f32_neon;
    table.add = add_neon;
    table.multiply = multiply_neon;
    table.scale = scale_neon;
    table.rms_norm = rms_norm_neon;
    table.softmax = softmax_neon;
    table.gated = gated_neon;
    table.rope = rope_neon;
}

}  // namespace quant
#endif
