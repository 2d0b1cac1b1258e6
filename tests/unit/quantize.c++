// quantize_file() on small files made here: the bytes of every tensor are those of its rows encoded one by one with the
// right importance, sums of errors are right, bad weights are refused by place, outputs are safe, memory is bounded.
#include "convert/quantize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>

#include "base/rng.h"
#include "tests/check.h"
#include "tests/full.h"
#include "tests/temporary_folder.h"

using namespace quant;

namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

struct SmallModel {
    Metadata metadata;
    std::vector<TensorInfo> tensors;
    std::vector<std::vector<float>> values;  // of each tensor

    SmallModel() {
        metadata.set("general.architecture", Value::of_string("llama"));
        metadata.set("llama.block_count", Value::of_u32(2));
        metadata.set("llama.attention.head_count", Value::of_u32(4));
        metadata.set("general.file_type", Value::of_u32(0));
        metadata.set("test.last", Value::of_string("key order is kept"));
    }
    std::vector<float>& add(const std::string& name, std::vector<int64_t> shape, uint64_t seed, uint32_t shard = 0) {
        TensorInfo tensor;
        tensor.name = name;
        tensor.format = &format_of(FormatSlot::f32);
        tensor.n_dims = static_cast<uint32_t>(shape.size());
        std::copy(shape.begin(), shape.end(), tensor.ne.begin());
        tensor.bytes = static_cast<uint64_t>(tensor.elements()) * 4;
        tensor.shard = shard;
        Rng rng(seed);
        std::vector<float> data(static_cast<size_t>(tensor.elements()));
        for (float& value : data) value = static_cast<float>(rng.gaussian());
        tensors.push_back(tensor);
        values.push_back(std::move(data));
        return values.back();
    }
    void write(const std::string& path, uint64_t split_max_bytes = 0) const {
        GgufWriter::Options options;
        options.force = true;
        options.split_max_bytes = split_max_bytes;
        auto writer = GgufWriter::create(path, metadata, tensors, options);
        CHECK_MSG(writer.ok(), path);
        if (!writer) return;
        for (const auto& data : values)
            CHECK(writer->write({reinterpret_cast<const uint8_t*>(data.data()), data.size() * sizeof(float)}).ok());
        const Status finished = writer->finish();
        CHECK_MSG(finished.ok(), finished.error().text);
    }
};

// 3-D experts, a row that 256 does not divide, a norm, a router.
SmallModel mixed_model() {
    SmallModel model;
    model.add("token_embd.weight", {256, 100}, 1);
    model.add("output_norm.weight", {256}, 2);
    model.add("blk.0.attn_q.weight", {256, 130}, 3);
    model.add("blk.0.attn_v.weight", {96, 50}, 4);
    model.add("blk.0.ffn_gate_inp.weight", {256, 3}, 5);
    model.add("blk.0.ffn_up_exps.weight", {256, 37, 3}, 6);
    model.add("blk.1.ffn_down.weight", {20480, 3}, 7);
    return model;
}

void write_importance(const std::string& path, const std::vector<std::pair<std::string, std::vector<float>>>& entries) {
    std::ofstream file(path, std::ios::binary);
    const auto number = [&](int32_t value) { file.write(reinterpret_cast<const char*>(&value), 4); };
    number(static_cast<int32_t>(entries.size()));
    for (const auto& [name, values] : entries) {
        number(static_cast<int32_t>(name.size()));
        file << name;
        number(1);
        number(static_cast<int32_t>(values.size()));
        file.write(reinterpret_cast<const char*>(values.data()), static_cast<std::streamsize>(values.size() * 4));
    }
    number(5);
    number(4);
    file << "text";
}

std::vector<float> random_importance(size_t count, uint64_t seed) {
    Rng rng(seed);
    std::vector<float> out(count);
    for (float& value : out) value = static_cast<float>(0.01 + 3 * rng.uniform());
    return out;
}

QuantizeOptions options_for(const std::string& input, const std::string& output, const std::string& type) {
    QuantizeOptions options;
    options.input = input;
    options.output = output;
    options.type = type;
    options.threads = 2;
    return options;
}

std::string error_of(const Result<QuantizeReport>& report) { return report ? "" : report.error().text; }

// Every tensor of the output against its rows encoded one by one; the sums against plain sums.
void check_against_rows(const SmallModel& model, const std::string& path, const QuantizeReport& report,
                        const std::vector<std::pair<std::string, std::vector<float>>>& importance) {
    auto file = Gguf::open(path);
    CHECK(file.ok() && file->tensors().size() == model.tensors.size());
    if (!file) return;
    for (size_t i = 0; i < model.tensors.size(); ++i) {
        const TensorInfo& out = file->tensors()[i];
        const Format& format = *out.format;
        const float* weights = nullptr;
        for (const auto& [name, values] : importance)
            if (name == out.name && format.kind == FormatKind::block) weights = values.data();
        CHECK_MSG(out.name == model.tensors[i].name && out.format == report.plan.tensors[i].out.format, out.name);
        std::vector<uint8_t> blocks(format.row_bytes(out.cols()));
        std::vector<float> decoded(static_cast<size_t>(out.cols()));
        double error = 0, norm = 0, weighted = 0;
        for (int64_t row = 0; row < out.rows(); ++row) {
            const float* x = model.values[i].data() + row * out.cols();
            const float* h = weights ? weights + row / out.ne[1] * out.cols() : nullptr;
            // Formats with tables of the whole tensor are looked at on their own.
            if (format.head) continue;
            format.encode(nullptr, x, h, blocks.data(), out.cols());
            CHECK_MSG(std::memcmp(blocks.data(), out.data + static_cast<size_t>(row) * blocks.size(), blocks.size()) == 0,
                      out.name + " row " + std::to_string(row));
            format.decode(nullptr, blocks.data(), decoded.data(), out.cols());
            for (int64_t c = 0; c < out.cols(); ++c) {
                const double d = static_cast<double>(x[c]) - static_cast<double>(decoded[static_cast<size_t>(c)]);
                error += d * d;
                norm += static_cast<double>(x[c]) * static_cast<double>(x[c]);
                if (h) weighted += static_cast<double>(h[c]) * d * d;
            }
        }
        if (report.plan.tensors[i].copies()) continue;
        CHECK_MSG(std::abs(report.errors[i].error - error) <= 1e-4 * error, out.name);
        CHECK_MSG(std::abs(report.errors[i].norm - norm) <= 1e-5 * norm, out.name);
        CHECK_MSG(std::abs(report.errors[i].weighted_error - weighted) <= 1e-5 * weighted, out.name);
    }
}

uint64_t anonymous_bytes() {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);)
        if (line.starts_with("RssAnon:")) return std::stoull(line.substr(8)) * 1024;
    return 0;
}

}  // namespace

TEST(bytes_are_those_of_the_rows) {
    const TemporaryFolder folder;
    const SmallModel model = mixed_model();
    model.write(folder.at("in.gguf"));
    const std::vector<std::pair<std::string, std::vector<float>>> importance = {
        {"blk.0.attn_q.weight", random_importance(256, 11)},
        {"blk.0.ffn_up_exps.weight", random_importance(256 * 3, 12)},
    };
    write_importance(folder.at("i.dat"), importance);
    for (const char* type : {"q4_k_m", "q8_0", "iq4_xs", "q2_k", "tq2_0", "f16", "bf16", "f32"}) {
        auto options = options_for(folder.at("in.gguf"), folder.at(std::string(type) + ".gguf"), type);
        auto plain = quantize_file(options, {});
        CHECK_MSG(plain.ok(), error_of(plain));
        if (plain) check_against_rows(model, options.output, *plain, {});
        options.force = true;
        options.importance_path = folder.at("i.dat");
        auto weighted = quantize_file(options, {});
        CHECK_MSG(weighted.ok(), error_of(weighted));
        if (weighted) check_against_rows(model, options.output, *weighted, importance);
    }
}

TEST(metadata_says_how_it_was_made) {
    const TemporaryFolder folder;
    mixed_model().write(folder.at("in.gguf"));
    write_importance(folder.at("i.dat"), {{"blk.0.attn_q.weight", random_importance(256, 11)}, {"no.such", {1.0f}}});
    auto options = options_for(folder.at("in.gguf"), folder.at("out.gguf"), "q4_k_m");
    options.importance_path = folder.at("i.dat");
    options.override_metadata = {"test.new=int:5", "general.architecture=str:llama"};
    options.zero_nonfinite = true;
    auto report = quantize_file(options, {});
    CHECK_MSG(report.ok() && report->warnings.size() == 1 && report->output_bytes == std::filesystem::file_size(options.output),
              error_of(report));
    auto file = Gguf::open(options.output);
    CHECK(file.ok());
    if (!file) return;
    std::string keys;
    for (const auto& [key, value] : file->metadata().entries()) keys += key + " ";
    CHECK_MSG(keys == "general.architecture llama.block_count llama.attention.head_count general.file_type test.last "
                      "general.quantization_version test.new quantize.imatrix.file quantize.imatrix.dataset "
                      "quantize.imatrix.entries_count quantize.imatrix.chunks_count quantize.nonfinite ",
              keys);
    CHECK(*file->metadata().get_u32("general.file_type").value() == 15);
    CHECK(*file->metadata().get_u32("general.quantization_version").value() == 2);
    CHECK(*file->metadata().get_u32("quantize.imatrix.entries_count").value() == 2);
    CHECK(*file->metadata().get_u32("quantize.imatrix.chunks_count").value() == 5);
    CHECK(*file->metadata().get_string("quantize.imatrix.dataset").value() == "text");
}

TEST(weights_that_are_not_finite) {
    const TemporaryFolder folder;
    const std::string in = folder.at("in.gguf"), out = folder.at("out.gguf");
    for (const float bad : {kNaN, std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()}) {
        SmallModel model = mixed_model();
        model.values[2][70 * 256 + 9] = bad;
        model.values[2][129 * 256 + 255] = bad;
        model.write(in);
        for (const char* type : {"q4_k_m", "q8_0", "f16", "f32"}) {
            auto report = quantize_file(options_for(in, out, type), {});
            CHECK_MSG(error_of(report).find("blk.0.attn_q.weight: row 70, column 9 is ") != std::string::npos, error_of(report));
            CHECK_MSG(error_of(report).find("2 weights are not finite") != std::string::npos, error_of(report));
            CHECK(!report.ok() && report.error().code == Code::input && folder.names().size() == 1);
        }
        auto options = options_for(in, out, "q4_k_m");
        options.zero_nonfinite = true;
        auto report = quantize_file(options, {});
        CHECK_MSG(report.ok() && report->total_error().zeroed == 2, error_of(report));
        model.values[2][70 * 256 + 9] = model.values[2][129 * 256 + 255] = 0;
        if (report) check_against_rows(model, out, *report, {});
        std::filesystem::remove(out);
    }
    SmallModel norm = mixed_model();
    norm.values[1][3] = kNaN;  // a tensor that stays as it is
    norm.write(in);
    auto report = quantize_file(options_for(in, out, "q8_0"), {});
    CHECK_MSG(error_of(report).find("output_norm.weight: row 0, column 3 is nan; 1 weights") != std::string::npos, error_of(report));
    report = quantize_file(options_for(in, out, "copy"), {});
    CHECK_MSG(report.ok(), error_of(report));
}

TEST(weights_too_large_for_f16) {
    const TemporaryFolder folder;
    const std::string in = folder.at("in.gguf"), out = folder.at("out.gguf");
    SmallModel model = mixed_model();
    model.values[6][20480 + 5] = -65519.0f;  // rounds to 65504
    model.write(in);
    CHECK(quantize_file(options_for(in, out, "f16"), {}).ok());
    model.values[6][20480 + 5] = -65520.0f;
    model.write(in);
    std::filesystem::remove(out);
    auto report = quantize_file(options_for(in, out, "f16"), {});
    CHECK_MSG(error_of(report).find("blk.1.ffn_down.weight: row 1, column 5 is -65520; 1 weights are too large") != std::string::npos,
              error_of(report));
    CHECK(quantize_file(options_for(in, out, "bf16"), {}).ok());
}

TEST(outputs_never_touch_inputs) {
    const TemporaryFolder folder;
    const std::string in = folder.at("in.gguf");
    mixed_model().write(in);
    std::filesystem::create_hard_link(in, folder.at("hard.gguf"));
    std::filesystem::create_symlink("in.gguf", folder.at("soft.gguf"));
    for (const char* name : {"in.gguf", "./in.gguf", "hard.gguf", "soft.gguf"}) {
        auto options = options_for(in, folder.at(name), "q8_0");
        options.force = true;
        auto report = quantize_file(options, {});
        CHECK_MSG(error_of(report).find("the output is the input") != std::string::npos, name + error_of(report));
    }
    auto options = options_for(in, folder.at("out.gguf"), "q8_0");
    CHECK(quantize_file(options, {}).ok());
    auto again = quantize_file(options, {});
    CHECK_MSG(error_of(again).find("--force") != std::string::npos, error_of(again));
    options.force = true;
    CHECK(quantize_file(options, {}).ok());
}

TEST(progress_counts_all_and_can_stop) {
    const TemporaryFolder folder;
    const SmallModel model = mixed_model();
    model.write(folder.at("in.gguf"));
    uint64_t last = 0, total_seen = 0, sum = 0;
    for (const TensorInfo& tensor : model.tensors) sum += tensor.bytes;
    auto options = options_for(folder.at("in.gguf"), folder.at("out.gguf"), "q4_0");
    auto report = quantize_file(options, [&](uint64_t done, uint64_t total, const std::string& name) {
        CHECK(done > last && done <= total && !name.empty());
        last = done;
        total_seen = total;
        return true;
    });
    CHECK(report.ok() && last == sum && total_seen == sum);
    options.output = folder.at("stopped.gguf");
    auto stopped = quantize_file(options, [](uint64_t, uint64_t, const std::string&) { return false; });
    CHECK(!stopped.ok() && stopped.error().code == Code::interrupted && folder.names().size() == 2);
}

TEST(split_files_in_and_out) {
    const TemporaryFolder folder;
    const SmallModel model = mixed_model();
    model.write(folder.at("in.gguf"), 120000);
    const std::vector<std::string> names = folder.names();
    const std::string first = folder.at(*std::min_element(names.begin(), names.end()));
    CHECK_MSG(names.size() > 2 && first.find("in-00001-of-0000") != std::string::npos, first);
    auto options = options_for(first, folder.at("kept.gguf"), "q8_0");
    options.keep_split = true;
    auto kept = quantize_file(options, {});
    CHECK_MSG(kept.ok() && kept->outputs.size() == names.size(), error_of(kept));
    if (kept) check_against_rows(model, kept->outputs.front(), *kept, {});
    options.output = folder.at("one.gguf");
    options.keep_split = false;
    auto one = quantize_file(options, {});
    CHECK_MSG(one.ok() && one->outputs.size() == 1, error_of(one));
    if (one) check_against_rows(model, options.output, *one, {});
    auto joined = Gguf::open(options.output);
    CHECK(joined.ok() && !joined->metadata().find("split.count"));
    options.output = folder.at("many.gguf");
    options.split_max_bytes = 60000;
    options.dry_run = true;
    auto planned = quantize_file(options, {});
    options.dry_run = false;
    auto many = quantize_file(options, {});
    CHECK_MSG(many.ok() && many->outputs.size() > 2, error_of(many));
    if (many && planned) CHECK(planned->output_bytes == many->output_bytes);
    options.output = first;
    options.split_max_bytes = 0;
    options.force = true;
    CHECK(!quantize_file(options, {}).ok());
}

// ThreadSanitizer keeps several bytes of its own for each one touched, mapped files included.
#ifdef __SANITIZE_THREAD__
constexpr bool kShadowMemory = true;
#else
constexpr bool kShadowMemory = false;
#endif

// A model may be of any size, the anonymous memory of the process may not.
TEST(memory_is_bounded) {
    if (anonymous_bytes() == 0) SKIP("needs /proc");
    const TemporaryFolder folder;
    const std::string in = folder.at("in.gguf");
    const int64_t rows = static_cast<int64_t>(check::rounds("rows of 8192", 2048, 65536));
    SmallModel model;
    model.add("blk.0.attn_q.weight", {8192, 1}, 1);
    TensorInfo& tensor = model.tensors.front();
    tensor.ne[1] = rows;
    tensor.format = &format_of(FormatSlot::f16);
    tensor.bytes = tensor.format->tensor_bytes(tensor.cols(), rows);
    {
        auto writer = GgufWriter::create(in, model.metadata, model.tensors, {});
        CHECK(writer.ok());
        if (!writer) return;
        const std::vector<uint8_t> zeros(size_t{1} << 20);
        for (uint64_t left = tensor.bytes; left > 0;) {
            const auto piece = std::min<uint64_t>(left, zeros.size());
            CHECK(writer->write({zeros.data(), piece}).ok());
            left -= piece;
        }
        CHECK(writer->finish().ok());
    }
    const uint64_t before = anonymous_bytes();
    uint64_t peak = 0;
    for (const char* type : {"q8_0", "f32"}) {
        auto options = options_for(in, folder.at("out.gguf"), type);
        options.force = true;
        auto report = quantize_file(options, [&](uint64_t, uint64_t, const std::string&) {
            peak = std::max(peak, anonymous_bytes());
            return true;
        });
        CHECK_MSG(report.ok(), error_of(report));
    }
    CHECK(peak > 0);
    if (!kShadowMemory)
        CHECK_MSG(peak - std::min(before, peak) < uint64_t{40} << 20, std::to_string(peak - before));
}

TEST_MAIN
