// Memory by what Linux says of itself; elsewhere unknown.
#include "base/memory.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>

namespace quant {
namespace {

// The number behind `key` in a small text file of the system, or the first one; 0 when there is none ("max").
uint64_t system_number(const char* path, std::string_view key) {
    std::ifstream file(path);
    for (std::string word; file >> word;) {
        if (!key.empty() && word != key) continue;
        if (!key.empty()) file >> word;
        return std::strtoull(word.c_str(), nullptr, 10);
    }
    return 0;
}

}  // namespace

uint64_t memory_to_spare() {
    uint64_t spare = system_number("/proc/meminfo", "MemAvailable:") * 1024;
    for (const char* path : {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"})
        if (const uint64_t limit = system_number(path, ""); limit > 0) spare = std::min(spare, limit);
    return spare;
}

}  // namespace quant
