// Detection of instruction sets, the operating system's support included. Must not be compiled with instruction set
// flags: it runs before anything is known. Knows nothing of kernels.
#include "base/cpu.h"

#include <cstdint>
#include <cstdio>
#include <cstring>

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace quant {
namespace {

#if defined(__x86_64__) || defined(__i386__)

struct Registers {
    uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Registers cpuid(uint32_t leaf, uint32_t subleaf) {
    Registers r;
    if (!__get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx)) return {};
    return r;
}

// Register states that the system saves on a task switch (Intel SDM vol. 1, 13.3).
uint64_t saved_states() {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return uint64_t{high} << 32 | low;
}

bool bit(uint32_t word, int index) { return (word >> index & 1) != 0; }

CpuFeatures detect() {
    CpuFeatures f;
    const Registers one = cpuid(1, 0), seven = cpuid(7, 0);
    const bool osxsave = bit(one.ecx, 27);
    if (!osxsave) return f;
    const uint64_t states = saved_states();
    const bool ymm = (states & 0x06) == 0x06;
    const bool zmm = (states & 0xe6) == 0xe6;  // opmask, upper halves of zmm0-15, zmm16-31
    const bool fma = bit(one.ecx, 12), f16c = bit(one.ecx, 29);
    f.avx2 = ymm && bit(seven.ebx, 5) && fma && f16c;
    if (!f.avx2) return f;
    const Registers seven_one = seven.eax >= 1 ? cpuid(7, 1) : Registers{};
    f.avx_vnni = bit(seven_one.eax, 4);
    f.avx512 = zmm && bit(seven.ebx, 16) && bit(seven.ebx, 30) && bit(seven.ebx, 17) && bit(seven.ebx, 31);
    f.avx512_vnni = f.avx512 && bit(seven.ecx, 11);
    f.avx512_vbmi = f.avx512_vnni && bit(seven.ecx, 1) && bit(seven.ecx, 8);
    f.avx512_bf16 = f.avx512 && bit(seven_one.eax, 5);
    return f;
}

std::string name_of_processor() {
    char text[49] = {};
    if (cpuid(0x80000000u, 0).eax < 0x80000004u) return "x86";
    for (uint32_t i = 0; i < 3; ++i) {
        const Registers r = cpuid(0x80000002u + i, 0);
        std::memcpy(text + 16 * i, &r, sizeof r);
    }
    std::string name = text;
    while (!name.empty() && name.back() == ' ') name.pop_back();
    while (!name.empty() && name.front() == ' ') name.erase(0, 1);
    return name;
}

#elif defined(__APPLE__)

bool has(const char* key) {
    int value = 0;
    size_t bytes = sizeof value;
    return sysctlbyname(key, &value, &bytes, nullptr, 0) == 0 && value != 0;
}

CpuFeatures detect() {
    CpuFeatures f;
    f.neon = true;
    f.dotprod = has("hw.optional.arm.FEAT_DotProd");
    f.i8mm = has("hw.optional.arm.FEAT_I8MM");
    f.bf16 = has("hw.optional.arm.FEAT_BF16");
    f.fp16 = has("hw.optional.arm.FEAT_FP16");
    return f;
}

std::string name_of_processor() {
    char text[128] = {};
    size_t bytes = sizeof text - 1;
    return sysctlbyname("machdep.cpu.brand_string", text, &bytes, nullptr, 0) == 0 ? text : "AArch64";
}

#elif defined(__aarch64__) && defined(__linux__)

// Bits of AT_HWCAP and AT_HWCAP2 (Linux, arch/arm64/include/uapi/asm/hwcap.h); older headers lack some names.
constexpr unsigned long kHalf = 1ul << 10;     // HWCAP_ASIMDHP
constexpr unsigned long kDotprod = 1ul << 20;  // HWCAP_ASIMDDP
constexpr unsigned long kI8mm = 1ul << 13;     // HWCAP2_I8MM
constexpr unsigned long kBf16 = 1ul << 14;     // HWCAP2_BF16

CpuFeatures detect() {
    CpuFeatures f;
    const unsigned long first = getauxval(AT_HWCAP), second = getauxval(AT_HWCAP2);
    f.neon = true;
    f.fp16 = (first & kHalf) != 0;
    f.dotprod = (first & kDotprod) != 0;
    f.i8mm = (second & kI8mm) != 0;
    f.bf16 = (second & kBf16) != 0;
    return f;
}

std::string name_of_processor() {
    std::FILE* file = std::fopen("/proc/cpuinfo", "r");
    if (!file) return "AArch64";
    char line[256];
    unsigned implementer = 0, part = 0;
    while (std::fgets(line, sizeof line, file)) {
        const char* value = std::strchr(line, ':');
        if (!value) continue;
        if (std::strncmp(line, "CPU implementer", 15) == 0) std::sscanf(value + 1, "%x", &implementer);
        if (std::strncmp(line, "CPU part", 8) == 0) std::sscanf(value + 1, "%x", &part);
    }
    std::fclose(file);
    char text[64];
    std::snprintf(text, sizeof text, "AArch64 implementer 0x%02x part 0x%03x", implementer, part);
    return text;
}

#else

CpuFeatures detect() { return {}; }
std::string name_of_processor() { return "unknown processor"; }

#endif

}  // namespace

const CpuFeatures& cpu_features() {
    static const CpuFeatures features = detect();
    return features;
}

std::string cpu_name() { return name_of_processor(); }

}  // namespace quant
