// Importance matrices: both forms, the reference files, and every rule broken once.
#include <cmath>
#include <cstring>
#include <limits>

#include "base/rng.h"
#include "gguf/gguf.h"
#include "tests/check.h"
#include "tests/full.h"
#include "tests/gguf_bytes.h"

using namespace quant;
using gguf_bytes::Builder;

namespace {

Builder keys(uint64_t tensors, uint64_t count = 3) {
    Builder file = Builder().header(tensors, count);
    file.key("imatrix.datasets", gguf_bytes::array, gguf_bytes::string).number<uint64_t>(1).text("text.txt");
    return file.key("imatrix.chunk_count", gguf_bytes::u32, 7u).key("imatrix.chunk_size", gguf_bytes::u32, 512u);
}

Builder& floats(Builder& file, const std::vector<float>& values) {
    for (const float value : values) file.number(value);
    return file.align();
}

// One entry "w" with sums [cols, matrices] and counts.
Builder one_entry(const std::vector<float>& sums, const std::vector<float>& counts, uint64_t cols) {
    Builder file = keys(2);
    const uint64_t matrices = sums.size() / cols;
    file.tensor("w.in_sum2", {cols, matrices}, 0, 0);
    file.tensor("w.counts", {1, counts.size()}, 0, (sums.size() * 4 + 31) / 32 * 32).align();
    floats(file, sums);
    return floats(file, counts);
}

Builder record(const std::string& name, int32_t calls, const std::vector<float>& values) {
    Builder out;
    out.number(static_cast<int32_t>(name.size())).raw(name).number(calls).number(static_cast<int32_t>(values.size()));
    for (const float value : values) out.number(value);
    return out;
}

Builder dat(const std::vector<Builder>& records, int32_t count = -1) {
    Builder out;
    out.number(count < 0 ? static_cast<int32_t>(records.size()) : count);
    for (const Builder& each : records) out.bytes.insert(out.bytes.end(), each.bytes.begin(), each.bytes.end());
    return out;
}

void refused(const Builder& file, const char* expected, int line) {
    const auto matrix = parse_importance_matrix(file.bytes, "f");
    const bool right = !matrix.ok() && matrix.error().code == Code::input && matrix.error().text.starts_with("f: ") &&
                       matrix.error().text.find(expected) != std::string::npos;
    if (!right) check::fail(__FILE__, line, std::string("expected '") + expected + "', found '" + (matrix.ok() ? "a matrix" : matrix.error().text) + "'");
}
#define REFUSED(file, expected) refused(file, expected, __LINE__)

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN(), kInf = std::numeric_limits<float>::infinity();

}  // namespace

TEST(gguf_form_divides_sums_by_counts) {
    const auto matrix = parse_importance_matrix(one_entry({2, 4, 6, 8, 10, 12}, {2, 0}, 3).bytes, "f");
    CHECK_MSG(matrix.ok(), matrix.ok() ? "" : matrix.error().text);
    if (!matrix) return;
    CHECK(matrix->datasets == std::vector<std::string>{"text.txt"} && matrix->chunk_count == 7 && matrix->chunk_size == 512);
    const auto& entry = matrix->entries.at("w");
    // The second matrix was never used: the neutral weight.
    CHECK(entry.n_mat == 2 && (entry.values == std::vector<float>{1, 2, 3, 1, 1, 1}));
}

TEST(dat_form_divides_by_calls) {
    Builder file = dat({record("a", 2, {2, 4}), record("b", 0, {5}), record("c", 1, {0, 3})});
    for (const bool with_end : {false, true}) {
        if (with_end) file.number<int32_t>(40).number<int32_t>(8).raw("text.txt");
        const auto matrix = parse_importance_matrix(file.bytes, "f");
        CHECK_MSG(matrix.ok(), matrix.ok() ? "" : matrix.error().text);
        if (!matrix) return;
        CHECK((matrix->entries.at("a").values == std::vector<float>{1, 2}) && (matrix->entries.at("b").values == std::vector<float>{1}));
        CHECK((matrix->entries.at("c").values == std::vector<float>{0, 3}) && matrix->entries.size() == 3);
        CHECK(matrix->chunk_count == (with_end ? 40u : 0u) && matrix->datasets.size() == (with_end ? 1u : 0u));
    }
}

TEST(malformed_gguf_forms_are_refused) {
    REFUSED(Builder(), "the file is empty");
    REFUSED(Builder().raw("GGUF"), "ends inside the header");
    REFUSED(Builder().header(0, 0), "not an importance matrix: key 'imatrix.datasets' is missing");
    REFUSED(Builder().header(0, 1).key("imatrix.datasets", gguf_bytes::array, gguf_bytes::string).number<uint64_t>(0), "key 'imatrix.chunk_count' is missing");
    Builder partial = Builder().header(0, 2).key("imatrix.datasets", gguf_bytes::array, gguf_bytes::string).number<uint64_t>(0);
    REFUSED(partial.key("imatrix.chunk_count", gguf_bytes::u32, 7u), "key 'imatrix.chunk_size' is missing");
    REFUSED(Builder().header(0, 1).key_text("imatrix.datasets", "x"), "has type string, array of string expected");
    REFUSED(keys(0), "the importance matrix has no entries");
    Builder sums = keys(1).tensor("w.in_sum2", {4}, 0, 0).align();
    REFUSED(floats(sums, {1, 2, 3, 4}), "entry 'w' has sums but no counts");
    Builder counts = keys(1).tensor("w.counts", {1}, 0, 0).align();
    REFUSED(floats(counts, {1}), "tensor 'w.counts' has no sums beside it");
    Builder unnamed = keys(1).tensor(".in_sum2", {4}, 0, 0).align();
    REFUSED(floats(unnamed, {1, 2, 3, 4}), "an entry has an empty name");
    Builder half = keys(2).tensor("w.in_sum2", {4}, 1, 0).tensor("w.counts", {1}, 0, 32).align();
    REFUSED(half.fill(64), "tensor 'w.in_sum2' has type F16, F32 expected");
    Builder integer = keys(2).tensor("w.in_sum2", {4}, 0, 0).tensor("w.counts", {1}, 26, 32).align();
    REFUSED(integer.fill(64), "tensor 'w.counts' has type I32, F32 expected");
    REFUSED(one_entry({1, 2, 3, 4}, {1, 1, 1}, 2), "entry 'w' has 2 rows of sums and 3 counts");
    REFUSED(one_entry({1, 2, 3, 4}, {1}, 2), "entry 'w' has 2 rows of sums and 1 counts");
    REFUSED(one_entry({1, kNaN}, {1}, 2), "entry 'w' holds nan at 1");
    REFUSED(one_entry({1, -kNaN}, {1}, 2), "at 1, a finite number not below 0 expected");
    REFUSED(one_entry({kInf, 1}, {1}, 2), "entry 'w' holds inf at 0");
    REFUSED(one_entry({1, -1e-30f}, {1}, 2), "entry 'w' holds -1e-30 at 1");
    REFUSED(one_entry({1, 2}, {-1}, 2), "entry 'w' holds -1 at 0");
    REFUSED(one_entry({1, 2}, {kNaN}, 2), "entry 'w' holds nan at 0");
    REFUSED(one_entry({1, 2}, {kInf}, 2), "entry 'w' holds inf at 0");
    REFUSED(one_entry({3e38f, 2}, {1e-10f}, 2), "entry 'w' holds inf at 0");
    Builder twice = keys(3).tensor("w.in_sum2", {4}, 0, 0).tensor("w.counts", {1}, 0, 32).tensor("w.in_sum2", {8}, 0, 64).align();
    REFUSED(twice.fill(96), "tensor 'w.in_sum2' occurs twice");
}

TEST(malformed_dat_forms_are_refused) {
    for (const int32_t count : {0, -1, 1, 100, std::numeric_limits<int32_t>::max(), std::numeric_limits<int32_t>::min()})
        REFUSED(Builder().number(count).fill(12), "not an importance matrix");
    REFUSED(Builder().raw("abc"), "not an importance matrix");
    REFUSED(dat({record("", 1, {1, 2, 3})}), "entry number 0 has an empty name");
    REFUSED(dat({record(std::string(64, 'n'), 1, {1})}), "entry number 0 claims 64 bytes of text");
    REFUSED(Builder().number(1).number(-5).fill(40), "entry number 0 claims -5 bytes of text");
    REFUSED(Builder().number(1).number(std::numeric_limits<int32_t>::max()).fill(40), "claims 2147483647 bytes of text");
    REFUSED(Builder().number(1).number(60).fill(40), "entry number 0: the file ends inside it");
    REFUSED(Builder().number(1).number(10).raw("0123456789").number<int32_t>(1), "entry '0123456789': the file ends inside it");
    REFUSED(dat({record("a", -1, {1})}), "entry 'a' claims -1 calls");
    REFUSED(Builder().number(1).number(1).raw("a").number(1).number(0).fill(8), "entry 'a' claims 0 values");
    REFUSED(Builder().number(1).number(1).raw("a").number(1).number(-4).fill(8), "entry 'a' claims -4 values");
    REFUSED(Builder().number(1).number(1).raw("a").number(1).number(3).fill(8), "entry 'a' claims 3 values, the file has room for 2");
    REFUSED(Builder().number(1).number(1).raw("a").number(1).number(std::numeric_limits<int32_t>::max()).fill(8), "claims 2147483647 values");
    REFUSED(dat({record("a", 1, {1}), record("a", 1, {1})}), "entry 'a' occurs twice");
    REFUSED(dat({record("a", 1, {1}), record("a", 1, {1, 2, 3, 4, 5, 6, 7, 8})}), "entry 'a' occurs twice");
    REFUSED(dat({record("a", 1, {1, kNaN})}), "entry 'a' holds nan at 1");
    REFUSED(dat({record("a", 1, {-1})}), "entry 'a' holds -1 at 0");
    REFUSED(dat({record("a", 1, {kInf})}), "entry 'a' holds inf at 0");
    REFUSED(dat({record("a", 1, {1})}).number<int16_t>(1), "the count of chunks after the entries");
    REFUSED(dat({record("a", 1, {1})}).number<int32_t>(-1), "the count of chunks after the entries");
    REFUSED(dat({record("a", 1, {1})}).number<int32_t>(1).number<int32_t>(9).raw("text.txt"), "the data set's name: the file ends inside it");
    REFUSED(dat({record("a", 1, {1})}).number<int32_t>(1).number<int32_t>(8).raw("text.txt!"), "1 bytes follow the end");
}

TEST(every_prefix_and_damaged_byte_is_survived) {
    const Builder files[] = {one_entry({2, 4, 6, 8, 10, 12}, {2, 1}, 3), dat({record("a", 2, {2, 4}), record("b", 1, {0, 3})}).number<int32_t>(1).number<int32_t>(1).raw("t")};
    for (const Builder& file : files) {
        for (size_t length = 0; length < file.bytes.size(); ++length) {
            const std::vector<uint8_t> part(file.bytes.begin(), file.bytes.begin() + static_cast<ptrdiff_t>(length));
            const auto matrix = parse_importance_matrix(part, "f");
            // Only the optional end of the .dat form and padding may be missing.
            CHECK_MSG(!matrix.ok() || length + 24 >= file.bytes.size() || (&file == &files[1] && matrix->entries.size() == 2), std::to_string(length));
        }
        std::vector<uint8_t> damaged = file.bytes;
        for (size_t at = 0; at < damaged.size(); ++at)
            for (unsigned value = 0; value < 256; ++value) {
                const uint8_t old = damaged[at];
                damaged[at] = static_cast<uint8_t>(value);
                const auto matrix = parse_importance_matrix(damaged, "f");
                if (matrix)
                    for (const auto& [name, entry] : matrix->entries)
                        for (const float number : entry.values) CHECK(std::isfinite(number) && number >= 0);
                damaged[at] = old;
            }
    }
}

TEST(reference_matrices_are_read) {
    SHARED_OR_SKIP(shared);
    const auto gguf = read_importance_matrix(shared + "/reference/imatrix/tiny.gguf");
    const auto dat_form = read_importance_matrix(shared + "/reference/imatrix/tiny.dat");
    CHECK_MSG(gguf.ok() && dat_form.ok(), gguf.ok() ? "" : gguf.error().text);
    if (!gguf || !dat_form) return;
    CHECK(gguf->chunk_count == 200 && gguf->chunk_size == 512 && gguf->datasets == std::vector<std::string>{"cal.txt"});
    CHECK(dat_form->chunk_count == 40 && dat_form->datasets == std::vector<std::string>{"cal.txt"});
    CHECK(gguf->entries.size() == 28 && dat_form->entries.size() == 28);
    // Two programs measured the same model on the first 200 and 40 windows of one text: nearly the same directions.
    for (const auto& [name, entry] : gguf->entries) {
        const auto other = dat_form->entries.find(name);
        CHECK_MSG(other != dat_form->entries.end() && other->second.values.size() == entry.values.size(), name);
        if (other == dat_form->entries.end()) continue;
        double product = 0, left = 0, right = 0;
        for (size_t i = 0; i < entry.values.size(); ++i) {
            const double a = std::sqrt(static_cast<double>(entry.values[i])), b = std::sqrt(static_cast<double>(other->second.values[i]));
            product += a * b, left += a * a, right += b * b;
        }
        const double cosine = product / std::sqrt(left * right), ratio = left / right;
        CHECK_MSG(cosine > 0.99 && ratio > 0.8 && ratio < 1.25, name + " cosine " + std::to_string(cosine) + " ratio " + std::to_string(ratio));
    }
    // Sums of the file over its counts: 1018.1079 / 102400 in the first column of this entry.
    CHECK(std::fabs(gguf->entries.at("blk.0.attn_k.weight").values[0] - 1018.1079f / 102400) < 1e-7f);
}

TEST_MAIN
