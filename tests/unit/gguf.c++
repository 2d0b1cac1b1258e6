// The GGUF writer and reader on valid files: what is written reads back equal, here and by a second reader;
// metadata getters; splitting; refusals of the writer; the reference files of the ecosystem.
#include "gguf/gguf.h"

#include <algorithm>
#include <filesystem>
#include <limits>

#include "tests/check.h"
#include "tests/full.h"
#include "tests/gguf_bytes.h"
#include "tests/gguf_random.h"
#include "tests/independent_reader.h"
#include "tests/memory_files.h"
#include "tests/temporary_folder.h"

using namespace quant;
using gguf_random::same_metadata, gguf_random::same_tensors, gguf_random::write_file;

static bool mentions(const Error& error, const char* part) { return error.text.find(part) != std::string::npos; }

TEST(random_files_read_back_equal) {
    const uint64_t count = check::rounds("random files", 600, 10000);
    memory_files::Installed memory;
    for (uint64_t seed = 0; seed < count; ++seed) {
        Rng rng(seed);
        const gguf_random::File file = gguf_random::random_file(rng);
        const auto planned = GgufWriter::planned_bytes("/memory/f.gguf", file.metadata, file.tensors, {});
        const Status written = write_file("/memory/f.gguf", file.metadata, file.tensors, {});
        CHECK_MSG(written.ok(), written.error().text);
        if (!written) continue;
        const auto& bytes = memory_files::world().names.at("/memory/f.gguf")->data;
        CHECK(planned && *planned == bytes.size());
        const auto opened = Gguf::parse(bytes, "f");
        CHECK_MSG(opened.ok(), "seed " + std::to_string(seed) + (opened ? "" : opened.error().text));
        if (!opened) continue;
        CHECK_MSG(same_metadata(file.metadata, opened->metadata()), "seed " + std::to_string(seed));
        CHECK_MSG(same_tensors(file.tensors, opened->tensors()), "seed " + std::to_string(seed));
        CHECK(opened->version() == 3 && opened->file_bytes() == bytes.size());
        for (const TensorInfo& tensor : opened->tensors()) CHECK(opened->find(tensor.name) == &tensor);
        CHECK(!opened->find("absent"));
    }
}

// The text of a value as the second reader prints it.
static std::string value_text(ValueType type, uint64_t bits, double real, const std::string& text) {
    char digits[64];
    switch (type) {
        case ValueType::f32:
        case ValueType::f64: std::snprintf(digits, sizeof digits, "%s %a", value_type_name(type), real); return digits;
        case ValueType::boolean: return bits ? "bool true" : "bool false";
        case ValueType::string: return "string " + text;
        case ValueType::i8:
        case ValueType::i16:
        case ValueType::i32:
        case ValueType::i64: return value_type_name(type) + (" " + std::to_string(static_cast<int64_t>(bits)));
        default: return value_type_name(type) + (" " + std::to_string(bits));
    }
}

TEST(a_second_reader_finds_the_same) {
    const uint64_t count = check::rounds("files for the second reader", 200, 1000);
    memory_files::Installed memory;
    for (uint64_t seed = 0; seed < count; ++seed) {
        Rng rng(seed + 1000000);
        const gguf_random::File file = gguf_random::random_file(rng, 6, 3, false);
        CHECK(write_file("/memory/f.gguf", file.metadata, file.tensors, {}).ok());
        const auto& bytes = memory_files::world().names.at("/memory/f.gguf")->data;
        const independent::File found = independent::Reader(bytes).read();
        CHECK(found.version == 3);
        const auto& keys = file.metadata.entries();
        CHECK(found.keys.size() == keys.size() && found.tensors.size() == file.tensors.size());
        if (found.keys.size() != keys.size() || found.tensors.size() != file.tensors.size()) continue;
        for (size_t i = 0; i < keys.size(); ++i) {
            const Value& value = keys[i].second;
            CHECK(found.keys[i].first == keys[i].first);
            if (value.type == ValueType::array) {
                const std::string start = "array " + std::to_string(static_cast<uint32_t>(value.element)) + " " + std::to_string(value.count());
                CHECK_MSG(found.keys[i].second.starts_with(start), found.keys[i].second);
                for (size_t j = 0; j < value.texts.size(); ++j)
                    CHECK(found.keys[i].second.find("; string " + std::string(value.texts[j])) != std::string::npos);
            } else {
                CHECK_MSG(found.keys[i].second == value_text(value.type, value.bits, value.real, value.text), found.keys[i].second);
            }
        }
        for (size_t i = 0; i < file.tensors.size(); ++i) {
            const TensorInfo& tensor = file.tensors[i];
            const independent::Tensor& other = found.tensors[i];
            CHECK(other.name == tensor.name && other.type == tensor.format->id && other.dims.size() == tensor.n_dims);
            for (size_t d = 0; d < other.dims.size(); ++d) CHECK(other.dims[d] == static_cast<uint64_t>(tensor.ne[d]));
            CHECK(other.bytes == file.data[i].size() && other.begin + other.bytes <= bytes.size());
            CHECK(std::equal(file.data[i].begin(), file.data[i].end(), bytes.begin() + static_cast<ptrdiff_t>(other.begin)));
        }
    }
}

TEST(getters_convert_widths_only) {
    Metadata keys;
    keys.origin = "model.gguf";
    keys.set("u16", Value::of_u16(65535));
    keys.set("i32", Value::of_i32(-5));
    keys.set("u64", Value::of_u64(uint64_t{1} << 40));
    keys.set("big", Value::of_u64(~uint64_t{0}));
    keys.set("f32", Value::of_f32(0.25f));
    keys.set("text", Value::of_string("words"));
    keys.set("yes", Value::of_bool(true));
    keys.set("texts", Value::of_strings({"a", "", "c"}));
    keys.set("numbers", Value::of_i32s(std::vector<int32_t>{1, -2, 3}));
    keys.set("reals", Value::of_f32s(std::vector<float>{1, -2}));
    keys.set("bools", Value::of_bools(std::vector<uint8_t>{1, 0, 1}));
    CHECK(**keys.get_u32("u16") == 65535);
    CHECK(**keys.get_i64("i32") == -5);
    CHECK(**keys.get_i64("u64") == int64_t{1} << 40);
    CHECK(**keys.get_f32("f32") == 0.25f);
    CHECK(**keys.get_bool("yes"));
    CHECK(**keys.get_string("text") == "words");
    CHECK((**keys.get_strings("texts") == std::vector<std::string>{"a", "", "c"}));
    CHECK((**keys.get_i32s("numbers") == std::vector<int32_t>{1, -2, 3}));
    CHECK((**keys.get_i32s("bools") == std::vector<int32_t>{1, 0, 1}));
    CHECK((**keys.get_f32s("reals") == std::vector<float>{1, -2}));
    CHECK(keys.find("texts")->count() == 3 && keys.find("numbers")->count() == 3);

    CHECK(keys.get_u32("absent").ok() && !*keys.get_u32("absent"));
    CHECK(keys.get_strings("absent").ok() && !*keys.get_strings("absent"));
    CHECK(mentions(keys.get_u32("text").error(), "model.gguf: key 'text' has type string, u32 expected"));
    CHECK(mentions(keys.get_u32("i32").error(), "model.gguf: key 'i32' holds -5, a number from 0 to 4294967295 expected"));
    CHECK(mentions(keys.get_u32("u64").error(), "key 'u64' holds 1099511627776"));
    CHECK(mentions(keys.get_i64("big").error(), "key 'big' holds 18446744073709551615"));
    CHECK(mentions(keys.get_u32("f32").error(), "has type f32, u32 expected"));
    CHECK(mentions(keys.get_u32("yes").error(), "has type bool, u32 expected"));
    CHECK(mentions(keys.get_bool("u16").error(), "has type u16, bool expected"));
    CHECK(mentions(keys.get_f32("u16").error(), "has type u16, f32 expected"));
    CHECK(mentions(keys.get_string("texts").error(), "has type array of string, string expected"));
    CHECK(mentions(keys.get_strings("numbers").error(), "has type array of i32, array of string expected"));
    CHECK(mentions(keys.get_f32s("numbers").error(), "has type array of i32, array of f32 expected"));
    CHECK(mentions(keys.get_i32s("reals").error(), "has type array of f32, array of i32 expected"));
    Value wide = Value::of_f32(1);
    wide.type = ValueType::f64;
    wide.real = 1e300;
    keys.set("f64", wide);
    CHECK(!keys.get_f32("f64").ok());
    wide.real = 0.5;
    keys.set("f64", wide);
    CHECK(**keys.get_f32("f64") == 0.5f);
}

TEST(keys_keep_their_order) {
    Metadata keys;
    for (const char* name : {"z", "a", "m", "b"}) keys.set(name, Value::of_u32(1));
    keys.set("m", Value::of_u32(2));
    CHECK(!keys.erase("absent") && keys.erase("a"));
    keys.set("a", Value::of_u32(3));
    std::string order;
    for (const auto& [name, value] : keys.entries()) order += name;
    CHECK_MSG(order == "zmba", order);
    CHECK(**keys.get_u32("m") == 2 && **keys.get_u32("a") == 3 && **keys.get_u32("b") == 1 && **keys.get_u32("z") == 1);
}

static gguf_random::File file_of(size_t tensors, int64_t cols) {
    gguf_random::File file;
    file.metadata.set("general.architecture", Value::of_string("llama"));
    for (size_t i = 0; i < tensors; ++i) {
        TensorInfo info;
        info.name = "t" + std::to_string(i);
        info.format = &format_of(FormatSlot::f32);
        info.ne[0] = cols;
        info.shard = static_cast<uint32_t>(i / 2);
        file.data.emplace_back(static_cast<size_t>(cols) * 4, static_cast<uint8_t>(i));
        file.tensors.push_back(info);
    }
    for (size_t i = 0; i < tensors; ++i) file.tensors[i].data = file.data[i].data();
    return file;
}

TEST(splits_by_size_and_joins_again) {
    const TemporaryFolder folder;
    const gguf_random::File file = file_of(7, 100);
    GgufWriter::Options options;
    options.split_max_bytes = 1200;
    const auto planned = GgufWriter::planned_bytes(folder.at("m.gguf"), file.metadata, file.tensors, options);
    CHECK(write_file(folder.at("m.gguf"), file.metadata, file.tensors, options).ok());
    const auto names = folder.names();
    uint64_t total = 0;
    for (const std::string& name : names) {
        const uint64_t size = std::filesystem::file_size(folder.at(name));
        CHECK_MSG(size <= 1200, name + ": " + std::to_string(size));
        total += size;
    }
    CHECK(planned && *planned == total);
    CHECK(names.size() == 4);
    const auto joined = Gguf::open(folder.at("m-00001-of-00004.gguf"));
    CHECK_MSG(joined.ok(), joined ? "" : joined.error().text);
    if (!joined) return;
    CHECK(joined->shard_count() == 4 && joined->file_ids().size() == 4 && joined->file_bytes() == total);
    CHECK(same_tensors(file.tensors, joined->tensors()));
    CHECK(**joined->metadata().get_u32("split.count") == 4 && **joined->metadata().get_i64("split.tensors.count") == 7);
    CHECK(**joined->metadata().get_string("general.architecture") == "llama");

    // Rewritten as one file it loses the keys of the split; kept split it has the same cuts.
    CHECK(write_file(folder.at("one.gguf"), joined->metadata(), joined->tensors(), {}).ok());
    const auto one = Gguf::open(folder.at("one.gguf"));
    CHECK(one.ok() && same_tensors(file.tensors, one->tensors()) && same_metadata(file.metadata, one->metadata()));
    GgufWriter::Options keep;
    keep.keep_split = true;
    CHECK(write_file(folder.at("kept-00001-of-00009.gguf"), joined->metadata(), joined->tensors(), keep).ok());
    for (int i = 1; i <= 4; ++i) {
        const std::string end = "-0000" + std::to_string(i) + "-of-00004.gguf";
        CHECK(folder.get("m" + end) == folder.get("kept" + end) && !folder.get("m" + end).empty());
    }
    CHECK(Gguf::open(folder.at("m-00001-of-00004.gguf"), MappedFile::Mode::read).ok());
}

TEST(a_split_of_one_is_a_plain_file) {
    const TemporaryFolder folder;
    const gguf_random::File file = file_of(3, 8);
    GgufWriter::Options options;
    options.split_max_bytes = 100000;
    CHECK(write_file(folder.at("m.gguf"), file.metadata, file.tensors, options).ok());
    CHECK(folder.names() == std::vector<std::string>{"m.gguf"});
    // A tensor larger than the limit gets a file of its own.
    options.split_max_bytes = 1;
    CHECK(write_file(folder.at("s.gguf"), file.metadata, file.tensors, options).ok());
    CHECK(Gguf::open(folder.at("s-00001-of-00003.gguf")).ok());
}

// Writes a set of shards by hand: `numbers` and `counts` are what each file says of itself.
static std::string put_split(const TemporaryFolder& folder, const std::vector<uint16_t>& numbers, const std::vector<uint16_t>& counts,
                             int32_t tensors, const std::vector<std::string>& tensor_names, size_t named_count) {
    std::string first;
    for (size_t i = 0; i < numbers.size(); ++i) {
        gguf_bytes::Builder file = gguf_bytes::Builder().header(1, 3);
        file.key("split.no", gguf_bytes::u16, numbers[i]).key("split.count", gguf_bytes::u16, counts[i]);
        file.key("split.tensors.count", gguf_bytes::i32, tensors).tensor(tensor_names[i], {8}, 0, 0).align().fill(32);
        char name[64];
        std::snprintf(name, sizeof name, "m-%05zu-of-%05zu.gguf", i + 1, named_count);
        const std::string path = folder.put(name, file.bytes);
        if (i == 0) first = path;
    }
    return first;
}

TEST(inconsistent_splits_are_refused) {
    struct Row {
        std::vector<uint16_t> numbers, counts;
        int32_t tensors;
        std::vector<std::string> names;
        size_t named;
        const char* expected;
    };
    const Row rows[] = {
        {{0, 1}, {2, 2}, 2, {"a", "b"}, 2, nullptr},
        {{0, 1}, {3, 3}, 2, {"a", "b"}, 3, "cannot open: No such file"},
        {{0, 2}, {2, 2}, 2, {"a", "b"}, 2, "key 'split.no' holds 2, 1 expected"},
        {{0, 0}, {2, 2}, 2, {"a", "b"}, 2, "key 'split.no' holds 0, 1 expected"},
        {{0, 1}, {2, 3}, 2, {"a", "b"}, 2, "key 'split.count' holds 3, 2 expected"},
        {{0, 1}, {2, 2}, 3, {"a", "b"}, 2, "its 2 files hold 2 tensors, key 'split.tensors.count' says 3"},
        {{0, 1}, {2, 2}, -1, {"a", "b"}, 2, "key 'split.tensors.count' says -1"},
        {{0, 1}, {2, 2}, 2, {"a", "a"}, 2, "tensor 'a' is in two of its files"},
        {{0, 1}, {3, 3}, 2, {"a", "b"}, 2, "is named file 1 of 2, but says it is file 1 of 3"},
        {{1, 0}, {2, 2}, 2, {"a", "b"}, 2, "is file 2 of 2 of a split model: open"},
        {{0, 1}, {1001, 1001}, 2, {"a", "b"}, 1001, "claims a split into 1001 files, at most 1000"},
        {{0, 1}, {65535, 65535}, 2, {"a", "b"}, 65535, "claims a split into 65535 files"},
    };
    for (const Row& row : rows) {
        const TemporaryFolder folder;
        const auto opened = Gguf::open(put_split(folder, row.numbers, row.counts, row.tensors, row.names, row.named));
        if (!row.expected) CHECK_MSG(opened.ok(), opened ? "" : opened.error().text);
        else CHECK_MSG(!opened.ok() && mentions(opened.error(), row.expected), opened ? std::string(row.expected) + " accepted" : opened.error().text);
    }
    const TemporaryFolder folder;
    const std::string first = put_split(folder, {0, 1}, {2, 2}, 2, {"a", "b"}, 2);
    std::filesystem::rename(first, folder.at("other.gguf"));
    const auto unnamed = Gguf::open(folder.at("other.gguf"));
    CHECK(!unnamed.ok() && mentions(unnamed.error(), "its name does not end in -00001-of-00002.gguf"));
    const auto second = Gguf::open(folder.at("m-00002-of-00002.gguf"));
    CHECK(!second.ok() && mentions(second.error(), "m-00001-of-00002.gguf"));
    auto file = gguf_bytes::Builder().header(0, 1).key("split.count", gguf_bytes::u16, uint16_t{2});
    const auto numberless = Gguf::open(folder.put("n-00001-of-00002.gguf", file.bytes));
    CHECK(!numberless.ok() && mentions(numberless.error(), "has no key 'split.no'"));
    file = gguf_bytes::Builder().header(0, 1).key_text("split.count", "2");
    const auto wrong = Gguf::open(folder.put("w-00001-of-00002.gguf", file.bytes));
    CHECK(!wrong.ok() && mentions(wrong.error(), "key 'split.count' has type string"));
}

TEST(the_writer_refuses_what_readers_refuse) {
    const TemporaryFolder folder;
    const auto refused = [&](const gguf_random::File& file, const char* expected, GgufWriter::Options options = {}) {
        const auto writer = GgufWriter::create(folder.at("m.gguf"), file.metadata, file.tensors, options);
        CHECK_MSG(!writer.ok() && mentions(writer.error(), expected), writer.ok() ? std::string(expected) + " accepted" : writer.error().text);
        CHECK(folder.names().empty());
    };
    const auto changed = [](auto change) {
        gguf_random::File file = file_of(3, 32);
        change(file);
        return file;
    };
    refused(changed([](auto& f) { f.tensors[1].name = std::string(64, 'x'); }), "has a name of 64 bytes");
    refused(changed([](auto& f) { f.tensors[1].name = ""; }), "has an empty name");
    refused(changed([](auto& f) { f.tensors[1].name = "t0"; }), "tensor 't0' occurs twice");
    refused(changed([](auto& f) { f.tensors[1].n_dims = 5; }), "has 5 dimensions");
    refused(changed([](auto& f) { f.tensors[1].ne[1] = 0; }), "has dimension 1 of 0");
    refused(changed([](auto& f) { f.tensors[1].ne[1] = -1; }), "has dimension 1 of");
    refused(changed([](auto& f) { f.tensors[1].ne[1] = int64_t{1} << 60; }), "too many");
    refused(changed([](auto& f) { f.tensors[1].format = &format_of(FormatSlot::q4_k); }), "of a Q4_K block");
    refused(changed([](auto& f) { f.metadata.set("general.alignment", Value::of_u32(24)); }), "'general.alignment' holds 24");
    refused(changed([](auto& f) { f.metadata.set("general.alignment", Value::of_u64(32)); }), "has type u64, u32 expected");
    refused(changed([](auto& f) { f.metadata.set("", Value::of_u32(24)); }), "a key of 0 bytes cannot be written");
    refused(changed([](auto& f) { f.metadata.set(std::string(65536, 'k'), Value::of_u32(24)); }), "a key of 65536 bytes");
    refused(changed([](auto& f) { f.metadata.set("k", Value::of_string(std::string((1 << 24) + 1, 'k'))); }), "a text that is too long");
    refused(changed([](auto& f) {
                f.metadata.set("tokenizer.ggml.tokens", Value::of_strings({"a", "b"}));
                f.metadata.set("tokenizer.ggml.scores", Value::of_f32s(std::vector<float>{1}));
            }),
            "key 'tokenizer.ggml.scores' has 1 elements, 2");
    GgufWriter::Options keep;
    keep.keep_split = true;
    refused(changed([](auto& f) { f.tensors[2].shard = 0, f.tensors[1].shard = 1; }), "belongs to an earlier file", keep);
    // A plan of an exabyte: refused for lack of room before anything is written.
    refused(changed([](auto& f) { f.tensors[0].ne[1] = int64_t{1} << 50; }), "free there:");
}

TEST(incomplete_data_is_an_error) {
    const TemporaryFolder folder;
    const gguf_random::File file = file_of(2, 32);
    {
        auto writer = GgufWriter::create(folder.at("m.gguf"), file.metadata, file.tensors, {});
        CHECK(writer.ok() && writer->write(file.data[0]).ok() && writer->write(Bytes(file.data[1]).first(100)).ok());
        const Status finished = writer->finish();
        CHECK(!finished.ok() && mentions(finished.error(), "tensor 't1' has 100 of 128 bytes"));
    }
    CHECK(folder.names().empty());
    auto writer = GgufWriter::create(folder.at("m.gguf"), file.metadata, file.tensors, {});
    std::vector<uint8_t> all(257);
    CHECK(writer.ok() && mentions(writer->write(all).error(), "more data than the tensors need"));
}

TEST(output_equal_to_an_input_is_refused) {
    const TemporaryFolder folder;
    std::filesystem::create_directory(folder.at("sub"));
    const gguf_random::File file = file_of(2, 32);
    const std::string input = folder.at("m.gguf");
    CHECK(write_file(input, file.metadata, file.tensors, {}).ok());
    const auto before = folder.get("m.gguf");
    std::filesystem::create_symlink(input, folder.at("link.gguf"));
    std::filesystem::create_hard_link(input, folder.at("hard.gguf"));
    std::filesystem::create_symlink(folder.at("link.gguf"), folder.at("link2.gguf"));
    const auto opened = Gguf::open(input);
    CHECK(opened.ok());
    GgufWriter::Options options;
    options.force = true;
    options.inputs = opened->file_ids();
    const auto relative = std::filesystem::relative(input).string();
    for (const std::string& path : {input, folder.at("./m.gguf"), folder.at("sub/../m.gguf"), folder.at("link.gguf"), folder.at("link2.gguf"),
                                    folder.at("hard.gguf"), relative}) {
        const auto writer = GgufWriter::create(path, file.metadata, file.tensors, options);
        CHECK_MSG(!writer.ok() && mentions(writer.error(), "the output is the input"), path);
    }
    CHECK(folder.get("m.gguf") == before);

    // A shard of the input as one of the outputs.
    GgufWriter::Options split;
    split.split_max_bytes = 300;
    CHECK(write_file(folder.at("s.gguf"), file.metadata, file.tensors, split).ok());
    const auto shards = Gguf::open(folder.at("s-00001-of-00002.gguf"));
    CHECK_MSG(shards.ok(), shards ? "" : shards.error().text);
    split.force = true;
    split.inputs = shards->file_ids();
    const auto writer = GgufWriter::create(folder.at("s.gguf"), file.metadata, file.tensors, split);
    CHECK(!writer.ok() && mentions(writer.error(), "the output is the input"));
}

TEST(reference_files_are_rewritten_byte_for_byte) {
    SHARED_OR_SKIP(shared);
    const TemporaryFolder folder;
    size_t compared = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(shared)) {
        const std::string path = entry.path().string();
        if (!path.ends_with(".gguf") || path.find("/split/") != std::string::npos) continue;
        const auto file = Gguf::open(path);
        CHECK_MSG(file.ok(), file ? "" : file.error().text);
        if (!file || file->version() != 3) continue;
        GgufWriter::Options options;
        options.force = true;
        CHECK(write_file(folder.at("copy.gguf"), file->metadata(), file->tensors(), options).ok());
        const auto copy = MappedFile::open(folder.at("copy.gguf")), original = MappedFile::open(path);
        CHECK_MSG(copy && original && std::ranges::equal(copy->bytes(), original->bytes()), path);
        ++compared;
    }
    CHECK_MSG(compared >= 30, std::to_string(compared));
}

TEST(reference_split_and_version_2_equal_their_single_version_3) {
    SHARED_OR_SKIP(shared);
    const std::string models = shared + "/models/arch/";
    const std::pair<std::string, std::string> pairs[] = {
        {models + "qwen3/split/qwen3-split-00001-of-00003.gguf", models + "qwen3/qwen3.gguf"},
        {models + "qwen2/qwen2-v2.gguf", models + "qwen2/qwen2.gguf"},
    };
    for (const auto& [left, right] : pairs) {
        const auto a = Gguf::open(left), b = Gguf::open(right);
        CHECK_MSG(a.ok() && b.ok(), left);
        if (a && b) CHECK_MSG(same_tensors(a->tensors(), b->tensors()), left);
    }
}

TEST_MAIN
