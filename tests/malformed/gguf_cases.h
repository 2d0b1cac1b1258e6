// Hand-made malformed GGUF files, each with a fragment of the one error it must get.
// The rows follow the rules of the reader: header, keys, tensors, data. Families of boundary values are loops.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "formats/format.h"
#include "tests/gguf_bytes.h"

namespace malformed {

struct Case {
    std::string name, expected;
    std::vector<uint8_t> bytes;
};

namespace detail {

using namespace gguf_bytes;

// Sizes that wrap, change sign or lose their upper half somewhere.
inline const std::vector<uint64_t> kHuge = {
    (uint64_t{1} << 31) - 1, uint64_t{1} << 31, (uint64_t{1} << 32) - 1, uint64_t{1} << 32, uint64_t{1} << 61,
    (uint64_t{1} << 63) - 1, uint64_t{1} << 63, ~uint64_t{0} - 31,      ~uint64_t{0}};

class Table {
public:
    std::vector<Case> cases;

    void add(const std::string& name, const std::string& expected, const Builder& file) {
        cases.push_back({name, expected, file.bytes});
    }
    static std::string hex(uint64_t value) {
        char text[32];
        std::snprintf(text, sizeof text, "%llx", static_cast<unsigned long long>(value));
        return text;
    }

    void headers() {
        add("empty", "the file is empty", {});
        for (const char* start : {"G", "GG", "GGU", "GGUX", "FUGG", "gguf", "GGML", "ggjt", "\x7f" "ELF", "PK\x03\x04"})
            add(std::string("magic ") + start, "not a GGUF file", Builder().raw(start).fill(std::string(start).size() < 4 ? 0 : 64));
        add("magic zeros", "not a GGUF file", Builder().fill(64));
        const Builder full = Builder().header(0, 0);
        for (const unsigned size : {4u, 5u, 7u, 8u, 9u, 12u, 15u, 16u, 20u, 23u})
            add("header of " + std::to_string(size), "ends inside the header", Builder(full).cut(24 - size));
        for (const uint32_t version : {0u, 4u, 5u, 0x7fffffffu, 0x80000000u, 0xffffffffu})
            add("version " + hex(version), version == 0x80000000u ? "big-endian" : "is not supported", Builder().header(0, 0, version));
        add("version 1", "version 1 is not supported", Builder().header(0, 0, 1));
        for (const uint32_t version : {2u, 3u})
            add("big-endian " + std::to_string(version), "big-endian", Builder().header(0, 0, version << 24));
        for (const uint64_t count : kHuge) {
            add("keys " + hex(count), "claims " + std::to_string(count) + " keys", Builder().header(0, count).fill(40));
            add("tensors " + hex(count), "claims " + std::to_string(count) + " tensors", Builder().header(count, 0).fill(40));
            add("both " + hex(count), "claims " + std::to_string(count) + " keys", Builder().header(count, count).fill(40));
        }
        // Counts whose product with the size of a record wraps to something small.
        for (const unsigned size : {16u, 24u, 40u, 48u, 56u, 64u, 88u, 104u, 136u, 144u, 376u})
            add("keys wrap " + std::to_string(size), "keys, at most", Builder().header(0, ~uint64_t{0} / size + 2).fill(400));
        add("one key, no room", "the file has room for 0", Builder().header(0, 1));
        add("one tensor, no room", "the file has room for 0", Builder().header(1, 0));
        add("3 keys, room for 2", "claims 3 keys, the file has room for 2", Builder().header(0, 3).fill(28));
        add("keys at the limit", "the file has room for", Builder().header(0, uint64_t{1} << 19).fill(1000));
        add("keys above the limit", "at most 524288 are allowed", Builder().header(0, (uint64_t{1} << 19) + 1).fill(1000));
        add("tensors above the limit", "at most 1048576 are allowed", Builder().header((uint64_t{1} << 20) + 1, 0).fill(1000));
    }

    void key_names() {
        add("empty key", "key number 0 has an empty name", Builder().header(0, 1).key("", u32, uint32_t{1}).fill(8));
        add("empty second key", "key number 1 has an empty name",
            Builder().header(0, 2).key("a", u32, uint32_t{1}).key("", u32, uint32_t{1}).fill(8));
        add("zero byte in key", "has a zero byte in its name", Builder().header(0, 1).key(std::string("a\0b", 3), u32, uint32_t{1}));
        add("key of 65536", "claims 65536 bytes of text, at most 65535", Builder().header(0, 1).key(std::string(65536, 'k'), u8, uint8_t{0}));
        add("key past the end", "key number 0 claims 100 bytes of text, 30 are left", Builder().header(0, 1).number<uint64_t>(100).fill(30, 'k'));
        for (const uint64_t length : kHuge)
            add("key length " + hex(length), "key number 0 claims " + std::to_string(length) + " bytes of text",
                Builder().header(0, 1).number(length).fill(30, 'k'));
        add("key twice", "key 'a' occurs twice", Builder().header(0, 2).key("a", u32, uint32_t{1}).key("a", u32, uint32_t{2}));
        add("key twice, other type", "key 'a' occurs twice", Builder().header(0, 2).key("a", u32, uint32_t{1}).key_text("a", "x"));
        add("key twice, apart", "key 'a' occurs twice",
            Builder().header(0, 3).key("a", u32, uint32_t{1}).key("b", u32, uint32_t{1}).key("a", u32, uint32_t{1}));
        Builder many = Builder().header(0, 1001);
        for (int i = 0; i < 1000; ++i) many.key("key" + std::to_string(i), u8, uint8_t{1});
        add("key twice among 1000", "key 'key500' occurs twice", many.key("key500", u8, uint8_t{1}));
    }

    void values() {
        for (const uint32_t type : {13u, 14u, 255u, 0x80000000u, 0xffffffffu})
            add("value type " + hex(type), "key 'k' has unknown value type", Builder().header(0, 1).key("k", type).fill(16));
        static constexpr size_t kSizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 4, 8, 8, 8};
        for (uint32_t type = u8; type <= f64; ++type)
            for (const size_t present : {size_t{0}, kSizes[type] - 1}) {
                if (present == 0 && kSizes[type] == 1) continue;  // that byte is covered by the next line
                add("value of type " + std::to_string(type) + " with " + std::to_string(present) + " bytes", "key 'k2': the file ends inside it",
                    Builder().header(0, 2).key("k", u64, uint64_t{1}).key("k2", type).fill(present));
            }
        for (const uint32_t type : {u8, i8, boolean})
            add("no byte for type " + std::to_string(type), "key 'k2': the file ends inside it",
                Builder().header(0, 2).key("k", u64, uint64_t{1}).key("k2", type));
        add("no value type", "key 'k2': the file ends inside it", Builder().header(0, 2).key("k", u64, uint64_t{1}).text("k2").fill(3));
        for (const int value : {2, 0x7f, 0xff})
            add("boolean " + std::to_string(value), "holds " + std::to_string(value) + " as a boolean",
                Builder().header(0, 1).key("k", boolean, static_cast<uint8_t>(value)));
        for (const uint64_t length : kHuge)
            add("string length " + hex(length), "key 'k' claims " + std::to_string(length) + " bytes of text",
                Builder().header(0, 1).key("k", string, length).fill(30, 's'));
        add("string past the end", "key 'k' claims 31 bytes of text, 30 are left", Builder().header(0, 1).key("k", string, uint64_t{31}).fill(30));
        add("string above the limit", "at most 16777216 are allowed", Builder().header(0, 1).key("k", string, (uint64_t{1} << 24) + 1).fill(30));
    }

    void arrays() {
        const auto start = [](uint32_t element) { return Builder().header(0, 1).key("k", array, element); };
        for (const uint32_t element : {13u, 255u, 0xffffffffu})
            add("array of type " + hex(element), "key 'k' has unknown value type", start(element).number<uint64_t>(1).fill(16));
        add("array of arrays", "is an array of arrays", start(array).number<uint64_t>(1).number(u32).number<uint64_t>(1).number(7u));
        Builder nested = Builder().header(0, 1).key("k", array);
        for (int i = 0; i < 5000; ++i) nested.number(array).number<uint64_t>(1);
        add("arrays nested 5000 deep", "is an array of arrays", nested.number(u8).number<uint64_t>(0));
        add("array without a count", "key 'k': the file ends inside it", start(u32).fill(7));
        for (const uint32_t element : {u8, u16, u32, f64, string, boolean})
            for (const uint64_t count : kHuge)
                add("array of type " + std::to_string(element) + " count " + hex(count), "key 'k' claims " + std::to_string(count) + " elements",
                    start(element).number(count).fill(64));
        // Counts whose product with the element size wraps to a few bytes.
        add("u16 count wraps", "elements, at most", start(u16).number((uint64_t{1} << 63) + 4).fill(64));
        add("u32 count wraps", "elements, at most", start(u32).number((uint64_t{1} << 62) + 4).fill(64));
        add("f64 count wraps", "elements, at most", start(f64).number((uint64_t{1} << 61) + 4).fill(64));
        add("string count wraps", "elements, at most", start(string).number((uint64_t{1} << 59) + 1).fill(64));
        add("one element too many", "claims 17 elements, the file has room for 16", start(u32).number<uint64_t>(17).fill(64));
        add("array at the limit", "the file has room for", start(u8).number(uint64_t{1} << 28).fill(64));
        add("strings without room", "claims 9 elements, the file has room for 8", start(string).number<uint64_t>(9).fill(64));
        add("string in array past the end", "key 'k' claims 50 bytes of text", start(string).number<uint64_t>(2).text("ab").number<uint64_t>(50).fill(10));
        add("string in array too long", "key 'k' claims 18446744073709551615 bytes of text",
            start(string).number<uint64_t>(2).text("ab").number(~uint64_t{0}).fill(10));
        add("string in array of 2^31", "key 'k' claims 2147483648 bytes of text", start(string).number<uint64_t>(1).number(uint64_t{1} << 31).fill(10));
        add("boolean array", "holds 9 as a boolean", start(boolean).number<uint64_t>(3).number<uint8_t>(0).number<uint8_t>(1).number<uint8_t>(9));
    }

    void alignments() {
        const auto start = [](uint32_t type) { return Builder().header(0, 1).key("general.alignment", type); };
        for (const uint32_t value : {0u, 1u, 2u, 3u, 4u, 7u, 9u, 12u, 31u, 33u, 48u, 0x00100001u, 0x00200000u, 0x80000000u, 0x80000001u, 0xffffffffu})
            add("alignment " + hex(value), "a power of two from 8 to 1048576 expected", start(u32).number(value));
        static constexpr size_t kSizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
        static constexpr const char* kNames[] = {"u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "array", "u64", "i64", "f64"};
        for (uint32_t type = u8; type <= f64; ++type) {
            if (type == u32 || type == string || type == array) continue;
            add("alignment as " + std::string(kNames[type]), std::string("has type ") + kNames[type] + ", u32 expected", start(type).fill(kSizes[type]));
        }
        add("alignment as string", "has type string, u32 expected", start(string).text("32"));
        add("alignment as array", "has type array, u32 expected", start(array).number(u32).number<uint64_t>(1).number(32u));
    }

    void tensor_names() {
        const auto start = [](const std::string& name) { return Builder().header(1, 0).tensor(name, {4}, 0, 0).align().fill(32); };
        add("tensor without a name", "tensor number 0 has an empty name", start(""));
        add("tensor name of 64", "tensor number 0 claims 64 bytes of text, at most 63", start(std::string(64, 't')));
        add("tensor name of 65536", "tensor number 0 claims 65536 bytes of text", start(std::string(65536, 't')));
        add("zero byte in tensor name", "has a zero byte in its name", start(std::string("t\0u", 3)));
        for (const uint64_t length : kHuge)
            add("tensor name length " + hex(length), "tensor number 0 claims " + std::to_string(length) + " bytes of text",
                Builder().header(1, 0).number(length).fill(60, 't'));
        add("tensor name past the end", "tensor number 0 claims 60 bytes of text, 40 are left", Builder().header(1, 0).number<uint64_t>(60).fill(40, 't'));
        add("tensor twice", "tensor 'a' occurs twice", Builder().header(2, 0).tensor("a", {8}, 0, 0).tensor("a", {8}, 0, 32).align().fill(64));
        add("tensor twice, apart", "tensor 'a' occurs twice",
            Builder().header(3, 0).tensor("a", {8}, 0, 0).tensor("b", {8}, 0, 32).tensor("a", {8}, 0, 64).align().fill(96));
    }

    void shapes() {
        const auto start = [](const std::vector<uint64_t>& dims, uint32_t type = 0) {
            return Builder().header(1, 0).tensor("t", dims, type, 0).align().fill(4096);
        };
        for (const uint32_t dims : {5u, 6u, 8u, 255u, 0x7fffffffu, 0x80000000u, 0xffffffffu})
            add("dimensions " + hex(dims), "has " + std::to_string(dims) + " dimensions, at most 4",
                Builder().header(1, 0).text("t").number(dims).fill(400, 1));
        for (size_t rank = 1; rank <= 4; ++rank)
            for (size_t at = 0; at < rank; ++at) {
                std::vector<uint64_t> dims(rank, 4);
                dims[at] = 0;
                add("zero at " + std::to_string(at) + " of " + std::to_string(rank), "has dimension " + std::to_string(at) + " of 0", start(dims));
                dims[at] = uint64_t{1} << 63;
                add("2^63 at " + std::to_string(at) + " of " + std::to_string(rank), "of 9223372036854775808, a positive number", start(dims));
            }
        add("zero beside huge", "has dimension 1 of 0", start({uint64_t{1} << 62, 0, uint64_t{1} << 62}));
        add("dimension 2^64-1", "of 18446744073709551615, a positive number", start({~uint64_t{0}}));
        add("dimension -32", "of 18446744073709551584, a positive number", start({32, ~uint64_t{0} - 31}));
        for (const auto& dims : std::vector<std::vector<uint64_t>>{
                 {uint64_t{1} << 32, uint64_t{1} << 32}, {uint64_t{1} << 62, 2}, {uint64_t{1} << 62, 4}, {uint64_t{1} << 31, uint64_t{1} << 31, 2},
                 {uint64_t{1} << 16, uint64_t{1} << 16, uint64_t{1} << 16, uint64_t{1} << 16}, {3, 0x5555555555555556}, {uint64_t{1} << 22, uint64_t{1} << 22, uint64_t{1} << 20}})
            add("elements wrap " + std::to_string(cases.size()), "has too many elements to count", start(dims));
        add("F32 bytes wrap", "has too many bytes to count", start({uint64_t{1} << 62}));
        add("F64 bytes wrap", "has too many bytes to count", start({uint64_t{1} << 61}, 28));
        add("F32 bytes wrap in rows", "has too many bytes to count", start({uint64_t{1} << 31, uint64_t{1} << 31}));
        for (const uint64_t size : {uint64_t{1} << 40, uint64_t{1} << 50, uint64_t{1} << 60})
            add("claims " + hex(size), "it is cut short", start({size}));
        add("F16 end wraps", "makes the data too large to count", start({(uint64_t{1} << 63) - 1}, 1));
        for (const quant::Format& format : quant::formats()) {
            if (format.block == 1) continue;
            for (const uint64_t cols : {uint64_t{1}, uint64_t{format.block} - 1, uint64_t{format.block} + 1})
                add(std::string(format.name) + " row of " + std::to_string(cols), std::string("of a ") + format.name + " block", start({cols, 2}, format.id));
            add(std::string(format.name) + " scalar", "has rows of 1", start({}, format.id));
            if (format.head && format.head->grouped) {
                grouped(format);
                continue;
            }
            add(std::string(format.name) + " cut by one byte", "it is cut short",
                Builder().header(1, 0).tensor("t", {format.block, 3}, format.id, 0).align().fill(format.tensor_bytes(format.block, 3) - 1));
        }
    }

    // The number of rows that share a table decides how many tables there are.
    void grouped(const quant::Format& format) {
        const auto start = [&] { return Builder().header(1, 0).tensor("t", {format.block, 3}, format.id, 0).align(); };
        const std::string name = format.name;
        for (const uint32_t group : {0u, 4u, 0x7fffffffu, 0x80000000u, 0xffffffffu})
            add(name + " with groups of " + std::to_string(group), "shares a table among", start().number<uint32_t>(group).fill(65536));
        for (const uint32_t group : {1u, 2u, 3u}) {
            const uint64_t bytes = format.tensor_bytes(format.block, 3, group);
            add(name + " in groups of " + std::to_string(group) + " cut by one byte", "it is cut short",
                start().number<uint32_t>(group).fill(bytes - 5));
            add(name + " in groups of " + std::to_string(group) + " cut in its head", "cut short in its head", start().number<uint32_t>(group).fill(27));
        }
        add(name + " with something after the group", "of its head, 0 expected", start().number<uint32_t>(1).number<uint32_t>(1).fill(65536));
    }

    void types() {
        const auto start = [](uint32_t type) { return Builder().header(1, 0).tensor("t", {256}, type, 0).align().fill(4096); };
        for (const uint32_t type : {4u, 5u, 31u, 32u, 33u, 36u, 37u, 38u})
            add("removed type " + std::to_string(type), "was removed from GGUF", start(type));
        for (const uint32_t type : {43u, 44u, 64u, 255u, 256u, 400u, 0x1ffffu, 0x7fffffffu, 0x80000000u, 0xffffffffu})
            add("type " + hex(type), "tensor 't' has unknown type " + std::to_string(type), start(type));
    }

    void descriptions() {
        const Builder full = Builder().header(2, 0).tensor("first", {4, 4}, 0, 0).tensor("second", {4, 4}, 0, 64);
        const size_t second = 8 + 6 + 4 + 16 + 4 + 8;
        for (const size_t missing : {size_t{1}, size_t{8}, size_t{9}, size_t{12}, size_t{13}, size_t{20}, size_t{28}, size_t{29}, second - 15})
            add("description without its last " + std::to_string(missing), "tensor 'second': the file ends inside its description",
                Builder(full).cut(missing));
        add("description without its name", "tensor number 1 claims 6 bytes of text", Builder(full).cut(second - 10));
        // The count of tensors is allowed by the bytes left, but they end earlier.
        add("descriptions end early", "tensor number 1: the file ends inside it",
            Builder().header(2, 0).tensor(std::string(40, 'n'), {4}, 0, 0));
    }

    void data() {
        const auto two = [](uint64_t first, uint64_t second) {
            return Builder().header(2, 0).tensor("a", {4, 4}, 0, first).tensor("b", {4}, 0, second).align().fill(1024);
        };
        for (const uint64_t offset : {uint64_t{1}, uint64_t{32}, uint64_t{64}, uint64_t{1} << 31, uint64_t{1} << 32, uint64_t{1} << 63, ~uint64_t{0} - 31, ~uint64_t{0}})
            add("first offset " + hex(offset), "tensor 'a' has offset " + std::to_string(offset) + ", 0 expected", two(offset, 64));
        for (const uint64_t offset : {uint64_t{0}, uint64_t{32}, uint64_t{63}, uint64_t{65}, uint64_t{96}, uint64_t{1} << 32, ~uint64_t{0} - 31, ~uint64_t{0}})
            add("second offset " + hex(offset), "tensor 'b' has offset " + std::to_string(offset) + ", 64 expected", two(0, offset));
        const Builder one = Builder().header(1, 0).tensor("t", {32, 4}, 0, 0).align().fill(512);
        for (const unsigned missing : {1u, 2u, 32u, 511u, 512u, 530u})
            add("data without its last " + std::to_string(missing), "it is cut short", Builder(one).cut(missing));
        add("second tensor cut", "tensor 'b' needs bytes", Builder(two(0, 64)).cut(1024 - 79));
        add("padding before the data cut", "it is cut short", Builder().header(1, 0).tensor("t", {1}, 24, 0));
        add("large alignment", "it is cut short",
            Builder().header(1, 1).key("general.alignment", u32, 1u << 20).tensor("t", {4}, 0, 0).align().fill(64));
        add("offset not of this alignment", "has offset 32, 64 expected",
            Builder().header(2, 1).key("general.alignment", u32, 64u).tensor("a", {8}, 0, 0).tensor("b", {8}, 0, 32).align(64).fill(256));
    }
};

}  // namespace detail

inline std::vector<Case> gguf_cases() {
    detail::Table table;
    table.headers();
    table.key_names();
    table.values();
    table.arrays();
    table.alignments();
    table.tensor_names();
    table.shapes();
    table.types();
    table.descriptions();
    table.data();
    return table.cases;
}

}  // namespace malformed
