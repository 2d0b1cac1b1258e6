// Products with weights: every table this processor can run, every format, many shapes, against sums in double of the
// decoded weights times the activations. All memory lies against inaccessible pages; output margins must stay as they were.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/rng.h"
#include "formats/kept_columns.h"
#include "kernels/kernels.h"
#include "tests/check.h"
#include "tests/full.h"
#include "tests/guarded.h"
#include "tests/unit/whole.h"

using namespace quant;

namespace {

using Edge = Guarded::Edge;
constexpr float kPoison = -123.25f;

// Random bytes, rolled again until the block's values are neither huge nor all tiny.
void random_block(const Format& f, Rng& rng, uint8_t* block) {
    float values[256];
    for (;;) {
        for (uint32_t i = 0; i < f.bytes; ++i) block[i] = static_cast<uint8_t>(rng.next());
        f.decode(nullptr, block, values, f.block);
        float largest = 0;
        for (uint32_t i = 0; i < f.block; ++i) {
            largest = std::isfinite(values[i]) ? std::max(largest, std::fabs(values[i])) : INFINITY;
        }
        if (largest > 1e-3f && largest < 10.0f) return;
    }
}

struct Shape {
    int64_t row_begin, row_end, rows, n, cols;
    std::string text() const {
        return "rows " + std::to_string(row_begin) + "-" + std::to_string(row_end) + " of " + std::to_string(rows) + ", n " +
               std::to_string(n) + ", cols " + std::to_string(cols);
    }
};

std::string number(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.9g", value);
    return text;
}

// Weights, activations and the exact answer for one format and shape.
struct Problem {
    const Format& format;
    Shape shape;
    Guarded weights, x, codes, scales, sums, block_sums;
    Q8Matrix q;
    std::vector<float> decoded, fast;  // by decode, and as int8 kernels see them

    static size_t floats(int64_t count) { return static_cast<size_t>(count) * sizeof(float); }

    Problem(const Format& f, Shape s, Edge edge, uint64_t seed)
        : format(f), shape(s), weights(f.tensor_bytes(s.cols, s.rows, whole::group_for(f, s.rows)), edge), x(floats(s.n * s.cols), edge),
          codes(static_cast<size_t>(s.n * s.cols), edge), scales(floats(s.n * s.cols / 32), edge),
          sums(floats(s.n * s.cols / 16), edge), block_sums(floats(s.n * s.cols / 32), edge),
          decoded(static_cast<size_t>(s.cols * s.rows)) {
        Rng rng(seed);
        if (f.plain()) {
            for (size_t at = 0; at < weights.size(); at += f.bytes) random_block(f, rng, weights.data() + at);
        } else {
            std::vector<float> values(decoded.size());
            for (size_t i = 0; i < values.size(); ++i)
                values[i] = static_cast<float>(rng.gaussian() * (0.1 + static_cast<double>(i / static_cast<size_t>(s.cols) % 5)));
            const std::vector<uint8_t> encoded = whole::encode(f, values.data(), nullptr, s.cols, s.rows);
            std::memcpy(weights.data(), encoded.data(), encoded.size());
        }
        decode();
        // A mean away from zero, so that sums matter, and single outliers.
        for (int64_t i = 0; i < s.n * s.cols; ++i) {
            const double value = rng.gaussian() + 0.3;
            x.as<float>()[i] = static_cast<float>(rng.below(50) ? value : 20 * value);
        }
        q.codes = codes.as<int8_t>();
        q.scales = scales.as<float>();
        q.sums = sums.as<float>();
        q.block_sums = block_sums.as<float>();
        q.cols = s.cols;
        q.rows = s.n;
        q.stride = s.cols;
        if (f.activation == Activation::q8) {
            available_kernels().front()->quantize_q8(x.as<float>(), s.cols, q, 0, s.n);
        }
    }

    EncodedView view() const { return whole::view(format, weights.data(), shape.cols, shape.rows); }
    MatmulArgs arguments(float* y, int64_t y_stride, void* scratch) const {
        MatmulArgs args;
        args.format = &format;
        args.w = view();
        args.x = x.as<float>();
        args.x_stride = shape.cols;
        args.xq = &q;
        args.n = shape.n;
        args.y = y;
        args.y_stride = y_stride;
        args.row_begin = shape.row_begin;
        args.row_end = shape.row_end;
        args.scratch = scratch;
        return args;
    }

    void decode() {
        decode_rows(format, view(), 0, shape.rows, decoded.data());
        fast.resize(decoded.size());
        for (int64_t row = 0; row < shape.rows; ++row)
            decode_part(format, view(), row, 0, shape.cols, fast.data() + row * shape.cols, true);
    }

    // Kept columns are multiplied with activations as they are.
    void add_kept(int64_t t, int64_t row, double& sum, double& terms) const {
        const auto columns = kept_columns(view().data);
        for (size_t i = 0; i < columns.size(); ++i) {
            const auto w = static_cast<double>(f16_to_f32(load<uint16_t>(row_at(format, view(), row) + 2 * i)));
            const double a = columns[i] < shape.cols ? activation(t, static_cast<int64_t>(columns[i]), true) : 0;
            sum += w * a;
            terms += std::fabs(w * a);
        }
    }

    double activation(int64_t t, int64_t k, bool exact) const {
        if (exact || format.activation == Activation::f32) return static_cast<double>(x.as<float>()[t * shape.cols + k]);
        return static_cast<double>(q.codes[t * shape.cols + k]) *
               static_cast<double>(q.scales[(t * shape.cols + k) / 32]);
    }

    // For each output the sum, and what errors of rounding are measured by: per group of 32 the largest weight times all
    // |x| (a minimum and a product may cancel within a group). `floor` is added to that weight. `coarse`: the largest weight of
    // 256 times their largest scale times all |codes|.
    struct Answer {
        std::vector<double> sum, terms, coarse;  // [n, rows of the shape's range]
        Answer with_rounded(double share) const {
            Answer out = *this;
            for (size_t i = 0; i < terms.size(); ++i) out.terms[i] += share * 1e6 * coarse[i];
            return out;
        }
        // Where the factors of the groups of 256 weights are rounded to integers: the largest to 3840 or more, by .75 at most, or
        // to 2047, by .54 (TQ2_0).
        Answer with_rounded_factors() const { return with_rounded(0.54 / 2047); }
        // Where in products with many rows factors, or 16 sums of activations that a minimum meets, are: the largest to 32767, by half.
        Answer with_fine_factors() const { return with_rounded(0.5 / 32767); }
    };
    Answer answer(bool exact, double floor) const {
        Answer out;
        for (int64_t t = 0; t < shape.n; ++t) {
            for (int64_t row = shape.row_begin; row < shape.row_end; ++row) {
                double sum = 0, terms = 0, coarse = 0;
                const float* w = (exact ? decoded : fast).data() + row * shape.cols;
                for (int64_t k = 0; k + 256 <= shape.cols && format.activation == Activation::q8; k += 256) {
                    double largest = 0, scale = 0, codes_sum = 0;
                    for (int64_t i = k; i < k + 256; ++i) {
                        largest = std::max(largest, std::fabs(static_cast<double>(w[i])));
                        scale = std::max(scale, static_cast<double>(q.scales[(t * shape.cols + i) / 32]));
                        codes_sum += std::abs(q.codes[t * shape.cols + i]);
                    }
                    coarse += (largest + floor) * scale * codes_sum;
                }
                for (int64_t k = 0; k < shape.cols; k += 32) {
                    double largest = 0, magnitude = 0;
                    for (int64_t i = k; i < std::min(k + 32, shape.cols); ++i) {
                        const double a = activation(t, i, exact);
                        sum += static_cast<double>(w[i]) * a;
                        largest = std::max(largest, std::fabs(static_cast<double>(w[i])));
                        magnitude += std::fabs(a);
                    }
                    terms += (largest + floor) * magnitude;
                }
                if (format.keeps_columns && !exact) add_kept(t, row, sum, terms);
                out.sum.push_back(sum);
                out.terms.push_back(terms);
                out.coarse.push_back(coarse);
            }
        }
        return out;
    }
};

// Products with one row of super-blocks on x86 take the scales of 256 weights as integers.
bool rounds_factors(const Format& f, const Kernels& table) {
    return f.block == 256 && f.activation == Activation::q8 && std::string_view(table.isa).starts_with("avx");
}

bool has_fine_factors(const Format& f, const Kernels& table) {
    const bool any = f.slot == FormatSlot::q2_k || f.slot == FormatSlot::tq1_0 || f.slot == FormatSlot::tq2_0;
    return any && (std::string_view(table.isa).starts_with("avx512") || std::string_view(table.isa) == "avxvnni");
}

// Products in float may be off by 1e-6 of the sum of what was added.
void check_product(const Problem& p, MatmulFn product, const Problem::Answer& answer, Edge edge, const std::string& what) {
    static const Guarded scratch_behind(kMatmulScratch, Edge::behind), scratch_before(kMatmulScratch, Edge::before);
    const Shape& s = p.shape;
    const int64_t stride = s.rows + 3, outputs = (s.n - 1) * stride + s.rows;
    Guarded y(Problem::floats(outputs), edge);
    std::fill_n(y.as<float>(), outputs, kPoison);
    product(p.arguments(y.as<float>(), stride, (edge == Edge::behind ? scratch_behind : scratch_before).data()));
    size_t next = 0;
    for (int64_t i = 0; i < outputs; ++i) {
        const int64_t t = i / stride, row = i % stride;
        const float got = y.as<float>()[i];
        if (row < s.row_begin || row >= s.row_end) {
            CHECK_MSG(got == kPoison, what + ": wrote outside its rows, " + s.text());
            continue;
        }
        const double sum = answer.sum[next], terms = answer.terms[next];
        ++next;
        CHECK_MSG(std::fabs(static_cast<double>(got) - sum) <= 1e-6 * terms,
                  what + " is " + number(static_cast<double>(got)) + " not " + number(sum) + ", terms " + number(terms) + ", t " +
                      std::to_string(t) + " row " + std::to_string(row) + ", " + s.text());
    }
}

void check_fast_products(const Problem& p, double floor = 0) {
    const Problem::Answer answer = p.answer(false, floor), coarse = answer.with_rounded_factors(), fine = answer.with_fine_factors();
    for (const Kernels* table : available_kernels()) {
        const MatmulKernels& m = table->matmul[static_cast<size_t>(p.format.slot)];
        for (const Edge edge : {Edge::behind, Edge::before}) {
            if (p.shape.n <= 9) check_product(p, m.gemv, rounds_factors(p.format, *table) ? coarse : answer, edge, m.gemv_name);
            check_product(p, m.gemm, has_fine_factors(p.format, *table) ? fine : answer, edge, m.gemm_name);
        }
    }
}

// Whether a format before this one in the list has the same kernels.
bool shares_kernel(const Format& f) {
    const Kernels& last = *available_kernels().back();
    const std::string_view name = last.matmul[static_cast<size_t>(f.slot)].gemv_name;
    const auto before = formats().first(static_cast<size_t>(f.slot));
    return std::any_of(before.begin(), before.end(),
                       [&](const Format& each) { return name == last.matmul[static_cast<size_t>(each.slot)].gemv_name; });
}

// Row tails 1 to 17, n 1 to 9, 16 and 33, 1 to 16 blocks, and lengths across the chunks that kernels work in.
std::vector<Shape> shapes(const Format& f) {
    std::vector<Shape> all;
    const auto block = static_cast<int64_t>(f.block);
    const int64_t ns[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 33};
    for (int64_t i = 0; i < 34; ++i) {
        const int64_t rows = i % 17 + 1, begin = i % 3, n = ns[i % 11];
        int64_t cols = block * (i % 16 + 1);
        // Long rows meet few activations, or the test takes minutes where it is emulated.
        if (!check::full() && n > 9) cols = std::min(cols, std::max<int64_t>(block, 512));
        all.push_back({begin, begin + rows, begin + rows + i % 2, n, cols});
    }
    for (const int64_t n : {1, 2, 5}) all.push_back({2, 21, 21, n, 1024 + 2 * std::max<int64_t>(block, 32)});
    all.push_back({0, 3, 3, 1, 2048});
    all.push_back({0, 17, 18, 261, 256});
    // Beyond what the widest kernels take at once: 32 rows, 2048 columns, 512 activation rows.
    const int64_t least = std::max<int64_t>(block, 32);
    for (const int64_t end : {27, 46}) all.push_back({0, end, end, 7, std::max<int64_t>(block, 256)});
    all.push_back({1, 4, 4, 3, 2048 + 2 * least});
    all.push_back({0, 2, 2, 521, least});
    // Formats that share their kernel share its shapes as well; so do all where each instruction is watched or emulated, of
    // which QUANT_EMULATED=N takes one in N.
    const char* emulated = std::getenv("QUANT_EMULATED");
    const size_t slow = check::sanitized ? 4 : emulated ? std::strtoul(emulated, nullptr, 10) : 1;
    const size_t every = check::full() ? 1 : (shares_kernel(f) ? size_t{6} : size_t{1}) * std::max<size_t>(slow, 1);
    std::vector<Shape> taken;
    for (size_t i = 0; i < all.size(); ++i)
        if ((i + static_cast<size_t>(f.slot)) % std::min(every, all.size()) == 0) taken.push_back(all[i]);
    return taken;
}

// Half a step of 127 of the table's largest level, here as a part of the block's largest weight: blocks do not always use
// the largest level, and those of pairs and fours of weights are further from it.
double level_bound(const Format& f) { return f.head && f.head->grouped && f.block > 32 ? 0.012 : 0.006; }

// Blocks whose meaning hangs on side data: byte `fill` wherever the piece of a row keeps sane values.
void fill_codes(Problem& p, uint8_t fill) {
    const Format& f = p.format;
    const uint64_t row_bytes = f.row_bytes(p.shape.cols);
    std::vector<float> values(static_cast<size_t>(f.block));
    for (int64_t row = 0; row < p.shape.rows; ++row) {
        uint8_t* stored = p.weights.data() + p.view().head + static_cast<uint64_t>(row) * row_bytes;
        for (uint64_t i = f.row_head; i < row_bytes; ++i) {
            const uint8_t before = stored[i];
            stored[i] = fill;
            const int64_t col = static_cast<int64_t>((i - f.row_head) / f.bytes * f.block);
            decode_part(f, p.view(), row, col, f.block, values.data());
            if (!std::all_of(values.begin(), values.end(), [](float v) { return std::fabs(v) < 16.0f; })) stored[i] = before;
        }
    }
}

bool is_weight(const Format& f) { return f.activation != Activation::none; }

}  // namespace

TEST(every_format_has_both_kernels_in_every_table) {
    for (const Kernels* table : available_kernels()) {
        CHECK(table->matmul_exact != nullptr);
        for (const Format& f : formats()) {
            const MatmulKernels& m = table->matmul[static_cast<size_t>(f.slot)];
            const bool complete = m.gemv && m.gemm && m.gemm_min_rows >= 1 && *m.gemv_name && *m.gemm_name;
            CHECK_MSG(complete == is_weight(f), std::string(table->isa) + " " + f.name);
        }
    }
}

TEST(products_of_every_table_and_format_equal_the_sum_in_double) {
    uint64_t seed = 1;
    for (const Format& f : formats()) {
        if (!is_weight(f)) continue;
        for (const Shape& s : shapes(f)) {
            const Problem p(f, s, seed % 2 ? Edge::behind : Edge::before, seed);
            ++seed;
            check_fast_products(p);
            if (s.n > 33) continue;
            const Problem::Answer exact = p.answer(true, 0);
            for (const Kernels* table : available_kernels()) {
                check_product(p, table->matmul_exact, exact, Edge::behind, std::string("exact product of ") + f.name + " " + table->isa);
            }
        }
    }
}

// One matrix of a stack: the rows of a tensor with tables from some row on.
TEST(products_of_a_part_of_a_tensor) {
    for (const Format& f : formats()) {
        if (!f.head) continue;
        const int64_t cols = 4 * f.block, rows = 37, first = 11;
        const Problem p(f, {0, rows, rows, 3, cols}, Edge::behind, 5);
        const Problem::Answer answer = p.answer(false, 0);
        for (const Kernels* table : available_kernels()) {
            const MatmulKernels& m = table->matmul[static_cast<size_t>(f.slot)];
            for (const MatmulFn product : {m.gemv, m.gemm}) {
                std::vector<float> y(static_cast<size_t>(3 * rows));
                const Guarded scratch(kMatmulScratch);
                MatmulArgs args = p.arguments(y.data(), rows, scratch.data());
                args.w = rows_of(f, p.view(), first, rows - first);
                args.row_end = rows - first;
                product(args);
                for (int64_t t = 0; t < 3; ++t)
                    for (int64_t r = 0; r + first < rows; ++r) {
                        const auto at = static_cast<size_t>(t * rows + r + first);
                        CHECK_MSG(std::fabs(static_cast<double>(y[static_cast<size_t>(t * rows + r)]) - answer.sum[at]) <= 1e-6 * answer.terms[at],
                                  std::string(f.name) + " " + table->isa);
                    }
            }
        }
    }
}

// What int8 kernels see in place of levels that are no integers is off by a known part of the block's largest level.
TEST(levels_of_int8_kernels_are_near) {
    for (const Format& f : formats()) {
        if (!f.decode_fast || f.keeps_columns) continue;
        const Problem p(f, {0, 40, 40, 1, 4 * f.block}, Edge::behind, 6);
        double worst = 0;
        for (size_t at = 0; at < p.decoded.size(); at += f.block) {
            double largest = 0, off = 0;
            for (size_t i = at; i < at + f.block; ++i) {
                largest = std::max(largest, std::fabs(static_cast<double>(p.decoded[i])));
                off = std::max(off, std::fabs(static_cast<double>(p.decoded[i]) - static_cast<double>(p.fast[i])));
            }
            if (largest > 0) worst = std::max(worst, off / largest);
        }
        CHECK_MSG(worst <= level_bound(f) && worst > 0, std::string(f.name) + ": " + std::to_string(worst));
    }
}

// Float formats have no block: any number of columns.
TEST(products_of_float_weights_take_any_number_of_columns) {
    uint64_t seed = 1000;
    for (const FormatSlot slot : {FormatSlot::f32, FormatSlot::f16, FormatSlot::bf16}) {
        const Format& f = format_of(slot);
        for (int64_t cols = 17; cols <= 300; cols += cols < 70 ? 1 : 47) {
            const Problem p(f, {1, 19, 20, cols % 14 + 1, cols}, Edge::behind, ++seed);
            check_fast_products(p);
        }
    }
}

// The largest codes on both sides: what would overflow int16 in between shows here.
TEST(products_of_extreme_codes_do_not_saturate) {
    for (const Format& f : formats()) {
        if (f.activation != Activation::q8) continue;
        for (const int fill : {0x00, 0x7f, 0x80, 0xff, 0xaa, 0x55}) {
            for (const int sign : {-1, 1}) {
                Problem p(f, {0, 3, 3, 5, 512}, Edge::behind, 77);
                if (!f.plain()) {
                    fill_codes(p, static_cast<uint8_t>(fill));
                } else for (size_t at = 0; at < p.weights.size(); at += f.bytes) {
                    // All bytes alike would make the scales extreme or not a number: keep the changes that leave values sane.
                    for (uint32_t i = 0; i < f.bytes; ++i) {
                        uint8_t* byte = p.weights.data() + at + i;
                        const uint8_t before = *byte;
                        *byte = static_cast<uint8_t>(fill);
                        float values[256];
                        f.decode(nullptr, p.weights.data() + at, values, f.block);
                        for (uint32_t e = 0; e < f.block; ++e) {
                            if (!(std::fabs(values[e]) < 16.0f)) *byte = before;
                        }
                    }
                }
                p.decode();
                for (int64_t i = 0; i < p.shape.n * p.shape.cols; ++i) {
                    p.x.as<float>()[i] = static_cast<float>(sign) * (i % 7 == 6 && fill == 0x55 ? -1.0f : 1.0f);
                }
                available_kernels().front()->quantize_q8(p.x.as<float>(), p.shape.cols, p.q, 0, p.shape.n);
                // Codes may now all stand for zero, which offsets reach by cancelling, 8-bit ones from 128 or 256 steps away: an
                // error of rounding, while one unit of saturation is in the thousands of codes.
                constexpr double kFloor = 0.4;
                check_fast_products(p, kFloor);
            }
        }
    }
}

// The block of a format that has the largest (or, `sign` -1, the lowest) sum of weights, found byte by byte: scales, minima and
// codes at their ends together.
std::vector<uint8_t> largest_block(const Format& f, double sign) {
    std::vector<uint8_t> block(f.bytes);
    const auto value = [&] {
        float values[256];
        f.decode(nullptr, block.data(), values, f.block);
        double sum = 0;
        for (uint32_t i = 0; i < f.block; ++i) sum += sign * static_cast<double>(values[i]);
        return std::isfinite(sum) && std::fabs(sum) < 1e12 ? sum : -1e300;
    };
    Rng rng(3);
    random_block(f, rng, block.data());
    // The ends of every field that formats have in a byte, and the upper byte of the largest half.
    constexpr uint8_t kEnds[] = {0x00, 0x01, 0x0f, 0x3f, 0x55, 0x77, 0x7b, 0x7f, 0x80, 0x88, 0xaa, 0xc0, 0xf0, 0xfe, 0xff};
    for (int round = 0; round < 2; ++round)
        for (uint8_t& byte : block) {
            uint8_t best = byte;
            double most = value();
            for (const uint8_t candidate : kEnds) {
                byte = candidate;
                const double now = value();
                if (now > most) most = now, best = byte;
            }
            byte = best;
        }
    return block;
}

// Sums in int32 of the largest codes, scales and activations there are, each adding to the others.
TEST(products_of_the_largest_blocks_do_not_overflow) {
    for (const Format& f : formats()) {
        if (f.activation != Activation::q8 || !f.plain() || f.block != 256) continue;
        for (const double sign : {1.0, -1.0}) {
            Problem p(f, {0, 2, 2, 2, 512}, Edge::behind, 78);
            const std::vector<uint8_t> block = largest_block(f, sign);
            for (size_t at = 0; at < p.weights.size(); at += f.bytes) std::memcpy(p.weights.data() + at, block.data(), f.bytes);
            p.decode();
            for (int64_t t = 0; t < 2; ++t)
                for (int64_t k = 0; k < p.shape.cols; ++k)
                    p.x.as<float>()[t * p.shape.cols + k] = t || p.decoded[static_cast<size_t>(k)] > 0 ? 1.0f : -1.0f;
            available_kernels().front()->quantize_q8(p.x.as<float>(), p.shape.cols, p.q, 0, p.shape.n);
            check_fast_products(p);
        }
    }
}

// What is prepared of a row's activations must not outgrow the scratch: of these blocks at once it would, where it takes most
// (IQ4_XS, 640 bytes a block); all formats have to go on where a part ends.
TEST(products_of_rows_longer_than_the_scratch_holds) {
    for (const Format& f : formats()) {
        if (f.activation != Activation::q8 || !f.plain() || f.block != 256) continue;
        const Problem p(f, {0, 2, 2, 1, 256 * static_cast<int64_t>(kMatmulScratch / 640 + 60)}, Edge::behind, 81);
        const Problem::Answer coarse = p.answer(false, 0).with_rounded_factors();
        for (const Kernels* table : available_kernels()) {
            const MatmulKernels& m = table->matmul[static_cast<size_t>(f.slot)];
            for (const Edge edge : {Edge::behind, Edge::before}) check_product(p, m.gemv, coarse, edge, m.gemv_name);
        }
    }
}

// What a product made of its activations may serve the next rows, but not where it was made in parts.
TEST(products_with_the_same_activations_go_on) {
    for (const Format& f : formats()) {
        if (f.activation != Activation::q8) continue;
        for (const auto& size : {std::pair<int64_t, int64_t>{13, 512}, {3, 4096}, {530, 256}, {1, 512}, {1, 262400}}) {
            // Pieces as callers make them do not part the four weight rows that some kernels take at once.
            const int64_t n = size.first, rows = n == 1 ? 8 : 4, cols = std::max<int64_t>(size.second, f.block);
            const bool often = f.slot == FormatSlot::q4_0 || f.slot == FormatSlot::q6_k || f.slot == FormatSlot::iq2_xxs;
            if (n * cols > 10000 && !check::full() && !often) continue;
            const Problem p(f, {0, rows, rows, n, cols}, Edge::behind, 83);
            for (const Kernels* table : available_kernels()) {
                const auto products = [&](int64_t pieces) {
                    std::vector<float> y(static_cast<size_t>(n * rows));
                    const Guarded scratch(kMatmulScratch);
                    MatmulArgs args = p.arguments(y.data(), rows, scratch.data());
                    for (int64_t piece = 0; piece < pieces; ++piece) {
                        args.row_begin = rows / pieces * piece;
                        args.row_end = args.row_begin + rows / pieces;
                        const MatmulKernels& kernels = table->matmul[static_cast<size_t>(f.slot)];
                        (n == 1 ? kernels.gemv : kernels.gemm)(args);
                        args.same_activations = true;
                    }
                    return y;
                };
                CHECK_MSG(products(1) == products(2), std::string(f.name) + " " + table->isa + ", n " + std::to_string(n));
            }
        }
    }
}

// What integer factors add to the error is small beside that of activations in int8: below .15 % of its square, of random
// blocks, whose scales differ more than those that encoders make.
TEST(integer_factors_lose_little_beside_int8_activations) {
    for (const Format& f : formats()) {
        if (f.block != 256 || f.activation != Activation::q8) continue;
        const int64_t rows = 64, cols = 2048;
        const Problem p(f, {0, rows, rows, 1, cols}, Edge::behind, 79);
        const Problem::Answer answer = p.answer(false, 0), exact = p.answer(true, 0);
        for (const Kernels* table : available_kernels()) {
            if (!rounds_factors(f, *table)) continue;
            std::vector<float> y(static_cast<size_t>(rows));
            const Guarded scratch(kMatmulScratch);
            const MatmulKernels& m = table->matmul[static_cast<size_t>(f.slot)];
            for (const MatmulFn product : {m.gemv, m.gemm}) {
                product(p.arguments(y.data(), rows, scratch.data()));
                double factors = 0, activations = 0;
                for (size_t i = 0; i < y.size(); ++i) {
                    factors += std::pow(static_cast<double>(y[i]) - answer.sum[i], 2);
                    activations += std::pow(answer.sum[i] - exact.sum[i], 2);
                }
                CHECK_MSG(factors < (product == m.gemv ? 1.5e-3 : 2e-5) * activations,
                          std::string(f.name) + " " + table->isa + ": " + number(factors / activations));
            }
        }
    }
}

TEST(an_activation_that_is_no_number_shows_in_every_product) {
    for (const Format& f : formats()) {
        if (f.activation != Activation::q8) continue;
        const int64_t cols = 2 * std::max<int64_t>(f.block, 256);
        for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
            Problem p(f, {0, 3, 3, 2, cols}, Edge::behind, 80);
            p.x.as<float>()[cols - 5] = p.x.as<float>()[cols + 3] = bad;
            available_kernels().front()->quantize_q8(p.x.as<float>(), cols, p.q, 0, 2);
            for (const Kernels* table : available_kernels()) {
                const MatmulKernels& m = table->matmul[static_cast<size_t>(f.slot)];
                for (const MatmulFn product : {m.gemv, m.gemm}) {
                    float y[6] = {};
                    const Guarded scratch(kMatmulScratch);
                    product(p.arguments(y, 3, scratch.data()));
                    CHECK_MSG(std::all_of(y, y + 6, [](float v) { return std::isnan(v); }), std::string(f.name) + " " + table->isa);
                }
            }
        }
    }
}

TEST(a_forced_instruction_set_is_the_active_one) {
    const std::string best = available_kernels().back()->isa;
    for (const Kernels* table : available_kernels()) {
        CHECK(force_kernels(table->isa).ok());
        CHECK(&kernels() == table);
        setenv("QUANT_ISA", table->isa, 1);
        CHECK(force_kernels(best).ok());
        CHECK(check_kernel_environment().ok());
        CHECK_MSG(std::string(kernels().isa) == table->isa, kernels().isa);
    }
    for (const char* wrong : {"avx3", "sse", "AVX2 ", "neon_magic"}) {
        const Status unknown = force_kernels(wrong);
        CHECK(!unknown.ok() && unknown.error().code == Code::usage);
        CHECK_MSG(unknown.error().text.find("scalar") != std::string::npos, unknown.error().text);
        setenv("QUANT_ISA", wrong, 1);
        CHECK(!check_kernel_environment().ok());
    }
    unsetenv("QUANT_ISA");
    CHECK(check_kernel_environment().ok());
    CHECK(force_kernels(best).ok());
}

TEST(names_of_kernels_say_what_they_are) {
    for (const Kernels* table : available_kernels()) {
        for (const MatmulKernels& m : table->matmul) {
            if (!m.gemv) continue;
            CHECK_MSG(std::string(m.gemv_name).starts_with("gemv_"), m.gemv_name);
            CHECK_MSG(std::string(m.gemm_name).starts_with("gemm_"), m.gemm_name);
        }
    }
}

TEST_MAIN
