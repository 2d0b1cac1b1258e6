// Which kernel table is in use: the list of instruction sets, lowest first, and the one choice between them.
// The only file that knows all of them; compiled without instruction set flags.
#include "kernels/kernels.h"

#include <array>
#include <atomic>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/cpu.h"
#include "kernels/tables.h"

namespace quant {
namespace {

struct Isa {
    const char* name;
    bool (*runs_on)(const CpuFeatures&);
    void (*fill)(Kernels&);  // null: not of this architecture
};

#if defined(__x86_64__)
#define QUANT_X86(function) function
#define QUANT_ARM(function) nullptr
#elif defined(__aarch64__)
#define QUANT_X86(function) nullptr
#define QUANT_ARM(function) function
#else
#define QUANT_X86(function) nullptr
#define QUANT_ARM(function) nullptr
#endif

constexpr Isa kIsas[] = {
    {"scalar", [](const CpuFeatures&) { return true; }, fill_scalar},
    {"avx2", [](const CpuFeatures& cpu) { return cpu.avx2; }, QUANT_X86(fill_avx2)},
    {"avxvnni", [](const CpuFeatures& cpu) { return cpu.avx_vnni; }, QUANT_X86(fill_avxvnni)},
    {"avx512", [](const CpuFeatures& cpu) { return cpu.avx512 && cpu.avx512_vnni; }, QUANT_X86(fill_avx512)},
    {"avx512_vbmi", [](const CpuFeatures& cpu) { return cpu.avx512_vbmi; }, QUANT_X86(fill_avx512_vbmi)},
    {"neon", [](const CpuFeatures& cpu) { return cpu.neon; }, QUANT_ARM(fill_neon)},
    {"neon_dotprod", [](const CpuFeatures& cpu) { return cpu.dotprod; }, QUANT_ARM(fill_neon_dotprod)},
    {"neon_i8mm", [](const CpuFeatures& cpu) { return cpu.dotprod && cpu.i8mm; }, QUANT_ARM(fill_neon_i8mm)},
};

struct Tables {
    std::array<Kernels, std::size(kIsas)> table;
    std::vector<const Kernels*> available;

    Tables() {
        const Kernels* lower = nullptr;
        size_t count = 0;
        for (const Isa& isa : kIsas) {
            if (!isa.fill || !isa.runs_on(cpu_features())) continue;
            Kernels& own = table[count++];
            if (lower) own = *lower;
            own.isa = isa.name;
            isa.fill(own);
            available.push_back(&own);
            lower = &own;
        }
    }
};

const Tables& tables() {
    static const Tables all;
    return all;
}

const Kernels* find_available(std::string_view isa) {
    for (const Kernels* each : tables().available) {
        if (isa == each->isa) return each;
    }
    return nullptr;
}

std::string names_available() {
    std::string names;
    for (const Kernels* each : tables().available) names += (names.empty() ? "" : ", ") + std::string(each->isa);
    return names;
}

std::atomic<const Kernels*>& active() {
    static std::atomic<const Kernels*> table{nullptr};
    return table;
}

}  // namespace

const Kernels& kernels() {
    const Kernels* table = active().load(std::memory_order_acquire);
    if (table) return *table;
    const char* wanted = std::getenv("QUANT_ISA");
    if (wanted && *wanted) table = find_available(wanted);
    if (!table) table = tables().available.back();
    active().store(table, std::memory_order_release);
    return *table;
}

std::span<const Kernels* const> available_kernels() { return tables().available; }

Status force_kernels(std::string_view isa) {
    const Kernels* table = find_available(isa);
    if (table) {
        active().store(table, std::memory_order_release);
        return {};
    }
    bool known = false;
    for (const Isa& each : kIsas) known = known || isa == each.name;
    return usage_error("instruction set \"" + std::string(isa) + "\" " +
                       (known ? "does not run on this processor" : "is unknown") + "; available: " + names_available());
}

Status check_kernel_environment() {
    const char* wanted = std::getenv("QUANT_ISA");
    if (!wanted || !*wanted) return {};
    Status forced = force_kernels(wanted);
    if (!forced) return usage_error("QUANT_ISA: " + forced.error().text);
    return {};
}

namespace {

// The parts of a Q8Matrix, each from a cache line on: codes, a scale per 32 of them, sums per 16 and per 32.
struct Q8Layout {
    size_t scales, sums, block_sums, end;
};

Q8Layout q8_layout(int64_t cols, int64_t rows) {
    const auto codes = static_cast<size_t>(cols * rows);
    const auto lines = [](size_t bytes) { return (bytes + 63) / 64 * 64; };
    Q8Layout at{};
    at.scales = lines(codes);
    at.sums = at.scales + lines(codes / 32 * sizeof(float));
    at.block_sums = at.sums + lines(codes / 16 * sizeof(float));
    at.end = at.block_sums + lines(codes / 32 * sizeof(float));
    return at;
}

}  // namespace

size_t q8_matrix_bytes(int64_t cols, int64_t rows) { return q8_layout(cols, rows).end; }

Q8Matrix q8_matrix_at(void* buffer, int64_t cols, int64_t rows) {
    const Q8Layout at = q8_layout(cols, rows);
    auto* bytes = static_cast<uint8_t*>(buffer);
    Q8Matrix out;
    out.cols = cols;
    out.rows = rows;
    out.stride = cols;
    out.codes = static_cast<int8_t*>(buffer);
    out.scales = reinterpret_cast<float*>(bytes + at.scales);
    out.sums = reinterpret_cast<float*>(bytes + at.sums);
    out.block_sums = reinterpret_cast<float*>(bytes + at.block_sums);
    return out;
}

}  // namespace quant
