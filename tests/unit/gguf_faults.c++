// The GGUF reader and writer when things go wrong: files cut short, damaged bytes, no memory, failing system calls,
// power loss. Hand-made malformed files are in malformed_gguf.c++.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>

#include "gguf/gguf.h"
#include "tests/allocations.h"
#include "tests/check.h"
#include "tests/full.h"
#include "tests/gguf_bytes.h"
#include "tests/gguf_random.h"
#include "tests/memory_files.h"
#include "tests/temporary_folder.h"

using namespace quant;
using gguf_random::same_metadata, gguf_random::same_tensors, gguf_random::write_file;

// Where integers stand in a file, found by walking it.
struct Field {
    size_t at, bytes;
};
struct Valid {
    std::vector<uint8_t> bytes;
    std::vector<Field> fields;
    size_t data_end = 0;  // behind it only padding
};

static Valid make_valid(uint64_t seed) {
    memory_files::Installed memory;
    Rng rng(seed);
    gguf_random::File file;
    // Small tensors keep the files small: mutations should meet the header, not the data.
    do file = gguf_random::random_file(rng, 5, 2);
    while (file.tensors.size() < 2 || file.metadata.entries().size() < 3);
    Valid valid;
    if (!write_file("/memory/f", file.metadata, file.tensors, {})) return valid;
    valid.bytes = memory_files::world().names.at("/memory/f")->data;
    const auto opened = Gguf::parse(valid.bytes, "f");
    const TensorInfo& last = opened->tensors().back();
    valid.data_end = static_cast<size_t>(last.data - valid.bytes.data()) + last.bytes;

    const auto field = [&](size_t& at, size_t bytes) {
        valid.fields.push_back({at, bytes});
        uint64_t value = 0;
        std::memcpy(&value, &valid.bytes[at], bytes);
        at += bytes;
        return value;
    };
    size_t at = 4;
    field(at, 4), field(at, 8), field(at, 8);
    static constexpr size_t kSizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    for (size_t i = 0; i < file.metadata.entries().size(); ++i) {
        size_t length = field(at, 8);
        at += length;
        const uint64_t type = field(at, 4);
        if (type == gguf_bytes::string) {
            length = field(at, 8);
            at += length;
        } else if (type == gguf_bytes::array) {
            const uint64_t element = field(at, 4), count = field(at, 8);
            for (uint64_t j = 0; j < count; ++j) {
                if (element == gguf_bytes::string) length = field(at, 8);
                else length = kSizes[element];
                at += length;
            }
        } else {
            field(at, kSizes[type]);
        }
    }
    for (size_t i = 0; i < file.tensors.size(); ++i) {
        const size_t length = field(at, 8);
        at += length;
        const uint64_t dims = field(at, 4);
        for (uint64_t d = 0; d < dims; ++d) field(at, 8);
        field(at, 4), field(at, 8);
    }
    return valid;
}

TEST(every_prefix_is_rejected) {
    const uint64_t files = check::rounds("files cut at every length", 5, 40);
    uint64_t loads = 0;
    for (uint64_t seed = 0; seed < files; ++seed) {
        const Valid valid = make_valid(seed);
        CHECK(!valid.bytes.empty() && valid.bytes.size() <= 65536);
        for (size_t length = 0; length <= valid.bytes.size(); ++length, ++loads) {
            // A copy of exactly this length: a sanitizer sees reads behind it.
            const std::vector<uint8_t> part(valid.bytes.begin(), valid.bytes.begin() + static_cast<ptrdiff_t>(length));
            const auto opened = Gguf::parse(part, "f");
            CHECK_MSG(opened.ok() == (length >= valid.data_end), "seed " + std::to_string(seed) + " length " + std::to_string(length));
        }
    }
    std::printf("# %llu loads\n", static_cast<unsigned long long>(loads));
}

// Either an error of one line, or a file that can be written and read back equal.
static bool rejected_or_round_trips(const std::vector<uint8_t>& bytes) {
    const auto opened = Gguf::parse(bytes, "f");
    if (!opened) {
        const std::string& text = opened.error().text;
        const bool one_line = std::none_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; });
        return opened.error().code == Code::input && one_line && text.starts_with("f: ");
    }
    for (const TensorInfo& tensor : opened->tensors())
        if (tensor.data < bytes.data() || tensor.data + tensor.bytes > bytes.data() + bytes.size()) return false;
    const memory_files::Installed memory;
    const Status written = write_file("/memory/f", opened->metadata(), opened->tensors(), {});
    // The writer knows one rule more than the reader: lists indexed by token have one length. No such keys here.
    if (!written) return false;
    const auto& copy = memory_files::world().names.at("/memory/f")->data;
    const auto again = Gguf::parse(copy, "f");
    return again && same_tensors(opened->tensors(), again->tensors()) &&
           (opened->metadata().find("split.no") || same_metadata(opened->metadata(), again->metadata()));
}

TEST(damaged_bytes_are_rejected_or_read_correctly) {
    const uint64_t files = check::rounds("files damaged in every header byte", 4, 60);
    uint64_t loads = 0;
    for (uint64_t seed = 100; seed < 100 + files; ++seed) {
        const Valid valid = make_valid(seed);
        const size_t header = valid.fields.back().at + 8;
        std::vector<uint8_t> damaged = valid.bytes;
        for (size_t at = 0; at < header; ++at) {
            const uint8_t old = damaged[at];
            for (const unsigned value : {old ^ 1u, old ^ 0x80u, 0u, 0xffu, old + 1u, old - 1u}) {
                if (static_cast<uint8_t>(value) == old) continue;
                damaged[at] = static_cast<uint8_t>(value);
                CHECK_MSG(rejected_or_round_trips(damaged), "seed " + std::to_string(seed) + " byte " + std::to_string(at) + " = " + std::to_string(damaged[at]));
                ++loads;
            }
            damaged[at] = old;
        }
    }
    std::printf("# %llu loads\n", static_cast<unsigned long long>(loads));
}

TEST(boundary_values_in_every_field) {
    const uint64_t files = check::rounds("files with boundary values in every field", 10, 200);
    for (uint64_t seed = 200; seed < 200 + files; ++seed) {
        const Valid valid = make_valid(seed);
        std::vector<uint8_t> damaged = valid.bytes;
        for (const Field& field : valid.fields) {
            uint64_t old = 0;
            std::memcpy(&old, &damaged[field.at], field.bytes);
            const uint64_t size = damaged.size();
            for (const uint64_t value : {uint64_t{0}, uint64_t{1}, (uint64_t{1} << 31) - 1, uint64_t{1} << 31, (uint64_t{1} << 32) - 1, uint64_t{1} << 32,
                                         (uint64_t{1} << 63) - 1, uint64_t{1} << 63, ~uint64_t{0}, ~uint64_t{0} - 31, old - 1, old + 1, size, size + 1,
                                         size - field.at, size - field.at - 8}) {
                std::memcpy(&damaged[field.at], &value, field.bytes);
                CHECK_MSG(rejected_or_round_trips(damaged), "seed " + std::to_string(seed) + " field at " + std::to_string(field.at) + " = " + std::to_string(value));
            }
            std::memcpy(&damaged[field.at], &old, field.bytes);
        }
    }
}

// Runs `work` with the n-th allocation failing, for every n until it succeeds; once alone, once with all that follow.
template <class Work>
static uint64_t fail_each_allocation(Work work) {
    uint64_t failures = 0;
    for (const bool persistent : {false, true}) {
        for (uint64_t number = 1;; ++number) {
            const uint64_t before = allocations::live;
            bool done = false;
            try {
                allocations::start(number, persistent);
                done = work();
                allocations::stop();
            } catch (const std::bad_alloc&) {
                allocations::stop();
                ++failures;
            }
            CHECK_MSG(allocations::live == before, "allocation " + std::to_string(number) + " failed and left memory behind");
            if (done) break;
            if (number > 1000000) {
                CHECK_MSG(false, "a million failures and no success");
                break;
            }
        }
    }
    return failures;
}

TEST(every_failing_allocation_is_survived) {
    const TemporaryFolder folder;
    const Valid valid = make_valid(7);
    const std::string path = folder.put("f.gguf", valid.bytes);
    const auto opened = Gguf::open(path);
    CHECK(opened.ok());
    const uint64_t loads = fail_each_allocation([&] { return Gguf::open(path).ok(); });
    const uint64_t reads = fail_each_allocation([&] { return Gguf::open(path, MappedFile::Mode::read).ok(); });
    const uint64_t copies = fail_each_allocation([&] {
        GgufWriter::Options options;
        options.force = true;
        return write_file(folder.at("copy.gguf"), opened->metadata(), opened->tensors(), options).ok();
    });
    CHECK_MSG(loads >= 40 && reads >= 40 && copies >= 100, std::to_string(loads) + " " + std::to_string(reads) + " " + std::to_string(copies));
    // No temporary stayed behind.
    CHECK(folder.names().size() == 2 && folder.get("copy.gguf") == valid.bytes);
}

namespace {

// The k-th call of one kind fails in one way; all others go to the system.
struct Injection {
    const char* call = "";
    int number = 0;       // counts from 1
    int error = 0;        // 0: the way is `count`
    int count = 0;        // a short or zero count, or a lie: -1 reports all bytes and does half
    int seen = 0;
} injection;
Syscalls real_calls;

bool hit(const char* call) { return std::strcmp(injection.call, call) == 0 && ++injection.seen == injection.number; }
int fail_with_error() {
    errno = injection.error;
    return -1;
}

struct Injected {
    Injected(const char* call, int number, int error, int count) {
        injection = {call, number, error, count, 0};
        real_calls = syscalls();
        Syscalls& table = syscalls();
        table.open = [](const char* path, int flags, unsigned mode) { return hit("open") ? fail_with_error() : real_calls.open(path, flags, mode); };
        table.read = [](int fd, void* data, size_t bytes) -> ssize_t {
            if (!hit("read")) return real_calls.read(fd, data, bytes);
            if (injection.error) return fail_with_error();
            return injection.count == 0 ? 0 : real_calls.read(fd, data, (bytes + 1) / 2);
        };
        table.write = [](int fd, const void* data, size_t bytes) -> ssize_t {
            if (!hit("write")) return real_calls.write(fd, data, bytes);
            if (injection.error) return fail_with_error();
            if (injection.count == 0) return 0;
            const ssize_t half = real_calls.write(fd, data, (bytes + 1) / 2);
            return injection.count < 0 ? static_cast<ssize_t>(bytes) : half;
        };
        // Not synced really: thousands of syncs take minutes on a busy disk. Their order is power_loss_...'s matter.
        table.fsync = [](int) { return hit("fsync") ? fail_with_error() : 0; };
        table.fchmod = [](int fd, unsigned mode) { return hit("fchmod") ? fail_with_error() : real_calls.fchmod(fd, mode); };
        table.close = [](int fd) {
            const bool now = hit("close");
            const int result = real_calls.close(fd);
            return now ? fail_with_error() : result;
        };
        table.rename = [](const char* from, const char* to) { return hit("rename") ? fail_with_error() : real_calls.rename(from, to); };
        table.fstat = [](int fd, struct stat* out) { return hit("fstat") ? fail_with_error() : real_calls.fstat(fd, out); };
        table.mmap = [](void* at, size_t bytes, int protection, int flags, int fd, off_t offset) -> void* {
            if (!hit("mmap")) return real_calls.mmap(at, bytes, protection, flags, fd, offset);
            errno = injection.error;
            return MAP_FAILED;
        };
    }
    ~Injected() { syscalls() = real_calls; }
};

struct Way {
    const char* call;
    int error, count;
};
constexpr Way kWays[] = {
    {"open", EMFILE, 0}, {"open", EACCES, 0}, {"open", ENOSPC, 0}, {"open", EINTR, 0}, {"open", EIO, 0},
    {"read", EIO, 0}, {"read", EINTR, 0}, {"read", 0, 0}, {"read", 0, 1},
    {"write", EIO, 0}, {"write", ENOSPC, 0}, {"write", EDQUOT, 0}, {"write", EFBIG, 0}, {"write", EINTR, 0},
    {"write", 0, 0}, {"write", 0, 1}, {"write", 0, -1},
    {"fsync", EIO, 0}, {"fsync", ENOSPC, 0}, {"close", EIO, 0}, {"close", ENOSPC, 0}, {"close", EINTR, 0},
    {"rename", EACCES, 0}, {"rename", EXDEV, 0}, {"rename", EIO, 0}, {"rename", EINTR, 0},
    {"fstat", EIO, 0}, {"fstat", EINTR, 0}, {"fchmod", EIO, 0}, {"fchmod", EPERM, 0},
    {"mmap", ENOMEM, 0}, {"mmap", ENODEV, 0},
};

// What a conversion does with files: opens the input, writes its tensors to the output.
Status copy_model(const std::string& from, const std::string& to, GgufWriter::Options options, MappedFile::Mode mode) {
    LET(model, Gguf::open(from, mode));
    options.inputs = model.file_ids();
    return write_file(to, model.metadata(), model.tensors(), options);
}

}  // namespace

namespace {

// One round of the test below: what the output held before, how the input is opened, one file or many.
struct Scenario {
    bool existing;
    MappedFile::Mode mode;
    bool split;
    uint64_t seed;
};

struct Counts {
    uint64_t injections = 0, failures = 0;
};

// What must hold after a copy that met an injection.
void check_outcome(const TemporaryFolder& folder, const Scenario& scenario, const Way& way, const Status& status, const std::string& what,
                   const std::vector<uint8_t>& valid, const std::vector<uint8_t>& old) {
    if (!status) {
        CHECK_MSG(status.error().code == Code::io || status.error().code == Code::memory, what + ": " + status.error().text);
        CHECK_MSG(status.error().text.find('\n') == std::string::npos, what);
    }
    // A lie about written bytes must never pass for success; EINTR and short counts are not errors.
    if (std::strcmp(way.call, "write") == 0 && way.count < 0) CHECK_MSG(!status.ok(), what + " was believed");
    if (way.error == 0 && way.count == 0) CHECK_MSG(!status.ok(), what + ": a call that moved nothing was repeated");
    if (way.error == EINTR || way.count == 1) CHECK_MSG(status.ok(), what + ": " + status.error().text);
    for (const std::string& name : folder.names()) {
        CHECK_MSG(!name.ends_with(".tmp"), what + " left " + name);
        if (name == "in.gguf") continue;
        const auto bytes = folder.get(name);
        CHECK_MSG(Gguf::parse(bytes, "f").ok(), what + " left a broken " + name);
        if (!scenario.split) CHECK_MSG(bytes == valid || (scenario.existing && bytes == old), what + " left another " + name);
    }
    if (status.ok() && !scenario.split) CHECK_MSG(folder.get("out.gguf") == valid, what);
}

void inject_everywhere(const Scenario& scenario, Counts& counts) {
    const Valid valid = make_valid(scenario.seed), old = make_valid(scenario.seed + 1);
    for (const Way& way : kWays)
        for (int number = 1; number < 200; ++number) {
            const TemporaryFolder folder;
            const std::string input = folder.put("in.gguf", valid.bytes);
            GgufWriter::Options options;
            options.force = scenario.existing;
            options.split_max_bytes = scenario.split ? 1 : 0;
            if (scenario.existing) folder.put("out.gguf", old.bytes);
            bool reached = false;
            Status status;
            {
                const Injected injected(way.call, number, way.error, way.count);
                status = copy_model(input, folder.at("out.gguf"), options, scenario.mode);
                reached = injection.seen >= number;
            }
            if (!reached) break;
            ++counts.injections;
            counts.failures += !status.ok();
            check_outcome(folder, scenario, way, status, std::string(way.call) + " " + std::to_string(number) + " error " + std::to_string(way.error),
                          valid.bytes, old.bytes);
        }
}

}  // namespace

TEST(every_failing_call_leaves_the_old_file_or_the_new) {
    Counts counts;
    const uint64_t rounds = check::rounds("scenarios of failing calls", 2, 16);
    for (uint64_t i = 0; i < rounds; ++i) {
        // The first two differ in everything.
        const bool existing = i & 1, reading = (i ^ i >> 1) & 1, split = !((i ^ i >> 2) & 1);
        inject_everywhere({existing, reading ? MappedFile::Mode::read : MappedFile::Mode::map, split, 3 + i / 8}, counts);
    }
    std::printf("# %llu injections, %llu failures\n", static_cast<unsigned long long>(counts.injections), static_cast<unsigned long long>(counts.failures));
    CHECK_MSG(counts.injections >= (check::full() ? 2000u : 250u) && counts.failures >= counts.injections / 2,
              std::to_string(counts.injections) + " injections, " + std::to_string(counts.failures) + " failures");
}

namespace {

memory_files::Content new_content, old_content;
uint64_t states_checked = 0;
bool had_old = false;

// What may be found after a power loss now, if the system kept or dropped what was not synced.
void check_power_loss(memory_files::World& world) {
    for (const bool names_kept : {false, true})
        for (const bool data_kept : {false, true}) {
            const auto& names = names_kept ? world.names : world.durable_names;
            const auto found = names.find("/memory/out.gguf");
            ++states_checked;
            if (found == names.end()) {
                CHECK(!had_old);
                continue;
            }
            const auto& content = data_kept ? found->second->data : found->second->durable;
            CHECK_MSG(content == new_content || (had_old && content == old_content),
                      "after " + std::to_string(world.log.size()) + " calls, the last " + world.log.back());
        }
}

}  // namespace

TEST(power_loss_leaves_the_old_file_or_the_new) {
    for (const bool existing : {false, true}) {
        const Valid valid = make_valid(11), old = make_valid(12);
        const auto source = Gguf::parse(valid.bytes, "f");
        memory_files::Installed memory;
        new_content = valid.bytes;
        old_content = old.bytes;
        had_old = existing;
        auto& world = memory_files::world();
        if (existing) {
            const auto node = std::make_shared<memory_files::Node>();
            node->data = node->durable = old.bytes;
            world.names["/memory/out.gguf"] = world.durable_names["/memory/out.gguf"] = node;
        }
        world.after_each = check_power_loss;
        GgufWriter::Options options;
        options.force = true;
        CHECK(write_file("/memory/out.gguf", source->metadata(), source->tensors(), options).ok());
        CHECK(world.durable_names.at("/memory/out.gguf")->durable == valid.bytes);
        const auto at = [&](const char* what) { return std::find(world.log.begin(), world.log.end(), what) - world.log.begin(); };
        CHECK(at("fsync file") < at("rename") && at("rename") < at("fsync directory"));
        CHECK(world.log.back() == "fsync directory" && world.open.empty());
    }
    CHECK(states_checked > 40);
}

TEST_MAIN
