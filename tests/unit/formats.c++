// The list of formats, 16-bit floats, and decoding: against vectors that a peer wrote, against formulas, of any bytes.
#include <bit>
#include <cmath>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/cpu.h"
#include "base/rng.h"
#include "formats/format.h"
#include "formats/grids.h"
#include "tests/check.h"
#include "tests/guarded.h"
#include "tests/unit/vectors.h"
#include "tests/unit/whole.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

using namespace quant;

namespace {

bool is_nan(float v) { return (std::bit_cast<uint32_t>(v) & 0x7fffffff) > 0x7f800000; }
bool same_float(float a, float b) {
    return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b) || (is_nan(a) && is_nan(b));
}

// The value of a half by the definition of the format, in double.
double half_value(int bits) {
    const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
    const double magnitude = exponent ? std::ldexp(1024 + mantissa, exponent - 25) : std::ldexp(mantissa, -24);
    return bits & 0x8000 ? -magnitude : magnitude;
}

#if defined(__x86_64__)
[[gnu::target("f16c")]] float hardware_f16_to_f32(uint16_t half) { return _cvtsh_ss(half); }
[[gnu::target("f16c")]] uint16_t hardware_f32_to_f16(float v) { return _cvtss_sh(v, _MM_FROUND_TO_NEAREST_INT); }
bool has_hardware() { return cpu_features().avx2; }  // stands for F16C too
#elif defined(__aarch64__)
float hardware_f16_to_f32(uint16_t half) { return static_cast<float>(std::bit_cast<__fp16>(half)); }
uint16_t hardware_f32_to_f16(float v) { return std::bit_cast<uint16_t>(static_cast<__fp16>(v)); }
bool has_hardware() { return true; }
#endif

void check_decode(const Format& format, const std::vector<uint8_t>& encoded, const std::vector<float>& expected) {
    CHECK_MSG(encoded.size() * format.block == expected.size() * format.bytes, format.name);
    if (encoded.size() * format.block != expected.size() * format.bytes) return;
    std::vector<float> out(expected.size());
    format.decode(nullptr, encoded.data(), out.data(), static_cast<int64_t>(out.size()));
    for (size_t i = 0; i < out.size(); ++i) {
        CHECK_MSG(same_float(out[i], expected[i]), std::string(format.name) + " element " + std::to_string(i) + ": " +
                                                       std::to_string(out[i]) + ", not " + std::to_string(expected[i]));
    }
}

}  // namespace

TEST(list_is_consistent) {
    std::set<uint32_t> ids;
    std::set<std::string> names;
    size_t i = 0;
    CHECK(formats().size() == kFormatCount);
    for (const Format& format : formats()) {
        CHECK_MSG(static_cast<size_t>(format.slot) == i++, format.name);
        CHECK_MSG(&format_of(format.slot) == &format, format.name);
        CHECK_MSG(ids.insert(format.id).second, format.name);
        CHECK_MSG(names.insert(vectors::lower(format.name)).second, format.name);
        CHECK_MSG(find_format(format.id) == &format, format.name);
        CHECK_MSG(find_format(format.name) == &format, format.name);
        CHECK_MSG(find_format(vectors::lower(format.name)) == &format, format.name);
        CHECK_MSG(format.decode != nullptr, format.name);
        CHECK_MSG(format.encodes == (format.encode != nullptr), format.name);
        CHECK_MSG(format.block > 0 && format.bytes > 0, format.name);
        CHECK_MSG(format.stock == (format.id < 43), format.name);
        CHECK_MSG(format.purpose && *format.purpose, format.name);
    }
    for (uint32_t removed : {4u, 5u, 31u, 32u, 33u, 36u, 37u, 38u, 43u, 0xffffffffu}) CHECK(!find_format(removed));
    for (const char* unknown : {"", "q4", "q4_k_m", "q4_00", "F3", "f32 "}) CHECK_MSG(!find_format(unknown), unknown);
    CHECK(format_of(FormatSlot::q4_k).row_bytes(512) == 288);
    CHECK(format_of(FormatSlot::q4_k).tensor_bytes(512, 3) == 864);
    CHECK(format_of(FormatSlot::q6_k).bits_per_weight() == 6.5625);
}

TEST(halves_to_floats) {
    for (int bits = 0; bits < 65536; ++bits) {
        const float v = f16_to_f32(static_cast<uint16_t>(bits));
        if ((bits & 0x7c00) == 0x7c00) {
            CHECK((bits & 1023) ? is_nan(v) : v == (bits & 0x8000 ? -INFINITY : INFINITY));
        } else {
            CHECK(v == half_value(bits) && std::signbit(v) == ((bits & 0x8000) != 0));
        }
        const int quieted = (bits & 0x7c00) == 0x7c00 && (bits & 1023) ? bits | 512 : bits;
        CHECK(f32_to_f16(v) == quieted);
    }
}

// Between neighbouring halves: the middle goes to the even one, everything else to the nearer one.
TEST(floats_to_halves_round_to_even) {
    for (int bits = 0; bits < 0x7c00; ++bits) {
        const double low = half_value(bits), high = bits == 0x7bff ? 65536 : half_value(bits + 1);
        const float middle = static_cast<float>((low + high) / 2);  // exact: one bit more than a half
        const auto even = static_cast<uint16_t>(bits + (bits & 1));
        CHECK(f32_to_f16(middle) == even);
        CHECK(f32_to_f16(std::nextafterf(middle, 0)) == bits);
        CHECK(f32_to_f16(std::nextafterf(middle, 1e9f)) == bits + 1);
        CHECK(f32_to_f16(-middle) == (even | 0x8000));
    }
    CHECK(f32_to_f16(3e38f) == 0x7c00 && f32_to_f16(-INFINITY) == 0xfc00);
    CHECK(f32_to_f16(std::bit_cast<float>(0x7f800001u)) == 0x7e00);
    CHECK(f32_to_f16(std::bit_cast<float>(0xffc02000u)) == 0xfe01);
}

TEST(halves_as_the_processor_does) {
#if defined(__x86_64__) || defined(__aarch64__)
    if (!has_hardware()) SKIP("this processor converts no halves");
    for (int bits = 0; bits < 65536; ++bits) {
        const auto half = static_cast<uint16_t>(bits);
        CHECK(std::bit_cast<uint32_t>(f16_to_f32(half)) == std::bit_cast<uint32_t>(hardware_f16_to_f32(half)));
    }
    for (uint64_t bits = 0; bits < uint64_t{1} << 32; bits += 997) {
        const float v = std::bit_cast<float>(static_cast<uint32_t>(bits));
        CHECK(f32_to_f16(v) == hardware_f32_to_f16(v));
    }
#else
    SKIP("no known conversion instruction");
#endif
}

TEST(bfloat16) {
    for (int bits = 0; bits < 65536; ++bits) {
        const float v = bf16_to_f32(static_cast<uint16_t>(bits));
        const bool nan = (bits & 0x7fff) > 0x7f80;
        CHECK(std::bit_cast<uint32_t>(v) == static_cast<uint32_t>(bits) << 16);
        CHECK(f32_to_bf16(v) == (nan ? bits | 0x40 : bits));
        if ((bits & 0x7fff) >= 0x7f80) continue;
        const auto middle = static_cast<uint32_t>(bits) << 16 | 0x8000;
        CHECK(f32_to_bf16(std::bit_cast<float>(middle)) == bits + (bits & 1));
        CHECK(f32_to_bf16(std::bit_cast<float>(middle - 1)) == bits);
        CHECK(f32_to_bf16(std::bit_cast<float>(middle + 1)) == bits + 1);
    }
}

TEST(decodes_carried_vectors) {
    int types = 0;
    for (const Format& format : formats()) {
        const std::string stem = "tests/golden/formats/" + vectors::stem(format);
        const auto encoded = vectors::bytes(stem + ".bin");
        if (encoded.empty()) continue;
        check_decode(format, encoded, vectors::floats(stem + ".f32"));
        ++types;
    }
    CHECK_MSG(types >= 25, std::to_string(types));
}

TEST(decodes_shared_vectors) {
    SHARED_OR_SKIP(shared);
    const std::string folder = shared + "/reference/formats/";
    int files = 0;
    for (const Format& format : formats()) {
        for (const char* kind : {"", ".weighted", ".random"}) {
            const std::string stem = folder + vectors::stem(format) + kind;
            const auto encoded = vectors::bytes(stem + ".bin");
            if (encoded.empty()) continue;
            check_decode(format, encoded, vectors::floats(stem + ".f32"));
            ++files;
        }
    }
    CHECK_MSG(files >= 72, std::to_string(files));
}

namespace {

// The points of a book as lists of levels, `lowest` standing for level 0 of the book (IQ1 counts from -1).
template <class Grid>
std::vector<std::vector<int>> points_of(const Grid& grid, int lowest) {
    std::vector<std::vector<int>> all;
    for (const auto point : grid.points) {
        all.emplace_back();
        for (size_t i = 0; i < sizeof point; ++i) all.back().push_back(static_cast<int>(point >> (8 * i) & 255) + lowest);
    }
    return all;
}

void check_book(const std::string& file, const std::vector<std::vector<int>>& points) {
    std::ifstream in(file);
    CHECK_MSG(in.is_open(), file);
    size_t count = 0;
    for (std::string line; std::getline(in, line); ++count) {
        std::istringstream numbers(line);
        std::vector<int> expected;
        for (int level; numbers >> level;) expected.push_back(level);
        CHECK_MSG(count < points.size() && points[count] == expected, file + " point " + std::to_string(count));
    }
    CHECK_MSG(count == points.size(), file);
}

}  // namespace

TEST(code_books_are_the_published_ones) {
    SHARED_OR_SKIP(shared);
    const std::string folder = shared + "/reference/formats/grids/";
    check_book(folder + "iq1s_grid.txt", points_of(kIq1Grid, -1));
    check_book(folder + "iq2xxs_grid.txt", points_of(kIq2XxsGrid, 0));
    check_book(folder + "iq2xs_grid.txt", points_of(kIq2XsGrid, 0));
    check_book(folder + "iq2s_grid.txt", points_of(kIq2SGrid, 0));
    check_book(folder + "iq3xxs_grid.txt", points_of(kIq3XxsGrid, 0));
    check_book(folder + "iq3s_grid.txt", points_of(kIq3SGrid, 0));
}

// The same without those files: a sum over the published numbers, each times its place modulo 1009.
TEST(code_books_have_their_points) {
    const auto sum = [](const std::vector<std::vector<int>>& points) {
        int64_t total = 0, place = 0;
        for (const std::vector<int>& point : points)
            for (const int level : point) total += level * (++place % 1009);
        return total;
    };
    CHECK(sum(points_of(kIq1Grid, -1)) == 60497);
    CHECK(sum(points_of(kIq2XxsGrid, 0)) == 19921117);
    CHECK(sum(points_of(kIq2XsGrid, 0)) == 42052687);
    CHECK(sum(points_of(kIq2SGrid, 0)) == 83868613);
    CHECK(sum(points_of(kIq3XxsGrid, 0)) == 14355900);
    CHECK(sum(points_of(kIq3SGrid, 0)) == 6583603);
    for (uint32_t seven = 0; seven < 128; ++seven) {
        CHECK((even_signs(seven) & 127) == seven && std::popcount(even_signs(seven)) % 2 == 0 && even_signs(seven) < 256);
    }
}

TEST(plain_numbers) {
    const float values[] = {0.0f, -0.0f, 1.5f, -65504.0f, 1e-40f, 3.0e38f};
    for (FormatSlot slot : {FormatSlot::f32, FormatSlot::f16, FormatSlot::bf16}) {
        const Format& format = format_of(slot);
        std::vector<uint8_t> bytes(format.row_bytes(6));
        float back[6];
        format.encode(nullptr, values, nullptr, bytes.data(), 6);
        format.decode(nullptr, bytes.data(), back, 6);
        for (int i = 0; i < 6; ++i) CHECK_MSG(std::isfinite(back[i]) && std::signbit(back[i]) == std::signbit(values[i]), format.name);
        CHECK(back[2] == 1.5f);
    }
    const double d[] = {0.1, -1e300};
    const int8_t i8[] = {-128, 127};
    const int16_t i16[] = {-32768, 32767};
    const int32_t i32[] = {-7, 1 << 30};
    const int64_t i64[] = {-7, int64_t{1} << 60};
    float out[2];
    format_of(FormatSlot::f64).decode(nullptr, reinterpret_cast<const uint8_t*>(d), out, 2);
    CHECK(out[0] == 0.1f && out[1] == -INFINITY);
    format_of(FormatSlot::i8).decode(nullptr, reinterpret_cast<const uint8_t*>(i8), out, 2);
    CHECK(out[0] == -128 && out[1] == 127);
    format_of(FormatSlot::i16).decode(nullptr, reinterpret_cast<const uint8_t*>(i16), out, 2);
    CHECK(out[0] == -32768 && out[1] == 32767);
    format_of(FormatSlot::i32).decode(nullptr, reinterpret_cast<const uint8_t*>(i32), out, 2);
    CHECK(out[0] == -7 && out[1] == 0x1p30f);
    format_of(FormatSlot::i64).decode(nullptr, reinterpret_cast<const uint8_t*>(i64), out, 2);
    CHECK(out[0] == -7 && out[1] == 0x1p60f);
}

// Q8_1 and Q8_K have no vectors: their formula is d * q.
TEST(eight_bit_blocks_with_sums) {
    uint8_t q8_1[36] = {}, q8_k[292] = {};
    store(q8_1, f32_to_f16(0.5f));
    store(q8_k, 0.25f);
    for (int i = 0; i < 32; ++i) q8_1[4 + i] = static_cast<uint8_t>(i - 16);
    for (int i = 0; i < 256; ++i) q8_k[4 + i] = static_cast<uint8_t>(i - 128);
    float out[256];
    format_of(FormatSlot::q8_1).decode(nullptr, q8_1, out, 32);
    for (int i = 0; i < 32; ++i) CHECK(out[i] == 0.5f * static_cast<float>(i - 16));
    format_of(FormatSlot::q8_k).decode(nullptr, q8_k, out, 256);
    for (int i = 0; i < 256; ++i) CHECK(out[i] == 0.25f * static_cast<float>(i - 128));
}

// All 256 scale codes times all 16 element codes, against the definitions in double.
TEST(small_floats_by_definition) {
    const double e2m1[16] = {0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6};
    for (int scale = 0; scale < 256; ++scale) {
        uint8_t mx[17], nv[36];
        float out[64];
        mx[0] = static_cast<uint8_t>(scale);
        for (int j = 0; j < 16; ++j) mx[1 + j] = static_cast<uint8_t>(j | (15 - j) << 4);
        format_of(FormatSlot::mxfp4).decode(nullptr, mx, out, 32);
        for (int j = 0; j < 16; ++j) {
            CHECK(out[j] == static_cast<float>(std::ldexp(e2m1[j], scale - 127)));
            CHECK(out[j + 16] == static_cast<float>(std::ldexp(e2m1[15 - j], scale - 127)));
        }
        const int exponent = scale >> 3 & 15, mantissa = scale & 7;
        const double value = scale == 0x7f ? 0
                             : exponent    ? std::ldexp(8 + mantissa, exponent - 10)
                                           : std::ldexp(mantissa, -9);
        for (int g = 0; g < 4; ++g) nv[g] = static_cast<uint8_t>(scale);
        for (int j = 0; j < 32; ++j) nv[4 + j] = static_cast<uint8_t>((j & 15) | (15 - (j & 15)) << 4);
        format_of(FormatSlot::nvfp4).decode(nullptr, nv, out, 64);
        for (int g = 0; g < 4; ++g) {
            for (int j = 0; j < 8; ++j) {
                const int code = (8 * g + j) & 15;
                CHECK(out[16 * g + j] == static_cast<float>(value * e2m1[code]));
                CHECK(out[16 * g + j + 8] == static_cast<float>(value * e2m1[15 - code]));
            }
        }
    }
}

// Any bytes are a block: decoding stays within its row and does not depend on the address.
TEST(decodes_any_bytes) {
    Rng rng(5);
    const int blocks = std::getenv("QUANT_FULL_TESTS") ? 1000000 : 20000;
    for (const Format& format : formats()) {
        if (!format.plain()) continue;  // decodes_any_tensor
        std::vector<uint8_t> bytes(format.bytes + 1), moved(format.bytes + 1);
        std::vector<float> out(format.block + 1), again(format.block);
        for (int i = 0; i < blocks; ++i) {
            vectors::fill(bytes.data(), format.bytes, rng);
            out[format.block] = 12345;
            format.decode(nullptr, bytes.data(), out.data(), format.block);
            CHECK_MSG(out[format.block] == 12345, format.name);
            if (i % 16) continue;
            std::memcpy(moved.data() + 1, bytes.data(), format.bytes);
            format.decode(nullptr, moved.data() + 1, again.data(), format.block);
            CHECK_MSG(std::memcmp(again.data(), out.data(), format.block * sizeof(float)) == 0, format.name);
        }
    }
}

// The same where blocks need side data: any bytes but the number of rows in a group, which the reader checks.
TEST(decodes_any_tensor) {
    Rng rng(8);
    for (const Format& format : formats()) {
        if (format.plain()) continue;
        const int64_t cols = 3 * format.block, rows = 7;
        const uint64_t bytes = format.tensor_bytes(cols, rows, whole::group_for(format, rows));
        for (int trial = 0; trial < 200; ++trial) {
            Guarded tensor(bytes, trial % 2 ? Guarded::Edge::behind : Guarded::Edge::before);
            vectors::fill(tensor.data(), bytes, rng);
            if (trial == 0) std::fill_n(tensor.data(), bytes, uint8_t{0xff});
            const EncodedView view = whole::view(format, tensor.data(), cols, rows);
            const std::vector<float> all = whole::decode(format, tensor.data(), cols, rows);
            // Pieces of rows are what whole rows are, and a part of the rows is what all are.
            std::vector<float> piece(static_cast<size_t>(format.block));
            for (int64_t row = 0; row < rows; ++row)
                for (int64_t col = 0; col < cols; col += format.block)
                    for (const bool part : {false, true}) {
                        if (part) decode_part(format, rows_of(format, view, row, 1), 0, col, format.block, piece.data());
                        else decode_part(format, view, row, col, format.block, piece.data());
                        CHECK_MSG(std::memcmp(piece.data(), all.data() + row * cols + col, piece.size() * sizeof(float)) == 0, format.name);
                    }
        }
    }
}

TEST(decodes_rows_of_a_tensor) {
    const Format& format = format_of(FormatSlot::q4_0);
    std::vector<uint8_t> data(format.tensor_bytes(64, 5));
    Rng rng(6);
    vectors::fill(data.data(), data.size(), rng);
    for (size_t i = 0; i < data.size(); i += format.bytes) store(data.data() + i, f32_to_f16(0.5f));
    std::vector<float> all(5 * 64), some(2 * 64);
    format.decode(nullptr, data.data(), all.data(), 5 * 64);
    decode_rows(format, {data.data(), 64, 5}, 2, 2, some.data());
    CHECK(std::memcmp(some.data(), all.data() + 2 * 64, some.size() * sizeof(float)) == 0);
}

TEST_MAIN
