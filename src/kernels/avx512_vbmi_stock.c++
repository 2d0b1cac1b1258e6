// Blocks of 32 weights times one activation row with AVX-512 VBMI, eight blocks at a time. Four blocks' codes come together in one
// register, low nibbles of all four in one product, high nibbles in another; activations lie in that order beforehand. Offsets of
// codes are in what the integer sums start from.
#if defined(__x86_64__)
#include "kernels/avx512_vbmi.h"

namespace quant {
namespace {

// The activations of eight blocks: of each four the halves that low and high nibbles meet.
struct alignas(64) EightOfX {
    int8_t codes[2][2][64];
    int32_t start[2][16];  // minus the offset of codes times the activations, of a block in four lanes
    float scales[8];
    float sums[8];  // of a block's activations, scale included
};

inline __m512i load512(const void* at) { return _mm512_loadu_si512(at); }

// 16 bytes at `at` in the last quarter, the rest from `v`.
inline __m512i with_last(__m512i v, const uint8_t* at) {
    return _mm512_mask_broadcast_i32x4(v, 0xf000, _mm_loadu_si128(reinterpret_cast<const __m128i*>(at)));
}
inline __m512i low_nibbles(__m512i v) { return _mm512_and_si512(v, _mm512_set1_epi8(15)); }
// A product of bit matrices shifts by four where it would take two other instructions.
inline __m512i high_nibbles(__m512i v) { return _mm512_gf2p8affine_epi64_epi8(v, _mm512_set1_epi64(0x1020408000000000), 0); }

// Bytes 16 i + j of four blocks' codes, of blocks `bytes` long with the codes `from` bytes in; the last block's are in no register.
constexpr Pattern codes_at(int bytes, int from) {
    return pattern([=](int group, int i) { return (bytes * (group / 2) + from + 8 * (group % 2) + i) & 63; });
}
// The first two bytes of four blocks of `bytes`, then, for the second register of two, the same again.
constexpr Pattern scales_at(int bytes) {
    return pattern([=](int, int i) { return bytes * (i / 2) + i % 2; });
}

// Scales of eight blocks, those of four within the register of their first 64 bytes.
template <int kBlock>
inline __m256 eight_scales(__m512i first, __m512i second) {
    static constexpr Pattern kAt = scales_at(kBlock);
    const __m512i at = bytes_of(kAt), four = _mm512_permutexvar_epi8(at, first);
    return _mm256_cvtph_ps(_mm512_castsi512_si128(_mm512_mask_permutexvar_epi8(four, 0xff00, at, second)));
}

// Adds the sums of eight blocks, each in four lanes of `low` (the first four blocks) and `high`, times the blocks' factors.
inline __m512 add_blocks(__m512i low, __m512i high, __m256 factors, __m512 sum) {
    const __m512 wide = _mm512_castps256_ps512(factors);
    const __m512i first = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(low), _mm512_permutexvar_ps(first, wide), sum);
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(high), _mm512_permutexvar_ps(_mm512_add_epi32(first, _mm512_set1_epi32(4)), wide), sum);
}

inline void lay_out(const int8_t* codes, const float* scales, const float* sums, int offset, bool split, EightOfX& out) {
    for (int half = 0; half < 2; ++half) {
        for (int block = 0; block < 4; ++block)
            for (int part = 0; part < 2; ++part) {
                int8_t* to = split ? out.codes[half][part] + 16 * block : out.codes[half][block / 2] + 32 * (block % 2) + 16 * part;
                __builtin_memcpy(to, codes + 128 * half + 32 * block + 16 * part, 16);
            }
        __m512i start = _mm512_setzero_si512();
        for (int part = 0; part < 2; ++part)
            start = _mm512_dpbusd_epi32(start, _mm512_set1_epi8(static_cast<char>(offset)), load512(out.codes[half][part]));
        _mm512_store_si512(out.start[half], _mm512_sub_epi32(_mm512_setzero_si512(), start));
    }
    __builtin_memcpy(out.scales, scales, sizeof out.scales);
    __builtin_memcpy(out.sums, sums, sizeof out.sums);
}

struct Q4_0_Eight : Q4_0 {
    [[gnu::always_inline]] static __m512 add(const uint8_t* b, const EightOfX& x, __m512 sum) {
        static constexpr Pattern kCodes = codes_at(kBytes, 2);
        __m512i total[2], whole[2];
        for (int half = 0; half < 2; ++half, b += 4 * kBytes) {
            whole[half] = load512(b);
            const __m512i codes = with_last(_mm512_permutexvar_epi8(bytes_of(kCodes), whole[half]), b + 3 * kBytes + 2);
            total[half] = _mm512_dpbusd_epi32(load512(x.start[half]), low_nibbles(codes), load512(x.codes[half][0]));
            total[half] = _mm512_dpbusd_epi32(total[half], high_nibbles(codes), load512(x.codes[half][1]));
        }
        const __m256 factors = _mm256_mul_ps(eight_scales<kBytes>(whole[0], whole[1]), _mm256_load_ps(x.scales));
        return add_blocks(total[0], total[1], factors, sum);
    }
};

// One activation row times rows of eight blocks, and of what is left, which goes the way of the other processors.
constexpr int64_t kEightsAtOnce = 1024;

template <class F>
void multiply_eights(const MatmulArgs& args, const Activations& left, int64_t t, int64_t first, int64_t count) {
    const auto* const x = static_cast<const EightOfX*>(args.scratch);
    const int64_t blocks = args.w.cols / 32, rest = first + count == blocks / 8 ? blocks % 8 : 0;
    for (int64_t row = args.row_begin; row < args.row_end; ++row) {
        const uint8_t* b = args.w.data + (row * blocks + 8 * first) * F::kBytes;
        __m512 sum = _mm512_setzero_ps();
        for (int64_t u = 0; u < count; ++u, b += 8 * F::kBytes) {
            prefetch_ahead(b, 8 * F::kBytes);
            sum = F::add(b, x[u], sum);
        }
        float& y = args.y[t * args.y_stride + row];
        y = (first == 0 ? 0.0f : y) + _mm512_reduce_add_ps(sum);
        if (rest) y += gemv_row32<F>(b, rest, left);
    }
}

template <class F>
void gemv_eights(const MatmulArgs& args) {
    static_assert(kEightsAtOnce * sizeof(EightOfX) <= kMatmulScratch);
    const int64_t eights = args.w.cols / 256, whole = 256 * eights;
    const Q8Matrix& q = *args.xq;
    const bool prepared = args.same_activations && args.n == 1 && eights <= kEightsAtOnce;
    auto* const x = static_cast<EightOfX*>(args.scratch);
    for (int64_t t = 0; t < args.n; ++t) {
        const int8_t* codes = q.row_codes(t);
        const float *scales = q.row_scales(t), *sums = q.block_sums + t * (args.w.cols / 32);
        const Activations left{codes + whole, scales + whole / 32, nullptr, sums + whole / 32, nullptr};
        for (int64_t first = 0; first == 0 || first < eights; first += kEightsAtOnce) {
            const int64_t count = eights - first < kEightsAtOnce ? eights - first : kEightsAtOnce;
            for (int64_t u = 0; u < count && !prepared; ++u)
                lay_out(codes + 256 * (first + u), scales + 8 * (first + u), sums + 8 * (first + u), F::kOffset, true, x[u]);
            multiply_eights<F>(args, left, t, first, count);
        }
    }
}

template <class F>
void set_gemv_eights(Kernels& table, FormatSlot slot, const char* name) {
    MatmulKernels& kernels = table.matmul[static_cast<size_t>(slot)];
    kernels.gemv = gemv_eights<F>;
    kernels.gemv_name = name;
}

}  // namespace

void fill_avx512_vbmi_stock(Kernels& table) {
    set_gemv_eights<Q4_0_Eight>(table, FormatSlot::q4_0, "gemv_q4_0_q8_avx512_vbmi");
}

}  // namespace quant
#endif
