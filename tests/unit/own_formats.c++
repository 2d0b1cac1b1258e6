// Formats of this program's own: NF4 against the codes that bitsandbytes wrote, palettes against each other, what does not
// depend on the number of threads, and tables per group of rows.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/rng.h"
#include "convert/import/safetensors.h"
#include "formats/accuracy.h"
#include "formats/own_blocks.h"
#include "tests/check.h"
#include "tests/unit/rows.h"
#include "tests/unit/whole.h"

using namespace quant;

namespace {

const Format& format_named(const char* name) { return *find_format(std::string_view(name)); }

std::vector<float> gaussian(int64_t count, uint64_t seed) {
    Rng rng(seed);
    std::vector<float> out(static_cast<size_t>(count));
    for (float& x : out) x = static_cast<float>(rng.gaussian());
    return out;
}

// The level nearest to x, and by how little the second nearest lost.
int nearest_level(double x, double& margin) {
    int best = 0;
    double first = INFINITY, second = INFINITY;
    for (int i = 0; i < 16; ++i) {
        const double off = std::fabs(x - static_cast<double>(kNf4Levels[i]));
        if (off < first) {
            second = first;
            first = off;
            best = i;
        } else {
            second = std::min(second, off);
        }
    }
    margin = second - first;
    return best;
}

int code_at(const uint8_t (*qs)[16], int i) {
    const int byte = qs[i / 32][i % 16];
    return i % 32 < 16 ? byte & 15 : byte >> 4;
}

double error_of(const Format& format, const std::vector<float>& x, const float* importance, int64_t cols, int64_t rows) {
    const auto y = whole::decode(format, whole::encode(format, x.data(), importance, cols, rows).data(), cols, rows);
    double sum = 0;
    for (size_t i = 0; i < x.size(); ++i) {
        const double off = static_cast<double>(x[i]) - static_cast<double>(y[i]);
        sum += (importance ? static_cast<double>(importance[i % static_cast<size_t>(cols)]) : 1.0) * off * off;
    }
    return sum;
}

}  // namespace

TEST(nf4_takes_the_nearest_level) {
    const auto x = gaussian(64 * 200, 1);
    const auto blocks = whole::encode(format_named("NF4"), x.data(), nullptr, 64, 200);
    double error = 0, norm = 0;
    for (int64_t b = 0; b < 200; ++b) {
        const auto* block = reinterpret_cast<const BlockNF4*>(blocks.data()) + b;
        const float* from = x.data() + 64 * b;
        double most = 0;
        for (int i = 0; i < 64; ++i) most = std::max(most, std::fabs(static_cast<double>(from[i])));
        CHECK(static_cast<double>(load<float>(block->absmax)) == most);
        for (int i = 0; i < 64; ++i) {
            double margin = 0;
            const int level = nearest_level(static_cast<double>(from[i]) / most, margin);
            CHECK(level == code_at(block->qs, i) || margin < 1e-6);
            const double off = static_cast<double>(from[i]) - static_cast<double>(kNf4Levels[level]) * most;
            error += off * off;
            norm += static_cast<double>(from[i]) * static_cast<double>(from[i]);
        }
    }
    // What `quant formats` says of other normal weights agrees with the sum above.
    const double expected = std::sqrt(error / norm);
    CHECK_MSG(std::fabs(relative_rms_error(format_named("NF4"), Weights::gaussian) - expected) < 0.01 * expected, std::to_string(expected));
    // Codes for scales cost little: an absmax is off by a part in a hundred.
    CHECK(relative_rms_error(format_named("NF4_DQ"), Weights::gaussian) < 1.01 * expected);
}

// The original, encoded here, gives the numbers of the checkpoints that bitsandbytes made of it.
TEST(nf4_is_that_of_bitsandbytes) {
    SHARED_OR_SKIP(shared);
    const auto original = SafeTensors::open_folder(shared + "/models/arch/llama/hf");
    CHECK(original.ok());
    for (const char* name : {"NF4", "NF4_DQ"}) {
        const bool nested = std::strcmp(name, "NF4_DQ") == 0;
        const auto packed = SafeTensors::open_folder(shared + (nested ? "/models/quantized/bnb-nf4-dq/hf" : "/models/quantized/bnb-nf4/hf"));
        CHECK(packed.ok());
        if (!original || !packed) return;
        int tensors = 0, ties = 0, blocks = 0;
        for (const SafeTensor& from : original->tensors()) {
            const SafeTensor* codes = packed->find(from.name);
            const SafeTensor* absmax = packed->find(from.name + ".absmax");
            if (!codes || !absmax || from.cols() % 64 != 0) continue;
            ++tensors;
            const int64_t cols = from.cols(), rows = from.elements() / cols;
            std::vector<float> x(static_cast<size_t>(from.elements()));
            from.type->decode(from.data, x.data(), from.elements());
            const Format& format = format_named(name);
            const auto ours = whole::encode(format, x.data(), nullptr, cols, rows);
            const SafeTensor* map = packed->find(from.name + ".nested_quant_map");
            if (nested) CHECK(map && std::memcmp(map->data, ours.data() + HeadNF4_DQ::kMap, 1024) == 0);
            for (int64_t b = 0; b < from.elements() / 64; ++b) {
                ++blocks;
                const float* values = x.data() + 64 * b;
                const uint8_t* block = ours.data() + format.head_bytes(cols, rows, 0) + b * format.bytes;
                const auto* qs = reinterpret_cast<const uint8_t(*)[16]>(block + (nested ? 1 : 4));
                double most = 0;
                for (int i = 0; i < 64; ++i) most = std::max(most, std::fabs(static_cast<double>(values[i])));
                if (nested) {
                    const int apart = std::abs(int{block[0]} - int{absmax->data[b]});
                    CHECK_MSG(apart <= 1, from.name);
                    ties += apart;
                } else {
                    CHECK_MSG(load<float>(block) == load<float>(absmax->data + 4 * b), from.name);
                }
                for (int i = 0; i < 64; ++i) {
                    const uint8_t pair = codes->data[32 * b + i / 2];
                    const int theirs = i % 2 ? pair & 15 : pair >> 4;
                    double margin = 0;
                    nearest_level(static_cast<double>(values[i]) / most, margin);
                    CHECK_MSG(theirs == code_at(qs, i) || margin < 1e-6, from.name + " block " + std::to_string(b));
                }
            }
        }
        CHECK_MSG(tensors >= 8, std::to_string(tensors));
        // Their mean is a sum of floats: a scale near the middle of two codes may take the other one.
        CHECK_MSG(ties * 200 <= blocks, std::to_string(ties) + " of " + std::to_string(blocks));
    }
}

// With importance weights the scale gives way where it pays; never for the worse.
TEST(importance_lowers_the_weighted_error) {
    const auto x = gaussian(512 * 24, 3);
    const auto h = rows::importance();
    CHECK(h.size() >= 512);
    for (const Format& format : formats()) {
        if (format.stock || !format.encodes || format.kind != FormatKind::block) continue;
        const auto y = whole::decode(format, whole::encode(format, x.data(), nullptr, 512, 24).data(), 512, 24);
        double plain = 0;
        for (size_t i = 0; i < x.size(); ++i) {
            const double off = static_cast<double>(x[i]) - static_cast<double>(y[i]);
            plain += static_cast<double>(h[i % 512]) * off * off;
        }
        const double weighted = error_of(format, x, h.data(), 512, 24);
        CHECK_MSG(weighted < plain, std::string(format.name) + ": " + std::to_string(weighted / plain));
    }
}

TEST(palettes_in_order) {
    const auto x = gaussian(512 * 256, 4);
    const auto error = [&](const char* name) { return error_of(format_named(name), x, nullptr, 512, 256); };
    const double pal2 = error("PAL2"), pal4 = error("PAL4");
    CHECK_MSG(error("PAL2_V4") < 0.85 * pal2, std::to_string(error("PAL2_V4") / pal2));
    CHECK_MSG(error("PAL2_V2") < pal2, std::to_string(error("PAL2_V2") / pal2));
    CHECK(error("PAL1_V4") < error("PAL1"));
    // Fewer bits than NF4 and less than three quarters of its error.
    CHECK_MSG(pal4 < 0.75 * error("NF4"), std::to_string(pal4 / error("NF4")));
    CHECK(error("PAL3") > 2 * pal4 && error("PAL6") < 0.1 * pal4 && error("PAL8") < 0.1 * error("PAL6"));
    // An int8 table is nearly as good.
    CHECK_MSG(error("PAL4_I8") < 1.02 * pal4, std::to_string(error("PAL4_I8") / pal4));
    CHECK(error("PAL2_V4_I8") < 1.02 * error("PAL2_V4"));
}

// Tables per group of rows follow rows that differ: two groups of rows with three values each.
TEST(groups_have_tables_of_their_own) {
    const Format& format = format_named("PAL2");
    const int64_t cols = 256, rows = 8;
    Rng rng(5);
    std::vector<float> x(static_cast<size_t>(cols * rows));
    for (size_t i = 0; i < x.size(); ++i) {
        const int pick = static_cast<int>(rng.below(3)) - 1;
        const auto of = [&](double a, double b, double c) { return pick < 0 ? a : pick > 0 ? b : c; };
        x[i] = static_cast<float>(i / 256 < 4 ? of(-1, 0.25, 1) : 2 * of(-0.6, -0.125, 1));
    }
    ThreadPool pool(2);
    const auto error = [&](int64_t group) {
        HeadInput input{cols, rows, group, {}, {}, &pool};
        input.read = [&](int64_t row, int64_t count, float* out) { std::copy_n(x.data() + row * cols, count * cols, out); };
        std::vector<uint8_t> data(format.tensor_bytes(cols, rows, group));
        encode_tensor(format, input, data.data());
        std::vector<float> y(x.size());
        decode_rows(format, {data.data(), cols, rows, format.head_bytes(cols, rows, group), group, 0}, 0, rows, y.data());
        double sum = 0;
        for (size_t i = 0; i < x.size(); ++i) {
            const double off = static_cast<double>(x[i]) - static_cast<double>(y[i]);
            sum += off * off;
        }
        return sum;
    };
    CHECK(format.tensor_bytes(cols, rows, 4) - format.tensor_bytes(cols, rows, 8) <= 32);
    const double all = error(8), four = error(4), three = error(3);
    CHECK_MSG(four < 0.02 && four < all && three >= four, std::to_string(all) + " " + std::to_string(three) + " " + std::to_string(four));
}

TEST(threads_do_not_change_a_byte) {
    const auto x = gaussian(512 * 40, 6);
    const auto h = rows::importance();
    for (const Format& format : formats()) {
        if (!format.head) continue;
        const int64_t group = format.head->grouped ? 7 : 0;
        std::vector<uint8_t> data[2];
        for (const int threads : {1, 3}) {
            ThreadPool pool(threads);
            HeadInput input{512, 40, group, {}, [&](int64_t) { return h.data(); }, &pool};
            input.read = [&](int64_t row, int64_t count, float* out) { std::copy_n(x.data() + row * 512, count * 512, out); };
            std::vector<uint8_t>& out = data[threads == 3];
            out.assign(format.tensor_bytes(512, 40, group), static_cast<uint8_t>(threads));
            encode_tensor(format, input, out.data());
        }
        CHECK_MSG(data[0] == data[1], format.name);
    }
}

// Tensors whose sampled rows hold nothing still keep the others.
TEST(zeros_and_single_values_survive) {
    for (const Format& format : formats()) {
        if (format.plain() || !format.encodes) continue;
        std::vector<float> x(512 * 6, 0.0f);
        for (const float v : whole::decode(format, whole::encode(format, x.data(), nullptr, 512, 6).data(), 512, 6)) CHECK_MSG(v == 0, format.name);
        std::fill(x.begin(), x.end(), -0.37f);
        for (const float v : whole::decode(format, whole::encode(format, x.data(), nullptr, 512, 6).data(), 512, 6))
            CHECK_MSG(std::fabs(v + 0.37f) < 0.01f, std::string(format.name) + ": " + std::to_string(v));
    }
}

TEST_MAIN
