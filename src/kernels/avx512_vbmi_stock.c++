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
    int32_t start[2][16];  // minus what codes are raised by times the activations, of a block in four lanes
    float scales[16];      // of the blocks; for formats with a minimum each with the sum of its activations behind it
};

inline __m512i load512(const void* at) { return _mm512_loadu_si512(at); }

// 16 bytes at `at` in quarter kQuarter, the rest from `v`.
template <int kQuarter>
inline __m512i with_quarter(__m512i v, const uint8_t* at) {
    return _mm512_mask_broadcast_i32x4(v, 15 << 4 * kQuarter, _mm_loadu_si128(reinterpret_cast<const __m128i*>(at)));
}
inline __m512i low_nibbles(__m512i v) { return _mm512_and_si512(v, _mm512_set1_epi8(15)); }
// A product of bit matrices shifts by four where it would take two other instructions.
inline __m512i high_nibbles(__m512i v) { return _mm512_gf2p8affine_epi64_epi8(v, _mm512_set1_epi64(kUpperNibble), 0); }

// Bytes 16 i + j of the codes of blocks i, `bytes` long, of which the first block's begin `from` bytes into the register.
constexpr Pattern codes_at(int bytes, int from) {
    return pattern([=](int group, int i) { return (bytes * (group / 2) + from + 8 * (group % 2) + i) & 63; });
}
// The codes of four blocks at `b`, of which `whole` holds the first 64 bytes.
template <int kBlock, int kFrom>
inline __m512i codes_of_four(const uint8_t* b, __m512i whole) {
    static constexpr Pattern kCodes = codes_at(kBlock, kFrom);
    return with_quarter<3>(_mm512_permutexvar_epi8(bytes_of(kCodes), whole), b + 3 * kBlock + kFrom);
}

// Adds the sums of eight blocks, each in four lanes of `total`, times the blocks' factors, which are in lanes 0, kStep ...
template <int kStep>
inline __m512 add_blocks(const __m512i (&total)[2], __m512 factors, __m512 sum) {
    const __m512i first = _mm512_setr_epi32(0, 0, 0, 0, kStep, kStep, kStep, kStep, 2 * kStep, 2 * kStep, 2 * kStep, 2 * kStep, 3 * kStep,
                                            3 * kStep, 3 * kStep, 3 * kStep);
    const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(4 * kStep));
    sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(total[0]), _mm512_permutexvar_ps(first, factors), sum);
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(total[1]), _mm512_permutexvar_ps(second, factors), sum);
}

// Scales of eight blocks of 18 bytes, those of four within a register.
inline __m512 eight_scales18(const __m512i (&whole)[2], const EightOfX& x) {
    static constexpr Pattern kAt = pattern([](int, int i) { return 18 * (i / 2) + i % 2; });
    const __m512i four = _mm512_permutexvar_epi8(bytes_of(kAt), whole[0]);
    const __m512i eight = _mm512_mask_permutexvar_epi8(four, 0xff00, bytes_of(kAt), whole[1]);
    return _mm512_castps256_ps512(_mm256_mul_ps(_mm256_cvtph_ps(_mm512_castsi512_si128(eight)), _mm256_load_ps(x.scales)));
}

inline __m512i add_products(__m512i total, __m512i low, __m512i high, const int8_t (&codes)[2][64]) {
    return _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(total, low, load512(codes[0])), high, load512(codes[1]));
}

struct Q4_0_Eight : Q4_0 {
    static constexpr int kRaised = 8;

    [[gnu::always_inline]] static __m512 add(const uint8_t* b, const EightOfX& x, __m512 sum) {
        __m512i total[2], whole[2];
        for (int half = 0; half < 2; ++half, b += 4 * kBytes) {
            whole[half] = load512(b);
            const __m512i codes = codes_of_four<kBytes, 2>(b, whole[half]);
            total[half] = add_products(load512(x.start[half]), low_nibbles(codes), high_nibbles(codes), x.codes[half]);
        }
        return add_blocks<1>(total, eight_scales18(whole, x), sum);
    }
};

struct IQ4_NL_Eight : IQ4_NL {
    static constexpr int kRaised = 128;

    // The look-up takes six bits of a byte: all that the upper two can be find the same.
    [[gnu::always_inline]] static __m512 add(const uint8_t* b, const EightOfX& x, __m512 sum) {
        static constexpr Pattern kLevels = pattern([](int group, int i) { return kIq4Levels[(8 * group + i) % 16] + kRaised; });
        const __m512i levels = bytes_of(kLevels);
        __m512i total[2], whole[2];
        for (int half = 0; half < 2; ++half, b += 4 * kBytes) {
            whole[half] = load512(b);
            const __m512i codes = codes_of_four<kBytes, 2>(b, whole[half]);
            total[half] = add_products(load512(x.start[half]), _mm512_permutexvar_epi8(codes, levels),
                                       _mm512_permutexvar_epi8(high_nibbles(codes), levels), x.codes[half]);
        }
        return add_blocks<1>(total, eight_scales18(whole, x), sum);
    }
};

struct Q4_1_Eight : Q4_1 {
    static constexpr int kRaised = 0;

    [[gnu::always_inline]] static __m512 add(const uint8_t* b, const EightOfX& x, __m512 sum) {
        __m512i total[2], whole[2];
        for (int half = 0; half < 2; ++half, b += 4 * kBytes) {
            whole[half] = load512(b);
            const __m512i codes = codes_of_four<kBytes, 4>(b, whole[half]);
            total[half] = add_products(_mm512_setzero_si512(), low_nibbles(codes), high_nibbles(codes), x.codes[half]);
        }
        const __m512i at = _mm512_setr_epi32(0, 5, 10, 15, 16, 21, 26, 31, 0, 0, 0, 0, 0, 0, 0, 0);
        const __m512i pairs = _mm512_permutex2var_epi32(whole[0], at, whole[1]);
        const __m512 factors = _mm512_mul_ps(_mm512_cvtph_ps(_mm512_castsi512_si256(pairs)), _mm512_load_ps(x.scales));
        return add_blocks<2>(total, factors, _mm512_mask_add_ps(sum, 0xaaaa, sum, factors));
    }
};

struct Q5_0_Eight : Q5_0 {
    static constexpr int kRaised = 16;

    // The fifth bits of one half of four blocks: general registers have room for putting them together.
    static __mmask64 fifth_bits(const uint8_t* b) {
        return load16(b) | uint64_t{load16(b + kBytes)} << 16 | uint64_t{load16(b + 2 * kBytes)} << 32 | uint64_t{load16(b + 3 * kBytes)} << 48;
    }
    [[gnu::always_inline]] static __m512 add(const uint8_t* b, const EightOfX& x, __m512 sum) {
        static constexpr Pattern kCodes = codes_at(kBytes, 6 + 64 - 24);
        const __m512i fifth = _mm512_set1_epi8(16);
        const __m256 scales = _mm256_set_m128(four_halves(b + 4 * kBytes, kBytes), four_halves(b, kBytes));
        __m512i total[2];
        for (int half = 0; half < 2; ++half, b += 4 * kBytes) {
            const __m512i codes = with_quarter<0>(_mm512_permutexvar_epi8(bytes_of(kCodes), load512(b + 24)), b + 6);
            __m512i low = low_nibbles(codes), high = high_nibbles(codes);
            low = _mm512_mask_add_epi8(low, fifth_bits(b + 2), low, fifth);
            high = _mm512_mask_add_epi8(high, fifth_bits(b + 4), high, fifth);
            total[half] = add_products(load512(x.start[half]), low, high, x.codes[half]);
        }
        return add_blocks<1>(total, _mm512_castps256_ps512(_mm256_mul_ps(scales, _mm256_load_ps(x.scales))), sum);
    }
};

template <class F>
void lay_out(const int8_t* codes, const float* scales, const float* sums, EightOfX& out) {
    for (int half = 0; half < 2; ++half) {
        __m512i start = _mm512_setzero_si512();
        for (int part = 0; part < 2; ++part) {
            for (int block = 0; block < 4; ++block)
                __builtin_memcpy(out.codes[half][part] + 16 * block, codes + 128 * half + 32 * block + 16 * part, 16);
            start = _mm512_dpbusd_epi32(start, _mm512_set1_epi8(static_cast<char>(F::kRaised)), load512(out.codes[half][part]));
        }
        _mm512_store_si512(out.start[half], _mm512_sub_epi32(_mm512_setzero_si512(), start));
    }
    for (int i = 0; i < 8; ++i) {
        out.scales[F::kMinimum ? 2 * i : i] = scales[i];
        if (F::kMinimum) out.scales[2 * i + 1] = sums[i];
    }
}

// One activation row times rows of eight blocks, and of what is left, which goes the way of the other processors.
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
    static_assert(kBlocksAtOnce * sizeof(EightOfX) <= kMatmulScratch);
    const int64_t eights = args.w.cols / 256, whole = 256 * eights;
    const Q8Matrix& q = *args.xq;
    const bool prepared = args.same_activations && args.n == 1 && eights <= kBlocksAtOnce;
    auto* const x = static_cast<EightOfX*>(args.scratch);
    for (int64_t t = 0; t < args.n; ++t) {
        const int8_t* codes = q.row_codes(t);
        const float *scales = q.row_scales(t), *sums = q.row_block_sums(t);
        const Activations left{codes + whole, scales + whole / 32, nullptr, sums + whole / 32, nullptr};
        for (int64_t first = 0; first == 0 || first < eights; first += kBlocksAtOnce) {
            const int64_t count = eights - first < kBlocksAtOnce ? eights - first : kBlocksAtOnce;
            for (int64_t u = 0; u < count && !prepared; ++u)
                lay_out<F>(codes + 256 * (first + u), scales + 8 * (first + u), sums + 8 * (first + u), x[u]);
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
    set_gemv_eights<Q4_1_Eight>(table, FormatSlot::q4_1, "gemv_q4_1_q8_avx512_vbmi");
    set_gemv_eights<Q5_0_Eight>(table, FormatSlot::q5_0, "gemv_q5_0_q8_avx512_vbmi");
    set_gemv_eights<IQ4_NL_Eight>(table, FormatSlot::iq4_nl, "gemv_iq4_nl_q8_avx512_vbmi");
}

}  // namespace quant
#endif
