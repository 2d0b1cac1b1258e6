// What matrices read: against importance matrices that other programs made of the same text, experts by their counts,
// work continued from a checkpoint.
#include "convert/calibrate/statistics.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "base/file.h"
#include "convert/calibrate/calibration.h"
#include "convert/calibrate/gram_file.h"
#include "gguf/gguf.h"
#include "model/weights.h"
#include "tests/check.h"

using namespace quant;

namespace {

const char* const kTiny = "models/tiny/tiny-f16.gguf";

CalibrationOptions some_windows(int64_t windows, int64_t window, const std::string& text) {
    CalibrationOptions options;
    options.texts = {text};
    options.windows = windows;
    options.window = window;
    return options;
}

Statistics collected(const Model& model, const std::vector<int32_t>& tokens, const StatisticsOptions& options, int threads) {
    ThreadPool pool(threads);
    auto found = collect_statistics(model, tokens, options, pool, {});
    CHECK(found);
    return std::move(found->sums);
}

bool equal(const Statistics& a, const Statistics& b) {
    if (a.size() != b.size() || a.empty()) return false;
    for (const auto& [name, sums] : a) {
        const auto other = b.find(name);
        if (other == b.end() || other->second.squares != sums.squares || other->second.tokens != sums.tokens) return false;
    }
    return true;
}

std::string temporary(const char* name) { return std::string(std::getenv("TMPDIR") ? std::getenv("TMPDIR") : "/tmp") + "/" + name; }

}  // namespace

TEST(any_threads_and_memory_give_the_same_sums) {
    const auto model = Model::load(kTiny);
    CHECK(model);
    const auto tokens = calibration_windows(**model, some_windows(4, 64, "models/tiny/sample.txt"));
    CHECK(tokens);
    StatisticsOptions options;
    options.window = 64;
    options.output = true;
    const Statistics one = collected(**model, *tokens, options, 1);
    CHECK(one.size() == 29);
    CHECK(one.at("blk.0.attn_q.weight").tokens[0] == 256);
    CHECK(equal(one, collected(**model, *tokens, options, 3)));
    options.memory = 0;
    CHECK(equal(one, collected(**model, *tokens, options, 2)));
}

TEST(both_forms_are_read_back) {
    const auto model = Model::load(kTiny);
    CHECK(model);
    const auto tokens = calibration_windows(**model, some_windows(2, 32, "models/tiny/sample.txt"));
    CHECK(tokens);
    StatisticsOptions options;
    options.window = 32;
    const Statistics sums = collected(**model, *tokens, options, 1);
    for (const char* name : {"quant-test-imatrix.gguf", "quant-test-imatrix.dat"}) {
        const std::string path = temporary(name);
        CHECK(write_importance_matrix(path, sums, "text", 2, 32, true));
        const auto read = read_importance_matrix(path);
        CHECK(read);
        CHECK(read->entries.size() == sums.size());
        CHECK(read->chunk_count == 2);
        for (const auto& [tensor, sum] : sums) {
            const auto& values = read->entries.at(tensor).values;
            CHECK(values.size() == sum.squares.size());
            for (size_t i = 0; i < values.size(); ++i) {
                const double mean = sum.squares[i] / sum.tokens[0];
                CHECK(std::abs(static_cast<double>(values[i]) - mean) <= 1e-6 * mean);
            }
        }
        std::remove(path.c_str());
    }
}

TEST(stopped_work_goes_on_where_it_was) {
    const auto model = Model::load(kTiny);
    CHECK(model);
    const auto tokens = calibration_windows(**model, some_windows(3, 48, "models/tiny/sample.txt"));
    CHECK(tokens);
    StatisticsOptions options;
    options.window = 48;
    const Statistics whole = collected(**model, *tokens, options, 2);
    options.checkpoint = temporary("quant-test.unfinished");
    options.checkpoint_seconds = 0;
    ThreadPool pool(2);
    const auto stopped = collect_statistics(**model, *tokens, options, pool, [](int64_t done, int64_t, const std::string&) { return done < 8; });
    CHECK(!stopped);
    const auto rest = collect_statistics(**model, *tokens, options, pool, {});
    CHECK(rest);
    CHECK(rest->continued_from == 2);
    CHECK(equal(whole, rest->sums));
    // Other work does not take it over.
    options.window = 24;
    const auto other = collect_statistics(**model, *tokens, options, pool, {});
    CHECK(other);
    CHECK(other->continued_from == 0);
    // Nor is a damaged file anything but no file.
    std::ofstream(options.checkpoint, std::ios::binary | std::ios::in | std::ios::out).seekp(40) << "damaged";
    const auto damaged = collect_statistics(**model, *tokens, options, pool, {});
    CHECK(damaged);
    CHECK(damaged->continued_from == 0);
    std::remove(options.checkpoint.c_str());
}

namespace {

std::string bytes_of_file(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

}  // namespace

TEST(gram_matrices_survive_a_stop_and_little_memory) {
    const auto model = Model::load(kTiny);
    CHECK(model);
    const auto tokens = calibration_windows(**model, some_windows(3, 48, "models/tiny/sample.txt"));
    CHECK(tokens);
    const std::string whole = temporary("quant-test-whole.triangles"), parts = temporary("quant-test-parts.triangles");
    std::remove(whole.c_str());
    std::remove(parts.c_str());
    StatisticsOptions options;
    options.window = 48;
    options.grams = whole;
    ThreadPool one(1), two(2);
    const auto at_once = collect_statistics(**model, *tokens, options, one, {});
    CHECK(at_once);
    CHECK(at_once->gram_sites.size() == 17);
    CHECK(at_once->lookup_share > 0.01 && at_once->lookup_share < 10);
    // Each pass gathers one matrix; stopped in the third layer, continued, what lay behind forgotten.
    options.memory = 1;
    options.grams = parts;
    options.checkpoint = temporary("quant-test-grams.unfinished");
    options.checkpoint_seconds = 0;
    CHECK(!collect_statistics(**model, *tokens, options, two, [](int64_t done, int64_t, const std::string&) { return done < 3 * 4 * 2 + 5; }));
    const auto rest = collect_statistics(**model, *tokens, options, two, {});
    CHECK(rest);
    CHECK(rest->continued_from == 2);
    CHECK(equal(at_once->sums, rest->sums));
    CHECK(bytes_of_file(whole).size() == gram_file_bytes(rest->gram_sites));
    CHECK(bytes_of_file(whole) == bytes_of_file(parts));
    // A spool that lost its end is begun anew.
    std::ofstream(parts, std::ios::binary | std::ios::trunc) << "cut";
    const auto anew = collect_statistics(**model, *tokens, options, two, {});
    CHECK(anew && anew->continued_from == 0);
    CHECK(bytes_of_file(whole) == bytes_of_file(parts));

    const std::string path = temporary("quant-test-gram.gguf");
    const GramFacts facts{"name", "llama", "text", 3, 48, 0.25f};
    CHECK(write_grams(path, whole, rest->gram_sites, facts, true));
    const auto file = GramFile::open(path);
    CHECK(file);
    CHECK(file->facts().dataset == "text" && file->facts().windows == 3 && file->facts().lookup_share == 0.25f);
    CHECK(file->find("blk.1.attn_v.weight") == file->find("blk.1.attn_q.weight") && !file->find("blk.1.attn_norm.weight"));
    // The diagonal is the importance, for the same sums.
    const auto gram = file->read(*file->find("blk.1.ffn_down.weight"));
    CHECK(gram && gram->size() == 768 * 768);
    const InputSums& sums = rest->sums.at("blk.1.ffn_down.weight");
    for (size_t c = 0; c < 768; ++c) {
        const double mean = sums.squares[c] / sums.tokens[0];
        CHECK(std::abs(static_cast<double>((*gram)[c * 769]) - mean) <= 1e-5 * mean);
        CHECK((*gram)[c * 768 + 5] == (*gram)[5 * 768 + c]);
    }
    // Looked-up rows count on the diagonal of the table that is both.
    const auto table = file->read(*file->find("token_embd.weight"));
    CHECK(table);
    const auto* plain = reinterpret_cast<const float*>(file->find("token_embd.weight")->data);
    CHECK((*table)[0] > plain[0] && (*table)[256] == plain[1]);
    for (const std::string& each : {whole, parts, path, options.checkpoint}) std::remove(each.c_str());
}

TEST(damaged_gram_matrices_are_refused) {
    const std::string triangles = temporary("quant-test-triangles"), path = temporary("quant-test-damaged.gguf");
    const std::vector<GramSite> sites = {{{"a", "b"}, 2, 0}};
    const auto write = [&](const std::vector<float>& values) {
        std::ofstream(triangles, std::ios::binary | std::ios::trunc).write(reinterpret_cast<const char*>(values.data()), static_cast<std::streamsize>(values.size() * 4));
        return write_grams(path, triangles, sites, {"", "", "", 1, 1, 0}, true);
    };
    CHECK(!write({1, 2}));
    for (const std::vector<float>& values : {std::vector<float>{1, NAN, 1}, {-1, 0, 1}, {1, 0, INFINITY}}) {
        CHECK(write(values));
        const auto file = GramFile::open(path);
        CHECK(file);
        CHECK(!file->read(*file->find("b")));
    }
    CHECK(write({1, 2, 3}));
    const auto file = GramFile::open(path);
    CHECK(file);
    const auto gram = file->read(*file->find("a"));
    CHECK(gram && *gram == (std::vector<float>{1, 2, 2, 3}));
    CHECK(!GramFile::open(kTiny));
    std::remove(triangles.c_str());
    std::remove(path.c_str());
}

// The reference: an importance matrix of 40 windows, made by another program from the text that the bundled model was
// trained on (reference/imatrix of the shared data).
TEST(agrees_with_the_ecosystems_matrix) {
    SHARED_OR_SKIP(shared);
    const std::string text = temporary("quant-test-calibration.txt");
    const std::string unpack = "xz -dc '" + shared + "/text/books-train.txt.xz" + "' 2>/dev/null | head -c 500000 >'" + text + "'";
    if (std::system(unpack.c_str()) != 0 || std::ifstream(text).peek() == EOF) SKIP("xz is not there to unpack the text");
    const auto model = Model::load(kTiny);
    CHECK(model);
    const auto tokens = calibration_windows(**model, some_windows(40, 512, text));
    CHECK(tokens);
    const Statistics sums = collected(**model, *tokens, {}, 2);
    const auto reference = read_importance_matrix(shared + "/reference/imatrix/tiny.dat");
    CHECK(reference);
    CHECK(sums.size() == reference->entries.size());
    for (const auto& [name, entry] : reference->entries) {
        const InputSums& ours = sums.at(name);
        double difference = 0, total = 0;
        for (size_t i = 0; i < entry.values.size(); ++i) {
            const double expected = static_cast<double>(entry.values[i]);
            difference += std::abs(ours.squares[i] / ours.tokens[0] - expected);
            total += expected;
        }
        CHECK_MSG(difference < 0.001 * total, name);
    }
    std::remove(text.c_str());
}

// Each token is seen by as many experts as the model uses.
TEST(experts_are_counted) {
    SHARED_OR_SKIP(shared);
    for (const char* name : {"mixtral", "qwen3moe", "gpt-oss"}) {
        const auto model = Model::load(shared + "/models/arch/" + name + "/" + name + ".gguf");
        CHECK(model);
        const auto tokens = calibration_windows(**model, some_windows(4, 32, "models/tiny/sample.txt"));
        CHECK(tokens);
        StatisticsOptions options;
        options.window = 32;
        const Statistics sums = collected(**model, *tokens, options, 2);
        size_t experts = 0;
        for (const auto& [tensor, sum] : sums) {
            if (sum.tokens.size() == 1) continue;
            ++experts;
            double seen = 0;
            for (const double count : sum.tokens) seen += count;
            CHECK_MSG(seen == 128.0 * static_cast<double>((*model)->config().experts_used), tensor);
        }
        CHECK(experts == 3 * (*model)->weights().layers.size());
    }
}

TEST_MAIN
