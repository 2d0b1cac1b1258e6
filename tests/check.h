// The whole test framework of the unit tests: named cases, checks that go on after a failure, skips with a reason.
// Every test program prints one line per case (`ok NAME`, `FAIL NAME: why`, `SKIP NAME: why`); tests/run.sh adds them up.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace check {

struct Case {
    const char* name;
    void (*body)();
};
inline std::vector<Case>& cases() {
    static std::vector<Case> all;
    return all;
}
struct Register {
    Register(const char* name, void (*body)()) { cases().push_back({name, body}); }
};

struct State {
    std::string failure, skip;
    int failures = 0;
};
inline State& state() {
    static State current;
    return current;
}
inline void fail(const char* file, int line, const std::string& what) {
    if (state().failures++ == 0) state().failure = what + " (" + file + ":" + std::to_string(line) + ")";
}

// The folder of reference data; empty when it is absent.
inline std::string shared() {
    const char* given = std::getenv("QUANT_SHARED");
    const std::string path = given ? given : "../shared";
    std::FILE* readme = std::fopen((path + "/README.md").c_str(), "rb");
    if (!readme) return {};
    std::fclose(readme);
    return path;
}

// Runs all cases, or those whose name contains argv[1].
inline int run(int argc, char** argv) {
    int failed = 0;
    for (const Case& each : cases()) {
        if (argc > 1 && !std::strstr(each.name, argv[1])) continue;
        state() = {};
        each.body();
        if (state().failures) {
            ++failed;
            std::printf("FAIL %s: %s, %d checks\n", each.name, state().failure.c_str(), state().failures);
        } else if (!state().skip.empty()) {
            std::printf("SKIP %s: %s\n", each.name, state().skip.c_str());
        } else {
            std::printf("ok %s\n", each.name);
        }
        std::fflush(stdout);
    }
    return failed ? 1 : 0;
}

}  // namespace check

#define TEST(name)                                                  \
    static void test_##name();                                      \
    static const check::Register register_##name(#name, test_##name); \
    static void test_##name()
#define CHECK(condition)                                            \
    do {                                                            \
        if (!(condition)) check::fail(__FILE__, __LINE__, #condition); \
    } while (0)
// CHECK with a std::string that says what was found.
#define CHECK_MSG(condition, text)                                  \
    do {                                                            \
        if (!(condition)) check::fail(__FILE__, __LINE__, std::string(#condition) + ": " + (text)); \
    } while (0)
#define SKIP(reason)                                                \
    do {                                                            \
        check::state().skip = (reason);                             \
        return;                                                     \
    } while (0)
#define SHARED_OR_SKIP(name)                                        \
    const std::string name = check::shared();                       \
    if (name.empty()) SKIP("needs the reference data folder (QUANT_SHARED)")
#define TEST_MAIN                                                   \
    int main(int argc, char** argv) { return check::run(argc, argv); }
