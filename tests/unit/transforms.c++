// Transforms leave a model's function as it is, on every architecture they claim, and are refused on the others; their
// search finds channels that were blown up and undoes them.
#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <map>

#include "../reference_logits.h"
#include "base/log.h"
#include "convert/quantize.h"
#include "convert/transforms/maps.h"
#include "convert/transforms/places.h"
#include "convert/transforms/scales.h"
#include "convert/transforms/transformed_source.h"
#include "gguf/gguf.h"
#include "model/session.h"
#include "tests/check.h"
#include "tests/temporary_folder.h"

using namespace quant;

namespace {

constexpr double kSame = 1e-5;  // of the range of the logits
const std::string kGolden = "tests/golden/stories260K/stories260K.gguf";

double product(const std::vector<float>& a, const std::vector<float>& b) {
    double sum = 0;
    for (size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    return sum;
}

std::vector<float> random_vector(int64_t size, Rng& rng) {
    std::vector<float> out;
    for (int64_t i = 0; i < size; ++i) out.push_back(static_cast<float>(rng.gaussian()));
    return out;
}

void check_map(const ChannelMap& map, int64_t size, Rng& rng, const std::string& what) {
    const std::vector<float> w = random_vector(size, rng), x = random_vector(size, rng);
    std::vector<float> wm = w, mx = x;
    map.on_reader(wm.data(), size, 0);
    map.on_maker(mx.data(), size, 0);
    const double scale = std::sqrt(product(w, w) * product(x, x));
    CHECK_MSG(std::fabs(product(w, x) - product(wm, mx)) <= 2e-6 * scale, what + " changes products");
    CHECK_MSG(size == 1 || largest_difference(w, wm) > 1e-3, what + " does nothing");
    map.on_reader_inverse(wm.data(), size, 0);
    CHECK_MSG(largest_difference(w, wm) <= 2e-5, what + " is not undone");
}

// Gains other than 1, biases other than 0: random models of other programs have neither.
std::string with_random_vectors(const std::string& path, const TemporaryFolder& work) {
    auto opened = Gguf::open(path);
    CHECK_MSG(opened.ok(), opened ? "" : opened.error().text);
    if (!opened) return path;
    const std::string out = work.at("random.gguf");
    auto writer = GgufWriter::create(out, opened->metadata(), opened->tensors(), {true, {}, 0, false});
    CHECK(writer.ok());
    Rng rng(7);
    for (const TensorInfo& tensor : opened->tensors()) {
        const bool norm = tensor.name.find("norm.weight") != std::string::npos, bias = tensor.name.ends_with(".bias");
        if ((!norm && !bias) || tensor.format->slot != FormatSlot::f32) {
            CHECK(writer->write({tensor.data, tensor.bytes}).ok());
            continue;
        }
        std::vector<float> values(static_cast<size_t>(tensor.elements()));
        decode_rows(*tensor.format, tensor.view(), 0, tensor.rows(), values.data());
        for (float& each : values)
            each = bias ? each + 0.1f * static_cast<float>(rng.gaussian()) : each * static_cast<float>(0.5 + 1.5 * rng.uniform());
        CHECK(writer->write({reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(float)}).ok());
    }
    CHECK(writer->finish().ok());
    return out;
}

QuantizeOptions transformation(const std::string& input, const std::string& output, const std::string& list) {
    QuantizeOptions options;
    options.input = input;
    options.output = output;
    options.type = "F32";
    options.force = true;
    options.transforms.gate = false;
    options.transforms.seed = 3;
    CHECK(parse_transforms(list, options.transforms).ok());
    return options;
}

std::vector<float> logits_of(const std::string& path, std::span<const int32_t> tokens) {
    auto model = Model::load(path);
    CHECK_MSG(model.ok(), model ? "" : model.error().text);
    if (!model) return {};
    SessionOptions options;
    options.context = 256;
    options.exact = true;
    options.threads = 1;
    options.k_type = options.v_type = KvType::f32;
    auto session = Session::create(*model, options);
    CHECK(session.ok() && (*session)->eval(tokens, LogitsOf::all).ok());
    std::vector<float> out;
    for (size_t i = 0; i < tokens.size(); ++i) {
        const auto row = (*session)->logits(static_cast<int64_t>(i));
        out.insert(out.end(), row.begin(), row.end());
    }
    return out;
}

double apart(const std::vector<float>& a, const std::vector<float>& b) {
    const auto [low, high] = std::minmax_element(a.begin(), a.end());
    return largest_difference(a, b) / (static_cast<double>(*high) - static_cast<double>(*low));
}

// The reference's tokens, then random ones.
std::vector<int32_t> tokens_for(std::vector<int32_t> tokens, int64_t vocab) {
    Rng rng(11);
    for (int i = 0; i < 24; ++i) tokens.push_back(static_cast<int32_t>(rng.below(static_cast<uint64_t>(vocab))));
    return tokens;
}

const char* const kUnmeasured[] = {"fold-norm", "rotate", "fptquant", "aweq", "fold-norm,rotate,fptquant,aweq"};

// Every list on one model: the same logits, or an error with these words where it is refused.
void check_model(const std::string& name, const std::string& path, const std::vector<int32_t>& text,
                 const std::map<std::string, std::string>& refused) {
    const TemporaryFolder work;
    const std::string base = with_random_vectors(path, work), output = work.at("transformed.gguf");
    auto model = Model::load(base);
    CHECK_MSG(model.ok(), model ? "" : model.error().text);
    if (!model) return;
    const std::vector<int32_t> tokens = tokens_for(text, (*model)->config().vocab);
    const std::vector<float> original = logits_of(base, tokens);
    for (const std::string list : kUnmeasured) {
        auto made = quantize_file(transformation(base, output, list), {});
        const auto expected = refused.find(list.find(',') == std::string::npos ? list : refused.empty() ? list : refused.begin()->first);
        if (expected != refused.end()) {
            CHECK_MSG(!made.ok(), name + ", " + list + " should be refused");
            if (made) continue;
            const std::string& text_of = made.error().text;
            CHECK_MSG(text_of.find(name) != std::string::npos && text_of.find(expected->second) != std::string::npos, text_of);
            continue;
        }
        CHECK_MSG(made.ok(), name + ", " + list + ": " + (made ? "" : made.error().text));
        if (!made) continue;
        const double distance = apart(original, logits_of(output, tokens));
        CHECK_MSG(distance <= kSame, name + ", " + list + ": logits apart by " + format_text("%.1e", distance));
        std::printf("LOG %-12s %-32s logits apart by %.1e of their range\n", name.c_str(), list.c_str(), distance);
    }
}

}  // namespace

TEST(maps_keep_products) {
    Rng rng(1);
    for (const int64_t size : {2, 3, 6, 8, 12, 24, 64, 80, 100, 172, 256}) {
        check_map(*rotation_map(size, rng), size, rng, format_text("rotation of %lld", static_cast<long long>(size)));
        const std::vector<float> v = random_vector(size, rng);
        std::vector<float> turned = v;
        rotation_map(size, rng)->on_maker(turned.data(), size, 0);
        CHECK(std::fabs(product(v, v) - product(turned, turned)) <= 1e-5 * product(v, v));
    }
    std::vector<float> s = random_vector(24, rng);
    check_map(*scale_map(s), 24, rng, "scales");
    std::vector<BlockMatrix> blocks;
    for (int b = 0; b < 4; ++b) {
        const std::vector<double> q = random_orthogonal(6, rng);
        BlockMatrix block{std::vector<float>(36), std::vector<float>(36)};
        for (size_t i = 0; i < 6; ++i)
            for (size_t j = 0; j < 6; ++j) {
                const double factor = static_cast<double>(j + 1) / 3;
                block.matrix[i * 6 + j] = static_cast<float>(q[i * 6 + j] * factor);
                block.inverse[j * 6 + i] = static_cast<float>(q[i * 6 + j] / factor);
            }
        blocks.push_back(block);
    }
    check_map(*matrix_map(6, blocks), 24, rng, "matrices");
}

TEST(golden_model_keeps_its_logits) {
    const ReferenceLogits reference = ReferenceLogits::load("tests/golden/stories260K");
    CHECK(!reference.tokens.empty());
    check_model("llama", kGolden, reference.tokens, {});
}

TEST(architectures_keep_their_logits_or_refuse) {
    SHARED_OR_SKIP(shared);
    const std::string post = "norms behind the blocks", heads = "rotate";
    const std::map<std::string, std::string> none, gemma{{"rotate", post}};
    const std::map<std::string, std::string> ternary{{"fold-norm", "ternary"}, {"rotate", "ternary"}, {"fptquant", "ternary"}, {"aweq", "ternary"}};
    const struct {
        const char *folder, *architecture;
        std::map<std::string, std::string> refused;
    } kAll[] = {
        {"llama", "llama", none}, {"llama3", "llama", none}, {"mixtral", "llama", none}, {"qwen2", "qwen2", none}, {"qwen3", "qwen3", none},
        {"qwen3moe", "qwen3moe", none}, {"gemma2", "gemma2", gemma}, {"gemma3", "gemma3", gemma}, {"phi3", "phi3", none},
        {"olmo2", "olmo2", {{"fold-norm", "no norms before"}, {"rotate", "no norms before"}}}, {"granite", "granite", none},
        {"smollm3", "smollm3", none}, {"gpt-oss", "gpt-oss", none}, {"bitnet", "bitnet-b1.58", ternary},
        {"gpt2", "gpt2", {{"rotate", "subtract the mean"}}},
    };
    for (const auto& each : kAll) {
        const std::string folder = shared + "/models/arch/" + each.folder;
        const TemporaryFolder work;
        QuantizeOptions copy;
        copy.input = folder + "/hf";
        copy.output = work.at("model.gguf");
        copy.type = "COPY";
        auto made = quantize_file(copy, {});
        CHECK_MSG(made.ok(), made ? "" : made.error().text);
        if (made) check_model(each.architecture, copy.output, ReferenceLogits::load(folder).tokens, each.refused);
    }
}

TEST(lists_of_names) {
    TransformRequest request;
    CHECK(parse_transforms("auto", request).ok() && request.automatic && request.list.empty());
    CHECK(parse_transforms("none", request).ok() && !request.automatic && request.list.empty());
    CHECK(parse_transforms("aweq,rotate,aweq", request).ok() && !request.automatic);
    CHECK((request.list == std::vector<Transform>{Transform::rotate, Transform::aweq}));
    for (const char* wrong : {"", "awq,", "hadamard", "auto,awq"}) CHECK_MSG(!parse_transforms(wrong, request).ok(), wrong);
}

TEST(only_outliers_are_moved) {
    ChannelRange inputs(8), weights(8);
    for (size_t j = 0; j < 8; ++j) {
        const double blown = j == 3 ? 50 : 1;
        inputs.squares[j] = (1 + 0.1 * static_cast<double>(j)) * blown * blown;
        weights.squares[j] = 1 / (blown * blown);
    }
    const auto found = outlier_scales(inputs, weights);
    CHECK(found.size() == 1);
    if (found.empty()) return;
    for (size_t j = 0; j < 8; ++j) CHECK(j == 3 ? std::fabs(found[0].s[j] - 50) < 3 : found[0].s[j] == 1.0f);
    inputs.squares[3] = 1;
    weights.squares[3] = 1;
    CHECK(outlier_scales(inputs, weights).empty());
}

namespace {

// The golden model with some channels between norms and their readers blown up.
std::string twin(const TemporaryFolder& work) {
    auto source = open_source(kGolden);
    CHECK(source.ok());
    const std::shared_ptr<const Source> base = std::move(*source);
    auto outline = outline_of(*base);
    CHECK(outline.ok());
    Edits edits;
    for (const Place& place : places_of(**outline, PlaceKind::norm)) {
        if (place.layer < 0) continue;
        std::vector<float> s(static_cast<size_t>(place.channels), 1.0f);
        for (const size_t j : {size_t{5}, size_t{17}, size_t{40}}) s[j] = 1.0f / 64;
        edits.add(scale_at(place, s));
    }
    auto changed = transform_source(base, edits);
    CHECK(changed.ok());
    const std::string path = work.at("twin.gguf");
    std::vector<TensorInfo> tensors = (*changed)->tensors();
    auto writer = GgufWriter::create(path, base->metadata(), tensors, {});
    CHECK(writer.ok());
    for (size_t i = 0; i < tensors.size(); ++i) {
        std::vector<float> values(static_cast<size_t>(tensors[i].elements()));
        (*changed)->read_rows(i, 0, tensors[i].rows(), values.data());
        CHECK(writer->write({reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(float)}).ok());
    }
    CHECK(writer->finish().ok());
    return path;
}

QuantizeOptions calibration(const std::string& input, const std::string& output, int threads) {
    QuantizeOptions options;
    options.input = input;
    options.output = output;
    options.type = "Q4_0";
    options.force = true;
    options.keep_mix = true;
    options.threads = threads;
    options.calibration.texts = {"models/tiny/sample.txt"};
    options.calibration.window = 64;
    options.calibration.windows = 20;
    return options;
}

std::string bytes_of(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

TEST(outliers_are_found_and_undone) {
    const TemporaryFolder work;
    const std::string blown = twin(work);
    const ReferenceLogits reference = ReferenceLogits::load("tests/golden/stories260K");
    const std::vector<float> original = logits_of(kGolden, reference.tokens);
    const auto error = [&](QuantizeOptions options) {
        auto made = quantize_file(options, {});
        CHECK_MSG(made.ok(), made ? "" : made.error().text);
        const std::vector<float> found = logits_of(options.output, reference.tokens);
        double sum = 0;
        for (size_t i = 0; i < found.size(); ++i) sum += std::pow(static_cast<double>(found[i]) - static_cast<double>(original[i]), 2);
        return std::sqrt(sum / static_cast<double>(found.size()));
    };
    QuantizeOptions plain = calibration(kGolden, work.at("plain.gguf"), 1), undone = calibration(blown, work.at("undone.gguf"), 1);
    QuantizeOptions left = calibration(blown, work.at("left.gguf"), 1);
    CHECK(parse_transforms("none", left.transforms).ok());
    const double at_best = error(plain), with = error(undone), without = error(left);
    // Error feedback turns last bits into other codes: the error of the model itself is 0.48 to 0.57, by instruction set.
    CHECK_MSG(with <= 1.25 * at_best && without > 2.5 * at_best,
              format_text("%.4f of the model itself, %.4f of its twin with transforms, %.4f without", at_best, with, without));
    undone.output = work.at("threads.gguf");
    undone.threads = 3;
    error(undone);
    CHECK(bytes_of(work.at("undone.gguf")) == bytes_of(undone.output));
}

namespace {

// The golden model with a bias of 0 wherever its family may have one.
std::string with_biases(const TemporaryFolder& work) {
    auto opened = Gguf::open(kGolden);
    CHECK(opened.ok());
    std::vector<TensorInfo> tensors = opened->tensors();
    const size_t own = tensors.size();
    for (size_t i = 0; i < own; ++i) {
        const std::string& name = tensors[i].name;
        if (!name.starts_with("blk.") || name.find("norm") != std::string::npos) continue;
        TensorInfo bias;
        bias.name = name.substr(0, name.size() - 6) + "bias";
        bias.format = &format_of(FormatSlot::f32);
        bias.ne[0] = tensors[i].ne[1];
        bias.bytes = static_cast<uint64_t>(bias.ne[0]) * sizeof(float);
        tensors.push_back(bias);
    }
    const std::string path = work.at("biases.gguf");
    auto writer = GgufWriter::create(path, opened->metadata(), tensors, {});
    CHECK(writer.ok());
    for (const TensorInfo& tensor : tensors) {
        const std::vector<uint8_t> zeros(tensor.bytes);
        CHECK(writer->write(tensor.data ? Bytes(tensor.data, tensor.bytes) : Bytes(zeros)).ok());
    }
    CHECK(writer->finish().ok());
    return path;
}

}  // namespace

TEST(biases_take_the_mean_error) {
    const TemporaryFolder work;
    QuantizeOptions options = calibration(with_biases(work), work.at("out.gguf"), 1);
    CHECK(parse_transforms("aweq", options.transforms).ok());
    auto made = quantize_file(options, {});
    CHECK_MSG(made.ok(), made ? "" : made.error().text);
    if (!made) return;
    auto written = Gguf::open(options.output);
    CHECK(written.ok());
    size_t all = 0, kept = 0;
    for (const TransformGain& gain : made->transform_gains) {
        if (gain.transform != "bias correction") continue;
        ++all;
        kept += gain.kept;
        CHECK(gain.kept == (gain.loss_after < gain.loss_before));
        const TensorInfo* bias = written->find("blk." + std::to_string(gain.layer) + "." + gain.site);
        CHECK(bias != nullptr);
        if (!bias) continue;
        std::vector<float> values(static_cast<size_t>(bias->cols()));
        decode_rows(*bias->format, bias->view(), 0, 1, values.data());
        CHECK(gain.kept == std::any_of(values.begin(), values.end(), [](float each) { return each != 0; }));
    }
    CHECK_MSG(all > 0 && 2 * kept >= all, format_text("%zu of %zu biases", kept, all));
}

TEST_MAIN
