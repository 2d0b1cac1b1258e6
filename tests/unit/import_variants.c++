// Hugging Face folders as they also come: the reference folders with their settings told in other files and other words become
// the same model.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <tuple>

#include "base/bytes.h"
#include "base/json_writer.h"
#include "convert/import/json.h"
#include "convert/import/source.h"
#include "convert/quantize.h"
#include "tests/check.h"
#include "tests/temporary_folder.h"

using namespace quant;

namespace {

std::string read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

// A copy of a reference folder whose files may be replaced.
class Variant {
public:
    Variant(const std::string& shared, const std::string& name) : original_(shared + "/models/arch/" + name + "/hf") {
        for (const auto& entry : std::filesystem::directory_iterator(original_))
            std::filesystem::create_symlink(std::filesystem::absolute(entry.path()), at(entry.path().filename()));
    }
    std::string at(const std::string& name) const { return folder_.path + "/" + name; }
    void put(const std::string& name, const std::string& text) const {
        remove(name);
        std::ofstream(at(name), std::ios::binary) << text;
    }
    void remove(const std::string& name) const { std::filesystem::remove(at(name)); }
    std::string text(const std::string& name) const { return read(original_ + "/" + name); }
    // Replaces what lies from `from` up to and with `until`.
    void change(const std::string& name, const std::string& from, const std::string& until, const std::string& to) const {
        std::string all = text(name);
        const size_t begin = all.find(from), end = all.find(until, begin + from.size());
        CHECK_MSG(begin != std::string::npos && end != std::string::npos, name + " " + from);
        put(name, all.replace(begin, end + until.size() - begin, to));
    }

    // All keys but the name, and all tensors, are those of the original folder.
    void check_same(const std::string& what) const {
        auto ours = open_source(folder_.path), theirs = open_source(original_);
        CHECK_MSG(ours.ok() && theirs.ok(), what + ": " + (ours.ok() ? "" : ours.error().text));
        if (!ours || !theirs) return;
        const auto &found = (*ours)->metadata().entries(), &expected = (*theirs)->metadata().entries();
        CHECK_MSG(found.size() == expected.size(), what + ": " + std::to_string(found.size()) + " keys");
        for (const auto& [key, value] : expected) {
            if (key == "general.name") continue;
            const Value* other = (*ours)->metadata().find(key);
            CHECK_MSG(other && other->type == value.type && other->bits == value.bits && other->real == value.real &&
                          other->text == value.text && other->raw == value.raw && other->texts == value.texts,
                      what + ": " + key);
        }
        CHECK_MSG((*ours)->tensors().size() == (*theirs)->tensors().size(), what);
        for (size_t i = 0; i < (*theirs)->tensors().size(); ++i) {
            const TensorInfo &a = (*ours)->tensors()[i], &b = (*theirs)->tensors()[i];
            CHECK_MSG(a.name == b.name && a.ne == b.ne && a.format == b.format, what + ": " + b.name);
            if (b.n_dims != 1) continue;  // among them the factors of rope
            std::vector<float> x(static_cast<size_t>(a.cols())), y(static_cast<size_t>(b.cols()));
            (*ours)->read_rows(i, 0, 1, x.data());
            (*theirs)->read_rows(i, 0, 1, y.data());
            CHECK_MSG(x == y, what + ": " + b.name);
        }
    }
    Result<Metadata> metadata() const {
        LET(source, open_source(folder_.path));
        return source->metadata();
    }

private:
    std::string original_;
    TemporaryFolder folder_;
};

uint64_t anonymous_bytes() {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);)
        if (line.starts_with("RssAnon:")) return std::stoull(line.substr(8)) * 1024;
    return 0;
}

// ThreadSanitizer keeps several bytes of its own for each one touched, mapped files included.
#ifdef __SANITIZE_THREAD__
constexpr bool kShadowMemory = true;
#else
constexpr bool kShadowMemory = false;
#endif

// vocab.json and merges.txt of a tokenizer.json; its added tokens as added_tokens.json and as the settings' decoder.
struct OldFiles {
    std::string vocab, merges, added, decoder;
};
OldFiles old_files(const std::string& tokenizer) {
    OldFiles out;
    auto json = Json::parse(tokenizer, "tokenizer.json");
    CHECK(json.ok());
    if (!json) return out;
    JsonWriter vocab(out.vocab), added(out.added), decoder(out.decoder);
    vocab.begin_object();
    for (const JsonValue token : json->root()["model"]["vocab"].items()) vocab.member(std::string(token.key()), *token.integer());
    vocab.end_object();
    out.merges = "#version: 0.2\n";
    for (const JsonValue merge : json->root()["model"]["merges"].items()) {
        std::string line(merge.text().value_or(""));
        for (const JsonValue part : merge.items()) line += (line.empty() ? "" : " ") + std::string(*part.text());
        out.merges += line + "\n";
    }
    added.begin_object();
    decoder.begin_object();
    for (const JsonValue token : json->root()["added_tokens"].items()) {
        added.member(std::string(*token["content"].text()), *token["id"].integer());
        decoder.key(std::to_string(*token["id"].integer()));
        decoder.begin_object();
        decoder.member("content", std::string(*token["content"].text()));
        decoder.member("special", token["special"].boolean().value_or(false));
        decoder.end_object();
    }
    added.end_object();
    decoder.end_object();
    return out;
}

}  // namespace

TEST(rope_settings_in_both_forms) {
    SHARED_OR_SKIP(shared);
    const struct {
        const char *model, *until, *top, *settings;
    } rows[] = {
        {"llama3", "}", R"("rope_theta": 500000.0)",
         R"({"factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0, "original_max_position_embeddings": 8192, "rope_type": "llama3"})"},
        {"qwen2-yarn", "}", R"("rope_theta": 10000.0)", R"({"factor": 4.0, "original_max_position_embeddings": 128, "type": "yarn"})"},
        {"qwen2-yarn", "}", R"("rope_theta": 10000)", R"({"factor": 4, "original_max_position_embeddings": 128.0, "rope_type": "yarn", "type": "yarn"})"},
        {"qwen2", "}", R"("rope_theta": 1000000.0)", "null"},
        {"gemma3", "}\n  }", R"("rope_theta": 1000000.0, "rope_local_base_freq": 10000.0)", "null"},
    };
    for (const auto& row : rows) {
        const Variant variant(shared, row.model);
        variant.change("config.json", "\"rope_parameters\"", row.until, std::string(row.top) + ", \"rope_scaling\": " + row.settings);
        variant.check_same(row.model);
    }
    const Variant unknown(shared, "llama3");
    unknown.change("config.json", "\"rope_type\": \"llama3\"", "", "\"rope_type\": \"spiral\"");
    const auto refused = unknown.metadata();
    CHECK(!refused.ok() && refused.error().text.find("'spiral'") != std::string::npos);
}

TEST(chat_templates_in_files_of_their_own) {
    SHARED_OR_SKIP(shared);
    for (const std::string file : {"chat_template.jinja", "chat_template.json"}) {
        const Variant variant(shared, "qwen2");
        auto settings = Json::parse(variant.text("tokenizer_config.json"), "tokenizer_config.json");
        CHECK(settings.ok());
        if (!settings) return;
        const std::string text(*settings->root()["chat_template"].text());
        std::string json;
        JsonWriter writer(json);
        writer.begin_object();
        writer.member("chat_template", text);
        writer.end_object();
        variant.change("tokenizer_config.json", ",\n \"chat_template\"", "}\"", "");
        CHECK(!variant.metadata()->find("tokenizer.chat_template"));
        variant.put(file, file.ends_with("json") ? json : text);
        variant.check_same(file);
    }
}

TEST(vocabularies_without_a_tokenizer_json) {
    SHARED_OR_SKIP(shared);
    for (const std::string model : {"qwen2", "gpt2", "qwen3"})
        for (const bool in_settings : {true, false}) {
            const Variant variant(shared, model);
            const OldFiles old = old_files(variant.text("tokenizer.json"));
            variant.remove("tokenizer.json");
            variant.put("vocab.json", old.vocab);
            variant.put("merges.txt", old.merges);
            if (in_settings)
                variant.change("tokenizer_config.json", "{", "", "{\"added_tokens_decoder\": " + old.decoder + ", ");
            else
                variant.put("added_tokens.json", old.added);
            variant.check_same(model + (in_settings ? " with a decoder" : " with added_tokens.json"));
        }
    const Variant other(shared, "olmo2");
    const OldFiles old = old_files(other.text("tokenizer.json"));
    other.remove("tokenizer.json");
    other.put("vocab.json", old.vocab);
    other.put("merges.txt", old.merges);
    const auto refused = other.metadata();
    CHECK(!refused.ok() && refused.error().text.find("tokenizer_class") != std::string::npos);
}

TEST(choice_of_tokens_as_the_makers_do) {
    SHARED_OR_SKIP(shared);
    const Variant variant(shared, "qwen2");
    variant.put("generation_config.json", R"({"do_sample": true, "eos_token_id": [1, 2], "temperature": 0.7, "top_p": 0.8, "top_k": 20,
        "repetition_penalty": 1.05, "min_p": null})");
    const auto found = variant.metadata();
    CHECK(found.ok());
    if (!found) return;
    CHECK(*found->get_f32("general.sampling.temp").value() == 0.7f && *found->get_f32("general.sampling.top_p").value() == 0.8f);
    const Value* top_k = found->find("general.sampling.top_k");
    CHECK(top_k && top_k->type == ValueType::i32 && *found->get_i64("general.sampling.top_k").value() == 20);
    CHECK(*found->get_f32("general.sampling.penalty_repeat").value() == 1.05f && !found->find("general.sampling.min_p"));
    variant.put("generation_config.json", "{");  // told, and left out
    const auto damaged = variant.metadata();
    CHECK(damaged.ok() && !damaged->find("general.sampling.temp"));
    variant.remove("generation_config.json");
    variant.check_same("without generation_config.json");
}

// Tokens beyond the vocabulary of tokenizer.model: the embedding has rows for them.
TEST(tokens_added_to_a_sentencepiece_model) {
    SHARED_OR_SKIP(shared);
    const Variant variant(shared, "llama");
    auto original = variant.metadata();
    CHECK(original.ok());
    if (!original) return;
    const auto count = static_cast<int64_t>(original->find("tokenizer.ggml.tokens")->texts.size());
    variant.change("tokenizer_config.json", "{", "",
                   R"({"added_tokens_decoder": {")" + std::to_string(count - 1) + R"(": {"content": "<|im_end|>", "special": true}, ")" +
                       std::to_string(count - 2) + R"(": {"content": "a▁b", "special": false}}, )");
    const auto found = variant.metadata();
    CHECK_MSG(found.ok(), found.ok() ? "" : found.error().text);
    if (!found) return;
    const auto& tokens = found->find("tokenizer.ggml.tokens")->texts;
    const auto types = *found->get_i32s("tokenizer.ggml.token_type").value();
    const auto scores = *found->get_f32s("tokenizer.ggml.scores").value();
    CHECK(tokens[tokens.size() - 1] == "<|im_end|>" && types.end()[-1] == 3 && scores.end()[-1] == -1000.0f);
    CHECK(tokens[tokens.size() - 2] == "a b" && types.end()[-2] == 4 && scores.end()[-2] == -1000.0f);
}

// A checkpoint may be of any size, the anonymous memory of the process may not.
TEST(a_folder_is_streamed) {
    if (anonymous_bytes() == 0) SKIP("needs /proc");
    constexpr int64_t rows = 40000, width = 1024;  // 82 MB of BF16
    const TemporaryFolder folder;
    const auto put = [&](const std::string& name, const std::string& text) { std::ofstream(folder.at(name), std::ios::binary) << text; };
    put("config.json", R"({"architectures": ["LlamaForCausalLM"], "vocab_size": 40000, "hidden_size": 1024, "intermediate_size": 32,
        "num_hidden_layers": 1, "num_attention_heads": 32, "num_key_value_heads": 1, "max_position_embeddings": 64, "rms_norm_eps": 1e-5})");
    put("tokenizer.json", R"({"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}, "pre_tokenizer": {"type": "ByteLevel"}})");
    const std::string at = "model.layers.0.";
    const std::tuple<std::string, int64_t, int64_t> tensors[] = {
        {"model.embed_tokens.weight", rows, width}, {"model.norm.weight", width, 0}, {at + "input_layernorm.weight", width, 0},
        {at + "post_attention_layernorm.weight", width, 0}, {at + "self_attn.q_proj.weight", width, width},
        {at + "self_attn.k_proj.weight", 32, width}, {at + "self_attn.v_proj.weight", 32, width}, {at + "self_attn.o_proj.weight", width, width},
        {at + "mlp.gate_proj.weight", 32, width}, {at + "mlp.up_proj.weight", 32, width}, {at + "mlp.down_proj.weight", width, 32}};
    std::string header = "{";
    int64_t end = 0;
    for (const auto& [name, n, cols] : tensors) {
        const int64_t begin = end;
        end += 2 * n * std::max<int64_t>(cols, 1);
        header += (begin ? ", \"" : "\"") + name + "\": {\"dtype\": \"BF16\", \"shape\": [" + std::to_string(n) + (cols ? ", " + std::to_string(cols) : "") +
                  "], \"data_offsets\": [" + std::to_string(begin) + ", " + std::to_string(end) + "]}";
    }
    header += "}";
    std::string length(8, '\0');
    store<uint64_t>(length.data(), header.size());
    put("model.safetensors", length + header);
    std::filesystem::resize_file(folder.at("model.safetensors"), 8 + header.size() + static_cast<uint64_t>(end));  // zeros without a place on the disk
    for (const char* type : {"COPY", "q8_0"}) {
        QuantizeOptions options;
        options.input = folder.path;
        options.output = folder.at("out.gguf");
        options.type = type;
        options.threads = 2;
        options.force = true;
        const uint64_t before = anonymous_bytes();
        uint64_t peak = 0;
        auto report = quantize_file(options, [&](uint64_t, uint64_t, const std::string&) {
            peak = std::max(peak, anonymous_bytes());
            return true;
        });
        CHECK_MSG(report.ok(), report ? "" : report.error().text);
        const uint64_t more = peak - std::min(before, peak);
        if (!kShadowMemory) CHECK_MSG(peak > 0 && more < uint64_t{40} << 20, std::string(type) + " " + std::to_string(more));
    }
}

TEST_MAIN
