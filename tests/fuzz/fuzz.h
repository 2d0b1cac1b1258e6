// A fuzz target is one function, LLVMFuzzerTestOneInput, and one list of valid inputs to start from. Built with
// -fsanitize=fuzzer -DQUANT_LIBFUZZER it runs under libFuzzer; otherwise with the mutator below:
//   TARGET [EXECUTIONS [SEED]]      runs that many inputs; default $QUANT_FUZZ_RUNS or 100000
//   TARGET --one EXECUTION SEED OUT writes the input of one execution to a file and runs it
//   TARGET FILE...                  runs these files
// Each input depends on seed and number alone, so that the line printed on a crash is enough to get it back.
#pragma once

#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/rng.h"

using Input = std::vector<uint8_t>;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
std::vector<Input> fuzz_seeds();

#ifndef QUANT_LIBFUZZER
namespace fuzz {

inline volatile uint64_t current_seed = 0, current_number = 0;

inline void on_crash(int signal) {
    char text[160];
    const int length = std::snprintf(text, sizeof text, "CRASH signal %d: get the input with --one %llu %llu FILE\n", signal,
                                     static_cast<unsigned long long>(current_number), static_cast<unsigned long long>(current_seed));
    const auto ignored = ::write(2, text, static_cast<size_t>(length));
    static_cast<void>(ignored);
    std::signal(signal, SIG_DFL);
    ::raise(signal);
}

// One change of the kinds that parsers fall over: bits, sizes, missing and repeated pieces.
inline void mutate(Input& input, quant::Rng& rng) {
    static constexpr uint64_t kValues[] = {0, 1, 2, 3, 4, 7, 8, 16, 31, 32, 64, 255, 256, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000,
                                           0x7fffffffffffffff, 0x8000000000000000, 0xffffffffffffffff, 0xffffffffffffffe0};
    const auto place = [&](size_t room) { return static_cast<size_t>(rng.below(room)); };
    const auto at = [&](size_t where) { return input.begin() + static_cast<ptrdiff_t>(where); };
    const uint64_t kind = rng.below(8);
    if (input.empty() || kind == 0) {
        input.insert(at(input.empty() ? 0 : place(input.size())), static_cast<uint8_t>(rng.next()));
    } else if (kind == 1) {
        input[place(input.size())] ^= static_cast<uint8_t>(1u << rng.below(8));
    } else if (kind == 2) {
        input[place(input.size())] = static_cast<uint8_t>(rng.next());
    } else if (kind == 3 || kind == 4) {
        // Numbers stand in the first part of these files more often than in the rest.
        const size_t width = size_t{1} << rng.below(4), where = place(kind == 3 ? input.size() : input.size() / 8 + 1);
        const uint64_t value = rng.below(3) ? kValues[rng.below(std::size(kValues))] : input.size() - rng.below(64);
        if (where + width <= input.size()) std::memcpy(&input[where], &value, width);
    } else if (kind == 5) {
        input.resize(place(input.size()));
    } else {
        const size_t from = place(input.size()), length = 1 + place(std::min<size_t>(32, input.size() - from));
        const Input piece(at(from), at(from + length));
        if (kind == 6) input.erase(at(from), at(from + length));
        else input.insert(at(place(input.size())), piece.begin(), piece.end());
    }
}

inline Input make_input(const std::vector<Input>& seeds, uint64_t seed, uint64_t number) {
    quant::Rng rng(seed * 0x9e3779b97f4a7c15 + number);
    Input input = seeds[rng.below(seeds.size())];
    for (uint64_t changes = 1 + rng.below(6); changes > 0; --changes) mutate(input, rng);
    return input;
}

inline void run_one(const Input& input) {
    // A copy of exactly this size on the heap: a sanitizer sees every byte read beside it.
    const Input exact(input);
    ::alarm(10);  // a hang is a crash too
    LLVMFuzzerTestOneInput(exact.data(), exact.size());
}

inline int main(int argc, char** argv) {
    for (const int signal : {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGALRM}) std::signal(signal, on_crash);
    const auto number = [&](int at, uint64_t otherwise) { return argc > at ? std::strtoull(argv[at], nullptr, 10) : otherwise; };
    const std::vector<Input> seeds = fuzz_seeds();
    if (argc == 5 && std::strcmp(argv[1], "--one") == 0) {
        const Input input = make_input(seeds, number(3, 0), number(2, 0));
        std::ofstream(argv[4], std::ios::binary).write(reinterpret_cast<const char*>(input.data()), static_cast<std::streamsize>(input.size()));
        run_one(input);
        return 0;
    }
    if (argc > 1 && number(1, 0) == 0) {
        for (int i = 1; i < argc; ++i) {
            std::ifstream file(argv[i], std::ios::binary);
            run_one(Input(std::istreambuf_iterator<char>(file), {}));
        }
        return 0;
    }
    const char* runs = std::getenv("QUANT_FUZZ_RUNS");
    const uint64_t executions = number(1, runs ? std::strtoull(runs, nullptr, 10) : 100000);
    current_seed = number(2, 1);
    for (const Input& input : seeds) run_one(input);
    for (uint64_t i = 0; i < executions; ++i) {
        current_number = i;
        run_one(make_input(seeds, current_seed, i));
    }
    std::printf("ok %llu executions, seed %llu\n", static_cast<unsigned long long>(executions), static_cast<unsigned long long>(current_seed));
    return 0;
}

}  // namespace fuzz

int main(int argc, char** argv) { return fuzz::main(argc, argv); }
#endif
