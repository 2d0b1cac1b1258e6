// Hostile and careless hyper-parameters: every field of several architectures takes every odd value. A file
// is either refused in one line that names the key or the tensor, or it loads and runs.
#include <cmath>
#include <limits>

#include "../check.h"
#include "../gguf_bytes.h"
#include "base/log.h"
#include "model/session.h"

using namespace quant;
using gguf_bytes::Builder;

namespace {

struct KeyValue {
    std::string name;
    std::vector<uint8_t> encoded;  // type and value
};

template <class T>
std::vector<uint8_t> encode(uint32_t type, T value) {
    return Builder().number(type).number(value).bytes;
}
std::vector<uint8_t> encode_text(std::string_view text) {
    return Builder().number<uint32_t>(gguf_bytes::string).text(text).bytes;
}

struct TensorPlan {
    std::string name;
    std::vector<uint64_t> dims;
    uint32_t type = 0;  // F32
    float fill = 0.02f;
};

// A small valid model that tests then damage.
struct Draft {
    std::string architecture;
    std::vector<KeyValue> keys;
    std::vector<TensorPlan> tensors;

    void set(const std::string& name, std::vector<uint8_t> encoded) {
        for (KeyValue& key : keys)
            if (key.name == name) {
                key.encoded = std::move(encoded);
                return;
            }
        keys.push_back({name, std::move(encoded)});
    }
    void erase(const std::string& name) {
        std::erase_if(keys, [&](const KeyValue& key) { return key.name == name; });
    }
    void integer(const std::string& name, uint32_t value) {
        set(architecture + "." + name, encode<uint32_t>(gguf_bytes::u32, value));
    }
    void real(const std::string& name, float value) {
        set(architecture + "." + name, encode<float>(gguf_bytes::f32, value));
    }
    TensorPlan& tensor(const std::string& name) {
        for (TensorPlan& each : tensors)
            if (each.name == name) return each;
        return tensors.front();
    }

    std::vector<uint8_t> bytes() const {
        Builder b;
        b.header(tensors.size(), keys.size());
        for (const KeyValue& key : keys) {
            b.text(key.name);
            b.bytes.insert(b.bytes.end(), key.encoded.begin(), key.encoded.end());
        }
        uint64_t offset = 0;
        const auto size = [](const TensorPlan& t) {
            uint64_t count = 1;
            for (const uint64_t dim : t.dims) count *= dim;
            return count * (t.type == 1 ? 2 : 4);
        };
        for (const TensorPlan& t : tensors) {
            b.tensor(t.name, t.dims, t.type, offset);
            offset += (size(t) + 31) / 32 * 32;
        }
        b.align();
        for (const TensorPlan& t : tensors) {
            for (uint64_t i = 0; i < size(t) / (t.type == 1 ? 2 : 4); ++i)
                t.type == 1 ? b.number<uint16_t>(0x2000)
                            : b.number<float>(t.fill * static_cast<float>(1 + i % 7));
            b.align();
        }
        return std::move(b.bytes);
    }
};

constexpr uint32_t kVocab = 12;

void add_vocabulary(Draft& m) {
    m.set("tokenizer.ggml.model", encode_text("llama"));
    Builder tokens, types;
    tokens.number<uint32_t>(gguf_bytes::array).number<uint32_t>(gguf_bytes::string).number<uint64_t>(kVocab);
    types.number<uint32_t>(gguf_bytes::array).number<uint32_t>(gguf_bytes::i32).number<uint64_t>(kVocab);
    for (uint32_t i = 0; i < kVocab; ++i) {
        tokens.text(i == 0   ? "<unk>"
                    : i == 1 ? "<s>"
                    : i == 2 ? "</s>"
                             : std::string(1, static_cast<char>('a' + i)));
        types.number<int32_t>(i == 0 ? 2 : i < 3 ? 3 : 1);
    }
    m.set("tokenizer.ggml.tokens", tokens.bytes);
    m.set("tokenizer.ggml.token_type", types.bytes);
}

void add_keys(Draft& m, bool moe, bool gemma) {
    const std::string& architecture = m.architecture;
    m.set("general.architecture", encode_text(architecture));
    m.integer("block_count", 2);
    m.integer("context_length", 64);
    m.integer("embedding_length", 32);
    m.integer("feed_forward_length", 48);
    m.integer("attention.head_count", 4);
    m.integer("attention.head_count_kv", 2);
    m.integer("attention.key_length", 8);
    m.integer("attention.value_length", 8);
    m.real("attention.layer_norm_rms_epsilon", 1e-5f);
    m.integer("rope.dimension_count", 8);
    m.real("rope.freq_base", 10000);
    m.set(architecture + ".rope.scaling.type", encode_text("yarn"));
    m.real("rope.scaling.factor", 2);
    m.integer("rope.scaling.original_context_length", 32);
    if (moe) {
        m.integer("expert_count", 4);
        m.integer("expert_used_count", 2);
        m.integer("expert_feed_forward_length", 16);
    }
    if (gemma) {
        m.integer("attention.sliding_window", 4);
        m.real("attn_logit_softcapping", 50);
        m.real("final_logit_softcapping", 30);
    }
    if (architecture == "granite")
        for (const char* name : {"embedding_scale", "residual_scale", "logit_scale", "attention.scale"})
            m.real(name, 0.5f);
}

void add_tensors(Draft& m, bool moe, bool gemma) {
    m.tensors = {{"token_embd.weight", {32, kVocab}, 1}, {"output_norm.weight", {32}}};
    for (const std::string at : {"blk.0.", "blk.1."}) {
        for (TensorPlan t : std::initializer_list<TensorPlan>{{"attn_norm.weight", {32}},
                                                              {"attn_q.weight", {32, 32}, 1},
                                                              {"attn_k.weight", {32, 16}, 1},
                                                              {"attn_v.weight", {32, 16}, 1},
                                                              {"attn_output.weight", {32, 32}, 1},
                                                              {"ffn_norm.weight", {32}}}) {
            t.name = at + t.name;
            m.tensors.push_back(t);
        }
        if (moe) {
            m.tensors.push_back({at + "attn_q_norm.weight", {8}});
            m.tensors.push_back({at + "attn_k_norm.weight", {8}});
            m.tensors.push_back({at + "ffn_gate_inp.weight", {32, 4}});
            m.tensors.push_back({at + "ffn_gate_exps.weight", {32, 16, 4}, 1});
            m.tensors.push_back({at + "ffn_up_exps.weight", {32, 16, 4}, 1});
            m.tensors.push_back({at + "ffn_down_exps.weight", {16, 32, 4}, 1});
        } else {
            m.tensors.push_back({at + "ffn_gate.weight", {32, 48}, 1});
            m.tensors.push_back({at + "ffn_up.weight", {32, 48}, 1});
            m.tensors.push_back({at + "ffn_down.weight", {48, 32}, 1});
        }
        if (gemma) {
            m.tensors.push_back({at + "post_attention_norm.weight", {32}});
            m.tensors.push_back({at + "post_ffw_norm.weight", {32}});
        }
    }
}

Draft make_model(const std::string& architecture) {
    Draft m{architecture, {}, {}};
    const bool moe = architecture == "qwen3moe", gemma = architecture == "gemma2";
    add_keys(m, moe, gemma);
    add_vocabulary(m);
    add_tensors(m, moe, gemma);
    return m;
}

struct Outcome {
    bool loaded = false;
    Error error;
    bool names(const std::string& text) const {
        return !loaded && error.text.find(text) != std::string::npos;
    }
};

// Loads the model; when that succeeds, two runs of it must succeed too.
Outcome outcome_of(const Draft& m) {
    const std::vector<uint8_t> bytes = m.bytes();
    auto gguf = Gguf::parse(bytes, "model.gguf");
    if (!gguf) return {false, gguf.error()};
    auto model = Model::from_gguf(std::move(*gguf));
    if (!model) return {false, model.error()};
    SessionOptions options;
    options.context = 12;
    options.batch = 10;
    options.threads = 1;
    auto session = Session::create(*model, options);
    CHECK_MSG(session.ok(), session.ok() ? "" : session.error().text);
    if (!session) return {true, {}};
    CHECK((*session)->eval(std::vector<int32_t>{1, 3, 4, 5, 6, 7, 8, 9, 3}).ok());
    CHECK((*session)->eval(std::vector<int32_t>{5}).ok());
    return {true, {}};
}

void check_one_line(const Outcome& outcome, const std::string& what) {
    if (outcome.loaded) return;
    const bool line = !outcome.error.text.empty() && outcome.error.text.find('\n') == std::string::npos;
    CHECK_MSG(line && outcome.error.code == Code::input && outcome.names("model.gguf"),
              what + ": " + outcome.error.text);
}

enum class Kind { integer, real, text };
struct Field {
    const char* name;
    Kind kind;
    bool required, zero_allowed = false, unbounded = false;
};

struct Variant {
    const char* what;
    std::vector<uint8_t> encoded;
    Kind kind;      // which kind of field it fits by type
    bool in_range;  // may be accepted
    bool zero = false, largest = false;
};

std::vector<Variant> variants() {
    using namespace gguf_bytes;
    constexpr float kNan = std::numeric_limits<float>::quiet_NaN(),
                    kInfinite = std::numeric_limits<float>::infinity();
    return {
        {"text", encode_text("7"), Kind::text, false},
        {"bool", encode<uint8_t>(boolean, 1), Kind::text, false},
        {"array",
         Builder()
             .number<uint32_t>(array)
             .number<uint32_t>(u32)
             .number<uint64_t>(1)
             .number<uint32_t>(4)
             .bytes,
         Kind::text, false},
        {"0", encode<uint32_t>(u32, 0), Kind::integer, false, true},
        {"1", encode<uint32_t>(u32, 1), Kind::integer, true},
        {"3", encode<uint32_t>(u32, 3), Kind::integer, true},
        {"7", encode<uint64_t>(u64, 7), Kind::integer, true},
        {"2^31", encode<uint32_t>(u32, 1u << 31), Kind::integer, false, false, true},
        {"2^32-1", encode<uint32_t>(u32, UINT32_MAX), Kind::integer, false, false, true},
        {"2^63", encode<uint64_t>(u64, uint64_t{1} << 63), Kind::integer, false},
        {"2^64-1", encode<uint64_t>(u64, UINT64_MAX), Kind::integer, false},
        {"-1", encode<int32_t>(i32, -1), Kind::integer, false},
        {"-2^63", encode<int64_t>(i64, INT64_MIN), Kind::integer, false},
        {"NaN", encode<float>(f32, kNan), Kind::real, false},
        {"infinite", encode<float>(f32, kInfinite), Kind::real, false},
        {"-1.5", encode<float>(f32, -1.5f), Kind::real, false},
        {"0.0", encode<float>(f32, 0.0f), Kind::real, false, true},
        {"1e300", encode<double>(f64, 1e300), Kind::real, false},
    };
}

void abuse(const std::string& architecture, const std::vector<Field>& fields) {
    const Draft good = make_model(architecture);
    const Outcome whole = outcome_of(good);
    CHECK_MSG(whole.loaded, architecture + ": " + whole.error.text);
    int cases = 0, refused = 0;
    for (const Field& field : fields) {
        const std::string key = architecture + "." + field.name;
        Draft without = good;
        without.erase(key);
        const Outcome missing = outcome_of(without);
        check_one_line(missing, key + " missing");
        if (field.required) CHECK_MSG(missing.names(key), key + " missing: " + missing.error.text);
        ++cases;
        for (const Variant& variant : variants()) {
            Draft damaged = good;
            damaged.set(key, variant.encoded);
            const Outcome outcome = outcome_of(damaged);
            const std::string what = key + " = " + variant.what;
            check_one_line(outcome, what);
            const bool fits = variant.kind == field.kind;
            const bool allowed = fits && (variant.in_range || (variant.zero && field.zero_allowed) ||
                                          (variant.largest && field.unbounded));
            if (!allowed)
                CHECK_MSG(outcome.names(key),
                          what + (outcome.loaded ? " was accepted" : ": " + outcome.error.text));
            ++cases;
            refused += !outcome.loaded;
        }
    }
    std::printf("# %s: %d cases, %d refused\n", architecture.c_str(), cases, refused);
}

const std::vector<Field> kCommon{
    {"block_count", Kind::integer, true},
    {"context_length", Kind::integer, true},
    {"embedding_length", Kind::integer, true},
    {"feed_forward_length", Kind::integer, true},
    {"attention.head_count", Kind::integer, true},
    {"attention.head_count_kv", Kind::integer, false},
    {"attention.key_length", Kind::integer, false},
    {"attention.value_length", Kind::integer, false},
    {"attention.layer_norm_rms_epsilon", Kind::real, true},
    {"rope.dimension_count", Kind::integer, false},
    {"rope.freq_base", Kind::real, false},
    {"rope.scaling.type", Kind::text, false},
    {"rope.scaling.factor", Kind::real, true},
    {"rope.scaling.original_context_length", Kind::integer, false},
};

void expect_error(const Draft& m, const std::string& what) {
    const Outcome outcome = outcome_of(m);
    check_one_line(outcome, what);
    CHECK_MSG(outcome.names(what), what + (outcome.loaded ? " was accepted" : ": " + outcome.error.text));
}

}  // namespace

TEST(llama_fields) { abuse("llama", kCommon); }
TEST(expert_fields) {
    abuse("qwen3moe", {{"feed_forward_length", Kind::integer, false},
                       {"expert_count", Kind::integer, true},
                       {"expert_used_count", Kind::integer, true},
                       {"expert_feed_forward_length", Kind::integer, false}});
}
TEST(window_and_cap_fields) {
    abuse("gemma2", {{"attention.sliding_window", Kind::integer, true, true, true},
                     {"attn_logit_softcapping", Kind::real, false, true},
                     {"final_logit_softcapping", Kind::real, false, true}});
}
TEST(scalar_fields) {
    abuse("granite", {{"embedding_scale", Kind::real, false},
                      {"residual_scale", Kind::real, false},
                      {"logit_scale", Kind::real, false},
                      {"attention.scale", Kind::real, false}});
}

TEST(not_divisible) {
    const auto with = [](const char* key, uint32_t value) {
        Draft m = make_model("llama");
        m.integer(key, value);
        return m;
    };
    expect_error(with("attention.head_count_kv", 3), "llama.attention.head_count_kv");
    expect_error(with("attention.head_count_kv", 8), "llama.attention.head_count_kv");
    expect_error(with("rope.dimension_count", 7), "llama.rope.dimension_count");
    expect_error(with("rope.dimension_count", 10), "llama.rope.dimension_count");
    Draft uneven = with("attention.head_count", 6);
    uneven.erase("llama.attention.key_length");
    expect_error(uneven, "llama.attention.head_count");
    Draft used = make_model("qwen3moe");
    used.integer("expert_used_count", 5);
    expect_error(used, "qwen3moe.expert_used_count");
}

TEST(block_count_against_tensors) {
    Draft more = make_model("llama");
    more.integer("block_count", 3);
    expect_error(more, "blk.2.attn_norm.weight");
    Draft fewer = make_model("llama");
    fewer.integer("block_count", 1);
    expect_error(fewer, "blk.1.attn_norm.weight");
}

TEST(every_tensor_missing_or_misshapen) {
    for (const char* architecture : {"llama", "qwen3moe", "gemma2"}) {
        const Draft good = make_model(architecture);
        for (size_t i = 0; i < good.tensors.size(); ++i) {
            const std::string name = good.tensors[i].name;
            Draft missing = good;
            missing.tensors.erase(missing.tensors.begin() + static_cast<std::ptrdiff_t>(i));
            expect_error(missing, name);
            for (size_t dim = 0; dim < good.tensors[i].dims.size(); ++dim) {
                Draft larger = good, smaller = good;
                ++larger.tensors[i].dims[dim];
                smaller.tensors[i].dims[dim] /= 2;
                if (name == "token_embd.weight" &&
                    dim == 1) {  // decides the vocabulary: may be more, not less than the tokens
                    CHECK(outcome_of(larger).loaded);
                    expect_error(smaller, "tokenizer.ggml.tokens");
                    continue;
                }
                expect_error(larger, name);
                expect_error(smaller, name);
            }
            if (good.tensors[i].dims.size() < 3) {
                Draft deeper = good;
                deeper.tensors[i].dims.resize(3, 1);
                deeper.tensors[i].dims[2] = 2;
                expect_error(deeper, name);
            }
            Draft integers = good;
            integers.tensors[i].type = 26;  // I32
            expect_error(integers, name);
        }
    }
}

TEST(tensors_of_no_role) {
    Draft m = make_model("llama");
    m.tensors.push_back({"blk.0.attn_q_norm.weight", {8}});
    expect_error(m, "blk.0.attn_q_norm.weight");
    Draft biased = make_model("llama");
    biased.tensors.push_back({"blk.0.attn_q.bias", {32}});
    CHECK(outcome_of(biased).loaded);
    biased.tensors.back().dims = {16};
    expect_error(biased, "blk.0.attn_q.bias");
}

TEST(rope_factors) {
    Draft m = make_model("llama");
    m.tensors.push_back({"rope_freqs.weight", {4}});
    CHECK(outcome_of(m).loaded);
    for (const float bad :
         {0.0f, -1.0f, std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
        m.tensors.back().fill = bad;
        expect_error(m, "rope_freqs.weight");
    }
    Draft longrope = make_model("llama");
    longrope.set("llama.rope.scaling.type", encode_text("longrope"));
    expect_error(longrope, "rope_factors_long.weight");
    longrope.tensors.push_back({"rope_factors_long.weight", {4}});
    longrope.tensors.push_back({"rope_factors_short.weight", {4}});
    CHECK(outcome_of(longrope).loaded);
}

TEST(architecture_name) {
    Draft m = make_model("llama");
    m.set("general.architecture", encode_text("lama"));
    expect_error(m, "expected one of llama, qwen2");
    m.set("general.architecture", encode<uint32_t>(gguf_bytes::u32, 1));
    expect_error(m, "general.architecture");
    m.erase("general.architecture");
    expect_error(m, "general.architecture");
}

TEST_MAIN
