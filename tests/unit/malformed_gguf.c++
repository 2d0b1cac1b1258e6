// Malformed GGUF files, in process: each gets its own error, within a small bound of memory.
// `malformed_gguf --write FOLDER COUNT` writes COUNT of them, spread over the table, and their expected errors
// (tests/regress/malformed.sh gives those to the program).
#include "tests/malformed/gguf_cases.h"

#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <set>

#include "gguf/gguf.h"
#include "tests/allocations.h"
#include "tests/check.h"
#include "tests/full.h"

using namespace quant;

TEST(each_malformed_file_gets_its_error) {
    const auto cases = malformed::gguf_cases();
    CHECK_MSG(cases.size() >= 220, std::to_string(cases.size()) + " files");
    std::set<std::string> names;
    for (const auto& each : cases) {
        CHECK_MSG(names.insert(each.name).second, "two files named " + each.name);
        allocations::start();
        const uint64_t before = allocations::live;
        const auto opened = Gguf::parse(each.bytes, "f");
        const uint64_t used = allocations::peak - before;
        // Nothing a file merely claims is reserved: memory is bounded by its size.
        CHECK_MSG(used <= (uint64_t{1} << 16) + 8 * each.bytes.size(), each.name + " used " + std::to_string(used) + " bytes");
        if (opened) {
            CHECK_MSG(false, each.name + " was accepted");
            continue;
        }
        const std::string& text = opened.error().text;
        CHECK_MSG(opened.error().code == Code::input, each.name);
        CHECK_MSG(text.starts_with("f: ") && text.find('\n') == std::string::npos, each.name + ": " + text);
        CHECK_MSG(text.find(each.expected) != std::string::npos, each.name + ": expected '" + each.expected + "', found '" + text + "'");
    }
}

// The bases of the table are valid, so that each file is broken in one way only.
TEST(the_unbroken_files_are_accepted) {
    using gguf_bytes::Builder;
    const Builder valid[] = {
        Builder().header(0, 0),
        Builder().header(0, 0, 2),
        Builder().header(0, 1).key("general.alignment", gguf_bytes::u32, 64u),
        Builder().header(0, 1).key("k", gguf_bytes::array, gguf_bytes::string).number<uint64_t>(2).text("ab").text(""),
        Builder().header(1, 0).tensor(std::string(63, 't'), {4}, 0, 0).align().fill(16),
        Builder().header(1, 0).tensor("scalar", {}, 0, 0).align().fill(4),
        Builder().header(2, 0).tensor("a", {4, 4}, 0, 0).tensor("b", {4}, 0, 64).align().fill(80),
    };
    for (const Builder& file : valid) {
        const auto opened = Gguf::parse(file.bytes, "f");
        CHECK_MSG(opened.ok(), opened.ok() ? "" : opened.error().text);
    }
}

// Duplicates among very many names: a nested loop would meet the alarm, which ends the program.
TEST(very_many_keys_and_tensors_are_not_quadratic) {
    const uint64_t many = check::rounds("keys and tensors", 1 << 18, 1 << 19);
    ::alarm(100);
    gguf_bytes::Builder keys = gguf_bytes::Builder().header(0, many);
    for (uint64_t i = 0; i < many; ++i) keys.key(std::to_string(i), gguf_bytes::u8, uint8_t{0});
    const auto many_keys = Gguf::parse(keys.bytes, "f");
    CHECK(many_keys.ok() && many_keys->metadata().find("222222"));

    gguf_bytes::Builder tensors = gguf_bytes::Builder().header(many, 0);
    for (uint64_t i = 0; i < many; ++i) tensors.tensor(std::to_string(i), {8}, 0, i * 32);
    tensors.align().fill(many * 32);
    const auto many_tensors = Gguf::parse(tensors.bytes, "f");
    CHECK(many_tensors.ok() && many_tensors->find("222222"));
    ::alarm(0);
}

static int write_files(const std::string& folder, size_t count) {
    const auto cases = malformed::gguf_cases();
    for (size_t i = 0; i < count; ++i) {
        const auto& each = cases[i * cases.size() / count];
        const std::string name = folder + "/" + std::to_string(i);
        std::ofstream(name + ".gguf", std::ios::binary)
            .write(reinterpret_cast<const char*>(each.bytes.data()), static_cast<std::streamsize>(each.bytes.size()));
        std::ofstream(name + ".expected") << each.expected << '\n';
    }
    return 0;
}

int main(int argc, char** argv) {
    if (argc == 4 && std::string(argv[1]) == "--write") return write_files(argv[2], std::strtoul(argv[3], nullptr, 10));
    return check::run(argc, argv);
}
