// The affine formats, eight-bit floats and L4 against their definitions, written here once more bit by bit; groups of other
// tools (scale, integer zero point) held exactly.
#include <cmath>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/rng.h"
#include "formats/affine.h"
#include "formats/blocks.h"
#include "formats/format.h"
#include "tests/check.h"
#include "tests/unit/whole.h"

using namespace quant;

namespace {

const Format& affine_format(size_t index) { return format_of(static_cast<FormatSlot>(static_cast<size_t>(FormatSlot::affine) + index)); }

// Sets bit `bit` of the code of weight `e` among 32, from the picture in formats/affine.h.
void set_code_bit(int bits, int e, int bit, uint8_t* at) {
    int low = 0;
    for (const int width : {8, 4, 2, 1}) {
        if (!(bits & width)) continue;
        if (bit < low + width) {
            const int place = width * (e / (4 * width)) + bit - low;
            uint8_t& byte = at[e % (4 * width)];
            byte = static_cast<uint8_t>(byte | 1 << place);
            return;
        }
        at += 4 * width;
        low += width;
    }
}

// A stored row of `cols` random codes; `expected` gets what it stands for.
std::vector<uint8_t> random_row(const AffineLayout& layout, int cols, Rng& rng, bool integer_zero, std::vector<float>& expected) {
    const int span = layout.group ? layout.group : cols;
    std::vector<uint8_t> row;
    for (int first = 0; first < cols; first += span) {
        float d = static_cast<float>(0.001 + 0.1 * rng.uniform()), z = 0;
        if (layout.group) d = f16_to_f32(f32_to_f16(d));
        z = static_cast<float>(rng.below(static_cast<uint64_t>(layout.highest() - layout.lowest() + 2))) + static_cast<float>(layout.lowest());
        if (!integer_zero) z = f16_to_f32(f32_to_f16(z + static_cast<float>(rng.gaussian())));
        const float header[2] = {d, z};
        for (int k = 0; k < (layout.zero ? 2 : 1); ++k) {
            uint8_t bytes[4];
            if (layout.group) store(bytes, f32_to_f16(header[k]));
            else store(bytes, header[k]);
            row.insert(row.end(), bytes, bytes + (layout.group ? 2 : 4));
        }
        for (int e = 0; e < span; e += 32) {
            std::vector<uint8_t> codes(static_cast<size_t>(4 * layout.bits));
            for (int i = 0; i < 32; ++i) {
                const auto code = static_cast<int>(rng.below(uint64_t{1} << layout.bits));
                for (int bit = 0; bit < layout.bits; ++bit)
                    if (code >> bit & 1) set_code_bit(layout.bits, i, bit, codes.data());
                const int q = layout.bits == 8 && code > 127 ? code - 256 : code;
                if (layout.zero) expected.push_back(d * (static_cast<float>(q) - z));
                else if (layout.bits == 1) expected.push_back(q ? d : -d);
                else expected.push_back(d * static_cast<float>(layout.bits == 8 ? q : q - (1 << (layout.bits - 1))));
            }
            row.insert(row.end(), codes.begin(), codes.end());
        }
    }
    return row;
}

}  // namespace

TEST(affine_by_definition) {
    Rng rng(31);
    for (size_t i = 0; i < kAffineCount; ++i) {
        const AffineLayout layout = affine_layout(i);
        const Format& format = affine_format(i);
        for (const bool integer_zero : {true, false}) {  // integer ones are those of GPTQ, AWQ and compressed-tensors
            std::vector<float> expected;
            const std::vector<uint8_t> row = random_row(layout, 256, rng, integer_zero, expected);
            CHECK_MSG(row.size() == format.row_bytes(256), format.name);
            if (row.size() != format.row_bytes(256)) continue;
            const std::vector<float> out = whole::decode(format, row.data(), 256, 1);
            CHECK_MSG(out == expected, format.name);
        }
    }
}

// A group whose codes reach both ends comes back from its values alone, code for code.
TEST(affine_values_are_found_again) {
    Rng rng(32);
    for (size_t i = 0; i < kAffineCount; ++i) {
        const AffineLayout layout = affine_layout(i);
        const Format& format = affine_format(i);
        if (layout.bits < 2 || layout.bits > 5) continue;
        double error = 0, energy = 0;
        for (int trial = 0; trial < 8; ++trial) {
            std::vector<float> values;
            random_row(layout, 256, rng, true, values);
            const std::vector<float> out = whole::decode(format, whole::encode(format, values.data(), nullptr, 256, 1).data(), 256, 1);
            for (size_t e = 0; e < values.size(); ++e) {
                const double difference = static_cast<double>(values[e]) - static_cast<double>(out[e]);
                error += difference * difference;
                energy += static_cast<double>(values[e]) * static_cast<double>(values[e]);
            }
        }
        CHECK_MSG(error <= 1e-9 * energy, std::string(format.name) + ": " + std::to_string(error / energy));
    }
}

TEST(put_codes_keeps_the_header) {
    Rng rng(33);
    for (size_t i = 0; i < kAffineCount; ++i) {
        const AffineLayout layout = affine_layout(i);
        std::vector<uint8_t> block(static_cast<size_t>(layout.block_bytes()), 0x5a), codes(static_cast<size_t>(layout.block()));
        for (uint8_t& code : codes) code = static_cast<uint8_t>(rng.below(uint64_t{1} << layout.bits));
        put_affine_codes(layout, codes.data(), block.data());
        const int header = layout.group ? layout.header() : 0;
        for (int b = 0; b < header; ++b) CHECK(block[static_cast<size_t>(b)] == 0x5a);
        std::vector<uint8_t> expected(block.begin(), block.begin() + header);
        for (int e = 0; e < layout.block(); e += 32) {
            std::vector<uint8_t> part(static_cast<size_t>(4 * layout.bits));
            for (int k = 0; k < 32; ++k)
                for (int bit = 0; bit < layout.bits; ++bit)
                    if ((codes[static_cast<size_t>(e + k)] ^ (layout.bits == 8 ? 128 : 0)) >> bit & 1) set_code_bit(layout.bits, k, bit, part.data());
            expected.insert(expected.end(), part.begin(), part.end());
        }
        CHECK_MSG(block == expected, affine_format(i).name);
    }
}

TEST(eight_bit_floats_by_definition) {
    for (int code = 0; code < 256; ++code) {
        const int e4 = code >> 3 & 15, m3 = code & 7, e5 = code >> 2 & 31, m2 = code & 3;
        const double sign = code & 128 ? -1 : 1;
        const double e4m3 = sign * (e4 ? std::ldexp(8 + m3, e4 - 10) : std::ldexp(m3, -9));
        const double e5m2 = sign * (e5 ? std::ldexp(4 + m2, e5 - 17) : std::ldexp(m2, -16));
        const float four = fp8_value<true>(static_cast<uint8_t>(code)), five = fp8_value<false>(static_cast<uint8_t>(code));
        if ((code & 127) == 127) CHECK(std::isnan(four));
        else CHECK_MSG(static_cast<double>(four) == e4m3, std::to_string(code));
        if (e5 == 31) CHECK(m2 ? std::isnan(five) : std::isinf(five));
        else CHECK_MSG(static_cast<double>(five) == e5m2, std::to_string(code));
    }
    // Values of the format under a scale that keeps the largest at the top are found again.
    std::vector<float> values(128);
    for (int i = 0; i < 128; ++i) values[static_cast<size_t>(i)] = fp8_value<true>(static_cast<uint8_t>((i == 127 ? 126 : i) | (i % 2) << 7)) * 0.25f;
    const Format& format = format_of(FormatSlot::fp8_e4m3);
    CHECK(whole::decode(format, whole::encode(format, values.data(), nullptr, 128, 1).data(), 128, 1) == values);
}

TEST(powers_of_two_by_definition) {
    uint8_t block[18];
    store(block, f32_to_f16(0.5f));
    for (int j = 0; j < 16; ++j) block[2 + j] = static_cast<uint8_t>(j | (15 - j) << 4);
    float out[32];
    format_of(FormatSlot::l4).decode(nullptr, block, out, 32);
    for (int j = 0; j < 32; ++j) {
        const int code = j < 16 ? j : 31 - j, size = code & 7;
        const double value = size == 0 ? 0 : std::ldexp(code & 8 ? -1 : 1, size - 2);
        CHECK(static_cast<double>(out[j]) == value);
    }
}

TEST_MAIN
