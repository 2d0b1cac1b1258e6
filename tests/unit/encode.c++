// Encoding: never more error than a peer for any kind of row, finite out of finite in, lossless where it can be,
// the same bytes in both register widths.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "base/rng.h"
#include "formats/accuracy.h"
#include "formats/format.h"
#include "formats/lanes.h"
#include "tests/check.h"
#include "tests/full.h"
#include "tests/unit/rows.h"
#include "tests/unit/vectors.h"
#include "tests/unit/whole.h"

using namespace quant;

namespace {

constexpr int kRow = 512, kKinds = 8;

std::vector<const Format*> block_formats() {
    std::vector<const Format*> found;
    for (const Format& format : formats()) {
        if (format.kind == FormatKind::block && format.encodes) found.push_back(&format);
    }
    return found;
}

std::vector<float> encode_decode(const Format& format, const float* x, const float* importance, int n) {
    return whole::decode(format, whole::encode(format, x, importance, n, 1).data(), n, 1);
}

// Sums our squared error over the rows of each kind (row r is of kind r mod 8) and compares with the peer's.
void check_kinds(const Format& format, const std::vector<float>& x, const float* importance, const double* peer) {
    double ours[kKinds] = {};
    for (size_t row = 0; row < x.size() / kRow; ++row) {
        const float* at = x.data() + row * kRow;
        const auto y = encode_decode(format, at, importance, kRow);
        ours[row % kKinds] += rows::squared_error(at, y.data(), importance, kRow);
    }
    for (int kind = 0; kind < kKinds; ++kind) {
        char text[120];
        std::snprintf(text, sizeof text, "%s %s, rows of kind %d: %.9g, the peer %.9g", format.name,
                      importance ? "weighted" : "plain", kind, ours[kind], peer[kind]);
        // The peer's carried figures are rounded to nine digits.
        CHECK_MSG(ours[kind] <= peer[kind] * (1 + 1e-8), text);
    }
}

// Rows that go wrong easily; all finite.
std::vector<std::vector<float>> hard_rows(int n) {
    const auto size = static_cast<size_t>(n);
    std::vector<std::vector<float>> all;
    auto add = [&](auto value) {
        std::vector<float> row(size);
        for (size_t i = 0; i < size; ++i) row[i] = value(i);
        all.push_back(row);
    };
    const float most = 3.4028235e38f;
    for (float v : {0.0f, -0.0f, 1.0f, -3.7f, 1e-7f, -1e-7f, 1e-38f, 1e-45f, 65504.0f, -65520.0f, 1e6f, 1e30f, most, -most}) {
        add([=](size_t) { return v; });
    }
    Rng rng(11);
    auto gaussian = [&] { return static_cast<float>(rng.gaussian()); };
    add([&](size_t i) { return i % 2 ? 1.0f : -1.0f; });
    add([&](size_t i) { return i % 2 ? most : -most; });
    add([&](size_t i) { return i == 100 ? 1e30f : 0.01f * gaussian(); });
    add([&](size_t i) { return i % 64 == 5 ? -1e30f : gaussian(); });
    add([&](size_t i) { return i == 31 ? most : i == 32 ? -most : 1e-45f; });
    add([&](size_t i) { return static_cast<float>(i % 7) * 1e-45f; });
    for (float scale : {1e-45f, 1e-40f, 1e-30f, 1e-10f, 1e-7f, 1e-6f, 1e-5f, 1e4f, 1e5f, 1e10f, 1e37f}) {
        add([&](size_t) { return scale * gaussian(); });
    }
    add([&](size_t i) { return i < size / 2 ? 0.0f : -0.0f; });
    add([&](size_t i) { return i % 32 == 0 ? gaussian() : 0.0f; });
    add([&](size_t) { return 5 + 1e-3f * gaussian(); });
    add([&](size_t i) { return static_cast<float>(i) - 100; });
    return all;
}

std::vector<std::vector<float>> hard_importances(int n) {
    const auto size = static_cast<size_t>(n);
    Rng rng(12);
    std::vector<std::vector<float>> all(6, std::vector<float>(size));
    for (size_t i = 0; i < size; ++i) {
        all[0][i] = 0;
        all[1][i] = i % 3 ? 0 : 1.0f;
        all[2][i] = 1e-45f * static_cast<float>(i % 5);
        all[3][i] = 3e38f;
        all[4][i] = static_cast<float>(std::exp(20 * rng.gaussian()));
        all[5][i] = i == 100 ? 1 : 0;
    }
    return all;
}

}  // namespace

TEST(carried_rows_of_every_kind) {
    const std::string folder = "tests/golden/formats/";
    const auto x = vectors::floats(folder + "input.f32"), w = vectors::floats(folder + "importance.f32");
    const auto table = vectors::bytes(folder + "peer-errors.tsv");
    CHECK(x.size() == 3 * kKinds * kRow && w.size() == kRow);
    std::istringstream lines(std::string(table.begin(), table.end()));
    int checked = 0;
    for (std::string line; std::getline(lines, line);) {
        std::istringstream fields(line);
        std::string name;
        int weighted = 0;
        double peer[kKinds];
        fields >> name >> weighted;
        for (double& e : peer) fields >> e;
        const Format* format = name == "#" ? nullptr : find_format(name);
        if (!format || !format->encodes) continue;
        check_kinds(*format, x, weighted ? w.data() : nullptr, peer);
        ++checked;
    }
    CHECK_MSG(checked >= 47, std::to_string(checked));
}

TEST(shared_rows_of_every_kind) {
    SHARED_OR_SKIP(shared);
    const std::string folder = shared + "/reference/formats/";
    const auto x = vectors::floats(folder + "input.f32"), w = vectors::floats(folder + "importance.f32");
    int checked = 0;
    for (const Format* format : block_formats()) {
        for (bool weighted : {false, true}) {
            const auto y = vectors::floats(folder + vectors::stem(*format) + (weighted ? ".weighted.f32" : ".f32"));
            if (y.size() != x.size()) continue;
            double peer[kKinds] = {};
            const float* importance = weighted ? w.data() : nullptr;
            for (size_t row = 0; row < x.size() / kRow; ++row) {
                peer[row % kKinds] += rows::squared_error(x.data() + row * kRow, y.data() + row * kRow, importance, kRow);
            }
            check_kinds(*format, x, importance, peer);
            ++checked;
        }
    }
    CHECK_MSG(checked >= 47, std::to_string(checked));
}

TEST(accuracy_on_four_sets_of_rows) {
    const auto table = vectors::bytes("tests/golden/formats/peer-accuracy.tsv");
    std::istringstream lines(std::string(table.begin(), table.end()));
    const auto w = rows::importance();
    std::map<std::string, std::vector<float>> sets;
    for (int set = 0; set < rows::kSets; ++set) sets[rows::kNames[set]] = rows::make(set);
    int checked = 0;
    for (std::string line; std::getline(lines, line);) {
        std::istringstream fields(line);
        std::string set, name;
        int weighted = 0;
        double peer = 0;
        fields >> set >> name >> weighted >> peer;
        const auto x = sets.find(set);
        const Format* format = find_format(name);
        if (x == sets.end() || !format) continue;
        const float* importance = weighted ? w.data() : nullptr;
        const auto y = encode_decode(*format, x->second.data(), importance, rows::kCols);
        const double ours = rows::squared_error(x->second.data(), y.data(), importance, rows::kCols);
        CHECK_MSG(ours <= peer * (1 + 1e-6), line + ", ours " + std::to_string(ours));
        ++checked;
    }
    CHECK_MSG(checked >= 188, std::to_string(checked));
}

// Finite in, finite out, and never worse than writing zeros.
TEST(hard_rows_stay_finite) {
    const auto all = hard_rows(kRow);
    const auto importances = hard_importances(kRow);
    const std::vector<float> zeros(kRow);
    for (const Format* format : block_formats()) {
        for (size_t r = 0; r < all.size(); ++r) {
            for (size_t k = check::sanitized ? r % 3 : 0; k <= importances.size(); k += check::sanitized ? 3 : 1) {
                const float* w = k ? importances[k - 1].data() : nullptr;
                const auto y = encode_decode(*format, all[r].data(), w, kRow);
                const std::string where = std::string(format->name) + " row " + std::to_string(r) + " importance " + std::to_string(k);
                bool finite = true;
                for (float v : y) finite = finite && std::isfinite(v);
                CHECK_MSG(finite, where);
                const double error = rows::squared_error(all[r].data(), y.data(), w, kRow);
                const double energy = rows::squared_error(all[r].data(), zeros.data(), w, kRow);
                CHECK_MSG(error <= energy * (1 + 1e-6), where + ": error " + std::to_string(error / energy) + " of the energy");
            }
        }
    }
}

TEST(plain_floats_stay_finite) {
    for (FormatSlot slot : {FormatSlot::f32, FormatSlot::f16, FormatSlot::bf16}) {
        for (const auto& row : hard_rows(kRow)) {
            for (float v : encode_decode(format_of(slot), row.data(), nullptr, kRow)) CHECK_MSG(std::isfinite(v), format_of(slot).name);
        }
    }
}

// A block that holds only {-s, 0, s}, s a half, comes back unchanged from both ternary formats.
TEST(ternary_is_lossless) {
    Rng rng(21);
    for (const char* name : {"TQ1_0", "TQ2_0", "Q2_0"}) {
        const Format& format = *find_format(name);
        for (int trial = 0; trial < 200; ++trial) {
            const float s = f16_to_f32(f32_to_f16(static_cast<float>(std::exp(4 * rng.gaussian() - 4))));
            const uint64_t sparsity = 1 + rng.below(200);
            std::vector<float> x(256), w(256);
            for (size_t i = 0; i < 256; ++i) {
                x[i] = rng.below(sparsity) > 1 ? 0.0f : rng.below(2) ? s : -s;
                w[i] = static_cast<float>(rng.uniform());
            }
            const auto plain = encode_decode(format, x.data(), nullptr, 256), weighted = encode_decode(format, x.data(), w.data(), 256);
            bool same = true;
            for (size_t i = 0; i < 256; ++i) same = same && plain[i] == x[i] && weighted[i] == x[i];
            CHECK_MSG(same, std::string(name) + " trial " + std::to_string(trial));
        }
    }
}

// Scale and threshold by least squares: of weights sorted by size, the k largest become +-s and the others 0; the best k
// leaves energy - max over k of (sum of the k largest)^2 / k.
TEST(ternary_takes_the_best_scale_and_threshold) {
    for (int set : {1, 2}) {
        const auto x = rows::make(set);
        for (size_t at = 0; at + 256 <= x.size(); at += 256) {
            std::vector<double> sizes(256);
            double energy = 0, sum = 0, gain = 0;
            for (size_t i = 0; i < 256; ++i) {
                sizes[i] = std::fabs(static_cast<double>(x[at + i]));
                energy += sizes[i] * sizes[i];
            }
            std::sort(sizes.rbegin(), sizes.rend());
            for (size_t k = 0; k < 256; ++k) {
                sum += sizes[k];
                gain = std::max(gain, sum * sum / static_cast<double>(k + 1));
            }
            for (const char* name : {"TQ1_0", "TQ2_0"}) {
                const auto y = encode_decode(*find_format(name), x.data() + at, nullptr, 256);
                const double error = rows::squared_error(x.data() + at, y.data(), nullptr, 256);
                CHECK_MSG(error <= (energy - gain) * (1 + 2e-4), std::string(name) + ": " + std::to_string(error / (energy - gain)));
            }
        }
    }
}

// What was read from a format is written back without loss of more than a rounding: encoding is a projection.
TEST(encoded_values_survive_another_round) {
    for (const Format* format : block_formats()) {
        if (format->keeps_columns) continue;  // the second time others may be worth keeping
        const auto x = rows::make(1);
        const auto w = rows::importance();
        const float* importance = format->needs_importance ? w.data() : nullptr;
        const auto once = encode_decode(*format, x.data(), importance, rows::kCols);
        const auto twice = encode_decode(*format, once.data(), importance, rows::kCols);
        const double first = rows::squared_error(x.data(), once.data(), importance, rows::kCols);
        const double second = rows::squared_error(once.data(), twice.data(), importance, rows::kCols);
        CHECK_MSG(second <= 0.35 * first, std::string(format->name) + ": " + std::to_string(second / first));
    }
}

// The figures of `quant formats` are those of the formats: halves round to 11 bits, a sign and the best size leave
// sqrt(1 - 2/pi) of normal weights (a little less with a size per 128), every block format lies between.
TEST(errors_on_random_weights) {
    CHECK(relative_rms_error(format_of(FormatSlot::f32), Weights::heavy) == 0);
    const double half = relative_rms_error(format_of(FormatSlot::f16), Weights::gaussian);
    CHECK_MSG(half > 1.5e-4 && half < 2.5e-4, std::to_string(half));
    const double sign = relative_rms_error(format_of(FormatSlot::q1_0), Weights::gaussian);
    CHECK_MSG(std::fabs(sign - std::sqrt(1 - 2 / 3.141592653589793)) < 0.006, std::to_string(sign));
    CHECK(std::isnan(relative_rms_error(format_of(FormatSlot::q8_k), Weights::gaussian)));
    for (const Format* format : block_formats()) {
        for (const Weights weights : {Weights::gaussian, Weights::heavy}) {
            const double error = relative_rms_error(*format, weights);
            CHECK_MSG(error > half && error < 0.75, std::string(format->name) + ": " + std::to_string(error));
        }
    }
}

TEST(measured_encoders_say_what_they_did) {
    auto all = hard_rows(kRow);
    for (int set = 0; set < rows::kSets; ++set) {
        const auto x = rows::make(set);
        for (size_t i = 0; i < x.size(); i += kRow) all.emplace_back(x.begin() + static_cast<long>(i), x.begin() + static_cast<long>(i) + kRow);
    }
    size_t formats_seen = 0, exact_rows = 0;
    for (const Format* format : block_formats()) {
        if (!format->encode_measured) continue;
        ++formats_seen;
        for (size_t r = 0; r < 2 * all.size(); ++r) {
            std::vector<float> x = all[r / 2], decoded(x.size());
            std::vector<uint8_t> plain(format->row_bytes(kRow)), measured(plain.size());
            format->encode(nullptr, x.data(), nullptr, plain.data(), kRow);
            if (r % 2) {  // again what it stored: mostly exact
                format->decode(nullptr, plain.data(), x.data(), kRow);
                format->encode(nullptr, x.data(), nullptr, plain.data(), kRow);
            }
            EncodingError sums, expected;
            format->encode_measured(x.data(), measured.data(), kRow, sums);
            CHECK(measured == plain);
            format->decode(nullptr, plain.data(), decoded.data(), kRow);
            for (size_t i = 0; i < x.size(); ++i) {
                const double w = static_cast<double>(x[i]), difference = w - static_cast<double>(decoded[i]);
                expected.error += difference * difference;
                expected.norm += w * w;
                expected.exact = expected.exact && difference == 0;
            }
            exact_rows += expected.exact;
            const std::string name = std::string(format->name) + " row " + std::to_string(r);
            CHECK_MSG(std::fabs(sums.error - expected.error) <= 5e-4 * expected.error, name + " " + std::to_string(sums.error / expected.error));
            CHECK_MSG(std::fabs(sums.norm - expected.norm) <= 1e-4 * expected.norm, name + " " + std::to_string(sums.norm / expected.norm));
            CHECK_MSG(sums.exact == expected.exact, name);
        }
    }
    CHECK(formats_seen > 0 && exact_rows > 0);
}

#if defined(__x86_64__) && !defined(QUANT_SANITIZED)  // elsewhere there is one width
TEST(same_bytes_in_all_widths) {
    if (!wide_lanes()) SKIP("this processor has no AVX2");
    const int widest = lane_width();
    auto all = hard_rows(kRow);
    for (int set = 0; set < rows::kSets; ++set) {
        const auto x = rows::make(set);
        for (size_t i = 0; i < x.size(); i += kRow) all.emplace_back(x.begin() + static_cast<long>(i), x.begin() + static_cast<long>(i) + kRow);
    }
    auto w = rows::importance();
    for (const Format* format : block_formats()) {
        for (const auto& row : all) {
            for (const float* importance : {static_cast<const float*>(nullptr), static_cast<const float*>(w.data())}) {
                if (!importance && format->needs_importance) continue;
                set_lane_width(4);
                const std::vector<uint8_t> narrow = whole::encode(*format, row.data(), importance, kRow, 1);
                for (int width = 8; width <= widest; width *= 2) {
                    set_lane_width(width);
                    CHECK_MSG(whole::encode(*format, row.data(), importance, kRow, 1) == narrow, std::string(format->name) + " " + std::to_string(width));
                }
            }
        }
    }
}
#endif

TEST_MAIN
