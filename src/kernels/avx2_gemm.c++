// Block formats times many activation rows (AVX2): 16 weight rows and a chunk of columns are decoded once into a panel,
// which then meets all activation rows. The panel is the same for all formats of a kind, so one inner loop serves many.
//
// Panel: codes [k / 4][16 rows][4 consecutive k], so that a 32-bit lane is a row and no sum across lanes is needed: four
// activation bytes are broadcast, vpmaddubsw multiplies them into 8 rows, vpmaddwd adds each row's two halves.
// Codes of at most 15 stay in int16 for a whole group of 32: 8 steps * 2 * 15 * 127 < 2^15; 31: half a group; 63: two
// steps. Signed codes go in as |w| and x * sign(w), one step at a time.
// Minima and offsets are one more product: minimum of the group times the sum of its activations.
#if defined(__x86_64__)
#include "kernels/avx2.h"
#include "kernels/avx2_unpack.h"

namespace quant {
namespace {

constexpr int kRows = 16;         // of a panel
constexpr int64_t kChunk = 1024;  // columns of a panel: 16 KiB of codes, half of the first-level cache
constexpr int kTile = 4;          // activation rows in registers
constexpr int64_t kColumnBlock = 256;  // activation rows per decoded panel: their codes stay in the second-level cache

struct alignas(64) Panel {
    uint8_t codes[kChunk * kRows];
    float scale[kChunk / 32][kRows];    // of a group of 32; of a super-block for formats with integer scales per 16
    float minimum[kChunk / 16][kRows];  // per 32 or per 16
    int32_t scale16[kChunk / 16][kRows];  // integer scale per 16, twice as int16; or a float's bits (NVFP4)
};
static_assert(sizeof(Panel) + kColumnBlock * 64 <= kMatmulScratch);

template <class F>
struct Kind {
    static constexpr bool kIntegerScales = [] {
        if constexpr (F::kSuper) return F::kGroup == 16;
        return false;
    }();
    static constexpr bool kPer16 = kIntegerScales || F::kScalePer16;
    static constexpr bool kSigned = F::kMax == 128;
    static constexpr bool kHasMinimum = F::kMinimum || F::kOffset != 0;
};

// 8 rows of 8 dwords -> dword i of each row in out[i], `stride` bytes apart.
inline void transpose8(const __m256i* rows, uint8_t* out, int64_t stride) {
    __m256i t[8], u[8];
    for (int i = 0; i < 4; ++i) {
        t[2 * i] = _mm256_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
        t[2 * i + 1] = _mm256_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
    }
    for (int i = 0; i < 2; ++i) {
        u[4 * i] = _mm256_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
        u[4 * i + 1] = _mm256_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
        u[4 * i + 2] = _mm256_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
        u[4 * i + 3] = _mm256_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
    }
    for (int i = 0; i < 4; ++i) {
        _mm256_store_si256(reinterpret_cast<__m256i*>(out + i * stride), _mm256_permute2x128_si256(u[i], u[i + 4], 0x20));
        _mm256_store_si256(reinterpret_cast<__m256i*>(out + (i + 4) * stride), _mm256_permute2x128_si256(u[i], u[i + 4], 0x31));
    }
}

// What one row has in 256 weights (or fewer: then the rest is not used).
struct alignas(64) RowPart {
    __m256i codes[8];
    __m256i scale;       // 8 floats
    __m256i minimum[2];  // 8 or 16 floats
    __m256i scale16[2];  // 16 pairs of int16, or floats
};

inline __m256 floats_low(__m256i v16) { return _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(_mm256_castsi256_si128(v16))); }
inline __m256 floats_high(__m256i v16) { return _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(_mm256_extracti128_si256(v16, 1))); }
inline __m256i bits(__m256 v) { return _mm256_castps_si256(v); }
inline __m256i pairs16(__m128i v16) {
    const __m256i wide = _mm256_cvtepu16_epi32(v16);
    return _mm256_or_si256(wide, _mm256_slli_epi32(wide, 16));
}

template <class F>
inline void unpack_super(const uint8_t* b, RowPart& part) {
#pragma GCC unroll 8
    for (int g = 0; g < 8; ++g) part.codes[g] = F::codes(b, g);
    const __m256i scales = F::scales16(b);
    const float d = F::scale(b);
    if constexpr (F::kGroup == 32) {
        part.scale = bits(_mm256_mul_ps(floats_low(scales), _mm256_set1_ps(d)));
    } else {
        part.scale = bits(_mm256_set1_ps(d));
        part.scale16[0] = pairs16(_mm256_castsi256_si128(scales));
        part.scale16[1] = pairs16(_mm256_extracti128_si256(scales, 1));
    }
    if constexpr (Kind<F>::kHasMinimum) {
        __m256i factors;
        __m256 unit;
        if constexpr (F::kMinimum) {
            factors = F::minima16(b);
            unit = _mm256_set1_ps(-F::min_scale(b));
        } else {
            factors = scales;
            unit = _mm256_set1_ps(-F::kOffset * d);
        }
        part.minimum[0] = bits(_mm256_mul_ps(floats_low(factors), unit));
        part.minimum[1] = bits(_mm256_mul_ps(floats_high(factors), unit));
    }
}

// `groups` of 32 weights of units with one scale each (or one per 16).
template <class F>
inline void unpack_units(const uint8_t* b, int groups, RowPart& part) {
    constexpr int kPerUnit = F::kUnit / 32;
    auto* scale = reinterpret_cast<float*>(&part.scale);
    auto* minimum = reinterpret_cast<float*>(part.minimum);
    auto* scale16 = reinterpret_cast<float*>(part.scale16);
    for (int g = 0; g < groups; g += kPerUnit, b += F::kBytes) {
#pragma GCC unroll 8
        for (int i = 0; i < kPerUnit; ++i) {
            part.codes[g + i] = F::codes(b, i);
            if constexpr (F::kScalePer16) {
                for (int half = 0; half < 2; ++half) {
                    const float d = F::scale16(b, 2 * i + half);
                    scale16[2 * (g + i) + half] = d;
                    minimum[2 * (g + i) + half] = -F::kOffset * d;
                }
            } else {
                const float d = F::scale(b);
                scale[g + i] = d;
                if constexpr (F::kMinimum) minimum[g + i] = F::minimum(b);
                if constexpr (F::kOffset != 0) minimum[g + i] = -F::kOffset * d;
            }
        }
    }
}

// Decodes columns [k, k + count) of `rows` rows from `row` on; missing rows repeat the last one.
template <class F>
void decode_panel(const MatmulArgs& args, int64_t row, int64_t rows, int64_t k, int64_t count, Panel& panel) {
    const int64_t row_bytes = args.w.cols / F::kUnit * F::kBytes;
    for (int64_t at = 0; at < count; at += 256) {
        const int groups = static_cast<int>((count - at < 256 ? count - at : 256) / 32);
        const int64_t first = at / 32;
        for (int half = 0; half < 2; ++half) {
            RowPart part[8];
            for (int i = 0; i < 8; ++i) {
                const int64_t r = 8 * half + i < rows ? 8 * half + i : rows - 1;
                const uint8_t* b = args.w.data + (row + r) * row_bytes + (k + at) / F::kUnit * F::kBytes;
                if constexpr (F::kSuper) {
                    unpack_super<F>(b, part[i]);
                } else {
                    unpack_units<F>(b, groups, part[i]);
                }
            }
            __m256i rows8[8];
            const auto turn = [&](auto member, void* out, int64_t stride) {
                for (int i = 0; i < 8; ++i) rows8[i] = member(part[i]);
                transpose8(rows8, static_cast<uint8_t*>(out), stride);
            };
            for (int g = 0; g < groups; ++g) {
                turn([g](const RowPart& p) { return p.codes[g]; }, panel.codes + (first + g) * 32 * kRows + 32 * half, 64);
            }
            // Past the last group these write into rows of the panel that are not read.
            if constexpr (!F::kScalePer16) {
                turn([](const RowPart& p) { return p.scale; }, &panel.scale[first][8 * half], 64);
            }
            if constexpr (Kind<F>::kHasMinimum) {
                constexpr int kPer = Kind<F>::kPer16 ? 2 : 1;
                for (int part16 = 0; part16 < kPer; ++part16) {
                    turn([=](const RowPart& p) { return p.minimum[part16]; },
                         &panel.minimum[first * kPer + 8 * part16][8 * half], 64);
                }
            }
            if constexpr (Kind<F>::kPer16) {
                for (int part16 = 0; part16 < 2; ++part16) {
                    turn([=](const RowPart& p) { return p.scale16[part16]; },
                         &panel.scale16[first * 2 + 8 * part16][8 * half], 64);
                }
            }
        }
    }
}

struct Columns {
    const int8_t* codes;  // of the first row of the tile, at column k
    const float* scales;
    const float* sums;  // per 16 or per 32, as the kind needs
    int64_t codes_stride, scales_stride, sums_stride;
};

inline __m256i broadcast4(const int8_t* at) { return _mm256_set1_epi32(static_cast<int>(load32(at))); }

// Steps of four k that stay in int16, and how many int16 sums a stretch of `steps` then has.
template <class F>
constexpr int kStepsIn16 = F::kMax <= 15 ? 8 : F::kMax <= 31 ? 4 : F::kMax <= 63 ? 2 : 1;

// int32 sums of kSteps * 4 columns: sum[half][t] over both halves of 8 rows; multipliers are 1 or the integer scales.
template <class F, int kSteps, int kColumns>
inline void multiply_steps(const __m256i* w, const int8_t* x, int64_t stride, const __m256i (&factor)[2], bool add,
                           __m256i (&sum)[2][kColumns]) {
    constexpr int kTogether = kStepsIn16<F> < kSteps ? kStepsIn16<F> : kSteps;
#pragma GCC unroll 8
    for (int s = 0; s < kSteps; s += kTogether) {
        __m256i pairs[2][kColumns];
#pragma GCC unroll 8
        for (int i = 0; i < kTogether; ++i) {
            const __m256i w0 = _mm256_load_si256(w + 2 * (s + i)), w1 = _mm256_load_si256(w + 2 * (s + i) + 1);
#pragma GCC unroll 4
            for (int t = 0; t < kColumns; ++t) {
                const __m256i xt = broadcast4(x + t * stride + 4 * (s + i));
                __m256i p0, p1;
                if constexpr (Kind<F>::kSigned) {
                    p0 = _mm256_maddubs_epi16(_mm256_abs_epi8(w0), _mm256_sign_epi8(xt, w0));
                    p1 = _mm256_maddubs_epi16(_mm256_abs_epi8(w1), _mm256_sign_epi8(xt, w1));
                } else {
                    p0 = _mm256_maddubs_epi16(w0, xt);
                    p1 = _mm256_maddubs_epi16(w1, xt);
                }
                pairs[0][t] = i ? _mm256_add_epi16(pairs[0][t], p0) : p0;
                pairs[1][t] = i ? _mm256_add_epi16(pairs[1][t], p1) : p1;
            }
        }
#pragma GCC unroll 4
        for (int t = 0; t < kColumns; ++t) {
            const __m256i s0 = _mm256_madd_epi16(pairs[0][t], factor[0]), s1 = _mm256_madd_epi16(pairs[1][t], factor[1]);
            sum[0][t] = s || add ? _mm256_add_epi32(sum[0][t], s0) : s0;
            sum[1][t] = s || add ? _mm256_add_epi32(sum[1][t], s1) : s1;
        }
    }
}

// out[t][16] = panel times kColumns activation rows over `groups` groups of 32.
template <class F, int kColumns>
inline void multiply_panel(const Panel& panel, int64_t groups, const Columns& x, float (*out)[kRows]) {
    __m256 total[2][kColumns];
    for (int t = 0; t < kColumns; ++t) total[0][t] = total[1][t] = _mm256_setzero_ps();
    const __m256i one = _mm256_set1_epi16(1);
    for (int64_t g = 0; g < groups; ++g) {
        const auto* w = reinterpret_cast<const __m256i*>(panel.codes + g * 32 * kRows);
        const int8_t* codes = x.codes + 32 * g;
        __m256i sum[2][kColumns];
        if constexpr (Kind<F>::kIntegerScales) {
            const auto* s = reinterpret_cast<const __m256i*>(panel.scale16[2 * g]);
            multiply_steps<F, 4, kColumns>(w, codes, x.codes_stride, {s[0], s[1]}, false, sum);
            multiply_steps<F, 4, kColumns>(w + 8, codes + 16, x.codes_stride, {s[2], s[3]}, true, sum);
        } else if constexpr (F::kScalePer16) {
            for (int half = 0; half < 2; ++half) {
                multiply_steps<F, 4, kColumns>(w + 8 * half, codes + 16 * half, x.codes_stride, {one, one}, false, sum);
                const auto* scale = reinterpret_cast<const float*>(panel.scale16[2 * g + half]);
                for (int t = 0; t < kColumns; ++t) {
                    const __m256 xs = _mm256_set1_ps(x.scales[t * x.scales_stride + g]);
                    for (int h = 0; h < 2; ++h) {
                        const __m256 value = _mm256_mul_ps(_mm256_cvtepi32_ps(sum[h][t]), xs);
                        total[h][t] = _mm256_fmadd_ps(value, _mm256_load_ps(scale + 8 * h), total[h][t]);
                    }
                }
            }
        } else {
            multiply_steps<F, 8, kColumns>(w, codes, x.codes_stride, {one, one}, false, sum);
        }
        if constexpr (!F::kScalePer16) {
            const __m256 scale0 = _mm256_load_ps(panel.scale[g]), scale1 = _mm256_load_ps(panel.scale[g] + 8);
#pragma GCC unroll 4
            for (int t = 0; t < kColumns; ++t) {
                const __m256 xs = _mm256_set1_ps(x.scales[t * x.scales_stride + g]);
                total[0][t] = _mm256_fmadd_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(sum[0][t]), xs), scale0, total[0][t]);
                total[1][t] = _mm256_fmadd_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(sum[1][t]), xs), scale1, total[1][t]);
            }
        }
        if constexpr (Kind<F>::kHasMinimum) {
            constexpr int kPer = Kind<F>::kPer16 ? 2 : 1;
#pragma GCC unroll 2
            for (int part = 0; part < kPer; ++part) {
                const float* minimum = panel.minimum[kPer * g + part];
                const __m256 minimum0 = _mm256_load_ps(minimum), minimum1 = _mm256_load_ps(minimum + 8);
#pragma GCC unroll 4
                for (int t = 0; t < kColumns; ++t) {
                    const __m256 xsum = _mm256_set1_ps(x.sums[t * x.sums_stride + kPer * g + part]);
                    total[0][t] = _mm256_fmadd_ps(minimum0, xsum, total[0][t]);
                    total[1][t] = _mm256_fmadd_ps(minimum1, xsum, total[1][t]);
                }
            }
        }
    }
    for (int t = 0; t < kColumns; ++t) {
        _mm256_store_ps(out[t], total[0][t]);
        _mm256_store_ps(out[t] + 8, total[1][t]);
    }
}

template <class F>
void gemm(const MatmulArgs& args) {
    constexpr int kPerSum = Kind<F>::kPer16 ? 16 : 32;
    auto& panel = *static_cast<Panel*>(args.scratch);
    const Q8Matrix& q = *args.xq;
    const int64_t cols = args.w.cols;
    for (int64_t t0 = 0; t0 < args.n; t0 += kColumnBlock) {
        const int64_t t1 = t0 + kColumnBlock < args.n ? t0 + kColumnBlock : args.n;
        for (int64_t row = args.row_begin; row < args.row_end; row += kRows) {
            const int64_t rows = args.row_end - row < kRows ? args.row_end - row : kRows;
            for (int64_t k = 0; k < cols; k += kChunk) {
                const int64_t count = cols - k < kChunk ? cols - k : kChunk;
                decode_panel<F>(args, row, rows, k, count, panel);
                for (int64_t t = t0; t < t1; t += kTile) {
                    alignas(32) float out[kTile][kRows];
                    const float* sums = kPerSum == 16 ? q.sums : q.block_sums;
                    const Columns x{q.codes + t * cols + k, q.scales + (t * cols + k) / 32, sums + (t * cols + k) / kPerSum,
                                    cols, cols / 32, cols / kPerSum};
                    const int64_t columns = t1 - t < kTile ? t1 - t : kTile;
                    switch (columns) {
                        case 1: multiply_panel<F, 1>(panel, count / 32, x, out); break;
                        case 2: multiply_panel<F, 2>(panel, count / 32, x, out); break;
                        case 3: multiply_panel<F, 3>(panel, count / 32, x, out); break;
                        default: multiply_panel<F, 4>(panel, count / 32, x, out); break;
                    }
                    for (int64_t i = 0; i < columns; ++i) {
                        float* y = args.y + (t + i) * args.y_stride + row;
                        if (k == 0) {
                            for (int64_t r = 0; r < rows; ++r) y[r] = out[i][r];
                        } else {
                            for (int64_t r = 0; r < rows; ++r) y[r] += out[i][r];
                        }
                    }
                }
            }
        }
    }
}

template <class F>
void set(Kernels& table, FormatSlot slot, const char* name) {
    MatmulKernels& kernels = table.matmul[static_cast<size_t>(slot)];
    kernels.gemm = gemm<F>;
    kernels.gemm_name = name;
    kernels.gemm_min_rows = 2;
}

}  // namespace

void fill_avx2_gemm(Kernels& table) {
    set<Q8_0>(table, FormatSlot::q8_0, "gemm_q8_0_q8_avx2");
    set<Q4_0>(table, FormatSlot::q4_0, "gemm_q4_0_q8_avx2");
    set<Q4_1>(table, FormatSlot::q4_1, "gemm_q4_1_q8_avx2");
    set<Q5_0>(table, FormatSlot::q5_0, "gemm_q5_0_q8_avx2");
    set<Q5_1>(table, FormatSlot::q5_1, "gemm_q5_1_q8_avx2");
    set<Q2_K>(table, FormatSlot::q2_k, "gemm_q2_k_q8_avx2");
    set<Q3_K>(table, FormatSlot::q3_k, "gemm_q3_k_q8_avx2");
    set<Q4_K>(table, FormatSlot::q4_k, "gemm_q4_k_q8_avx2");
    set<Q5_K>(table, FormatSlot::q5_k, "gemm_q5_k_q8_avx2");
    set<Q6_K>(table, FormatSlot::q6_k, "gemm_q6_k_q8_avx2");
    set<IQ4_NL>(table, FormatSlot::iq4_nl, "gemm_iq4_nl_q8_avx2");
    set<IQ4_XS>(table, FormatSlot::iq4_xs, "gemm_iq4_xs_q8_avx2");
    set<TQ1_0>(table, FormatSlot::tq1_0, "gemm_tq1_0_q8_avx2");
    set<TQ2_0>(table, FormatSlot::tq2_0, "gemm_tq2_0_q8_avx2");
    set<MXFP4>(table, FormatSlot::mxfp4, "gemm_mxfp4_q8_avx2");
    set<NVFP4>(table, FormatSlot::nvfp4, "gemm_nvfp4_q8_avx2");
    set<Q1_0>(table, FormatSlot::q1_0, "gemm_q1_0_q8_avx2");
    set<Q2_0>(table, FormatSlot::q2_0, "gemm_q2_0_q8_avx2");
}

}  // namespace quant
#endif
