// The vector operations of every table this processor can run, against the same formula in double, for lengths with
// every tail, in memory that lies against inaccessible pages.
#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "base/rng.h"
#include "kernels/attention.h"
#include "kernels/kernels.h"
#include "tests/check.h"
#include "tests/guarded.h"

using namespace quant;

namespace {

using Edge = Guarded::Edge;
constexpr double kUlp = 0x1p-24;  // half a unit in the last place of a float near 1

struct Floats {
    Guarded memory;
    int64_t n;
    Floats(int64_t count, Edge edge, uint64_t seed, double spread = 1) : memory(static_cast<size_t>(count) * 4, edge), n(count) {
        Rng rng(seed);
        for (int64_t i = 0; i < n; ++i) data()[i] = static_cast<float>(spread * rng.gaussian());
    }
    float* data() const { return memory.as<float>(); }
    double operator[](int64_t i) const { return static_cast<double>(data()[i]); }
    std::vector<double> copy() const { return {data(), data() + n}; }
};

// Floats, halves, or blocks that start with a half as their scale, that stand for the values of a float row.
struct Encoded {
    Guarded memory;
    std::vector<float> value;
    Encoded(FormatSlot slot, int64_t n, Edge edge, uint64_t seed)
        : memory(static_cast<size_t>(format_of(slot).row_bytes(n)), edge), value(static_cast<size_t>(n)) {
        Rng rng(seed);
        const auto bytes = static_cast<int64_t>(format_of(slot).bytes);
        if (slot == FormatSlot::f32) {
            for (int64_t i = 0; i < n; ++i) memory.as<float>()[i] = static_cast<float>(rng.gaussian());
        } else if (slot == FormatSlot::f16) {
            for (int64_t i = 0; i < n; ++i) memory.as<uint16_t>()[i] = f32_to_f16(static_cast<float>(rng.gaussian()));
        } else {
            for (int64_t i = 0; i < n / 32; ++i) {
                uint8_t* block = memory.data() + bytes * i;
                for (int64_t j = 0; j < bytes; ++j) block[j] = static_cast<uint8_t>(rng.next());
                const uint16_t scale = f32_to_f16(static_cast<float>(0.001 + 0.02 * rng.uniform()));
                std::memcpy(block, &scale, 2);
            }
        }
        format_of(slot).decode(nullptr, memory.data(), value.data(), n);
    }
};

std::string at(const Kernels& table, const char* operation, int64_t n) {
    return std::string(operation) + " of " + table.isa + ", length " + std::to_string(n);
}

// Every table, lengths 1 to 40 (in steps of `step`) and some longer ones, both edges.
void for_lengths(int64_t step, const std::function<void(const Kernels&, int64_t, Edge)>& body) {
    for (const Kernels* table : available_kernels()) {
        for (int64_t n = step; n <= 40 * step; n += step) body(*table, n, n % 2 ? Edge::behind : Edge::before);
        for (const int64_t n : {64, 96, 128, 256, 1024, 4096}) body(*table, n, Edge::behind);
        for (const int64_t n : {127, 1001, 9999}) {
            if (step == 1) body(*table, n, Edge::behind);
        }
    }
}

void check_close(const Floats& got, const std::vector<double>& want, double relative, double absolute, const std::string& what) {
    for (int64_t i = 0; i < got.n; ++i) {
        const double expected = want[static_cast<size_t>(i)];
        CHECK_MSG(std::fabs(got[i] - expected) <= relative * std::fabs(expected) + absolute,
                  what + " element " + std::to_string(i) + ": " + std::to_string(got[i]) + " not " + std::to_string(expected));
    }
}

// Blocks of 32 in which every kind of block occurs that rounding could get wrong.
void make_hard_blocks(const Floats& x, int64_t blocks) {
    Rng rng(6);
    for (int64_t block = 0; block < blocks; ++block) {
        float* b = x.data() + 32 * block;
        switch (block % 13) {
            case 0: std::fill_n(b, 32, 0.0f); break;
            case 1: std::fill_n(b, 32, -0.0f); break;
            case 2: b[7] = std::numeric_limits<float>::quiet_NaN(); break;
            case 3: b[31] = -std::numeric_limits<float>::infinity(); break;
            case 4: for (int i = 0; i < 32; ++i) b[i] *= 1e-38f; break;
            case 5: for (int i = 0; i < 32; ++i) b[i] = static_cast<float>(i - 16) * 0.5f; b[0] = 127; break;  // ties
            case 6: for (int i = 0; i < 32; ++i) b[i] *= 1e37f; break;
            case 7: b[rng.below(32)] = 1000; break;
            case 8: std::fill_n(b, 32, -3.5f); break;
            default: break;
        }
    }
}

}  // namespace

TEST(quantized_activations_are_the_same_codes_in_every_table) {
    constexpr int64_t kCols = 32 * 25, kRows = 13;
    const Floats x(kRows * kCols, Edge::behind, 5);
    make_hard_blocks(x, kRows * kCols / 32);
    struct Result {
        Guarded codes{kRows * kCols}, scales{kRows * kCols / 8}, sums{kRows * kCols / 4}, block_sums{kRows * kCols / 8};
    };
    // In parts: columns before this one, and the rest.
    const auto quantize = [&](const Kernels& table, Result& r, int64_t column) {
        Q8Matrix q;
        q.codes = r.codes.as<int8_t>();
        q.scales = r.scales.as<float>();
        q.sums = r.sums.as<float>();
        q.block_sums = r.block_sums.as<float>();
        q.cols = kCols;
        q.rows = kRows;
        q.stride = kCols;
        if (column) table.quantize_q8(x.data(), kCols, q.columns(0, column), 2, kRows - 1);
        table.quantize_q8(x.data() + column, kCols, q.columns(column, kCols - column), 2, kRows - 1);
    };
    Result want;
    quantize(*available_kernels().front(), want, 0);
    for (const Kernels* table : available_kernels())
        for (const int64_t column : {0, 32, 32 * 7, 32 * 16}) {
            Result got;
            quantize(*table, got, column);
            CHECK_MSG(std::memcmp(got.codes.data(), want.codes.data(), got.codes.size()) == 0, table->isa);
            CHECK_MSG(std::memcmp(got.scales.data(), want.scales.data(), got.scales.size()) == 0, table->isa);
            CHECK_MSG(std::memcmp(got.sums.data(), want.sums.data(), got.sums.size()) == 0, table->isa);
            CHECK_MSG(std::memcmp(got.block_sums.data(), want.block_sums.data(), got.block_sums.size()) == 0, table->isa);
        }
    // And the reference itself: half a step away at most, sums as promised, rows outside the range untouched.
    for (int64_t i = 0; i < kRows * kCols; ++i) {
        const int64_t row = i / kCols;
        const int8_t code = want.codes.as<int8_t>()[i];
        if (row < 2 || row == kRows - 1) {
            CHECK(code == 0x5a);
            continue;
        }
        const double scale = static_cast<double>(want.scales.as<float>()[i / 32]);
        if (std::isnan(scale)) {
            CHECK(code == 0);
        } else {
            CHECK(code >= -127 && std::fabs(x[i] - scale * code) <= 0.5001 * scale + 1e-30);
        }
        if (i % 32 == 0 && !std::isnan(scale)) {
            int first = 0, second = 0;
            for (int j = 0; j < 16; ++j) {
                first += want.codes.as<int8_t>()[i + j];
                second += want.codes.as<int8_t>()[i + 16 + j];
            }
            const auto f = static_cast<float>(scale);
            CHECK(want.sums.as<float>()[i / 16] == f * static_cast<float>(first));
            CHECK(want.sums.as<float>()[i / 16 + 1] == f * static_cast<float>(second));
            CHECK(want.block_sums.as<float>()[i / 32] == f * static_cast<float>(first + second));
        }
    }
}

TEST(the_parts_of_a_q8_matrix_do_not_overlap) {
    alignas(64) static uint8_t buffer[1 << 16];
    for (const int64_t rows : {1, 2, 3, 7}) {
        for (int64_t cols = 32; cols <= 512; cols += 96) {
            const Q8Matrix q = q8_matrix_at(buffer, cols, rows);
            const auto offset = [](const void* p) { return static_cast<int64_t>(static_cast<const uint8_t*>(p) - buffer); };
            CHECK(offset(q.codes) == 0 && offset(q.scales) % 64 == 0 && offset(q.sums) % 64 == 0 && offset(q.block_sums) % 64 == 0);
            CHECK(offset(q.scales) >= rows * cols && offset(q.sums) >= offset(q.scales) + rows * cols / 8);
            CHECK(offset(q.block_sums) >= offset(q.sums) + rows * cols / 4);
            CHECK(static_cast<int64_t>(q8_matrix_bytes(cols, rows)) >= offset(q.block_sums) + rows * cols / 8);
        }
    }
}

TEST(dot_products) {
    for_lengths(1, [](const Kernels& table, int64_t n, Edge edge) {
        const Floats a(n, edge, 11), b(n, edge, 12);
        const Encoded half(FormatSlot::f16, n, edge, 13);
        double sum = 0, terms = 0, half_sum = 0, half_terms = 0;
        for (int64_t i = 0; i < n; ++i) {
            sum += a[i] * b[i];
            terms += std::fabs(a[i] * b[i]);
            const double h = static_cast<double>(half.value[static_cast<size_t>(i)]);
            half_sum += h * b[i];
            half_terms += std::fabs(h * b[i]);
        }
        CHECK_MSG(std::fabs(static_cast<double>(table.dot_f32(a.data(), b.data(), n)) - sum) <= 1e-6 * terms, at(table, "dot_f32", n));
        const float got = table.dot_f16(half.memory.as<uint16_t>(), b.data(), n);
        CHECK_MSG(std::fabs(static_cast<double>(got) - half_sum) <= 1e-6 * half_terms, at(table, "dot_f16", n));
    });
    for_lengths(32, [](const Kernels& table, int64_t n, Edge edge) {
        const Floats b(n, edge, 14);
        const Encoded q(FormatSlot::q8_0, n, edge, 15);
        double sum = 0, terms = 0;
        for (int64_t i = 0; i < n; ++i) {
            const double term = static_cast<double>(q.value[static_cast<size_t>(i)]) * b[i];
            sum += term;
            terms += std::fabs(term);
        }
        const float got = table.dot_q8_0(q.memory.data(), b.data(), n);
        CHECK_MSG(std::fabs(static_cast<double>(got) - sum) <= 1e-6 * terms, at(table, "dot_q8_0", n));
        const Encoded four(FormatSlot::q4_0, n, edge, 16);
        double four_sum = 0, four_terms = 0;
        for (int64_t i = 0; i < n; ++i) {
            const double term = static_cast<double>(four.value[static_cast<size_t>(i)]) * b[i];
            four_sum += term;
            four_terms += std::fabs(term);
        }
        const float four_got = table.dot_q4_0(four.memory.data(), b.data(), n);
        CHECK_MSG(std::fabs(static_cast<double>(four_got) - four_sum) <= 1e-6 * four_terms, at(table, "dot_q4_0", n));
    });
}

// Rows of the cache against 1 to 9 query rows, in every type, behind and before an inaccessible page.
TEST(rows_of_attention) {
    const FormatSlot slots[] = {FormatSlot::f32, FormatSlot::f16, FormatSlot::q8_0, FormatSlot::q4_0};
    for (const Kernels* table : available_kernels()) {
        CHECK(force_kernels(table->isa).ok());
        const AttentionKernels* attention = attention_kernels();
        CHECK_MSG((attention != nullptr) == std::string(table->isa).starts_with("avx"), table->isa);
        if (!attention) continue;
        for (size_t type = 0; type < 4; ++type)
            for (const int64_t n : {16, 32, 48, 64, 96, 128, 256})
                for (const int64_t count : {1, 2, 3, 8, 17})
                    for (int64_t queries = 1; queries <= 9; ++queries) {
                        if (type >= 2 && n % 32) continue;
                        const Edge edge = (n / 16 + count) % 2 ? Edge::behind : Edge::before;
                        const Encoded rows(slots[type], count * n, edge, 31);
                        const Floats x(queries * n, edge, 32), factors(queries * count, edge, 33), y(queries * n, edge, 34), out(queries * count, edge, 35);
                        const auto before = y.copy();
                        const StoredRows stored{rows.memory.data(), count, n};
                        attention->dots[type](stored, x.data(), queries, out.data(), count);
                        attention->sums[type](stored, factors.data(), count, queries, y.data());
                        const auto value = [&](int64_t i, int64_t d) { return static_cast<double>(rows.value[static_cast<size_t>(i * n + d)]); };
                        for (int64_t q = 0; q < queries; ++q) {
                            for (int64_t i = 0; i < count; ++i) {
                                double sum = 0, terms = 0;
                                for (int64_t d = 0; d < n; ++d) {
                                    sum += value(i, d) * x[q * n + d];
                                    terms += std::fabs(value(i, d) * x[q * n + d]);
                                }
                                CHECK_MSG(std::fabs(out[q * count + i] - sum) <= 1e-6 * terms, at(*table, "attention dots", n));
                            }
                            for (int64_t d = 0; d < n; ++d) {
                                double sum = before[static_cast<size_t>(q * n + d)], terms = std::fabs(sum);
                                for (int64_t i = 0; i < count; ++i) {
                                    sum += factors[q * count + i] * value(i, d);
                                    terms += std::fabs(factors[q * count + i] * value(i, d));
                                }
                                CHECK_MSG(std::fabs(y[q * n + d] - sum) <= 1e-6 * terms, at(*table, "attention sums", n));
                            }
                        }
                    }
    }
}

TEST(columns_of_attention) {
    const FormatSlot slots[] = {FormatSlot::f32, FormatSlot::f16, FormatSlot::q8_0, FormatSlot::q4_0};
    for (const Kernels* table : available_kernels()) {
        CHECK(force_kernels(table->isa).ok());
        const AttentionKernels* attention = attention_kernels();
        if (!attention) continue;
        for (size_t type = 0; type < 4; ++type)
            for (const int64_t n : {16, 32, 64, 96})
                for (const int64_t count : {1, 2, 7, 8, 9, 15, 16, 64})
                    for (const int64_t stride : {(count + 7) / 8 * 8, (count + 7) / 8 * 8 + 8}) {
                        if (type >= 2 && n % 32) continue;
                        const Edge edge = (n / 16 + count) % 2 ? Edge::behind : Edge::before;
                        const Encoded rows(slots[type], count * n, edge, 36);
                        const Floats out(n * stride, edge, 37);
                        attention->columns[type]({rows.memory.data(), count, n}, out.data(), stride);
                        for (int64_t d = 0; d < n; ++d)
                            for (int64_t i = 0; i < stride; ++i)
                                CHECK_MSG(out.data()[d * stride + i] == (i < count ? rows.value[static_cast<size_t>(i * n + d)] : 0.0f), at(*table, "columns", n));
                    }
    }
}

TEST(exponentials_of_attention) {
    for_lengths(1, [](const Kernels& table, int64_t n, Edge edge) {
        CHECK(force_kernels(table.isa).ok());
        const AttentionKernels* attention = attention_kernels();
        if (!attention) return;
        for (int64_t rows = 1; rows <= 6; ++rows) {
            const Floats x(rows * n, edge, 63, 30.0);
            const auto given = x.copy();
            const float before[6] = {-INFINITY, -100.0f, 100.0f, 0.0f, -INFINITY, 20.0f};
            float max[6], sums[6];
            std::copy_n(before, 6, max);
            attention->exps(x.data(), n, rows, n, max, sums);
            for (int64_t r = 0; r < rows; ++r) {
                const auto first = given.begin() + r * n;
                const double most = std::max(static_cast<double>(before[r]), *std::max_element(first, first + n));
                double sum = 0, off = 0;
                CHECK(static_cast<double>(max[r]) == most);
                for (int64_t i = 0; i < n; ++i) {
                    const double below = static_cast<double>(static_cast<float>(first[i]) - static_cast<float>(most)), want = std::exp(below);
                    const double allowed = (2e-7 - 2e-7 * below) * want + 2e-38;
                    CHECK_MSG(std::fabs(static_cast<double>(x.data()[r * n + i]) - want) <= allowed, at(table, "exponentials", n));
                    sum += want;
                    off += allowed;
                }
                CHECK_MSG(std::fabs(static_cast<double>(sums[r]) - sum) <= 5e-7 * sum + off, at(table, "sum of exponentials", n));
            }
        }
        const Floats unfit(5 * n, edge, 64);
        unfit.data()[n / 2] = unfit.data()[4 * n + n / 2] = NAN;
        float max[5] = {-INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY}, sums[5];
        attention->exps(unfit.data(), n, 5, n, max, sums);
        for (int64_t r = 0; r < 5; ++r) {
            const bool wanted = r % 4 == 0;
            CHECK(std::isnan(sums[r]) == wanted && std::isnan(unfit.data()[r * n + n / 2]) == wanted);
        }
    });
}

TEST(scaled_additions) {
    const float factor = 0.37f;
    const auto added = [=](const std::vector<double>& y, const auto& value) {
        std::vector<double> want = y;
        for (size_t i = 0; i < want.size(); ++i) want[i] += static_cast<double>(factor) * static_cast<double>(value(i));
        return want;
    };
    for_lengths(1, [&](const Kernels& table, int64_t n, Edge edge) {
        const Floats x(n, edge, 21), y(n, edge, 22), z(n, edge, 22);
        const Encoded half(FormatSlot::f16, n, edge, 23);
        const auto before = y.copy();
        table.axpy_f32(factor, x.data(), y.data(), n);
        check_close(y, added(before, [&](size_t i) { return x[static_cast<int64_t>(i)]; }), 2 * kUlp, 1e-6, at(table, "axpy_f32", n));
        table.axpy_f16(factor, half.memory.as<uint16_t>(), z.data(), n);
        check_close(z, added(before, [&](size_t i) { return half.value[i]; }), 2 * kUlp, 1e-6, at(table, "axpy_f16", n));
    });
    for_lengths(32, [&](const Kernels& table, int64_t n, Edge edge) {
        const Floats y(n, edge, 24);
        const Encoded q(FormatSlot::q8_0, n, edge, 25);
        const auto before = y.copy();
        table.axpy_q8_0(factor, q.memory.data(), y.data(), n);
        check_close(y, added(before, [&](size_t i) { return q.value[i]; }), 4 * kUlp, 1e-6, at(table, "axpy_q8_0", n));
        const Floats z(n, edge, 24);
        const Encoded four(FormatSlot::q4_0, n, edge, 26);
        table.axpy_q4_0(factor, four.memory.data(), z.data(), n);
        check_close(z, added(before, [&](size_t i) { return four.value[i]; }), 4 * kUlp, 1e-6, at(table, "axpy_q4_0", n));
    });
}

TEST(conversions_of_halves_are_those_of_the_formats) {
    for (const Kernels* table : available_kernels()) {
        constexpr int64_t kAll = 65536;
        Guarded halves(kAll * 2), floats(kAll * 4), back(kAll * 2);
        for (int64_t i = 0; i < kAll; ++i) halves.as<uint16_t>()[i] = static_cast<uint16_t>(i);
        table->f16_to_f32(halves.as<uint16_t>(), floats.as<float>(), kAll);
        for (int64_t i = 0; i < kAll; ++i) {
            const float want = f16_to_f32(static_cast<uint16_t>(i));
            CHECK_MSG(std::bit_cast<uint32_t>(want) == floats.as<uint32_t>()[i], std::string(table->isa) + " half " + std::to_string(i));
        }
        Rng rng(31);
        for (int round = 0; round < 8; ++round) {
            for (int64_t i = 0; i < kAll; ++i) {
                // Bits at random; exponents of halves; ties between two halves.
                uint32_t bits = static_cast<uint32_t>(rng.next());
                if (round & 1) bits = (bits & 0x807fffff) | static_cast<uint32_t>(100 + rng.below(50)) << 23;
                if (round & 2) bits = (bits & 0xffffe000) | 0x1000;
                floats.as<uint32_t>()[i] = bits;
            }
            table->f32_to_f16(floats.as<float>(), back.as<uint16_t>(), kAll);
            for (int64_t i = 0; i < kAll; ++i) {
                const uint16_t want = f32_to_f16(floats.as<float>()[i]);
                CHECK_MSG(want == back.as<uint16_t>()[i], std::string(table->isa) + " bits " + std::to_string(floats.as<uint32_t>()[i]));
            }
        }
    }
    for_lengths(1, [](const Kernels& table, int64_t n, Edge edge) {
        const Floats x(n, edge, 32), y(n, edge, 33);
        const Guarded halves(static_cast<size_t>(n) * 2, edge);
        table.f32_to_f16(x.data(), halves.as<uint16_t>(), n);
        table.f16_to_f32(halves.as<uint16_t>(), y.data(), n);
        std::vector<double> want(static_cast<size_t>(n));
        for (int64_t i = 0; i < n; ++i) want[static_cast<size_t>(i)] = static_cast<double>(f16_to_f32(f32_to_f16(x.data()[i])));
        check_close(y, want, 0, 0, at(table, "f32_to_f16 and back", n));
    });
}

TEST(elementwise_operations) {
    for_lengths(1, [](const Kernels& table, int64_t n, Edge edge) {
        const Floats a(n, edge, 41), b(n, edge, 42), out(n, edge, 43);
        std::vector<double> sum, product, scaled;
        for (int64_t i = 0; i < n; ++i) {
            sum.push_back(static_cast<double>(a.data()[i] + b.data()[i]));
            product.push_back(static_cast<double>(a.data()[i] * b.data()[i]));
            scaled.push_back(static_cast<double>(a.data()[i] * -1.7f));
        }
        table.add(a.data(), b.data(), out.data(), n);
        check_close(out, sum, 0, 0, at(table, "add", n));
        table.multiply(a.data(), b.data(), out.data(), n);
        check_close(out, product, 0, 0, at(table, "multiply", n));
        table.scale(-1.7f, a.data(), n);
        check_close(a, scaled, 0, 0, at(table, "scale", n));
    });
}

TEST(rms_norm) {
    for_lengths(1, [](const Kernels& table, int64_t n, Edge edge) {
        for (const bool weighted : {true, false}) {
            const Floats x(n, edge, 51, 3), weight(n, edge, 52), out(n, edge, 53);
            double squares = 0;
            for (int64_t i = 0; i < n; ++i) squares += x[i] * x[i];
            const float eps = 1e-5f;
            const double factor = 1 / std::sqrt(squares / static_cast<double>(n) + static_cast<double>(eps));
            std::vector<double> want;
            for (int64_t i = 0; i < n; ++i) want.push_back(x[i] * factor * (weighted ? weight[i] : 1.0));
            table.rms_norm(x.data(), weighted ? weight.data() : nullptr, eps, out.data(), n);
            check_close(out, want, 1e-6, 0, at(table, "rms_norm", n));
            table.rms_norm(x.data(), weighted ? weight.data() : nullptr, eps, x.data(), n);  // in place
            check_close(x, want, 1e-6, 0, at(table, "rms_norm in place", n));
        }
    });
}

TEST(softmax_sums_to_one_and_each_term_is_right) {
    for_lengths(1, [](const Kernels& table, int64_t n, Edge edge) {
        for (const double spread : {1.0, 30.0}) {
            for (const bool with_sink : {false, true}) {
                const Floats x(n, edge, 61, spread);
                if (n > 3) x.data()[n / 2] = -INFINITY;  // a masked position
                const float sink = 0.5f;
                double max = with_sink ? static_cast<double>(sink) : -INFINITY, sum = 0;
                for (int64_t i = 0; i < n; ++i) max = std::max(max, x[i]);
                std::vector<double> want;
                for (int64_t i = 0; i < n; ++i) {
                    // The difference is taken in float, as the contract's formula is.
                    want.push_back(std::exp(static_cast<double>(x.data()[i] - static_cast<float>(max))));
                    sum += want.back();
                }
                if (with_sink) sum += std::exp(static_cast<double>(sink - static_cast<float>(max)));
                for (double& each : want) each /= sum;
                table.softmax(x.data(), n, with_sink ? &sink : nullptr);
                check_close(x, want, 5e-7, 1e-44, at(table, "softmax", n));
            }
        }
        const Floats hidden(n, edge, 62);
        std::fill_n(hidden.data(), n, -INFINITY);
        table.softmax(hidden.data(), n, nullptr);
        check_close(hidden, std::vector<double>(static_cast<size_t>(n), 0.0), 0, 0, at(table, "softmax of nothing visible", n));
    });
}

TEST(gates) {
    for_lengths(1, [](const Kernels& table, int64_t n, Edge edge) {
        for (const Gate kind : {Gate::silu, Gate::gelu_tanh, Gate::relu2}) {
            const Floats gate(n, edge, 71, 5), up(n, edge, 72), out(n, edge, 73);
            if (n > 8) {
                gate.data()[1] = 90;
                gate.data()[3] = -90;
                gate.data()[5] = -200;
                gate.data()[7] = 0;
            }
            std::vector<double> want;
            for (int64_t i = 0; i < n; ++i) {
                const double g = gate[i];
                double value = g > 0 ? g * g : 0;
                if (kind == Gate::silu) value = g / (1 + std::exp(-g));
                if (kind == Gate::gelu_tanh) value = 0.5 * g * (1 + std::tanh(std::sqrt(2 / M_PI) * (g + 0.044715 * g * g * g)));
                want.push_back(value * up[i]);
            }
            table.gated(kind, gate.data(), up.data(), out.data(), n);
            // gelu_tanh for a negative gate: 1 + tanh is small, its relative error is that of the argument, up to 40 units.
            // exp(90) is infinite in float, so that silu(-90) is 0.
            const bool gelu = kind == Gate::gelu_tanh;
            check_close(out, want, gelu ? 4e-6 : 6e-7, gelu ? 1e-7 : 1e-35, at(table, "gated", n));
        }
    });
}

TEST(rope_rotates_pairs_and_leaves_the_rest) {
    for (const Kernels* table : available_kernels()) {
        for (const bool neox : {false, true}) {
            for (int64_t n_rot = 2; n_rot <= 130; n_rot += n_rot < 40 ? 2 : 18) {
                const int64_t head_dim = n_rot + n_rot % 3, heads = 3;
                for (const Edge edge : {Edge::behind, Edge::before}) {
                    const Floats x(heads * head_dim, edge, 81), turn(n_rot, edge, 82);
                    std::vector<double> want = x.copy();
                    for (int64_t head = 0; head < heads; ++head) {
                        for (int64_t i = 0; i < n_rot / 2; ++i) {
                            const int64_t first = head * head_dim + (neox ? i : 2 * i), second = first + (neox ? n_rot / 2 : 1);
                            want[static_cast<size_t>(first)] = x[first] * turn[2 * i] - x[second] * turn[2 * i + 1];
                            want[static_cast<size_t>(second)] = x[first] * turn[2 * i + 1] + x[second] * turn[2 * i];
                        }
                    }
                    table->rope(x.data(), turn.data(), heads, head_dim, n_rot, neox);
                    check_close(x, want, 1e-6, 1e-6, at(*table, neox ? "rope neox" : "rope", n_rot));
                }
            }
        }
    }
}

TEST_MAIN
