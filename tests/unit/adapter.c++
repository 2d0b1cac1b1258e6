// Low-rank adapters: a PEFT folder becomes what the ecosystem makes of it, the model with it gives another program's
// logits, running and merging agree in every architecture, and what does not fit is refused in one line.
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

#include "../reference_logits.h"
#include "base/bytes.h"
#include "base/rng.h"
#include "convert/import/source.h"
#include "convert/quantize.h"
#include "model/session.h"
#include "tests/adapter_file.h"
#include "tests/check.h"
#include "tests/temporary_folder.h"

using namespace quant;

namespace {

const std::string kGolden = "tests/golden/stories260K/stories260K.gguf";

// Pairs for every matrix of the model that can have one.
AdapterFile adapter_for(const Gguf& model, int64_t rank, uint64_t seed) {
    AdapterFile file(*model.metadata().get_string("general.architecture").value());
    Rng rng(seed);
    const bool tied = !model.find("output.weight");
    for (const TensorInfo& tensor : model.tensors()) {
        if (tensor.ne[1] == 1 || tensor.ne[2] > 1 || !tensor.name.ends_with(".weight") || tensor.name == "position_embd.weight") continue;
        if (tensor.name != "token_embd.weight") {
            file.add_pair(tensor.name, tensor.ne[0], tensor.ne[1], rank, rng);
        } else if (!tied) {
            file.add(tensor.name + ".lora_a", rank, tensor.ne[1], rng, 0.5);
            file.add(tensor.name + ".lora_b", rank, tensor.ne[0], rng, 0.2);
        }
    }
    return file;
}

std::string quantize_error(const QuantizeOptions& options) {
    auto report = quantize_file(options, {});
    return report ? std::string() : report.error().text;
}

QuantizeOptions copy_of(const std::string& input, const std::string& output) {
    QuantizeOptions options;
    options.input = input;
    options.output = output;
    options.type = "COPY";
    options.force = true;
    options.threads = 1;
    return options;
}

using Used = std::vector<std::pair<std::string, float>>;  // files of adapters and their scales

// All rows of logits; empty after an error.
std::vector<float> logits_of(const std::string& model, const Used& adapters, std::span<const int32_t> tokens, bool exact,
                             size_t step = 1000) {
    auto loaded = Model::load(model);
    CHECK_MSG(loaded.ok(), loaded ? "" : loaded.error().text);
    if (!loaded) return {};
    SessionOptions options;
    options.context = 256;
    options.exact = exact;
    options.threads = exact ? 1 : 2;
    if (exact) options.k_type = options.v_type = KvType::f32;
    for (const auto& [path, scale] : adapters) {
        auto adapter = Adapter::load(path);
        CHECK_MSG(adapter.ok(), adapter ? "" : adapter.error().text);
        if (!adapter) return {};
        options.adapters.push_back({*adapter, scale});
    }
    auto session = Session::create(*loaded, options);
    CHECK_MSG(session.ok(), session ? "" : session.error().text);
    if (!session) return {};
    std::vector<float> all;
    for (size_t at = 0; at < tokens.size(); at += step) {
        const size_t count = std::min(step, tokens.size() - at);
        CHECK((*session)->eval(tokens.subspan(at, count), LogitsOf::all).ok());
        for (size_t i = 0; i < count; ++i) {
            const auto row = (*session)->logits(static_cast<int64_t>(i));
            all.insert(all.end(), row.begin(), row.end());
        }
    }
    return all;
}

double range_of(std::span<const float> values) {
    const auto [low, high] = std::minmax_element(values.begin(), values.end());
    return static_cast<double>(*high) - static_cast<double>(*low);
}

// Two adapters, one at half its strength: running with them and merging them give the same logits, far from the base's.
void check_merge(const std::string& model) {
    const TemporaryFolder folder;
    auto gguf = Gguf::open(model);
    CHECK_MSG(gguf.ok(), model);
    if (!gguf) return;
    adapter_for(*gguf, 4, 1).write(folder.at("a.gguf"));
    adapter_for(*gguf, 1, 2).write(folder.at("b.gguf"));
    const Used used = {{folder.at("a.gguf"), 0.5f}, {folder.at("b.gguf"), 1.0f}};
    // To F32, so that what is compared is the arithmetic and not the rounding of the merged weights.
    QuantizeOptions options = copy_of(model, folder.at("merged.gguf"));
    options.type = "F32";
    for (const auto& [path, scale] : used) options.adapters.push_back({path, scale});
    const std::string error = quantize_error(options);
    CHECK_MSG(error.empty(), error);
    const std::vector<int32_t> tokens = {1, 5, 9, 200, 33, 17, 120, 64, 77, 8, 301, 2};
    const std::vector<float> base = logits_of(model, {}, tokens, true), running = logits_of(model, used, tokens, true),
                             merged = logits_of(folder.at("merged.gguf"), {}, tokens, true),
                             single = logits_of(model, used, tokens, true, 1);
    if (running.empty() || merged.empty()) return;
    const double range = range_of(merged), apart = largest_difference(running, merged) / range;
    std::printf("# %-24s adapters change logits by %.1e, merged and running differ by %.1e of the range\n",
                std::filesystem::path(model).filename().c_str(), largest_difference(base, merged) / range, apart);
    CHECK_MSG(apart <= 2e-5, model + ": merged and running differ by " + std::to_string(apart));
    CHECK_MSG(largest_difference(running, single) <= 2e-5 * range, model + ": one token at a time gives other logits");
    CHECK_MSG(largest_difference(base, merged) / range > 1e-2, model + ": the adapters change too little to see anything");
}

// The first line of what is wrong with an adapter, for the golden model.
std::string refusal(const AdapterFile& file) {
    const TemporaryFolder folder;
    file.write(folder.at("a.gguf"));
    auto adapter = Adapter::load(folder.at("a.gguf"));
    if (!adapter) return adapter.error().text;
    auto model = Model::load(kGolden);
    SessionOptions options;
    options.context = 32;
    options.adapters = {{*adapter, 1.0f}};
    auto session = Session::create(*model, options);
    QuantizeOptions merge = copy_of(kGolden, folder.at("m.gguf"));
    merge.adapters = {{folder.at("a.gguf"), 1.0f}};
    const std::string merged = quantize_error(merge);
    if (session) return "";
    // Merging refuses for the same reason.
    CHECK_MSG(merged == session.error().text, merged + " | " + session.error().text);
    return session.error().text;
}

struct PeftFolder {
    TemporaryFolder folder;
    std::string config = R"({"peft_type":"LORA","lora_alpha":8,"r":4})";
    std::vector<std::pair<std::string, std::pair<int64_t, int64_t>>> tensors;  // name, rows and cols; F32, ones

    std::string path() const {
        std::ofstream(folder.at("adapter_config.json")) << config;
        std::string header;
        size_t at = 0;
        for (const auto& [name, shape] : tensors) {
            const auto bytes = static_cast<size_t>(shape.first * shape.second) * 4;
            header += (header.empty() ? "{\"" : ",\"") + name + R"(":{"dtype":"F32","shape":[)" + std::to_string(shape.first) + "," +
                      std::to_string(shape.second) + R"(],"data_offsets":[)" + std::to_string(at) + "," + std::to_string(at + bytes) + "]}";
            at += bytes;
        }
        header += header.empty() ? "{}" : "}";
        std::vector<uint8_t> bytes(8 + header.size() + at);
        store<uint64_t>(bytes.data(), header.size());
        std::memcpy(bytes.data() + 8, header.data(), header.size());
        for (size_t i = 0; i < at; i += 4) store<float>(bytes.data() + 8 + header.size() + i, 1.0f);
        folder.put("adapter_model.safetensors", bytes);
        return folder.path;
    }
    void add_pair(const std::string& module, int64_t in, int64_t out, int64_t rank = 4) {
        tensors.push_back({"base_model.model.model." + module + ".lora_A.weight", {rank, in}});
        tensors.push_back({"base_model.model.model." + module + ".lora_B.weight", {out, rank}});
    }
    std::string error(const std::string& base = kGolden) const {
        auto source = open_source(path(), base);
        return source ? std::string() : source.error().text;
    }
};

void expect(const std::string& said, const std::string& part) {
    CHECK_MSG(said.find(part) != std::string::npos && said.find('\n') == std::string::npos, "'" + said + "' should say '" + part + "'");
}

}  // namespace

TEST(logits_with_adapter) {
    SHARED_OR_SKIP(shared);
    const ReferenceLogits reference = ReferenceLogits::load(shared + "/models/lora");
    const std::string base = shared + "/models/arch/llama/llama.gguf", adapter = shared + "/models/lora/adapter.gguf";
    CHECK(!reference.tokens.empty());
    for (const bool exact : {true, false}) {
        const auto logits = logits_of(base, {{adapter, 1.0f}}, reference.tokens, exact);
        const double apart = largest_difference(logits, reference.values) / reference.range;
        std::printf("# adapter %s %.2e\n", exact ? "exact" : "default", apart);
        CHECK_MSG(apart <= (exact ? 2e-5 : 2e-3), std::to_string(apart));
    }
    const auto none = logits_of(base, {{adapter, 0.0f}}, reference.tokens, true), plain = logits_of(base, {}, reference.tokens, true);
    CHECK(largest_difference(none, plain) == 0 && largest_difference(plain, reference.values) > 1e-2 * reference.range);
}

TEST(folder_becomes_what_the_ecosystem_makes_of_it) {
    SHARED_OR_SKIP(shared);
    auto reference = Gguf::open(shared + "/models/lora/adapter.gguf");
    CHECK(reference.ok());
    if (!reference) return;
    const TemporaryFolder folder;
    for (const char* base : {"/models/arch/llama/hf", "/models/arch/llama/llama-q8_0.gguf"}) {
        QuantizeOptions options = copy_of(shared + "/models/lora/peft", folder.at("adapter.gguf"));
        options.base = shared + base;
        const std::string error = quantize_error(options);
        CHECK_MSG(error.empty(), error);
        auto made = Gguf::open(folder.at("adapter.gguf"));
        CHECK(made.ok());
        if (!made) return;
        std::set<std::string> keys;
        for (const auto& [key, value] : reference->metadata().entries()) {
            // What comes from a model card or the folder's name.
            if (key.starts_with("general.base_model.") || key == "general.tags" || key == "general.name") continue;
            keys.insert(key);
            const Value* ours = made->metadata().find(key);
            CHECK_MSG(ours && ours->type == value.type && ours->text == value.text && ours->bits == value.bits &&
                          std::memcmp(&ours->real, &value.real, sizeof value.real) == 0, key);
        }
        for (const auto& [key, value] : made->metadata().entries()) CHECK_MSG(key == "general.name" || keys.contains(key), key + " is ours alone");
        CHECK(made->tensors().size() == reference->tensors().size());
        for (const TensorInfo& tensor : reference->tensors()) {
            const TensorInfo* ours = made->find(tensor.name);
            CHECK_MSG(ours && ours->ne == tensor.ne && ours->format == tensor.format && std::memcmp(ours->data, tensor.data, tensor.bytes) == 0,
                      tensor.name);
        }
    }
}

TEST(running_and_merging_agree) { check_merge(kGolden); }

TEST(running_and_merging_agree_in_every_architecture) {
    SHARED_OR_SKIP(shared);
    for (const char* name : {"llama", "llama3", "mixtral", "qwen2", "qwen3", "qwen3moe", "gemma2", "gemma3", "phi3", "olmo2", "granite",
                             "smollm3", "gpt-oss", "gpt2"})
        check_merge(shared + "/models/arch/" + name + "/" + name + ".gguf");
}

TEST(adapters_that_are_refused) {
    Rng rng(3);
    AdapterFile good("llama");
    good.add_pair("blk.0.attn_q.weight", 64, 64, 2, rng);
    CHECK_MSG(refusal(good).empty(), refusal(good));
    const auto changed = [&](const auto& change) {
        AdapterFile file = good;
        change(file);
        return refusal(file);
    };
    expect(changed([](AdapterFile& f) { f.metadata.set("general.type", Value::of_string("model")); }), "general.type: expected 'adapter'");
    expect(changed([](AdapterFile& f) { f.metadata.erase("general.type"); }), "found no such key");
    expect(changed([](AdapterFile& f) { f.metadata.set("adapter.type", Value::of_string("ia3")); }), "expected 'lora', found 'ia3'");
    expect(changed([](AdapterFile& f) { f.metadata.set("adapter.type", Value::of_u32(1)); }), "adapter.type");
    expect(changed([](AdapterFile& f) { f.metadata.set("general.architecture", Value::of_string("qwen2")); }), "expected 'llama', the model's, found 'qwen2'");
    expect(changed([](AdapterFile& f) { f.metadata.set("adapter.lora.alpha", Value::of_f32(NAN)); }), "adapter.lora.alpha: expected a finite number");
    expect(changed([](AdapterFile& f) { f.metadata.set("adapter.alora.invocation_tokens", Value::of_u32(1)); }), "begin at certain tokens");
    expect(changed([](AdapterFile& f) { f.tensors.pop_back(); }), "blk.0.attn_q.weight.lora_b: expected the other half");
    expect(changed([](AdapterFile& f) { f.tensors.erase(f.tensors.begin()); }), "blk.0.attn_q.weight.lora_a: expected the other half");
    expect(changed([](AdapterFile& f) { f.tensors.clear(); }), "no pair of .lora_a and .lora_b");
    expect(changed([](AdapterFile& f) { f.tensors[0].name = "blk.0.attn_q.weight"; }), "expected a name ending in .lora_a or .lora_b");
    expect(changed([&](AdapterFile& f) { f.add_pair("blk.9.attn_q.weight", 64, 64, 2, rng); }), "adapts blk.9.attn_q.weight");
    expect(changed([&](AdapterFile& f) { f.add_pair("blk.0.attn_k.weight", 64, 64, 2, rng); }), "expected a pair for blk.0.attn_k.weight [64, 32]");
    expect(changed([&](AdapterFile& f) { f.add_pair("blk.0.attn_output.weight", 32, 64, 2, rng); }), "[32, 2] and [2, 64]");
    expect(changed([&](AdapterFile& f) { f.add_pair("blk.0.attn_norm.weight", 64, 1, 2, rng); }), "expected an adapter of a matrix");
    expect(changed([&](AdapterFile& f) { f.add_pair("token_embd.weight", 64, 512, 2, rng); }), "token_embd.weight.lora_b: expected rows of 64");
    expect(changed([](AdapterFile& f) { f.tensors[1].cols = 1, f.tensors[1].rows = 128; }), "expected rows of 2, the rank");
    // Norm vectors are left out, as elsewhere.
    CHECK(changed([&](AdapterFile& f) { f.add("blk.0.attn_norm.weight", 64, 1, rng, 1); }).empty());
}

TEST(truncated_and_damaged_adapters) {
    Rng rng(4);
    AdapterFile good("llama");
    good.add_pair("blk.0.attn_q.weight", 64, 64, 2, rng);
    const TemporaryFolder folder;
    good.write(folder.at("a.gguf"));
    const std::vector<uint8_t> whole = folder.get("a.gguf");
    const auto load = [](const std::vector<uint8_t>& bytes) {
        auto gguf = Gguf::parse(bytes, "a.gguf");
        return gguf && Adapter::from_gguf(std::move(*gguf)).ok();
    };
    CHECK(load(whole));
    for (size_t length = 0; length < whole.size(); ++length)
        CHECK_MSG(!load({whole.begin(), whole.begin() + static_cast<int64_t>(length)}), std::to_string(length));
    // Every byte of the header changed: an error or an adapter, never a crash.
    for (size_t i = 0; i < 512; ++i)
        for (const int flip : {1, 0x80, 0xFF}) {
            std::vector<uint8_t> bytes = whole;
            bytes[i] = static_cast<uint8_t>(bytes[i] ^ flip);
            load(bytes);
        }
}

TEST(embedding_that_is_the_output_is_not_merged) {
    Rng rng(5);
    const auto gguf = Gguf::open(kGolden);
    if (gguf->find("output.weight")) SKIP("the golden model has an output matrix of its own");
    AdapterFile file("llama");
    file.add("token_embd.weight.lora_a", 2, 512, rng, 0.5);
    file.add("token_embd.weight.lora_b", 2, 64, rng, 0.5);
    const TemporaryFolder folder;
    file.write(folder.at("a.gguf"));
    const std::vector<int32_t> tokens = {1, 7, 9};
    const auto with = logits_of(kGolden, {{folder.at("a.gguf"), 1.0f}}, tokens, true), without = logits_of(kGolden, {}, tokens, true);
    CHECK(largest_difference(with, without) > 1e-3);
    QuantizeOptions merge = copy_of(kGolden, folder.at("m.gguf"));
    merge.adapters = {{folder.at("a.gguf"), 1.0f}};
    expect(quantize_error(merge), "which is the output matrix as well");
}

TEST(peft_folders_that_are_refused) {
    PeftFolder good;
    good.add_pair("layers.0.self_attn.q_proj", 64, 64);
    CHECK_MSG(good.error().empty(), good.error());
    const auto config = [&](const std::string& text) {
        good.config = text;
        return good.error();
    };
    expect(config("{"), "adapter_config.json");
    expect(config(R"({"peft_type":"IA3"})"), "expected LORA, found 'IA3'");
    expect(config(R"({"lora_alpha":8})"), "\"peft_type\": expected LORA");
    expect(config(R"({"peft_type":"LORA"})"), "\"lora_alpha\": expected a positive number");
    expect(config(R"({"peft_type":"LORA","lora_alpha":0})"), "\"lora_alpha\": expected a positive number");
    for (const char* kind : {R"("use_dora":true)", R"("modules_to_save":["lm_head"])", R"("target_parameters":["mlp.experts.down_proj"])",
                             R"("layer_replication":[[0,4]])", R"("alora_invocation_tokens":[1])", R"("lora_bias":true)"})
        expect(config(std::string(R"({"peft_type":"LORA","lora_alpha":8,)") + kind + "}"), std::string(kind).substr(0, std::string(kind).find(':')));
    expect(config(R"({"peft_type":"LORA","lora_alpha":8,"alpha_pattern":{"^a.*":4}})"), "expected names of modules");
    CHECK(config(R"({"peft_type":"LORA","lora_alpha":8,"use_dora":false,"modules_to_save":null,"alpha_pattern":{}})").empty());

    const auto with = [](const std::string& name, int64_t rows, int64_t cols) {
        PeftFolder folder;
        folder.add_pair("layers.0.self_attn.q_proj", 64, 64);
        folder.tensors.push_back({name, {rows, cols}});
        return folder.error();
    };
    const std::string layer = "base_model.model.model.layers.0.";
    expect(with(layer + "self_attn.q_proj.lora_magnitude_vector", 64, 1), "DoRA");
    expect(with(layer + "self_attn.q_proj.bias", 1, 64), "expected lora_A or lora_B");
    expect(with("base_model.model.lm_head.weight", 512, 64), "expected lora_A or lora_B");
    expect(with(layer + "mlp.up_proj.lora_A.weight", 4, 64), "its lora_B is missing");
    CHECK(with(layer + "input_layernorm.weight", 1, 64).empty());

    const auto module = [](const std::string& name, int64_t in, int64_t out) {
        PeftFolder folder;
        folder.add_pair(name, in, out);
        return folder.error();
    };
    expect(module("layers.0.mlp.experts.3.w1", 64, 172), "adapters of experts are not supported");
    expect(module("layers.0.self_attn.z_proj", 64, 64), "not known in LlamaForCausalLM");
    expect(module("layers.0.self_attn.q_proj", 32, 64), "expected a pair for blk.0.attn_q.weight [64, 64]");
    expect(module("layers.7.self_attn.q_proj", 64, 64), "no such tensor");
    expect(module("layers.0.self_attn.q_proj", 64, 60), "no 8 heads of an even size");

    PeftFolder alone;
    alone.add_pair("layers.0.self_attn.q_proj", 64, 64);
    expect(alone.error(""), "--base MODEL");
    expect(alone.error(alone.path()), "expected the model that is adapted, found an adapter");
    auto model = open_source(kGolden, kGolden);
    expect(model ? "" : model.error().text, "--base is for adapters");
}

// alpha / sqrt(rank), and other alphas and ranks for some modules: the effect is PEFT's.
TEST(other_scalings_of_peft) {
    const auto effect = [](const PeftFolder& folder, size_t pair) {
        auto source = open_source(folder.path(), kGolden);
        CHECK_MSG(source.ok(), source ? "" : source.error().text);
        if (!source) return 0.0;
        const TensorInfo& b = (*source)->tensors()[2 * pair + 1];
        std::vector<float> row(static_cast<size_t>(b.cols()));
        (*source)->read_rows(2 * pair + 1, 0, 1, row.data());
        const float alpha = (*source)->metadata().get_f32("adapter.lora.alpha").value().value_or(0);
        return static_cast<double>(row[0]) * static_cast<double>(alpha) / static_cast<double>(b.cols());
    };
    PeftFolder folder;
    folder.add_pair("layers.0.self_attn.q_proj", 64, 64, 4);
    folder.add_pair("layers.1.self_attn.q_proj", 64, 64, 16);
    CHECK(effect(folder, 0) == 2 && effect(folder, 1) == 0.5);
    folder.config = R"({"peft_type":"LORA","lora_alpha":8,"use_rslora":true})";
    CHECK(effect(folder, 0) == 4 && effect(folder, 1) == 2);
    folder.config = R"({"peft_type":"LORA","lora_alpha":8,"alpha_pattern":{"layers.1.self_attn.q_proj":32}})";
    CHECK(effect(folder, 0) == 2 && effect(folder, 1) == 2);
}

TEST_MAIN
