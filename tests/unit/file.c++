// Mappings, atomic outputs, text input, messages and JSON output of src/base.
#include "base/file.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <clocale>
#include <cmath>
#include <filesystem>
#include <limits>

#include "base/json_writer.h"
#include "base/log.h"
#include "base/utf8.h"
#include "gguf/gguf.h"
#include "tests/check.h"
#include "tests/full.h"
#include "tests/gguf_random.h"
#include "tests/temporary_folder.h"

using namespace quant;

static std::vector<uint8_t> bytes_of(std::string_view text) { return {text.begin(), text.end()}; }
static bool mentions(const Error& error, const char* part) { return error.text.find(part) != std::string::npos; }

TEST(mapped_and_read_files_are_equal) {
    const TemporaryFolder folder;
    const std::string path = folder.put("f", std::vector<uint8_t>(100000, 7));
    auto mapped = MappedFile::open(path), read = MappedFile::open(path, MappedFile::Mode::read);
    CHECK(mapped.ok() && read.ok());
    CHECK(mapped->bytes().size() == 100000 && std::ranges::equal(mapped->bytes(), read->bytes()));
    CHECK(mapped->id() == read->id() && mapped->path() == path);
    CHECK(reinterpret_cast<uintptr_t>(read->bytes().data()) % 64 == 0);
    const uint8_t* at = mapped->bytes().data();
    MappedFile moved = std::move(*mapped);
    CHECK(moved.bytes().data() == at && mapped->bytes().empty());
    moved.release(10, 90000);
    moved.release(99999, 100);  // not inside: ignored
    CHECK(moved.bytes()[50000] == 7);
    const std::string empty = folder.put("empty", {});
    CHECK(MappedFile::open(empty).ok() && MappedFile::open(empty)->bytes().empty());
}

TEST(what_cannot_be_opened_says_why) {
    const TemporaryFolder folder;
    CHECK(mentions(MappedFile::open(folder.at("absent")).error(), "absent: cannot open: No such file"));
    CHECK(mentions(MappedFile::open(folder.path).error(), "is a directory"));
    CHECK(mentions(MappedFile::open("/dev/null").error(), "is not a regular file"));
    CHECK(::mkfifo(folder.at("pipe").c_str(), 0600) == 0);
    CHECK(mentions(MappedFile::open(folder.at("pipe")).error(), "is not a regular file"));  // and does not hang
    CHECK(MappedFile::open(folder.at("absent")).error().code == Code::io);
}

TEST(an_atomic_file_appears_on_commit) {
    const TemporaryFolder folder;
    const std::string path = folder.at("out");
    {
        auto file = AtomicFile::create(path, false, {});
        CHECK(file.ok() && file->write(bytes_of("hello ")).ok() && file->write(bytes_of("world")).ok());
        CHECK(file->written() == 11 && !std::filesystem::exists(path) && folder.names().size() == 1);
        const std::string temporary = folder.names().at(0);
        CHECK_MSG(temporary.starts_with(".out." + std::to_string(::getpid()) + ".") && temporary.ends_with(".tmp"), temporary);
        CHECK((std::filesystem::status(file->temporary_path()).permissions() & std::filesystem::perms::group_read) == std::filesystem::perms::none);
        CHECK(file->commit(11).ok());
    }
    CHECK(folder.names() == std::vector<std::string>{"out"} && folder.get("out") == bytes_of("hello world"));
    const mode_t mask = ::umask(0);
    ::umask(mask);
    CHECK((static_cast<unsigned>(std::filesystem::status(path).permissions()) & 0777u) == (0666u & ~mask));
    {
        auto file = AtomicFile::create(path, true, {});
        CHECK(file.ok() && file->write(bytes_of("new")).ok());
        auto other = AtomicFile::create(folder.at("other"), true, {});
        CHECK(other.ok());
        *other = std::move(*file);  // the first temporary of `other` goes, that of `file` stays
        CHECK(folder.names().size() == 2);
    }
    CHECK(folder.names().size() == 1 && folder.get("out") == bytes_of("hello world"));
    auto file = AtomicFile::create(path, true, {});
    CHECK(file.ok() && file->write(bytes_of("new")).ok());
    CHECK(mentions(file->commit(4).error(), "4 bytes planned, 3 written"));
    file->discard();
    file->discard();
    CHECK(folder.names().size() == 1 && folder.get("out") == bytes_of("hello world"));
}

TEST(outputs_that_must_not_be_replaced_are_refused) {
    const TemporaryFolder folder;
    const std::string path = folder.put("f", {1, 2, 3});
    const auto refused = [](const std::string& output, const char* expected, bool force = true, std::vector<FileId> inputs = {}) {
        const auto file = AtomicFile::create(output, force, inputs);
        CHECK_MSG(!file.ok() && mentions(file.error(), expected), file.ok() ? output : file.error().text);
        return file.ok() ? Code::ok : file.error().code;
    };
    CHECK(refused(path, "exists already (--force replaces it)", false) == Code::usage);
    refused(path, "the output is the input", true, {MappedFile::open(path)->id()});
    refused(path, "the output is the input", false, {MappedFile::open(path)->id()});
    refused(folder.path, "the output is a directory");
    refused(folder.path + "/", "the output is a directory");
    refused(folder.at("new/"), "the output is a directory");
    refused("/dev/null", "is not a regular file");
    refused("", "the output path is empty");
    CHECK(refused(folder.at("absent/f"), "No such file or directory") == Code::io);
    std::filesystem::create_symlink(folder.at("nowhere"), folder.at("dangling"));
    refused(folder.at("dangling"), "leads nowhere");
    CHECK(folder.get("f") == (std::vector<uint8_t>{1, 2, 3}));

    // A link to another place is followed: the file behind it is replaced, the link stays.
    std::filesystem::create_directory(folder.at("sub"));
    folder.put("sub/target", {9});
    std::filesystem::create_symlink(folder.at("sub/target"), folder.at("link"));
    auto linked = AtomicFile::create(folder.at("link"), true, {});
    CHECK(linked.ok() && linked->write(bytes_of("x")).ok() && linked->commit(1).ok());
    CHECK(std::filesystem::is_symlink(folder.at("link")) && folder.get("sub/target") == bytes_of("x"));
    // The longest name a file may have still has room for a temporary.
    auto longest = AtomicFile::create(folder.at(std::string(255, 'n')), false, {});
    CHECK(longest.ok() && longest->commit(0).ok());
}

TEST(leftovers_of_killed_writers_go) {
    const TemporaryFolder folder;
    const pid_t child = ::fork();
    if (child == 0) {
        auto file = AtomicFile::create(folder.at("out"), false, {});
        ::_exit(file.ok() ? 0 : 1);  // as if killed: no destructor
    }
    int status = 1;
    ::waitpid(child, &status, 0);
    CHECK(status == 0 && folder.names().size() == 1);
    folder.put(".out.1.0123456789abcdef.tmp", {});  // of a process that lives
    folder.put(".other." + std::to_string(child) + ".0123456789abcdef.tmp", {});  // of another output
    auto file = AtomicFile::create(folder.at("out"), false, {});
    CHECK(file.ok() && file->commit(0).ok());
    CHECK_MSG(folder.names().size() == 3, std::to_string(folder.names().size()));
}

// Several processes write one output, each its own content; a reader never sees anything else.
TEST(concurrent_writers_leave_one_whole_file) {
    const TemporaryFolder folder;
    const std::string path = folder.at("out.gguf");
    const uint64_t rounds = check::rounds("rounds of 4 writers", 3, 50);
    for (uint64_t round = 0; round < rounds; ++round) {
        std::vector<pid_t> children;
        for (uint64_t writer = 0; writer < 4; ++writer) {
            const pid_t child = ::fork();
            if (child == 0) {
                Rng rng(writer);
                const auto model = gguf_random::random_file(rng);
                GgufWriter::Options options;
                options.force = true;
                ::_exit(gguf_random::write_file(path, model.metadata, model.tensors, options).ok() ? 0 : 1);
            }
            children.push_back(child);
        }
        for (const pid_t child : children) {
            const auto seen = MappedFile::open(path);
            if (seen) CHECK(Gguf::parse(seen->bytes(), "f").ok());
            int status = 1;
            ::waitpid(child, &status, 0);
            CHECK(status == 0);
        }
        CHECK(Gguf::open(path).ok() && folder.names().size() == 1);
    }
}

TEST(text_files_have_a_limit) {
    const TemporaryFolder folder;
    const std::string path = folder.put("f", std::vector<uint8_t>(100000, 'a'));
    CHECK(read_text_file(path, 100000).ok() && read_text_file(path, 100000)->size() == 100000);
    CHECK(mentions(read_text_file(path, 99999).error(), "longer than 99999 bytes"));
    CHECK(mentions(read_text_file(folder.at("absent"), 10).error(), "cannot open"));
    CHECK(mentions(read_text_file(folder.path, 10).error(), "Is a directory"));
    CHECK(free_bytes_at(path) > 0 && free_bytes_at(folder.at("new")) > 0 && free_bytes_at("/no/such/place") == 0);
}

TEST(messages_show_control_bytes) {
    CHECK(escaped("plain \xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80") == "plain \xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80");
    CHECK(escaped("a\nb\tc\rd\x1b[31m\x7f") == "a\\nb\\tc\\x0dd\\x1b[31m\\x7f");
    CHECK(escaped(std::string("\0", 1)) == "\\x00");
    CHECK(escaped("\xC2\x9b") == "\\xc2\\x9b");        // a control character of two bytes
    CHECK(escaped("\xff\xC3") == "\\xff\\xc3");         // not UTF-8
    CHECK(escaped(escaped("a\nb")) == escaped("a\nb"));
    CHECK(human_bytes(0) == "0 B" && human_bytes(999) == "999 B" && human_bytes(1000) == "1.00 kB");
    CHECK(human_bytes(999995) == "1.00 MB" && human_bytes(2730000) == "2.73 MB" && human_bytes(~0ull) == "18.45 EB");
    CHECK(format_text("%d-%s", 5, "x") == "5-x" && format_text("%s", "").empty());
}

TEST(utf8_follows_the_standard) {
    for (const char* good : {"a", "\x7f", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80", "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"})
        CHECK_MSG(utf8_length(good) == std::strlen(good), escaped(good));
    for (const char* bad : {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xC2", "\xC2\x41", "\xE0\x9F\xBF", "\xE2\x82", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF",
                            "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFE", "\xFF"})
        CHECK_MSG(utf8_length(bad) == 0, escaped(bad));
}

TEST(json_is_right_by_construction) {
    std::string out;
    JsonWriter json(out);
    json.begin_object();
    json.member("text", "quote \" back \\ line \n tab \t bell \a del \x7f euro \xE2\x82\xAC");
    json.member("broken", std::string("a\xff" "b\xC3"));
    json.key("list");
    json.begin_array();
    json.value(1);
    json.value(-2.5);
    json.value(0.1f);
    json.value(1e300);
    json.value(~uint64_t{0});
    json.value(std::numeric_limits<int64_t>::min());
    json.value(std::nan(""));
    json.value(std::numeric_limits<float>::infinity());
    json.value(true);
    json.null();
    json.begin_object();
    json.end_object();
    json.begin_array();
    json.end_array();
    json.end_array();
    json.member("last", uint8_t{255});
    json.end_object();
    CHECK_MSG(out ==
                  "{\"text\":\"quote \\\" back \\\\ line \\n tab \\u0009 bell \\u0007 del \\u007f euro \xE2\x82\xAC\","
                  "\"broken\":\"a\xEF\xBF\xBD" "b\xEF\xBF\xBD\",\"list\":[1,-2.5,0.1,1e+300,18446744073709551615,-9223372036854775808,"
                  "null,null,true,null,{},[]],\"last\":255}",
              out);
    // A locale with decimal commas changes nothing.
    for (const char* name : {"de_DE.UTF-8", "fr_FR.UTF-8"})
        if (std::setlocale(LC_ALL, name)) break;
    out.clear();
    JsonWriter again(out);
    again.value(0.5);
    std::setlocale(LC_ALL, "C");
    CHECK(out == "0.5");
}

TEST_MAIN
