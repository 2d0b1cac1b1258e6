// Plans: the format of every tensor for every mix as the ecosystem's own tool chose it (tests/golden/plans), and the
// options, fallbacks and refusals around the mixes.
#include "convert/plan/plan.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <sstream>

#include "tests/check.h"
#include "convert/plan/metadata_override.h"
#include "convert/quantize.h"

using namespace quant;

namespace {

TensorInfo tensor_of(const std::string& name, const std::string& shape, FormatSlot slot) {
    TensorInfo tensor;
    tensor.name = name;
    tensor.format = &format_of(slot);
    std::istringstream dims(shape);
    tensor.n_dims = 0;
    for (std::string dim; std::getline(dims, dim, 'x');) tensor.ne[tensor.n_dims++] = std::stoll(dim);
    tensor.bytes = tensor.format->tensor_bytes(tensor.cols(), tensor.rows());
    return tensor;
}

Metadata facts(int layers, int heads, int kv_heads, int experts) {
    Metadata metadata;
    metadata.set("general.architecture", Value::of_string("llama"));
    metadata.set("llama.block_count", Value::of_u32(static_cast<uint32_t>(layers)));
    metadata.set("llama.attention.head_count", Value::of_u32(static_cast<uint32_t>(heads)));
    metadata.set("llama.attention.head_count_kv", Value::of_u32(static_cast<uint32_t>(kv_heads)));
    if (experts) metadata.set("llama.expert_count", Value::of_u32(static_cast<uint32_t>(experts)));
    return metadata;
}

struct Golden {
    std::map<char, std::string> formats;
    std::vector<std::string> columns;
    std::vector<TensorInfo> tensors;
    std::vector<std::string> letters;  // per tensor, one letter per column
};

Golden read_golden(const std::string& name) {
    Golden golden;
    std::ifstream file("tests/golden/plans/" + name + ".tsv");
    for (std::string line; std::getline(file, line);) {
        std::istringstream cells(line);
        std::string word, shape, letters;
        cells >> word;
        if (word == "#") {
            cells >> word;
            if (word == "formats")
                while (cells >> word) golden.formats[word[0]] = word.substr(2);
            else
                while (cells >> word) golden.columns.push_back(word);
            continue;
        }
        cells >> shape >> letters;
        golden.letters.push_back(letters);
        golden.tensors.push_back(tensor_of(word, shape, shape.find('x') == std::string::npos ? FormatSlot::f32 : FormatSlot::f16));
    }
    return golden;
}

void compare(const std::string& name, const Metadata& metadata) {
    Golden golden = read_golden(name);
    CHECK_MSG(golden.tensors.size() > 30 && golden.columns.size() > 50, name);
    ImportanceMatrix importance;
    importance.entries["of another model"].values = {1};
    for (size_t column = 0; column < golden.columns.size(); ++column) {
        const std::string& title = golden.columns[column];
        const size_t plus = title.find('+');
        PlanOptions options;
        auto recipe = find_recipe(title.substr(0, plus));
        CHECK_MSG(recipe.ok(), title);
        if (!recipe) continue;
        options.recipe = *recipe;
        options.importance = plus == std::string::npos ? nullptr : &importance;
        auto plan = make_plan(metadata, golden.tensors, options);
        CHECK_MSG(plan.ok(), name + " " + title);
        if (!plan) continue;
        for (size_t i = 0; i < golden.tensors.size(); ++i)
            CHECK_MSG(golden.formats[golden.letters[i][column]] == plan->tensors[i].out.format->name,
                      name + " " + title + " " + golden.tensors[i].name + ": " + plan->tensors[i].out.format->name);
    }
}

std::vector<TensorInfo> small_model(int layers, FormatSlot slot, const std::string& width = "256") {
    std::vector<TensorInfo> tensors = {tensor_of("token_embd.weight", width + "x512", slot),
                                       tensor_of("output_norm.weight", width, FormatSlot::f32),
                                       tensor_of("output.weight", width + "x512", slot)};
    for (int layer = 0; layer < layers; ++layer)
        for (const char* part : {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_up", "ffn_gate", "ffn_down"})
            tensors.push_back(tensor_of("blk." + std::to_string(layer) + "." + part + ".weight", width + "x256", slot));
    return tensors;
}

Result<Plan> plan_small(const std::string& type, PlanOptions options, const std::vector<TensorInfo>& tensors) {
    auto recipe = find_recipe(type);
    CHECK(recipe.ok());
    options.recipe = *recipe;
    return make_plan(facts(2, 4, 4, 0), tensors, options);
}

std::string format_in(const Plan& plan, const std::string& name) {
    for (const PlannedTensor& tensor : plan.tensors)
        if (tensor.out.name == name) return tensor.out.format->name;
    return "absent";
}

std::string error_of(const Result<Plan>& plan) { return plan ? "" : plan.error().text; }

}  // namespace

TEST(mixes_equal_the_ecosystems_tiny) { compare("tiny", facts(4, 8, 4, 0)); }
TEST(mixes_equal_the_ecosystems_32_layers_grouped_heads) { compare("grouped32", facts(32, 32, 8, 0)); }
TEST(mixes_equal_the_ecosystems_8_experts) { compare("experts8", facts(32, 32, 8, 8)); }
TEST(mixes_equal_the_ecosystems_rows_that_do_not_divide) { compare("odd", facts(12, 6, 6, 0)); }

TEST(names_numbers_and_aliases) {
    const std::pair<const char*, const char*> same[] = {{"q4_k", "Q4_K_M"}, {"Q5_K", "Q5_K_M"}, {"q3_K", "Q3_K_M"}, {"15", "Q4_K_M"},
                                                        {"10", "Q2_K"},     {"21", "Q2_K_S"},   {"7", "Q8_0"},      {"0", "F32"},
                                                        {"1", "F16"},       {"32", "BF16"},     {"38", "MXFP4_MOE"}, {"copy", "COPY"},
                                                        {"ternary", "TERNARY"}, {"q8", "Q8_0"}, {"q4", "Q4"}, {"30", "IQ4_XS"}, {"17", "Q5_K_M"},   {"iq4_xs", "IQ4_XS"}};
    for (const auto& [given, name] : same) {
        const auto recipe = find_recipe(given);
        CHECK_MSG(recipe.ok() && recipe->name == name, given);
    }
    for (const char* wrong : {"", "q9", "Q4_K_X", "4", "1024", "-1", "15x", "Q8_K", "I8", "model.gguf"})
        CHECK_MSG(!is_recipe(wrong), wrong);
    for (const std::string& name : recipe_names()) CHECK_MSG(is_recipe(name), name);
}

TEST(overrides_in_their_order) {
    TensorPatterns patterns;
    CHECK(patterns.add("attn_[vk]=q8_0").ok());
    CHECK(patterns.add("blk\\.1\\..*_v=F16").ok());
    CHECK(patterns.add("no_such=q4_0").ok());
    PlanOptions options;
    options.patterns = &patterns;
    options.output_format = &format_of(FormatSlot::q5_0);
    options.embedding_format = &format_of(FormatSlot::q4_1);
    auto plan = plan_small("q4_k_s", options, small_model(2, FormatSlot::f16));
    CHECK(plan.ok());
    CHECK(format_in(*plan, "blk.0.attn_v.weight") == "Q8_0");
    CHECK(format_in(*plan, "blk.1.attn_v.weight") == "F16");  // the later row wins
    CHECK(format_in(*plan, "blk.1.attn_k.weight") == "Q8_0");
    CHECK(format_in(*plan, "blk.1.attn_q.weight") == "Q4_K");
    CHECK(format_in(*plan, "output.weight") == "Q5_0");
    CHECK(format_in(*plan, "token_embd.weight") == "Q4_1");
    CHECK(patterns.unused() == "'no_such=q4_0'");
    for (const char* wrong : {"attn_v", "=q4_0", "attn_v=", "attn_v=q99", "attn_v=q8_k", "(=q4_0", "[=q4_0"})
        CHECK_MSG(!patterns.add(wrong).ok(), wrong);
}

TEST(an_override_changes_only_its_tensor) {
    const auto tensors = small_model(16, FormatSlot::f16);
    TensorPatterns patterns;
    CHECK(patterns.add("blk\\.0\\.ffn_down=q8_0").ok());
    PlanOptions plain, changed;
    plain.recipe = changed.recipe = *find_recipe("q4_k_m");
    changed.patterns = &patterns;
    auto a = make_plan(facts(16, 4, 4, 0), tensors, plain), b = make_plan(facts(16, 4, 4, 0), tensors, changed);
    CHECK(a.ok() && b.ok());
    size_t different = 0;
    for (size_t i = 0; i < tensors.size(); ++i) different += a->tensors[i].out.format != b->tensors[i].out.format;
    CHECK(different == 1);
}

TEST(pure_and_kept_output) {
    PlanOptions options;
    options.pure = true;
    auto plan = plan_small("q4_k_m", options, small_model(2, FormatSlot::f16));
    CHECK(plan.ok() && format_in(*plan, "output.weight") == "Q4_K" && format_in(*plan, "blk.0.attn_v.weight") == "Q4_K");
    auto odd = plan_small("q4_k_m", options, small_model(2, FormatSlot::f16, "288"));
    CHECK_MSG(error_of(odd).find("288") != std::string::npos, error_of(odd));
    options.pure = false;
    options.leave_output = true;
    plan = plan_small("q4_k_m", options, small_model(2, FormatSlot::f16));
    CHECK(plan.ok() && format_in(*plan, "output.weight") == "F16" && format_in(*plan, "token_embd.weight") == "Q4_K");
}

TEST(fallbacks_name_themselves) {
    auto plan = plan_small("q4_k_m", {}, small_model(2, FormatSlot::f16, "288"));
    CHECK(plan.ok() && plan->fallbacks == 2 * 7 + 1);
    for (const PlannedTensor& tensor : plan->tensors)
        if (tensor.fallback) CHECK_MSG(tensor.reason.find("fallback from Q") == 0, tensor.reason);
    auto narrow = plan_small("q8_0", {}, small_model(2, FormatSlot::f32, "100"));
    CHECK(narrow.ok() && format_in(*narrow, "blk.0.attn_q.weight") == "F16");
    auto none = plan_small("nvfp4", {}, small_model(2, FormatSlot::f16, "96"));
    CHECK(!none.ok());
}

TEST(quantized_sources) {
    auto twice = plan_small("q4_k_m", {}, small_model(2, FormatSlot::q8_0));
    CHECK_MSG(error_of(twice).find("--allow-requantize") != std::string::npos, error_of(twice));
    PlanOptions allowed;
    allowed.allow_requantize = true;
    CHECK(plan_small("q4_k_m", allowed, small_model(2, FormatSlot::q8_0)).ok());
    for (const char* back : {"f16", "bf16", "f32", "q8_0", "copy"}) {
        auto plan = plan_small(back, {}, small_model(2, FormatSlot::q8_0));
        CHECK_MSG(plan.ok(), back);
    }
}

TEST(importance_is_checked) {
    ImportanceMatrix importance;
    importance.file = "m.gguf";
    const auto tensors = small_model(2, FormatSlot::f16);
    for (const TensorInfo& tensor : tensors)
        if (tensor.name.starts_with("blk.0.")) importance.entries[tensor.name].values.assign(256, 1.0f);
    PlanOptions options;
    options.importance = &importance;
    auto plan = plan_small("q4_k_m", options, tensors);
    CHECK(plan.ok() && plan->without_importance == 7 && plan->first_without_importance == "blk.1.attn_q.weight");
    CHECK(plan->needing_importance.empty());
    plan = plan_small("q2_k_s", options, tensors);
    CHECK(plan.ok() && plan->needing_importance.size() == 7);
    plan = plan_small("q2_k_s", {}, tensors);
    CHECK(plan.ok() && plan->needing_importance.size() == 14);
    importance.entries["token_embd.weight"].values.assign(512, 1.0f);  // counted per row by some tools: ignored
    CHECK(plan_small("q4_k_m", options, tensors).ok());
    importance.entries["blk.0.ffn_up.weight"].values.pop_back();
    plan = plan_small("q4_k_m", options, tensors);
    CHECK_MSG(error_of(plan).find("255 values, expected 256") != std::string::npos, error_of(plan));
}

TEST(metadata_overrides_keep_integer_types) {
    Metadata metadata;
    metadata.set("a", Value::of_u16(3));
    for (const char* row : {"a=int:7", "b=int:7", "c=int:-7", "d=int:5000000000", "e=float:1.5", "f=bool:true", "g=str:x=y:z"})
        CHECK_MSG(override_metadata(row, metadata).ok(), row);
    CHECK(metadata.find("a")->type == ValueType::u16 && *metadata.get_u32("a").value() == 7);
    CHECK(metadata.find("b")->type == ValueType::u32);
    CHECK(metadata.find("c")->type == ValueType::i32 && *metadata.get_i64("c").value() == -7);
    CHECK(metadata.find("d")->type == ValueType::i64);
    CHECK(metadata.find("e")->type == ValueType::f32 && *metadata.get_f32("e").value() == 1.5f);
    CHECK(*metadata.get_bool("f").value());
    CHECK(*metadata.get_string("g").value() == "x=y:z");
    CHECK(override_metadata("a=int:70000", metadata).ok() && metadata.find("a")->type == ValueType::u32);
    for (const char* wrong : {"a", "=int:3", "a=int", "a=int:", "a=int:1.5", "a=float:x", "a=float:nan", "a=bool:1", "a=uint:3"})
        CHECK_MSG(!override_metadata(wrong, metadata).ok(), wrong);
}

TEST(derived_output_names) {
    CHECK(default_output("dir/model-f16.gguf", "Q4_K_M") == "dir/model-Q4_K_M.gguf");
    CHECK(default_output("model.BF16.gguf", "Q8_0") == "model-Q8_0.gguf");
    CHECK(default_output("a/model-Q4_K_M.gguf", "F16") == "a/model-F16.gguf");
    CHECK(default_output("model.gguf", "Q8_0") == "model-Q8_0.gguf");
    CHECK(default_output("m-f16-00001-of-00003.gguf", "Q8_0") == "m-Q8_0.gguf");
    CHECK(default_output("dir/f16.gguf", "Q8_0") == "dir/f16-Q8_0.gguf");
    CHECK(default_output("dir/-f16.gguf", "Q8_0") == "dir/-f16-Q8_0.gguf");
    CHECK(default_output("folder/", "Q8_0") == "folder-Q8_0.gguf");
}

TEST_MAIN
