// Loops of one instruction, twelve independent results: more than its latency times its rate on processors so far.
// Compiled without instruction set flags: the instructions are named here, and run only where the table in use has them.
#include "kernels/peak.h"

#include <string_view>

#include "kernels/kernels.h"

namespace quant {
namespace {

#if defined(__x86_64__)
#define QUANT_TWELVE(one) one(0) one(1) one(2) one(3) one(4) one(5) one(6) one(7) one(8) one(9) one(10) one(11)
#define QUANT_CLOBBERED                                                                                              \
    "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"
#define QUANT_PEAK(name, target_isa, one)                                                                            \
    [[gnu::target(target_isa)]] void name(int64_t rounds) {                                                          \
        __asm__ volatile("vzeroall\n1:\n" QUANT_TWELVE(one) "sub $1, %0\njg 1b\nvzeroupper\n" : "+r"(rounds) : : QUANT_CLOBBERED); \
    }
#define QUANT_MADDUBS(i) "vpmaddubsw %%ymm12, %%ymm13, %%ymm" #i "\n"
#define QUANT_FMA(i) "vfmadd231ps %%ymm12, %%ymm13, %%ymm" #i "\n"
#define QUANT_DPBUSD256(i) "%{vex%} vpdpbusd %%ymm12, %%ymm13, %%ymm" #i "\n"
#define QUANT_DPBUSD(i) "vpdpbusd %%zmm12, %%zmm13, %%zmm" #i "\n"
#define QUANT_FMA512(i) "vfmadd231ps %%zmm12, %%zmm13, %%zmm" #i "\n"
QUANT_PEAK(int8_avx2_wide, "avx2", QUANT_MADDUBS)
QUANT_PEAK(f32_avx2_wide, "avx2,fma", QUANT_FMA)
QUANT_PEAK(int8_avxvnni_wide, "avxvnni", QUANT_DPBUSD256)
QUANT_PEAK(int8_avx512_wide, "avx512f,avx512vnni", QUANT_DPBUSD)
QUANT_PEAK(f32_avx512_wide, "avx512f", QUANT_FMA512)
#endif

struct Loop {
    const char* isa;
    int64_t int8, f32;  // multiply-adds of one round
    void (*run_int8)(int64_t);
    void (*run_f32)(int64_t);
};

constexpr Loop kLoops[] = {
#if defined(__x86_64__)
    {"avx2", 12 * 32, 12 * 8, int8_avx2_wide, f32_avx2_wide},
    {"avxvnni", 12 * 32, 12 * 8, int8_avxvnni_wide, f32_avx2_wide},
    {"avx512", 12 * 64, 12 * 16, int8_avx512_wide, f32_avx512_wide},
    {"avx512_vbmi", 12 * 64, 12 * 16, int8_avx512_wide, f32_avx512_wide},
#endif
    {"none", 0, 0, nullptr, nullptr},
};

const Loop& loop() {
    for (const Loop& each : kLoops)
        if (each.isa == std::string_view(kernels().isa)) return each;
    return kLoops[std::size(kLoops) - 1];
}

}  // namespace

int64_t peak_round(PeakOf of) { return of == PeakOf::int8 ? loop().int8 : loop().f32; }

void run_peak(PeakOf of, int64_t rounds) {
    const auto run = of == PeakOf::int8 ? loop().run_int8 : loop().run_f32;
    if (run) run(rounds);
}

uint64_t read_lines(const uint64_t* words, int64_t count) {
    constexpr int64_t kLine = 8;
    uint64_t sum[4] = {};
    int64_t i = 0;
    for (; i + 4 * kLine <= count; i += 4 * kLine) {
        sum[0] += words[i];
        sum[1] += words[i + kLine];
        sum[2] += words[i + 2 * kLine];
        sum[3] += words[i + 3 * kLine];
    }
    for (; i < count; i += kLine) sum[0] += words[i];
    return sum[0] + sum[1] + sum[2] + sum[3];
}

}  // namespace quant
